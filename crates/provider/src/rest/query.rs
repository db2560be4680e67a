//! Polls and lookups: compiles their tables, and reads their answers.
//!
//! A fault of a query never ends a command. After a poll whose answer is not as the file expects,
//! the command is still waiting; after such a lookup, the command is still in doubt.

use std::time::Duration;

use serde_json::Value as Json;

use super::answer::{AnswerReader, ReplyBody, scope};
use super::expression::{Condition, ExpressionScope};
use super::file::{LookupChoice, LookupFile, OperationFile, PollFile};
use super::inherited::{InheritedSettings, duration};
use super::request::{RequestSource, RequestTemplate};
use super::text::TextTemplate;
use ferryd_domain::http_call::HttpReply;
use ferryd_domain::money::AMOUNT_MISMATCH;
use ferryd_domain::outcome::{Failure, LookupOutcome, Outcome, OutcomeName, PollOutcome};
use ferryd_domain::query::{LookupPolicy, PollPolicy};
use ferryd_domain::retry::Rung;
use ferryd_settings::findings::SettingsCursor;

/// The variable that holds the provider's own id.
const REFERENCE: &str = "provider_reference";

/// The longest wait between two polls, where the file does not state one.
const LONGEST: Duration = Duration::from_hours(1);

/// The compiled table `poll`, by which accepted commands are polled.
pub(super) struct PollRequest {
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
    Own(Box<LookupQuery>),
}

/// The compiled table `lookup`, which queries whether a call acted.
pub(super) struct LookupQuery {
    /// The request.
    pub(super) request: RequestTemplate,
    found: Condition,
    item: Option<TextTemplate>,
    absent: Option<Condition>,
}

/// An answer, as expressions see it.
pub(super) struct QueryReply<'a> {
    /// The answer.
    pub(super) reply: &'a HttpReply,
    /// The answer's body.
    pub(super) body: &'a ReplyBody,
    /// The variables of the call and of the answer.
    pub(super) scope: &'a ExpressionScope<'a>,
}

impl PollRequest {
    /// Reads an answer about an accepted command, by the operation's `reading`.
    pub(super) fn read_poll(&self, reading: &AnswerReader, heard: &QueryReply<'_>) -> PollOutcome {
        let QueryReply { reply, body, scope } = heard;
        if !can_answer(reply.status) {
            return PollOutcome::Still(Some(reading.read_failure(None, reply, body, scope)));
        }
        let rule = reading.matching_rule(scope);
        let declined = rule.is_some_and(|rule| rule.outcome == OutcomeName::Declined);
        let failure = || reading.read_failure(rule, reply, body, scope);
        if declined || holds(self.failed.as_ref(), scope) {
            return PollOutcome::Declined(failure());
        }
        let read = (200..300).contains(&reply.status);
        let done = match &self.done {
            Some(done) => done.holds(scope),
            // As in the answer to the call itself, `accepted` takes precedence.
            None => {
                !holds(reading.accepted.as_ref(), scope) && holds(reading.success.as_ref(), scope)
            }
        };
        if read && done {
            return match reading.find_mismatch(reply, scope) {
                Some(mismatch) => PollOutcome::Still(Some(mismatch)),
                None => PollOutcome::Completed(reading.read_success(Some(reply.status), scope)),
            };
        }
        PollOutcome::Still((!read).then(failure))
    }

    /// Reads an answer of the poll about a call whose outcome is unknown: a transaction that the
    /// provider shows is completed, or accepted.
    pub(super) fn read_found(
        &self,
        reading: &AnswerReader,
        heard: &QueryReply<'_>,
    ) -> LookupOutcome {
        match self.read_poll(reading, heard) {
            PollOutcome::Completed(success) => LookupOutcome::Found(Outcome::Completed(success)),
            PollOutcome::Declined(failure) => LookupOutcome::Found(Outcome::Declined(failure)),
            PollOutcome::Still(Some(failure)) => LookupOutcome::Unclear(failure),
            PollOutcome::Still(None) => {
                let QueryReply { reply, scope, .. } = heard;
                LookupOutcome::Found(Outcome::Waiting(
                    reading.read_success(Some(reply.status), scope),
                    reading.read_waiting_for(scope),
                ))
            }
        }
    }
}

impl LookupQuery {
    /// Reads an answer about a call whose outcome is unknown, by the operation's `reading`.
    pub(super) fn read_lookup(
        &self,
        reading: &AnswerReader,
        heard: &QueryReply<'_>,
    ) -> LookupOutcome {
        let QueryReply { reply, body, scope } = heard;
        let failure = || reading.read_failure(None, reply, body, scope);
        if !can_answer(reply.status) {
            return LookupOutcome::Unclear(failure());
        }
        if self.found.holds(scope) {
            let Some(item) = &self.item else {
                return take_found(reading.read_outcome(reply, body, scope));
            };
            return match item.json(scope) {
                Ok(Some(item)) => of_item(item, reading, heard),
                Ok(None) => LookupOutcome::Unclear(unclear_lookup(
                    "`lookup.item` yields nothing".to_owned(),
                )),
                Err(error) => {
                    LookupOutcome::Unclear(unclear_lookup(format!("`lookup.item`: {error}")))
                }
            };
        }
        if holds(self.absent.as_ref(), scope) {
            return LookupOutcome::Absent(failure());
        }
        LookupOutcome::Unclear(failure())
    }
}

fn holds(condition: Option<&Condition>, scope: &ExpressionScope<'_>) -> bool {
    condition.is_some_and(|condition| condition.holds(scope))
}

/// Reads the transaction in an answer as if it were the body of an answer.
fn of_item(item: Json, reading: &AnswerReader, heard: &QueryReply<'_>) -> LookupOutcome {
    let body = ReplyBody::of(item);
    let reply = HttpReply { status: 200, ..heard.reply.clone() };
    let scope = scope(heard.scope, &reply, &body);
    take_found(reading.read_outcome(&reply, &body, &scope))
}

/// Takes the outcome of the transaction, unless its amount differs from the requested one.
fn take_found(outcome: Outcome) -> LookupOutcome {
    match outcome {
        Outcome::Unknown(failure) if failure.code.as_deref() == Some(AMOUNT_MISMATCH) => {
            LookupOutcome::Unclear(failure)
        }
        outcome => LookupOutcome::Found(outcome),
    }
}

/// Returns true if an answer of this status can show what exists. A provider that fails, or refuses
/// the credentials, does not know; the body of its answer must not be taken for "not found".
fn can_answer(status: u16) -> bool {
    matches!(status, 200..=299 | 400..=499) && !matches!(status, 401 | 403 | 407 | 408 | 425 | 429)
}

fn unclear_lookup(message: String) -> Failure {
    Failure::new("lookup", message)
}

/// Compiles the table `poll` of an operation.
pub(super) fn poll(
    file: &OperationFile,
    from: &InheritedSettings<'_>,
    timeout: Duration,
    place: &SettingsCursor<'_>,
) -> Option<(PollPolicy, PollRequest)> {
    let (table, at) = (file.poll.as_ref()?, place.key("poll"));
    let PollFile { request, body, interval, max_interval: longest, done, failed } = table;
    let known = from.in_answer.and(REFERENCE);
    let condition =
        |key: &str, source: Option<&String>| at.key(key).check(Condition::compile(source?, &known));
    let source = RequestSource { request: request.as_ref(), body: body.as_ref() };
    let request =
        RequestTemplate::compile(source, None, timeout, &from.in_request.and(REFERENCE), &at);
    let interval = wait(interval, &at.key("interval"));
    let longest =
        longest.as_ref().map_or(Some(LONGEST), |text| wait(text, &at.key("max_interval")));
    let success = file.response.as_ref().and_then(|response| response.success.as_ref());
    if done.is_none() && success.is_none() {
        at.key("done")
            .refuse("is missing, and so is `response.success`; write the condition that says that it is done");
    }
    let poll = PollRequest {
        request: request?,
        done: condition("done", done.as_ref()),
        failed: condition("failed", failed.as_ref()),
    };
    Some((PollPolicy { interval: interval?, max_interval: longest? }, poll))
}

/// Compiles the lookup of an operation, after its `poll`.
pub(super) fn lookup(
    file: &OperationFile,
    poll: Option<&PollRequest>,
    from: &InheritedSettings<'_>,
    timeout: Duration,
    place: &SettingsCursor<'_>,
) -> Option<(LookupPolicy, LookupRequest)> {
    let place = place.key("lookup");
    match (file.lookup.as_ref()?, poll) {
        (LookupChoice::Own(table), _) => {
            let (policy, lookup) = own_lookup(table, from, timeout, &place)?;
            Some((policy, LookupRequest::Own(Box::new(lookup))))
        }
        (LookupChoice::Poll, Some(PollRequest { request, .. })) => {
            let needs_reference = request.needs(REFERENCE);
            Some((
                LookupPolicy { after: timeout, proves_absence: false, needs_reference },
                LookupRequest::OfPoll,
            ))
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
    from: &InheritedSettings<'_>,
    timeout: Duration,
    at: &SettingsCursor<'_>,
) -> Option<(LookupPolicy, LookupQuery)> {
    let LookupFile { request, body, after, found, item, not_found: absent } = table;
    let known = from.in_answer.and(REFERENCE);
    let source = RequestSource { request: request.as_ref(), body: body.as_ref() };
    let request =
        RequestTemplate::compile(source, None, timeout, &from.in_request.and(REFERENCE), at);
    let after = duration(after, &at.key("after"));
    let condition =
        |key: &str, source: &String| at.key(key).check(Condition::compile(source, &known));
    let found = condition("found", found);
    let item = item
        .as_ref()
        .and_then(|source| at.key("item").check(TextTemplate::compile(source, &known)));
    let absent = absent.as_ref().and_then(|source| condition("not_found", source));
    let (proves_absence, request) = (absent.is_some(), request?);
    let needs_reference = request.needs(REFERENCE);
    let policy = LookupPolicy { after: after?.max(timeout), proves_absence, needs_reference };
    Some((policy, LookupQuery { request, found: found?, item, absent }))
}

/// Parses a wait that one rung of the ladder can hold.
fn wait(text: &str, place: &SettingsCursor<'_>) -> Option<Duration> {
    let wait = duration(text, place)?;
    if wait > Rung::LONGEST.duration() {
        place.refuse(format!(
            "is longer than a wait can be; write at most `{}`",
            Rung::LONGEST.name()
        ));
    }
    Some(wait)
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "shared_query_tests.rs"]
mod shared_query_tests;
