//! What the code may depend on, and what the documentation says about it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ferryd::amqp::topology::{Names, Topology};
use ferryd::domain::classify::{Conditions, Shape, by_status, classify};
use ferryd::domain::lifecycle::{Decision, Kind, Limits, State, after_call, mark};
use ferryd::domain::name::Name;
use ferryd::domain::outcome::{Failure, Outcome, Party, Success, Verdict};
use ferryd::domain::progress::Progress;
use ferryd::domain::retry::{RetryPolicy, Rung};
use ferryd::failpoint::Failpoint;
use jiff::Timestamp;

use super::documents::read;

/// What the pure core must not name: I/O, clocks, randomness, and the crates that bring them.
const IMPURE: [&str; 24] = [
    "tokio",
    "lapin",
    "reqwest",
    "axum",
    "hyper",
    "rustls",
    "tracing",
    "futures",
    "rand::",
    "getrandom",
    "std::fs",
    "std::net",
    "std::env",
    "std::io",
    "std::process",
    "std::thread",
    "std::sync",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "Zoned::now",
    "new_v4",
    "now_v7",
    ".await",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// What is wrong with a line of the pure core.
fn impurity(line: &str) -> Option<String> {
    let code = line.split("//").next().unwrap_or_default();
    let named = IMPURE.into_iter().find(|word| code.contains(word)).map(str::to_owned);
    let foreign = code.match_indices("crate::").find(|(at, _)| !code[*at..].starts_with("crate::domain"));
    named.or_else(|| foreign.map(|(at, _)| code[at..].to_owned()))
}

#[test]
fn the_core_does_no_io_reads_no_clock_and_knows_nothing_else_of_ferryd() {
    let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain"));
    assert!(files.len() > 15, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            assert_eq!(impurity(line), None, "{}:{number}", file.display());
        }
    }
}

#[test]
fn impurities_are_noticed() {
    for line in ["use tokio::sync::watch;", "let now = Timestamp::now();", "use crate::amqp::topology::Names;"] {
        assert!(impurity(line).is_some(), "{line}");
    }
    for line in ["//! nothing knows of tokio", "use crate::domain::name::Name;", "random: f64, // rand::random()"] {
        assert_eq!(impurity(line), None, "{line}");
    }
}

#[test]
fn the_drawn_states_are_those_of_the_code() {
    let text = read("docs/LIFECYCLE.md");
    let arrows = text.lines().filter_map(|line| line.trim().split_once(" --> "));
    let word = |text: &str| text.split(':').next().unwrap_or_default().trim().to_owned();
    let drawn: BTreeSet<_> = arrows.map(|(from, to)| (word(from), word(to))).collect();
    let edge = |from: State, to: State| (from.as_str().to_owned(), to.as_str().to_owned());
    let mut expected: BTreeSet<_> =
        State::ALL.into_iter().flat_map(|from| from.next().iter().map(move |to| edge(from, *to))).collect();
    let outside = "[*]".to_owned();
    expected.insert((outside.clone(), "pending".to_owned()));
    let ends = State::ALL.into_iter().filter(|state| state.next().is_empty());
    expected.extend(ends.map(|state| (state.as_str().to_owned(), outside.clone())));
    assert_eq!(drawn, expected);
}

/// Fails with the table as it should be where a document does not hold it.
fn assert_holds(document: &str, rows: &[String]) {
    let table = rows.join("\n");
    assert!(read(document).contains(&table), "{document} should hold:\n{table}\n");
}

#[test]
fn the_printed_table_of_statuses_is_the_built_in_one() {
    let verdicts = |status| (by_status(status, false), by_status(status, true));
    let mut rows = Vec::new();
    let mut first = 100;
    for status in 100..600 {
        if status < 599 && verdicts(status + 1) == verdicts(first) {
            continue;
        }
        let range = if first == status { first.to_string() } else { format!("{first}–{status}") };
        let (without, with) = verdicts(first);
        rows.push(format!("| {range} | {} | {} |", without.as_str(), with.as_str()));
        first = status + 1;
    }
    assert_holds("docs/LIFECYCLE.md", &rows);
    let [not_sent, incomplete] =
        [Shape::NotSent, Shape::Incomplete].map(|shape| classify(shape, Conditions::default()));
    assert_eq!((not_sent, incomplete), (Verdict::Transient, Verdict::Unknown));
}

/// Where a command stands when an outcome comes.
#[derive(Clone, Copy)]
enum Standing {
    AttemptsLeft,
    NoAttemptLeft,
    Expiring,
    WithoutKey,
}

/// What an outcome leads to, in the words of the document.
fn follows(outcome: &Outcome, standing: Standing, unknown_before: bool) -> String {
    let start = Timestamp::from_second(1_800_000_000).unwrap();
    let mut progress = Progress::fresh(start);
    progress.first_sent = Some(start);
    progress.unknown = unknown_before;
    progress.attempt = if matches!(standing, Standing::NoAttemptLeft) { 8 } else { 1 };
    mark(&mut progress, outcome, start);
    let limits = Limits {
        policy: RetryPolicy::default(),
        key_retention: (!matches!(standing, Standing::WithoutKey)).then_some(Duration::from_hours(24)),
        not_before: None,
        expires_at: matches!(standing, Standing::Expiring).then_some(start),
        deadline: Duration::from_hours(24),
        poll: None,
        lookup: None,
    };
    match after_call(outcome.clone(), &progress, &limits, start, 0.5) {
        Decision::Complete(_) => "completed".to_owned(),
        Decision::Wait(..) => "waiting".to_owned(),
        Decision::Inquire(..) => "asked".to_owned(),
        Decision::Retry { .. } => "retry".to_owned(),
        Decision::GiveUp(kind, _) => format!("failed, {}", kind.as_str()),
    }
}

#[test]
fn the_printed_decisions_are_those_of_the_code() {
    use Standing::{AttemptsLeft, Expiring, NoAttemptLeft, WithoutKey};
    let transient = Outcome::Transient(Failure::default(), None);
    let unknown = Outcome::Unknown(Failure::default());
    let table = [
        ("completed", Outcome::Completed(Success::default()), AttemptsLeft),
        ("waiting", Outcome::Waiting(Success::default(), Party::Provider), AttemptsLeft),
        ("declined", Outcome::Declined(Failure::default()), AttemptsLeft),
        ("rejected", Outcome::Rejected(Failure::default()), AttemptsLeft),
        ("transient, attempts left", transient.clone(), AttemptsLeft),
        ("transient, no attempt left", transient.clone(), NoAttemptLeft),
        ("transient, next attempt after `expires_at`", transient, Expiring),
        ("unknown with a key, attempts left", unknown.clone(), AttemptsLeft),
        ("unknown with a key, no attempt left", unknown.clone(), NoAttemptLeft),
        ("unknown without a key", unknown, WithoutKey),
    ];
    let rows = table.map(|(name, outcome, standing)| {
        let [no, yes] = [false, true].map(|before| follows(&outcome, standing, before));
        format!("| {name} | {no} | {yes} |")
    });
    assert_holds("docs/LIFECYCLE.md", &rows);
}

#[test]
fn the_printed_kinds_are_those_of_the_code() {
    let text = read("docs/LIFECYCLE.md");
    for kind in Kind::ALL {
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
        let [shorter, longer] = [0.0, 0.99].map(|random| policy.next(attempt, None, random).unwrap().name());
        since_first += rung.duration();
        let total = humantime::format_duration(since_first);
        rows.push(format!("| {} | {} | {shorter} to {longer} | {total} |", attempt + 1, rung.name()));
    }
    assert_holds("docs/LIFECYCLE.md", &rows);
    let ladder: Vec<_> = Rung::all().map(Rung::name).collect();
    assert_holds("docs/LIFECYCLE.md", &[ladder.join(" ")]);
}

#[test]
fn the_printed_topology_names_everything_that_is_declared() {
    let provider: Name = "acme".parse().unwrap();
    let names = Names::new("ferry".parse().unwrap());
    let topology = Topology::new(&names, [&provider], [], &[]).with_callbacks(&names, [&provider]);
    let exchanges = topology.exchanges.iter().map(|exchange| exchange.name.clone());
    let queues = topology.queues.iter().map(|queue| queue.name.clone());
    let general = |name: String| {
        let rung = Rung::all().find(|rung| name.ends_with(&format!(".retry.{}", rung.name())));
        let name = name.replace("acme", "<provider>");
        rung.map_or(name.clone(), |rung| name.replace(&format!(".{}", rung.name()), ".<rung>"))
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

#[test]
fn the_module_map_names_every_module() {
    let text = read("docs/ARCHITECTURE.md");
    let map = text.split("\nsrc/\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let is_test = name.ends_with("_tests.rs") || name == "snapshots";
        let shown = if entry.path().is_dir() { format!("{name}/") } else { name.clone() };
        assert!(is_test || map.contains(&shown), "{shown}");
    }
}
