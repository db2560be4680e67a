//! The access token of one provider: kept in memory, renewed before it ends, asked for by one call on behalf of all that wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::Mutex as Turn;
use tokio::time::{Instant, timeout_at};

use crate::domain::token::{AccessToken, NoToken};

/// How long before its end a token is renewed; of a short-lived one, a quarter of its life.
const MARGIN: Duration = Duration::from_mins(1);

/// After a token was not granted, the endpoint is left alone for at least so long. Calls meanwhile fail as the last one did.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the renewal of a token that still serves may take, and at most a quarter of the time that its call has: a call
/// that can be made is not held up for the sake of the next ones.
const RENEWAL: Duration = Duration::from_secs(5);

/// A call whose own time ends within so much of a refusal was not refused: it ran out of time.
const IN_VAIN: Duration = Duration::from_millis(5);

/// And at most so long, whatever the provider wants: somebody may have put it right.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// A token that was granted.
#[derive(Debug)]
pub struct Token {
    /// The token itself.
    pub access: AccessToken,
    granted: Instant,
    /// From when on a new one is asked for; `None` for never.
    renew: Option<Instant>,
    /// From when on the provider does not take it; `None` where it did not say.
    end: Option<Instant>,
}

impl Token {
    fn new(access: AccessToken, asked: Instant) -> Self {
        let life = access.lifetime;
        let at = |after: Duration| asked.checked_add(after);
        let renew = life.and_then(|life| at(life.saturating_sub(MARGIN.min(life / 4))));
        Self { end: life.and_then(at), renew, granted: Instant::now(), access }
    }

    /// Whether it was granted at that time or later, so that another one would not be newer.
    #[must_use]
    pub fn is_since(&self, time: Instant) -> bool {
        self.granted >= time
    }
}

/// The tokens of one provider.
#[derive(Debug, Default)]
pub struct Tokens {
    state: Mutex<State>,
    /// Held by the call that asks.
    turn: Turn<()>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Arc<Token>>,
    /// The one before, which late answers may still quote.
    before: Option<Arc<Token>>,
    /// How many times was asked.
    asked: u64,
    refused: Option<Refused>,
}

/// That no token was granted, and until when nobody asks again.
#[derive(Debug)]
struct Refused {
    why: NoToken,
    until: Instant,
}

impl Tokens {
    /// The token, or a new one where it is time. `ask` is given the time that there is, and is called by one call at a time;
    /// the others wait for what comes of it, a refusal too, unless they have an old one that serves: it does so to its end,
    /// while a new one is asked for, and where none is granted.
    ///
    /// # Errors
    /// [`NoToken`]: none was granted, or none in time.
    pub async fn get(
        &self,
        latest: Instant,
        ask: impl AsyncFnOnce(Duration) -> Result<AccessToken, NoToken>,
    ) -> Result<Arc<Token>, NoToken> {
        let (seen, lasting) = {
            let (state, now) = (self.state(), Instant::now());
            if let Some(token) = state.fresh(now) {
                return Ok(token);
            }
            (state.asked, state.lasting(now))
        };
        let _turn = match &lasting {
            Some(token) => match self.turn.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(Arc::clone(token)),
            },
            None => timeout_at(latest, self.turn.lock()).await.map_err(|_| late())?,
        };
        let begun = Instant::now();
        if let Some(settled) = self.state().settled(seen, begun) {
            return settled;
        }
        let left = latest.saturating_duration_since(begun);
        let granted = ask(if lasting.is_some() { RENEWAL.min(left / 4) } else { left }).await;
        let (mut state, now) = (self.state(), Instant::now());
        match granted {
            Ok(access) => {
                let token = Arc::new(Token::new(access, begun));
                if let Some(before) = state.held.replace(Arc::clone(&token)) {
                    state.before = Some(before);
                }
                (state.asked, state.refused) = (state.asked + 1, None);
                Ok(token)
            }
            // Nobody refused: this call's time is over. The next may have more.
            Err(why) if lasting.is_none() && now + IN_VAIN >= latest => Err(why),
            Err(why) => {
                state.asked += 1;
                state.refused = Some(Refused { until: now + pause(&why), why: why.clone() });
                state.lasting(now).ok_or(why)
            }
        }
    }

    /// Forgets a token that the provider does not take any more, unless it was renewed already.
    pub fn drop_token(&self, token: &Arc<Token>) {
        let mut state = self.state();
        if state.held.as_ref().is_some_and(|held| Arc::ptr_eq(held, token)) {
            state.before = state.held.take();
        }
    }

    /// The tokens that must not be shown.
    pub fn secrets(&self) -> Vec<SecretString> {
        let state = self.state();
        state.held.iter().chain(&state.before).map(|token| token.access.secret().clone()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fresh(&self, now: Instant) -> Option<Arc<Token>> {
        self.held.clone().filter(|token| token.renew.is_none_or(|renew| now < renew))
    }

    fn lasting(&self, now: Instant) -> Option<Arc<Token>> {
        self.held.clone().filter(|token| token.end.is_none_or(|end| now < end))
    }

    /// What a call is to do whose turn has come: nothing where another asked meanwhile, or where it is too early to ask.
    fn settled(&self, seen: u64, now: Instant) -> Option<Result<Arc<Token>, NoToken>> {
        if self.asked != seen
            && let Some(token) = self.held.clone()
            && self.refused.is_none()
        {
            return Some(Ok(token));
        }
        if let Some(token) = self.fresh(now) {
            return Some(Ok(token));
        }
        let refused = self.refused.as_ref().filter(|refused| self.asked != seen || now < refused.until)?;
        Some(self.lasting(now).ok_or_else(|| refused.why.clone()))
    }
}

fn pause(why: &NoToken) -> Duration {
    let wanted = why.retry_after.map_or(PAUSE, |time| Duration::from_secs(time.seconds_from(Timestamp::now())));
    wanted.clamp(PAUSE, LONGEST_PAUSE)
}

fn late() -> NoToken {
    NoToken::new("token_unavailable", "no access token: none was granted in the time that the call has")
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
