//! Sending a request, with an access token where the provider wants one.
//!
//! The adapter describes the token request, this makes it, and the lane keeps the token. All of it happens within the time
//! that the request has. A provider that answers 401 has not acted, unless its file reads the answer otherwise, so a call whose
//! *kept* token it does not take any more is made once more with a new one; a 401 to a new token is an answer like any other.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::warn;

use super::lane::Lane;
use crate::domain::exchange::{Answer, Request};
use crate::domain::outcome::RetryAfter;
use crate::domain::token::{AccessToken, NoToken};
use crate::transport::tokens::{Token, Tokens};

/// One request and what came of it.
#[derive(Debug)]
pub struct Exchanged<'r> {
    /// What was sent.
    pub request: Cow<'r, Request>,
    /// What came back.
    pub answer: Answer,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub elapsed: Duration,
}

/// What came of a call.
#[derive(Debug)]
pub struct Sent<'r> {
    /// What it took beside the exchange that counts: requests for a token, and a call that was refused for an old one.
    pub aside: Vec<Exchanged<'r>>,
    /// The exchange that counts; or why it was not made, for want of a token.
    pub last: Result<Exchanged<'r>, NoToken>,
}

impl Sent<'_> {
    /// Every exchange, in their order.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchanged<'_>> {
        self.aside.iter().chain(self.last.as_ref().ok())
    }

    /// The answer that counts. A call that was not made for want of a token was certainly not sent.
    pub fn into_answer(self) -> Answer {
        match self.last {
            Ok(exchanged) => exchanged.answer,
            Err(NoToken { failure, .. }) => Answer::NotSent(failure),
        }
    }
}

/// The time that a call has.
#[derive(Debug, Clone, Copy)]
struct Time {
    begun: Instant,
    /// When its last request has to have begun, to have time for connecting: it would count as sent otherwise.
    latest: Instant,
    end: Instant,
}

impl Time {
    fn of(request: &Request, connect: Duration) -> Self {
        let begun = Instant::now();
        let end = begun + request.timeout;
        Self { begun, latest: begun + request.timeout.saturating_sub(connect), end }
    }

    /// What is left of it for a request.
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
    /// Sends a request and reads its answer, all within the request's timeout. `is_refused` says whether an answer with 401
    /// refuses, as the provider file reads it: such a call has not acted.
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

    /// The token that is kept, or a new one.
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

/// The same, with a time of day instead of seconds: calls that share it come later.
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
