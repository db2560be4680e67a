//! The access token of one provider: kept in memory, renewed before it expires, requested by one
//! call on behalf of all that wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::Mutex as Turn;
use tokio::time::{Instant, timeout_at};

use ferryd_domain::token::{AccessToken, TokenUnavailable};

/// The time before its expiry at which a token is renewed; for a short-lived one, a quarter of its
/// lifetime.
const MARGIN: Duration = Duration::from_mins(1);

/// The least pause after the token endpoint refused a token. Calls fail meanwhile as the last one
/// did.
const PAUSE: Duration = Duration::from_secs(1);

/// The most time for the renewal of a token that is still valid, bounded by a quarter of the call's
/// own time: a call that can be made is not delayed for the sake of later ones.
const RENEWAL: Duration = Duration::from_secs(5);

/// The tolerance that distinguishes a call's own time-out from a refusal: a call whose time ends
/// within this tolerance ran out of time.
const IN_VAIN: Duration = Duration::from_millis(5);

/// The longest pause after a refusal, whatever the provider asks for: an operator may have
/// corrected the credentials.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// A token that was granted.
#[derive(Debug)]
pub struct GrantedToken {
    /// The token itself.
    pub access: AccessToken,
    granted: Instant,
    /// The time from which a new token is requested; `None` for never.
    renew: Option<Instant>,
    /// The time from which the provider rejects the token; `None` where the provider gave no
    /// lifetime.
    end: Option<Instant>,
}

impl GrantedToken {
    fn new(access: AccessToken, requested: Instant) -> Self {
        let life = access.lifetime;
        let at = |after: Duration| requested.checked_add(after);
        let renew = life.and_then(|life| at(life.saturating_sub(MARGIN.min(life / 4))));
        Self { end: life.and_then(at), renew, granted: Instant::now(), access }
    }

    /// Returns true if the token was granted at that time or later, so that another one would not
    /// be newer.
    #[must_use]
    pub fn is_since(&self, time: Instant) -> bool {
        self.granted >= time
    }
}

/// The tokens of one provider.
#[derive(Debug, Default)]
pub struct TokenCache {
    state: Mutex<TokenState>,
    /// Held by the call that requests a token.
    turn: Turn<()>,
}

#[derive(Debug, Default)]
struct TokenState {
    held: Option<Arc<GrantedToken>>,
    /// The previous token, which late answers may still quote.
    before: Option<Arc<GrantedToken>>,
    /// The number of token requests so far.
    requests: u64,
    refused: Option<RefusedToken>,
}

/// A refusal of the token endpoint, and the time until which no token is requested again.
#[derive(Debug)]
struct RefusedToken {
    why: TokenUnavailable,
    until: Instant,
}

impl TokenCache {
    /// Returns the token, or a new one if it is due. `ask` gets the time that is left, and is
    /// called by one call at a time; the other calls share its result, a refusal too, unless the
    /// old token is still valid: it is used until it expires, during a renewal and after a refused
    /// one.
    ///
    /// # Errors
    /// [`TokenUnavailable`]: none was granted, or none in time.
    pub async fn get(
        &self,
        latest: Instant,
        ask: impl AsyncFnOnce(Duration) -> Result<AccessToken, TokenUnavailable>,
    ) -> Result<Arc<GrantedToken>, TokenUnavailable> {
        let (seen, lasting) = {
            let (state, now) = (self.state(), Instant::now());
            if let Some(token) = state.fresh(now) {
                return Ok(token);
            }
            (state.requests, state.lasting(now))
        };
        let _turn = match &lasting {
            Some(token) => match self.turn.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(Arc::clone(token)),
            },
            None => timeout_at(latest, self.turn.lock()).await.map_err(|_| late())?,
        };
        let begun = Instant::now();
        if let Some(settled) = self.state().known_result(seen, begun) {
            return settled;
        }
        let left = latest.saturating_duration_since(begun);
        let granted = ask(if lasting.is_some() { RENEWAL.min(left / 4) } else { left }).await;
        let (mut state, now) = (self.state(), Instant::now());
        match granted {
            Ok(access) => {
                let token = Arc::new(GrantedToken::new(access, begun));
                if let Some(before) = state.held.replace(Arc::clone(&token)) {
                    state.before = Some(before);
                }
                (state.requests, state.refused) = (state.requests + 1, None);
                Ok(token)
            }
            // The token was not refused: this call ran out of time. The next call may have more.
            Err(why) if lasting.is_none() && now + IN_VAIN >= latest => Err(why),
            Err(why) => {
                state.requests += 1;
                state.refused = Some(RefusedToken { until: now + pause(&why), why: why.clone() });
                state.lasting(now).ok_or(why)
            }
        }
    }

    /// Drops a token that the provider rejects, unless it was renewed already.
    pub fn drop_token(&self, token: &Arc<GrantedToken>) {
        let mut state = self.state();
        if state.held.as_ref().is_some_and(|held| Arc::ptr_eq(held, token)) {
            state.before = state.held.take();
        }
    }

    /// The tokens that must be masked.
    pub fn secrets(&self) -> Vec<SecretString> {
        let state = self.state();
        state.held.iter().chain(&state.before).map(|token| token.access.secret().clone()).collect()
    }

    fn state(&self) -> MutexGuard<'_, TokenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenState {
    fn fresh(&self, now: Instant) -> Option<Arc<GrantedToken>> {
        self.held.clone().filter(|token| token.renew.is_none_or(|renew| now < renew))
    }

    fn lasting(&self, now: Instant) -> Option<Arc<GrantedToken>> {
        self.held.clone().filter(|token| token.end.is_none_or(|end| now < end))
    }

    /// The result for a call that holds the turn: `None` if it has to request a token itself.
    fn known_result(
        &self,
        seen: u64,
        now: Instant,
    ) -> Option<Result<Arc<GrantedToken>, TokenUnavailable>> {
        if self.requests != seen
            && let Some(token) = self.held.clone()
            && self.refused.is_none()
        {
            return Some(Ok(token));
        }
        if let Some(token) = self.fresh(now) {
            return Some(Ok(token));
        }
        let refused =
            self.refused.as_ref().filter(|refused| self.requests != seen || now < refused.until)?;
        Some(self.lasting(now).ok_or_else(|| refused.why.clone()))
    }
}

fn pause(why: &TokenUnavailable) -> Duration {
    let wanted = why
        .retry_after
        .map_or(PAUSE, |time| Duration::from_secs(time.seconds_from(Timestamp::now())));
    wanted.clamp(PAUSE, LONGEST_PAUSE)
}

fn late() -> TokenUnavailable {
    TokenUnavailable::new(
        "token_unavailable",
        "no access token: none was granted in the time that the call has",
    )
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
