//! Queries of the provider about a call: polls, lookups, and the deadline behind both.
//!
//! A command that the provider has *accepted* is polled until it ends or its deadline passes. A
//! command whose call *may have acted* is looked up. The result of the lookup is then the command's
//! outcome. Only a provider that answers "not found", long enough after the call, allows another
//! call. Both kinds of query only read, so a repeat does no harm.
//!
//! All functions here are pure; the message of the command carries the [`ProviderQuery`] that is
//! due next.

use std::time::Duration;

use jiff::Timestamp;

use super::lifecycle::{AttemptLimits, Decision, FailureKind, after, decide_retry, until};
use super::outcome::{Failure, LookupOutcome, Outcome, PollOutcome, Success, WaitingFor};
use super::progress::GenerationProgress;
use super::retry::Rung;

/// The header of a command's message with the end of its wait.
pub const DEADLINE_HEADER: &str = "ferry-deadline";

/// A query of the provider that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProviderQuery {
    /// The number of the query within the attempt, from 1; polls and lookups count together.
    pub number: u32,
    /// The purpose of the query.
    pub purpose: QueryPurpose,
    /// The earliest time of the query.
    pub due: Timestamp,
    /// The number of lookups in a row without an answer; of an early query, the number of times
    /// that it was made.
    pub tried: u32,
    /// The number of early queries before this one: they do not lengthen the intervals of later
    /// ones.
    pub early: u32,
    /// The planned query, where this one is early: it is made at its own time whatever the result
    /// of this one.
    pub planned: Option<PlannedQuery>,
}

/// A query that waits for its time while an early one is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedQuery {
    /// The purpose of the query.
    pub purpose: QueryPurpose,
    /// The time of the query.
    pub due: Timestamp,
    /// The number of lookups in a row without an answer by then.
    pub tried: u32,
}

impl ProviderQuery {
    /// Creates a planned query, the first of its kind.
    #[must_use]
    pub const fn new(number: u32, purpose: QueryPurpose, due: Timestamp) -> Self {
        Self { number, purpose, due, tried: 0, early: 0, planned: None }
    }

    /// Continues after an early query that did not end the command: with the same query after
    /// `wait`, or with the planned one, whichever comes first.
    fn after_early_query(
        self,
        planned: PlannedQuery,
        wait: Option<Duration>,
        now: Timestamp,
    ) -> Self {
        let (number, early) = (self.number.saturating_add(1), self.early.saturating_add(1));
        match wait.map(|wait| after(now, wait)).filter(|due| *due < planned.due) {
            Some(due) => Self { number, early, due, tried: self.tried.saturating_add(1), ..self },
            None => Self { number, early, due: planned.due, ..self.planned_query() },
        }
    }

    /// Returns the planned query that an early one stands in for; any other query is returned
    /// unchanged.
    fn planned_query(self) -> Self {
        match self.planned {
            Some(PlannedQuery { purpose, tried, .. }) => {
                Self { purpose, tried, planned: None, ..self }
            }
            None => self,
        }
    }
}

/// The purpose of a query.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "QueryPurpose")]
pub enum QueryPurpose {
    /// Asks if an accepted command has ended.
    Poll,
    /// Asks if a call acted.
    Lookup,
}

impl QueryPurpose {
    /// Returns the name of the purpose in headers and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Lookup => "lookup",
        }
    }
}

/// The timing of an operation's polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollPolicy {
    /// The wait before the first poll; each further one waits a rung of the ladder longer.
    pub interval: Duration,
    /// The longest wait between two polls.
    pub max_interval: Duration,
}

/// The conclusions that an operation's lookup allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupPolicy {
    /// The time after a call for which the answer "not found" proves nothing yet.
    pub after: Duration,
    /// True if the provider's answer "not found" proves that no call acted.
    pub proves_absence: bool,
    /// True where the lookup uses the provider's own id, so that it is possible only once that is
    /// known.
    pub needs_reference: bool,
}

/// A command that the provider has accepted, and finishes later.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedCommand {
    /// The provider's answers so far.
    pub success: Success,
    /// The party that has to act next.
    pub waiting_for: WaitingFor,
    /// The time by which the command has to end.
    pub deadline: Timestamp,
    /// The next query about the command.
    pub query: ProviderQuery,
    /// True where the command's acceptance becomes known by this decision. An event publishes that;
    /// later answers that do not end the command are only recorded.
    pub first: bool,
}

/// The action for a message whose query is due.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryAction {
    /// Make the query.
    Now(ProviderQuery),
    /// The query is early: wait on this rung and check again.
    Park(Rung),
    /// No query is left: take this decision instead.
    Instead(Box<Decision>),
}

/// Decides if `query` is made at `now`. A query whose deadline has passed becomes a last lookup
/// where the operation has one.
#[must_use]
pub fn decide_before_query(
    query: ProviderQuery,
    progress: &GenerationProgress,
    limits: &AttemptLimits,
    now: Timestamp,
) -> QueryAction {
    if query.due > now {
        return QueryAction::Park(Rung::at_most(until(now, query.due)));
    }
    // A command that is polled has a deadline; without one it would be polled for ever.
    let overdue = progress.deadline.is_none_or(|deadline| now >= deadline);
    let past_deadline = overdue && progress.deadline.is_some();
    let query = if past_deadline { query.planned_query() } else { query };
    match query.purpose {
        QueryPurpose::Poll if !overdue && limits.poll.is_some() => QueryAction::Now(query),
        // The provider file was changed and has no poll any more: only the deadline is left.
        QueryPurpose::Poll if !overdue => {
            QueryAction::Park(Rung::at_most(until(now, progress.deadline.unwrap_or(now))))
        }
        QueryPurpose::Poll if limits.lookup.is_some() => {
            QueryAction::Now(ProviderQuery { purpose: QueryPurpose::Lookup, ..query })
        }
        QueryPurpose::Poll => QueryAction::Instead(Box::new(Decision::GiveUp(
            FailureKind::Unresolved,
            overdue_failure(),
        ))),
        QueryPurpose::Lookup if limits.lookup.is_some() => QueryAction::Now(query),
        QueryPurpose::Lookup if let Some(planned) = query.planned => QueryAction::Instead(
            Box::new(Decision::Query(query.after_early_query(planned, None, now), None)),
        ),
        QueryPurpose::Lookup => {
            let failure = Failure::new(
                "no_lookup",
                "the operation has no lookup now, or one by an id that the provider has not returned",
            );
            QueryAction::Instead(Box::new(Decision::GiveUp(FailureKind::Unresolved, failure)))
        }
    }
}

/// Decides how a command continues that the provider accepted at `now`.
#[must_use]
pub fn decide_accepted(
    success: Success,
    waiting_for: WaitingFor,
    progress: &GenerationProgress,
    limits: &AttemptLimits,
    now: Timestamp,
) -> Decision {
    let deadline = progress.deadline.unwrap_or_else(|| after(now, limits.deadline));
    let due = limits.poll.map_or(deadline, |poll| {
        after(now, Rung::at_least(poll.interval).duration()).min(deadline)
    });
    let early = progress.query.map_or(0, |query| query.early);
    let query = ProviderQuery {
        early,
        ..ProviderQuery::new(progress.next_query(), QueryPurpose::Poll, due)
    };
    let first = progress.deadline.is_none();
    Decision::Wait(Box::new(AcceptedCommand { success, waiting_for, deadline, query, first }))
}

/// Returns the wait before an early query is repeated, if it is. An unanswered query is repeated on
/// the retry schedule; an answered one that did not end the command, once more after the interval
/// of a first poll.
fn wait_of_early(
    query: ProviderQuery,
    is_answered: bool,
    limits: &AttemptLimits,
) -> Option<Duration> {
    if is_answered {
        return limits
            .poll
            .filter(|_| query.tried == 0)
            .map(|poll| Rung::at_least(poll.interval).duration());
    }
    limits.policy.next(query.tried.saturating_add(1), None, 0.5).map(Rung::duration)
}

/// Decides how a command continues after a poll.
#[must_use]
pub fn decide_after_poll(
    polled: PollOutcome,
    query: ProviderQuery,
    progress: &GenerationProgress,
    limits: &AttemptLimits,
    now: Timestamp,
) -> Decision {
    match polled {
        PollOutcome::Completed(success) => Decision::Complete(success),
        PollOutcome::Declined(failure) => Decision::GiveUp(FailureKind::Declined, failure),
        PollOutcome::Still(failure) if let Some(planned) = query.planned => {
            let wait = wait_of_early(query, failure.is_none(), limits);
            Decision::Query(query.after_early_query(planned, wait, now), failure)
        }
        PollOutcome::Still(failure) => {
            let polled = query.number.saturating_sub(query.early);
            let wait = limits.poll.map_or(Duration::ZERO, |poll| poll_interval(poll, polled));
            let due = after(now, wait).min(progress.deadline.unwrap_or(Timestamp::MAX));
            Decision::Query(ProviderQuery { number: progress.next_query(), due, ..query }, failure)
        }
    }
}

/// Returns the wait after poll number `polled`: a rung longer each time.
fn poll_interval(poll: PollPolicy, polled: u32) -> Duration {
    let rungs =
        Rung::all().filter(|rung| (poll.interval..=poll.max_interval).contains(&rung.duration()));
    let nth = usize::try_from(polled).unwrap_or(usize::MAX);
    rungs.take(nth.saturating_add(1)).last().unwrap_or(Rung::at_least(poll.interval)).duration()
}

/// Decides how a command continues whose call may have acted: by a lookup, or by an operator.
#[must_use]
pub fn decide_unknown(
    failure: Failure,
    progress: &GenerationProgress,
    lookup: Option<LookupPolicy>,
    now: Timestamp,
) -> Decision {
    let looking = progress.query.is_some_and(|query| query.purpose == QueryPurpose::Lookup);
    match lookup {
        Some(LookupPolicy { after: delay, .. }) if !looking => {
            let due = after(progress.unknown_since.unwrap_or(now), delay).max(now);
            let number = progress.next_query();
            Decision::Query(ProviderQuery::new(number, QueryPurpose::Lookup, due), Some(failure))
        }
        _ => Decision::GiveUp(FailureKind::Unresolved, failure),
    }
}

/// Decides how a command continues after a lookup. A result that clears the calls so far is
/// recorded in `progress`. `random` is uniform in `[0, 1)`.
#[must_use]
pub fn decide_after_lookup(
    looked_up: LookupOutcome,
    query: ProviderQuery,
    progress: &mut GenerationProgress,
    limits: &AttemptLimits,
    now: Timestamp,
    random: f64,
) -> Decision {
    let overdue = progress.deadline.is_some_and(|deadline| now >= deadline);
    let failure = match looked_up {
        LookupOutcome::Found(Outcome::Completed(success)) => return Decision::Complete(success),
        LookupOutcome::Found(Outcome::Declined(failure)) => {
            return Decision::GiveUp(FailureKind::Declined, failure);
        }
        LookupOutcome::Found(Outcome::Waiting(success, waiting_for)) if !overdue => {
            return match (progress.deadline, query.planned) {
                (Some(deadline), Some(planned)) => {
                    let query =
                        query.after_early_query(planned, wait_of_early(query, true, limits), now);
                    Decision::Wait(Box::new(AcceptedCommand {
                        success,
                        waiting_for,
                        deadline,
                        query,
                        first: false,
                    }))
                }
                _ => decide_accepted(success, waiting_for, progress, limits, now),
            };
        }
        LookupOutcome::Found(Outcome::Waiting(..)) => {
            return Decision::GiveUp(FailureKind::Unresolved, overdue_failure());
        }
        LookupOutcome::Found(outcome) => outcome
            .failure()
            .cloned()
            .unwrap_or_else(|| Failure::new("lookup", "what was found says nothing")),
        LookupOutcome::Absent(_)
            if progress.deadline.is_none() && proves_absence(progress, limits, now) =>
        {
            progress.clear_unknown();
            let text = "the provider was queried, and has not acted";
            return decide_retry(
                Failure::new("not_found", text),
                None,
                progress,
                limits,
                now,
                random,
            );
        }
        LookupOutcome::Absent(failure) | LookupOutcome::Unclear(failure) => failure,
    };
    if let Some(planned) = query.planned {
        let wait = wait_of_early(query, false, limits);
        return Decision::Query(query.after_early_query(planned, wait, now), Some(failure));
    }
    let tried = query.tried.saturating_add(1);
    match limits.policy.next(tried, None, 0.5) {
        Some(rung) => {
            let (number, due) = (progress.next_query(), after(now, rung.duration()));
            Decision::Query(ProviderQuery { number, due, tried, ..query }, Some(failure))
        }
        None => Decision::GiveUp(FailureKind::Unresolved, decide_unanswered(failure, tried)),
    }
}

/// Returns true if the answer "not found" at `now` proves that the provider has not acted.
fn proves_absence(progress: &GenerationProgress, limits: &AttemptLimits, now: Timestamp) -> bool {
    let proof = |lookup: LookupPolicy| {
        lookup.proves_absence
            && progress.unknown_since.is_some_and(|since| now >= after(since, lookup.after))
    };
    limits.lookup.is_some_and(proof)
}

fn overdue_failure() -> Failure {
    Failure::new(
        "deadline",
        "the provider accepted it, and had not finished it by the operation's `deadline`",
    )
}

fn decide_unanswered(failure: Failure, tried: u32) -> Failure {
    let message = format!(
        "the provider was queried {tried} times for the outcome; last answer: {}",
        failure.message
    );
    Failure { message, ..failure }
}

#[cfg(test)]
#[path = "early_query_tests.rs"]
mod early_tests;
#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "query_walk_tests.rs"]
mod walk_tests;
