//! Polls and lookups: compiles their tables, and reads their answers.
//!
//! A fault of a query never ends a command. After a poll whose answer is not as the file expects,
//! the command is still waiting; after such a lookup, the command is still in doubt.

use std::time::Duration;

use serde_json::Value as Json;

use super::answer::{Body, Reading, scope};
use super::expression::{Condition, Scope};
use super::file::{LookupChoice, LookupFile, OperationFile, PollFile};
use super::inherited::{Inherited, duration};
use super::request::{RequestSource, RequestTemplate};
use super::text::Text;
use ferryd_domain::exchange::Reply;
use ferryd_domain::inquiry::{LookupPolicy, PollPolicy};
use ferryd_domain::money::AMOUNT_MISMATCH;
use ferryd_domain::outcome::{Failure, LookedUp, Outcome, Polled, Verdict};
use ferryd_domain::retry::Rung;
use ferryd_settings::faults::Place;

/// The variable that holds the provider's own id.
const REFERENCE: &str = "provider_reference";

/// The longest wait between two polls, where the file does not state one.
const LONGEST: Duration = Duration::from_hours(1);

/// The compiled table `poll`, by which accepted commands are polled.
pub(super) struct Poll {
    /// The request.
    pub(super) request: RequestTemplate,
    done: Option<Condition>,
    failed: Option<Condition>,
}

/// The choice of the request that queries whether a call acted.
pub(super) enum LookupRequest {
    /// The request of the operation's poll, which reads the answer as well.
    OfPoll,
    /// A request of the lookup's own.
    Own(Box<Lookup>),
}

/// The compiled table `lookup`, which queries whether a call acted.
pub(super) struct Lookup {
    /// The request.
    pub(super) request: RequestTemplate,
    found: Condition,
    item: Option<Text>,
    absent: Option<Condition>,
}

/// An answer, as expressions see it.
pub(super) struct Heard<'a> {
    /// The answer.
    pub(super) reply: &'a Reply,
    /// The answer's body.
    pub(super) body: Body,
    /// The variables of the call and of the answer.
    pub(super) scope: Scope,
}

impl Poll {
    /// Reads an answer about an accepted command, by the operation's `reading`.
    pub(super) fn outcome(&self, reading: &Reading, heard: &Heard<'_>) -> Polled {
        let Heard { reply, body, scope } = heard;
        if !answers(reply.status) {
            return Polled::Still(Some(reading.failure(None, reply, body, scope)));
        }
        let rule = reading.rule(scope);
        let declined = rule.is_some_and(|rule| rule.verdict == Verdict::Declined);
        let failure = || reading.failure(rule, reply, body, scope);
        if declined || holds(self.failed.as_ref(), scope) {
            return Polled::Declined(failure());
        }
        let read = (200..300).contains(&reply.status);
        let done = match &self.done {
            Some(done) => done.holds(scope),
            // As in the answer to the call itself, `accepted` takes precedence.
            None => !holds(reading.accepted.as_ref(), scope) && holds(reading.success.as_ref(), scope),
        };
        if read && done {
            return match reading.mismatch(reply, scope) {
                Some(mismatch) => Polled::Still(Some(mismatch)),
                None => Polled::Completed(reading.success(reply, scope)),
            };
        }
        Polled::Still((!read).then(failure))
    }

    /// Reads an answer of the poll about a call whose outcome is unknown: a transaction that the
    /// provider shows is completed, or accepted.
    pub(super) fn found(&self, reading: &Reading, heard: &Heard<'_>) -> LookedUp {
        match self.outcome(reading, heard) {
            Polled::Completed(success) => LookedUp::Found(Outcome::Completed(success)),
            Polled::Declined(failure) => LookedUp::Found(Outcome::Declined(failure)),
            Polled::Still(Some(failure)) => LookedUp::Unclear(failure),
            Polled::Still(None) => {
                let Heard { reply, scope, .. } = heard;
                LookedUp::Found(Outcome::Waiting(reading.success(reply, scope), reading.party(scope)))
            }
        }
    }
}

impl Lookup {
    /// Reads an answer about a call whose outcome is unknown, by the operation's `reading`.
    pub(super) fn outcome(&self, reading: &Reading, heard: &Heard<'_>) -> LookedUp {
        let Heard { reply, body, scope } = heard;
        let failure = || reading.failure(None, reply, body, scope);
        if !answers(reply.status) {
            return LookedUp::Unclear(failure());
        }
        if self.found.holds(scope) {
            let Some(item) = &self.item else {
                return found(reading.outcome(reply, body, scope));
            };
            return match item.json(scope) {
                Ok(Some(item)) => of_item(item, reading, heard),
                Ok(None) => LookedUp::Unclear(unclear("`lookup.item` yields nothing".to_owned())),
                Err(error) => LookedUp::Unclear(unclear(format!("`lookup.item`: {error}"))),
            };
        }
        if holds(self.absent.as_ref(), scope) {
            return LookedUp::Absent(failure());
        }
        LookedUp::Unclear(failure())
    }
}

fn holds(condition: Option<&Condition>, scope: &Scope) -> bool {
    condition.is_some_and(|condition| condition.holds(scope))
}

/// Reads the transaction in an answer as if it were the body of an answer.
fn of_item(item: Json, reading: &Reading, heard: &Heard<'_>) -> LookedUp {
    let body = Body::of(item);
    let reply = Reply { status: 200, ..heard.reply.clone() };
    let scope = scope(&heard.scope, &reply, &body);
    found(reading.outcome(&reply, &body, &scope))
}

/// Takes the outcome of the transaction, unless its amount differs from the requested one.
fn found(outcome: Outcome) -> LookedUp {
    match outcome {
        Outcome::Unknown(failure) if failure.code.as_deref() == Some(AMOUNT_MISMATCH) => LookedUp::Unclear(failure),
        outcome => LookedUp::Found(outcome),
    }
}

/// Returns true if an answer of this status can tell what exists. A provider that fails, or refuses
/// the credentials, does not know; the body of its answer must not be taken for "not found".
fn answers(status: u16) -> bool {
    matches!(status, 200..=299 | 400..=499) && !matches!(status, 401 | 403 | 407 | 408 | 425 | 429)
}

fn unclear(message: String) -> Failure {
    Failure::new("lookup", message)
}

/// Compiles the table `poll` of an operation.
pub(super) fn poll(
    file: &OperationFile,
    from: &Inherited<'_>,
    timeout: Duration,
    place: &Place<'_>,
) -> Option<(PollPolicy, Poll)> {
    let (table, at) = (file.poll.as_ref()?, place.key("poll"));
    let PollFile { request, body, interval, longest, done, failed } = table;
    let known = from.in_answer.and(REFERENCE);
    let condition = |key: &str, source: Option<&String>| at.key(key).check(Condition::compile(source?, &known));
    let source = RequestSource { request: request.as_ref(), body: body.as_ref() };
    let request = RequestTemplate::compile(source, None, timeout, &from.in_request.and(REFERENCE), &at);
    let interval = wait(interval, &at.key("interval"));
    let longest = longest.as_ref().map_or(Some(LONGEST), |text| wait(text, &at.key("longest")));
    let success = file.response.as_ref().and_then(|response| response.success.as_ref());
    if done.is_none() && success.is_none() {
        at.key("done")
            .refuse("is missing, and so is `response.success`; write the condition that says that it is done");
    }
    let poll = Poll {
        request: request?,
        done: condition("done", done.as_ref()),
        failed: condition("failed", failed.as_ref()),
    };
    Some((PollPolicy { interval: interval?, longest: longest? }, poll))
}

/// Compiles the lookup of an operation, after its `poll`.
pub(super) fn lookup(
    file: &OperationFile,
    poll: Option<&Poll>,
    from: &Inherited<'_>,
    timeout: Duration,
    place: &Place<'_>,
) -> Option<(LookupPolicy, LookupRequest)> {
    let place = place.key("lookup");
    match (file.lookup.as_ref()?, poll) {
        (LookupChoice::Own(table), _) => {
            let (policy, lookup) = own_lookup(table, from, timeout, &place)?;
            Some((policy, LookupRequest::Own(Box::new(lookup))))
        }
        (LookupChoice::Poll, Some(Poll { request, .. })) => {
            let needs_reference = request.needs(REFERENCE);
            Some((LookupPolicy { after: timeout, proves_absence: false, needs_reference }, LookupRequest::OfPoll))
        }
        (LookupChoice::Poll, None) => {
            if file.poll.is_none() {
                place.refuse("there is no poll; write a table `poll`, or a table `lookup`");
            }
            None
        }
    }
}

fn own_lookup(
    table: &LookupFile,
    from: &Inherited<'_>,
    timeout: Duration,
    at: &Place<'_>,
) -> Option<(LookupPolicy, Lookup)> {
    let LookupFile { request, body, after, found, item, absent } = table;
    let known = from.in_answer.and(REFERENCE);
    let source = RequestSource { request: request.as_ref(), body: body.as_ref() };
    let request = RequestTemplate::compile(source, None, timeout, &from.in_request.and(REFERENCE), at);
    let after = duration(after, &at.key("after"));
    let condition = |key: &str, source: &String| at.key(key).check(Condition::compile(source, &known));
    let found = condition("found", found);
    let item = item.as_ref().and_then(|source| at.key("item").check(Text::compile(source, &known)));
    let absent = absent.as_ref().and_then(|source| condition("absent", source));
    let (proves_absence, request) = (absent.is_some(), request?);
    let needs_reference = request.needs(REFERENCE);
    let policy = LookupPolicy { after: after?.max(timeout), proves_absence, needs_reference };
    Some((policy, Lookup { request, found: found?, item, absent }))
}

/// Parses a wait that one rung of the ladder can hold.
fn wait(text: &str, place: &Place<'_>) -> Option<Duration> {
    let wait = duration(text, place)?;
    if wait > Rung::LONGEST.duration() {
        place.refuse(format!("is longer than a wait can be; write at most `{}`", Rung::LONGEST.name()));
    }
    Some(wait)
}

#[cfg(test)]
#[path = "inquiry_tests.rs"]
mod tests;
