//! Tests the diagrams and tables of the documents that come from code.

use std::collections::BTreeSet;
use std::time::Duration;

use ferryd::failpoint::Failpoint;
use ferryd_broker::topology::{Topology, TopologyNames};
use ferryd_domain::classify::{AnswerConditions, AnswerShape, by_status, classify};
use ferryd_domain::lifecycle::{
    AttemptLimits, Decision, FailureKind, LifecycleState, decide_after_call, note_outcome,
};
use ferryd_domain::name::Name;
use ferryd_domain::outcome::{
    Failure, LookupOutcome, Outcome, OutcomeName, PollOutcome, Success, WaitingFor,
};
use ferryd_domain::progress::GenerationProgress;
use ferryd_domain::query::{
    LookupPolicy, PollPolicy, ProviderQuery, QueryAction, QueryPurpose, decide_after_lookup,
    decide_after_poll, decide_before_query,
};
use ferryd_domain::retry::{RetryPolicy, Rung};
use jiff::Timestamp;

use crate::documents::read;

#[test]
fn the_drawn_states_are_those_of_the_code() {
    let text = read("docs/LIFECYCLE.md");
    let arrows = text.lines().filter_map(|line| line.trim().split_once(" --> "));
    let word = |text: &str| text.split(':').next().unwrap_or_default().trim().to_owned();
    let drawn: BTreeSet<_> = arrows.map(|(from, to)| (word(from), word(to))).collect();
    let edge = |from: LifecycleState, to: LifecycleState| {
        (from.as_str().to_owned(), to.as_str().to_owned())
    };
    let mut expected: BTreeSet<_> = LifecycleState::ALL
        .into_iter()
        .flat_map(|from| from.next().iter().map(move |to| edge(from, *to)))
        .collect();
    let outside = "[*]".to_owned();
    expected.insert((outside.clone(), "pending".to_owned()));
    let ends = LifecycleState::ALL.into_iter().filter(|state| state.next().is_empty());
    expected.extend(ends.map(|state| (state.as_str().to_owned(), outside.clone())));
    assert_eq!(drawn, expected);
}

/// Fails with the table as it should be, where a document does not contain it.
fn assert_holds(document: &str, rows: &[String]) {
    let table = rows.join("\n");
    assert!(read(document).contains(&table), "{document} should hold:\n{table}\n");
}

#[test]
fn the_printed_table_of_statuses_is_the_built_in_one() {
    let decisions = |status| (by_status(status, false), by_status(status, true));
    let mut rows = Vec::new();
    let mut first = 100;
    for status in 100..600 {
        if status < 599 && decisions(status + 1) == decisions(first) {
            continue;
        }
        let range = if first == status { first.to_string() } else { format!("{first}–{status}") };
        let (without, with) = decisions(first);
        rows.push(format!("| {range} | {} | {} |", without.as_str(), with.as_str()));
        first = status + 1;
    }
    assert_holds("docs/LIFECYCLE.md", &rows);
    let [not_sent, incomplete] = [AnswerShape::NotSent, AnswerShape::Incomplete]
        .map(|shape| classify(shape, AnswerConditions::default()));
    assert_eq!((not_sent, incomplete), (OutcomeName::Transient, OutcomeName::Unknown));
}

fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// Makes the limits of an operation with a key at its first attempt, without a lookup.
fn limits() -> AttemptLimits {
    AttemptLimits {
        policy: RetryPolicy::default(),
        key_retention: Some(Duration::from_hours(24)),
        not_before: None,
        expires_at: None,
        deadline: Duration::from_hours(24),
        poll: None,
        lookup: None,
    }
}

fn with_lookup(limits: AttemptLimits) -> AttemptLimits {
    let lookup = LookupPolicy {
        after: Duration::from_secs(90),
        proves_absence: true,
        needs_reference: false,
    };
    AttemptLimits { lookup: Some(lookup), ..limits }
}

fn without_key(limits: AttemptLimits) -> AttemptLimits {
    AttemptLimits { key_retention: None, ..limits }
}

fn expiring(limits: AttemptLimits) -> AttemptLimits {
    AttemptLimits { expires_at: Some(start()), ..limits }
}

/// Describes a decision in the words of the document.
fn words(decision: &Decision) -> String {
    match decision {
        Decision::Complete(_) => "completed".to_owned(),
        Decision::Wait(..) => "waiting".to_owned(),
        Decision::Query(..) => "looked up".to_owned(),
        Decision::Retry { .. } => "retry".to_owned(),
        Decision::GiveUp(kind, _) => format!("failed, {}", kind.as_str()),
    }
}

/// Describes the decision after an outcome of attempt number `attempt`, in the words of the
/// document.
fn follows(
    outcome: &Outcome,
    attempt: u32,
    limits: &AttemptLimits,
    unknown_before: bool,
) -> String {
    let mut progress = GenerationProgress::first_generation(start());
    progress.first_sent = Some(start());
    progress.unknown = unknown_before;
    progress.attempt = attempt;
    note_outcome(&mut progress, outcome, start());
    words(&decide_after_call(outcome.clone(), &progress, limits, start(), 0.5))
}

fn rows(
    table: impl IntoIterator<Item = (&'static str, Outcome, u32, AttemptLimits)>,
) -> Vec<String> {
    let row = |(name, outcome, attempt, limits)| {
        let [no, yes] = [false, true].map(|before| follows(&outcome, attempt, &limits, before));
        format!("| {name} | {no} | {yes} |")
    };
    table.into_iter().map(row).collect()
}

#[test]
fn the_printed_decisions_are_those_of_the_code() {
    const LAST: u32 = 8;
    let transient = || Outcome::Transient(Failure::default(), None);
    let unknown = || Outcome::Unknown(Failure::default());
    let rejected = || Outcome::Rejected(Failure::default());
    let lookup = || Outcome::Lookup(Failure::default());
    let plain = [
        ("completed", Outcome::Completed(Success::default()), 1, limits()),
        ("waiting", Outcome::Waiting(Success::default(), WaitingFor::Provider), 1, limits()),
        ("declined", Outcome::Declined(Failure::default()), 1, limits()),
        ("rejected", rejected(), 1, limits()),
        ("transient, attempts left", transient(), 1, limits()),
        ("transient, no attempt left", transient(), LAST, limits()),
        ("transient, next attempt after `expires_at`", transient(), 1, expiring(limits())),
        ("unknown with a key, attempts left", unknown(), 1, limits()),
        ("unknown with a key, no attempt left", unknown(), LAST, limits()),
        ("unknown without a key", unknown(), 1, without_key(limits())),
        ("lookup with a key, the operation has none", lookup(), 1, limits()),
    ];
    assert_holds("docs/LIFECYCLE.md", &rows(plain));
    let queryable = || with_lookup(limits());
    let asking = [
        ("rejected, with a lookup", rejected(), 1, queryable()),
        ("transient, no attempt left, with a lookup", transient(), LAST, queryable()),
        (
            "transient, next attempt after `expires_at`, with a lookup",
            transient(),
            1,
            expiring(queryable()),
        ),
        ("unknown with a key and a lookup, attempts left", unknown(), 1, queryable()),
        ("unknown with a key and a lookup, no attempt left", unknown(), LAST, queryable()),
        ("unknown without a key, with a lookup", unknown(), 1, without_key(queryable())),
        ("lookup", lookup(), 1, queryable()),
    ];
    assert_holds("docs/LIFECYCLE.md", &rows(asking));
}

/// Describes the decision after a lookup that is made so many seconds after a call with an unknown
/// outcome.
fn looked_up(
    found: LookupOutcome,
    seconds: i64,
    attempt: u32,
    tried: u32,
    proves_absence: bool,
) -> String {
    let lookup =
        LookupPolicy { after: Duration::from_secs(90), proves_absence, needs_reference: false };
    let limits = AttemptLimits { lookup: Some(lookup), ..without_key(limits()) };
    let query = ProviderQuery { tried, ..ProviderQuery::new(1, QueryPurpose::Lookup, start()) };
    let mut progress = GenerationProgress::first_generation(start());
    progress.attempt = attempt;
    progress.mark_unknown(start());
    progress.query = Some(query);
    let now = Timestamp::from_second(start().as_second() + seconds).unwrap();
    let decision = decide_after_lookup(found, query, &mut progress, &limits, now, 0.5);
    words(&decision).replace("looked up", "queried again")
}

#[test]
fn the_printed_ends_of_lookups_are_those_of_the_code() {
    let found = LookupOutcome::Found;
    let unclear = || LookupOutcome::Unclear(Failure::default());
    let absent = || LookupOutcome::Absent(Failure::default());
    let table = [
        ("completed", looked_up(found(Outcome::Completed(Success::default())), 90, 1, 0, true)),
        (
            "waiting",
            looked_up(
                found(Outcome::Waiting(Success::default(), WaitingFor::Provider)),
                90,
                1,
                0,
                true,
            ),
        ),
        ("declined", looked_up(found(Outcome::Declined(Failure::default())), 90, 1, 0, true)),
        ("anything else, or an unclear answer", looked_up(unclear(), 90, 1, 0, true)),
        ("anything else, the schedule is used up", looked_up(unclear(), 90, 1, 7, true)),
        ("there is none, without `not_found` in the file", looked_up(absent(), 90, 1, 0, false)),
        ("there is none, sooner than `after`", looked_up(absent(), 89, 1, 0, true)),
        ("there is none, attempts left", looked_up(absent(), 90, 1, 0, true)),
        ("there is none, no attempt left", looked_up(absent(), 90, 8, 0, true)),
    ];
    let rows = table.map(|(name, follows)| format!("| {name} | {follows} |"));
    assert_holds("docs/LIFECYCLE.md", &rows);
}

#[test]
fn the_printed_ends_of_polls_are_those_of_the_code() {
    let poll =
        PollPolicy { interval: Duration::from_secs(5), max_interval: Duration::from_mins(1) };
    let limits = AttemptLimits { poll: Some(poll), ..limits() };
    let query = ProviderQuery::new(1, QueryPurpose::Poll, start());
    let mut progress = GenerationProgress::first_generation(start());
    progress.query = Some(query);
    progress.deadline = Timestamp::from_second(start().as_second() + 60).ok();
    let polled = |polled| {
        let decision = decide_after_poll(polled, query, &progress, &limits, start());
        words(&decision).replace("looked up", "queried again")
    };
    let deadline = progress.deadline.unwrap();
    let overdue =
        |limits: &AttemptLimits| match decide_before_query(query, &progress, limits, deadline) {
            QueryAction::Now(ProviderQuery { purpose: QueryPurpose::Lookup, .. }) => {
                "looked up".to_owned()
            }
            QueryAction::Instead(decision) => words(&decision),
            other => panic!("{other:?}"),
        };
    let table = [
        ("done", polled(PollOutcome::Completed(Success::default()))),
        ("failed", polled(PollOutcome::Declined(Failure::default()))),
        ("anything else", polled(PollOutcome::Still(None))),
        ("nothing by the deadline, with a lookup", overdue(&with_lookup(limits.clone()))),
        ("nothing by the deadline, without one", overdue(&limits)),
    ];
    let rows = table.map(|(name, follows)| format!("| {name} | {follows} |"));
    assert_holds("docs/LIFECYCLE.md", &rows);
}

#[test]
fn the_printed_kinds_are_those_of_the_code() {
    let text = read("docs/LIFECYCLE.md");
    for kind in FailureKind::ALL {
        let letter = if kind.dead_letters() { "yes | false" } else { "no | true" };
        let row = format!("\n| `{}` | {letter} |", kind.as_str());
        assert!(text.contains(&row), "{row}");
    }
}

#[test]
fn the_printed_schedule_is_the_one_that_is_waited() {
    let policy = RetryPolicy::default();
    let mut rows = vec!["| 1 | | | 0s |".to_owned()];
    let mut since_first = Duration::ZERO;
    for attempt in 1.. {
        let Some(rung) = policy.next(attempt, None, 0.5) else { break };
        let [shorter, longer] =
            [0.0, 0.99].map(|random| policy.next(attempt, None, random).unwrap().name());
        since_first += rung.duration();
        let total = humantime::format_duration(since_first);
        rows.push(format!(
            "| {} | {} | {shorter} to {longer} | {total} |",
            attempt + 1,
            rung.name()
        ));
    }
    assert_holds("docs/LIFECYCLE.md", &rows);
    let ladder: Vec<_> = Rung::all().map(Rung::name).collect();
    assert_holds("docs/LIFECYCLE.md", &[ladder.join(" ")]);
}

#[test]
fn the_printed_topology_names_everything_that_is_declared() {
    let provider: Name = "acme".parse().unwrap();
    let names = TopologyNames::new("ferry".parse().unwrap());
    let group: Name = "slow".parse().unwrap();
    let topology = Topology::new(&names, [&provider], [], &[]).with_webhooks(&names, [&provider]);
    let topology = topology.with_retry_groups(&names, [&group]);
    let exchanges = topology.exchanges.iter().map(|exchange| exchange.name.clone());
    let queues = topology.queues.iter().map(|queue| queue.name.clone());
    let general = |name: String| {
        let is_rung = |word: &str| Rung::all().any(|rung| rung.name() == word);
        let word = |word: &str| match word {
            "acme" => "<provider>".to_owned(),
            "slow" => "<group>".to_owned(),
            word if is_rung(word) => "<rung>".to_owned(),
            word => word.to_owned(),
        };
        name.split('.').map(word).collect::<Vec<_>>().join(".")
    };
    let declared: BTreeSet<_> = exchanges.chain(queues).map(general).collect();
    let text = read("docs/ARCHITECTURE.md");
    let printed = text.lines().filter_map(|line| line.strip_prefix("| `ferry.")?.split('`').next());
    let printed: BTreeSet<_> = printed.map(|name| format!("ferry.{name}")).collect();
    assert_eq!(printed, declared);
}

#[test]
fn the_table_of_crashes_has_a_row_for_every_step() {
    let text = read("docs/ARCHITECTURE.md");
    for point in Failpoint::ALL {
        let row = format!("\n| `{}` |", point.name());
        assert!(text.contains(&row), "{row}");
    }
}
