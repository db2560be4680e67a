//! Sends a request, with an access token where the provider wants one, or publishes a message.
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

use super::lane::{Lane, LaneLink};
use ferryd_domain::http_call::{CallResult, HttpRequest};
use ferryd_domain::message_call::{MessageRequest, MessageResult};
use ferryd_domain::outbound_request::OutboundRequest;
use ferryd_domain::outcome::{Failure, RetryAfter};
use ferryd_domain::token::{AccessToken, TokenUnavailable};
use ferryd_transport::tokens::{GrantedToken, TokenCache};

/// One HTTP request or message, and its answer.
#[derive(Debug)]
pub struct CallAttempt<'r> {
    /// The request or message, and its answer.
    pub exchange: CallExchange<'r>,
    /// The time at which the request began.
    pub at: Timestamp,
    /// The duration from the request's beginning to the answer's end.
    pub elapsed: Duration,
}

/// A request or message to a provider, with its answer or the reason why there is none.
#[derive(Debug)]
pub enum CallExchange<'r> {
    /// An HTTP request.
    Http(Cow<'r, HttpRequest>, CallResult),
    /// A message to the provider's broker.
    Message(&'r MessageRequest, MessageResult),
}

/// The HTTP calls or the message that one call of a provider took.
#[derive(Debug)]
pub struct SentCalls<'r> {
    /// The additional HTTP calls: requests for a token, and a call that was refused for an expired
    /// one.
    pub additional: Vec<CallAttempt<'r>>,
    /// The HTTP call that decides; an error where no token was available and it was not made.
    pub last: Result<CallAttempt<'r>, TokenUnavailable>,
}

impl SentCalls<'_> {
    /// Lists every HTTP call, in order.
    pub fn calls(&self) -> impl Iterator<Item = &CallAttempt<'_>> {
        self.additional.iter().chain(self.last.as_ref().ok())
    }

    /// Returns the HTTP answer that decides; a message has none. A call without a token was
    /// certainly not sent.
    pub fn into_answer(self) -> CallResult {
        match self.last.map(|made| made.exchange) {
            Ok(CallExchange::Http(_, answer)) => answer,
            Ok(CallExchange::Message(..)) => {
                CallResult::NotSent(Failure::new("no_answer", "a message has no answer"))
            }
            Err(TokenUnavailable { failure, .. }) => CallResult::NotSent(failure),
        }
    }
}

/// The time limit of a call.
#[derive(Debug, Clone, Copy)]
struct CallTime {
    begun: Instant,
    /// The latest time at which the last request may begin: a later one could run out of time while
    /// it connects, and would count as sent.
    latest: Instant,
    end: Instant,
}

impl CallTime {
    fn of(request: &HttpRequest, connect: Duration) -> Self {
        let begun = Instant::now();
        let end = begun + request.timeout;
        Self { begun, latest: begun + request.timeout.saturating_sub(connect), end }
    }

    /// Returns the time that is left for a request.
    fn time_left(&self) -> Result<Duration, TokenUnavailable> {
        let now = Instant::now();
        if now > self.latest {
            let text =
                "the access token came so late that the call had no time left, and was not made";
            return Err(TokenUnavailable::new("token_unavailable", text));
        }
        Ok(whole_millis(self.end - now))
    }
}

impl Lane {
    /// Sends a request or message and reads its answer, all within the request's timeout. `is_refused` returns
    /// true for a 401 that refuses, as the provider file reads it: such a call has not acted.
    pub async fn send<'r>(
        &self,
        request: &'r OutboundRequest,
        is_refused: impl Fn(&CallResult) -> bool,
    ) -> SentCalls<'r> {
        let mut additional = Vec::new();
        let last = match (request, self.tokens(), &self.link) {
            (OutboundRequest::Message(message), _, link) => {
                // Boxed: the future of every HTTP call would hold its place.
                Ok(Box::pin(publish(link, message)).await)
            }
            (OutboundRequest::Http(request), Some(tokens), _) => {
                let sending = self.send_authorised(tokens, request, is_refused, &mut additional);
                Box::pin(sending).await
            }
            (OutboundRequest::Http(request), None, _) => {
                Ok(self.perform_call(Cow::Borrowed(request)).await)
            }
        };
        SentCalls { additional, last }
    }

    async fn send_authorised<'r>(
        &self,
        tokens: &TokenCache,
        request: &HttpRequest,
        is_refused: impl Fn(&CallResult) -> bool,
        additional: &mut Vec<CallAttempt<'r>>,
    ) -> Result<CallAttempt<'r>, TokenUnavailable> {
        let time = CallTime::of(request, self.provider.http.connect_timeout);
        let token = self.access_token(tokens, time, additional).await?;
        let first = self.call_with(&token, request, time).await?;
        let CallExchange::Http(_, answer) = &first.exchange else { return Ok(first) };
        let status = match answer {
            CallResult::Reply(reply) => Some(reply.status),
            CallResult::Incomplete(failure) => failure.http_status,
            CallResult::NotSent(_) => None,
        };
        if status != Some(401) || token.is_since(time.begun) || !is_refused(answer) {
            return Ok(first);
        }
        tokens.drop_token(&token);
        if let CallResult::Incomplete(_) = answer {
            return Ok(first);
        }
        additional.push(first);
        let token = self.access_token(tokens, time, additional).await?;
        self.call_with(&token, request, time).await
    }

    /// Returns the kept token, or requests a new one.
    async fn access_token(
        &self,
        tokens: &TokenCache,
        time: CallTime,
        additional: &mut Vec<CallAttempt<'_>>,
    ) -> Result<Arc<GrantedToken>, TokenUnavailable> {
        let ask = async |within| {
            let (made, granted) = self.ask_for_token(within).await;
            additional.extend(made);
            granted.inspect(|access| self.mask_token(access, tokens))
        };
        tokens.get(time.latest, ask).await
    }

    async fn ask_for_token(
        &self,
        within: Duration,
    ) -> (Option<CallAttempt<'static>>, Result<AccessToken, TokenUnavailable>) {
        let adapter = &self.account.adapter;
        let Some(request) = adapter.build_token_request(whole_millis(within)) else {
            return (
                None,
                Err(TokenUnavailable::new(
                    "token_unavailable",
                    "the provider has no token endpoint",
                )),
            );
        };
        let (answer, at, elapsed) = self.exchange(&request).await;
        let granted =
            adapter.read_token(&answer).map_err(|none| with_deadline(none.masked(&self.mask())));
        if let Err(TokenUnavailable { failure, .. }) = &granted {
            let (provider, code) =
                (self.provider.name.as_str(), failure.code.as_deref().unwrap_or_default());
            let reason = failure.message.as_str();
            warn!(
                provider,
                code, reason, "failed to get an access token; calls wait for their next attempt"
            );
        }
        let exchange = CallExchange::Http(Cow::Owned(request), answer);
        (Some(CallAttempt { exchange, at, elapsed }), granted)
    }

    async fn call_with<'r>(
        &self,
        token: &GrantedToken,
        request: &HttpRequest,
        time: CallTime,
    ) -> Result<CallAttempt<'r>, TokenUnavailable> {
        let authorised = token.access.authorise(request, time.time_left()?);
        Ok(self.perform_call(Cow::Owned(authorised)).await)
    }

    async fn perform_call<'r>(&self, request: Cow<'r, HttpRequest>) -> CallAttempt<'r> {
        let (answer, at, elapsed) = self.exchange(&request).await;
        CallAttempt { exchange: CallExchange::Http(request, answer), at, elapsed }
    }

    async fn exchange(&self, request: &HttpRequest) -> (CallResult, Timestamp, Duration) {
        let (at, clock) = (Timestamp::now(), Instant::now());
        let answer = match &self.link {
            LaneLink::Https(client) => client.send(request).await,
            LaneLink::Broker(_) => CallResult::NotSent(wrong_link()),
        };
        (answer, at, clock.elapsed())
    }
}

async fn publish<'r>(link: &LaneLink, message: &'r MessageRequest) -> CallAttempt<'r> {
    let (at, clock) = (Timestamp::now(), Instant::now());
    let result = match link {
        LaneLink::Broker(broker) => broker.publish(message).await,
        LaneLink::Https(_) => MessageResult::NotSent(wrong_link()),
    };
    CallAttempt { exchange: CallExchange::Message(message, result), at, elapsed: clock.elapsed() }
}

/// Describes a request that its provider's link can't carry. The file is compiled for one protocol,
/// so there is none.
fn wrong_link() -> Failure {
    Failure::new("wrong_link", "the provider is not reached in this way")
}

/// Replaces the seconds of a `Retry-After` by a time of day, because other calls share this result
/// later.
fn with_deadline(none: TokenUnavailable) -> TokenUnavailable {
    let at = |seconds: u64| {
        Timestamp::now().checked_add(Duration::from_secs(seconds)).ok().map(RetryAfter::At)
    };
    match none.retry_after {
        Some(RetryAfter::Seconds(seconds)) => TokenUnavailable { retry_after: at(seconds), ..none },
        Some(RetryAfter::At(_)) | None => none,
    }
}

fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
