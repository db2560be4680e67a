//! Sends a request, with an access token where the provider wants one.
//!
//! The adapter describes the token request, this module sends it, and the lane keeps the token. All
//! of it happens within the request's timeout. A provider that answers 401 has not acted, unless
//! its file reads the answer otherwise, so a call whose *kept* token it no longer accepts is made
//! once more with a new one. A 401 to a new token is an answer like any other.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::warn;

use super::lane::Lane;
use ferryd_domain::exchange::{Answer, Request};
use ferryd_domain::outcome::RetryAfter;
use ferryd_domain::token::{AccessToken, NoToken};
use ferryd_transport::tokens::{Token, Tokens};

/// One HTTP request and its answer.
#[derive(Debug)]
pub struct Exchanged<'r> {
    /// The request.
    pub request: Cow<'r, Request>,
    /// The answer, or the reason why there is none.
    pub answer: Answer,
    /// The time at which the request began.
    pub at: Timestamp,
    /// The duration from the request's beginning to the answer's end.
    pub elapsed: Duration,
}

/// The HTTP calls that one call of a provider took.
#[derive(Debug)]
pub struct Sent<'r> {
    /// The additional HTTP calls: requests for a token, and a call that was refused for an expired
    /// one.
    pub aside: Vec<Exchanged<'r>>,
    /// The HTTP call that decides; an error where no token was available and it was not made.
    pub last: Result<Exchanged<'r>, NoToken>,
}

impl Sent<'_> {
    /// Lists every HTTP call, in order.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchanged<'_>> {
        self.aside.iter().chain(self.last.as_ref().ok())
    }

    /// Returns the answer that decides. A call without a token was certainly not sent.
    pub fn into_answer(self) -> Answer {
        match self.last {
            Ok(exchanged) => exchanged.answer,
            Err(NoToken { failure, .. }) => Answer::NotSent(failure),
        }
    }
}

/// The time limit of a call.
#[derive(Debug, Clone, Copy)]
struct Time {
    begun: Instant,
    /// The latest time at which the last request may begin: a later one could run out of time while
    /// it connects, and would count as sent.
    latest: Instant,
    end: Instant,
}

impl Time {
    fn of(request: &Request, connect: Duration) -> Self {
        let begun = Instant::now();
        let end = begun + request.timeout;
        Self { begun, latest: begun + request.timeout.saturating_sub(connect), end }
    }

    /// Returns the time that is left for a request.
    fn left(&self) -> Result<Duration, NoToken> {
        let now = Instant::now();
        if now > self.latest {
            let text = "the access token came so late that the call had no time left, and was not made";
            return Err(NoToken::new("token_unavailable", text));
        }
        Ok(whole_millis(self.end - now))
    }
}

impl Lane {
    /// Sends a request and reads its answer, all within the request's timeout. `is_refused` returns
    /// true for a 401 that refuses, as the provider file reads it: such a call has not acted.
    pub async fn send<'r>(&self, request: &'r Request, is_refused: impl Fn(&Answer) -> bool) -> Sent<'r> {
        let mut aside = Vec::new();
        let last = match self.tokens() {
            None => Ok(self.exchange(Cow::Borrowed(request)).await),
            Some(tokens) => self.send_authorised(tokens, request, is_refused, &mut aside).await,
        };
        Sent { aside, last }
    }

    async fn send_authorised<'r>(
        &self,
        tokens: &Tokens,
        request: &Request,
        is_refused: impl Fn(&Answer) -> bool,
        aside: &mut Vec<Exchanged<'r>>,
    ) -> Result<Exchanged<'r>, NoToken> {
        let time = Time::of(request, self.provider.http.connect_timeout);
        let token = self.token(tokens, time, aside).await?;
        let first = self.exchange_with(&token, request, time).await?;
        let status = match &first.answer {
            Answer::Reply(reply) => Some(reply.status),
            Answer::Incomplete(failure) => failure.http_status,
            Answer::NotSent(_) => None,
        };
        if status != Some(401) || token.is_since(time.begun) || !is_refused(&first.answer) {
            return Ok(first);
        }
        tokens.drop_token(&token);
        if let Answer::Incomplete(_) = first.answer {
            return Ok(first);
        }
        aside.push(first);
        let token = self.token(tokens, time, aside).await?;
        self.exchange_with(&token, request, time).await
    }

    /// Returns the kept token, or requests a new one.
    async fn token(&self, tokens: &Tokens, time: Time, aside: &mut Vec<Exchanged<'_>>) -> Result<Arc<Token>, NoToken> {
        let ask = async |within| {
            let (exchanged, granted) = self.ask_for_token(within).await;
            aside.extend(exchanged);
            granted.inspect(|access| self.hide(access, tokens))
        };
        tokens.get(time.latest, ask).await
    }

    async fn ask_for_token(&self, within: Duration) -> (Option<Exchanged<'static>>, Result<AccessToken, NoToken>) {
        let adapter = &self.account.adapter;
        let Some(request) = adapter.token_request(whole_millis(within)) else {
            return (None, Err(NoToken::new("token_unavailable", "the provider has no token endpoint")));
        };
        let exchanged = self.exchange(Cow::Owned(request)).await;
        let granted = adapter.token(&exchanged.answer).map_err(|none| timed(none.masked(&self.mask())));
        if let Err(NoToken { failure, .. }) = &granted {
            let (provider, code) = (self.provider.name.as_str(), failure.code.as_deref().unwrap_or_default());
            let reason = failure.message.as_str();
            warn!(provider, code, reason, "failed to get an access token; calls wait for their next attempt");
        }
        (Some(exchanged), granted)
    }

    async fn exchange_with<'r>(&self, token: &Token, request: &Request, time: Time) -> Result<Exchanged<'r>, NoToken> {
        let authorised = token.access.authorise(request, time.left()?);
        Ok(self.exchange(Cow::Owned(authorised)).await)
    }

    async fn exchange<'r>(&self, request: Cow<'r, Request>) -> Exchanged<'r> {
        let (at, clock) = (Timestamp::now(), Instant::now());
        let answer = self.http.send(&request).await;
        Exchanged { request, answer, at, elapsed: clock.elapsed() }
    }
}

/// Replaces the seconds of a `Retry-After` by a time of day, because other calls share this result
/// later.
fn timed(none: NoToken) -> NoToken {
    let at = |seconds: u64| Timestamp::now().checked_add(Duration::from_secs(seconds)).ok().map(RetryAfter::At);
    match none.retry_after {
        Some(RetryAfter::Seconds(seconds)) => NoToken { retry_after: at(seconds), ..none },
        Some(RetryAfter::At(_)) | None => none,
    }
}

fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
