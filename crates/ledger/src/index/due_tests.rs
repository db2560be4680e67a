//! Tests that repeated searches find what is due without a scan of what is not due, however much
//! there is.

use rusqlite::StatementStatus;

use super::fixture::{SampleCommand, changes, record_id, seconds};
use super::*;
use ferryd_domain::ledger::command_state::CallPhase;
use ferryd_domain::ledger::effects::{ContinuationEffect, RecordedEffects};
use ferryd_domain::lifecycle::FailureKind;

/// The maximum number of `SQLite` machine steps that a search without results may take. One row
/// takes several.
const FEW: i32 = 60;

/// Creates a database of this many published commands that have ended, one each millisecond.
fn ended(commands: u32) -> Connection {
    let mut conn = Connection::open_in_memory().unwrap();
    schema::create(&mut conn, "key").unwrap();
    let fill =
        "WITH RECURSIVE numbers(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
        INSERT INTO commands (seq, id, facet, updated, over, removal, unpublished)
        SELECT n, 'c-' || n, 1 + n % 4, n, 1, 1, NULL FROM numbers";
    conn.execute(fill, [commands]).unwrap();
    conn
}

/// Counts the `SQLite` machine steps of a statement, among those that `run` runs.
fn steps<T>(conn: &Connection, statement: &str, run: impl FnOnce() -> T) -> (i32, T) {
    let count = || conn.prepare_cached(statement).unwrap().reset_status(StatementStatus::VmStep);
    count();
    let done = run();
    (count(), done)
}

fn plan(conn: &Connection, statement: &str) -> String {
    let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
    (1..=explain.parameter_count()).for_each(|nr| explain.raw_bind_parameter(nr, 1).unwrap());
    let mut rows = explain.raw_query();
    let mut lines: Vec<String> = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        lines.push(row.get(3).unwrap());
    }
    lines.join("; ")
}

#[test]
fn among_a_million_ended_commands_what_is_not_due_is_not_visited() {
    let conn = ended(1_000_000);
    let (taken, found) = steps(&conn, prune::OVER, || prune::find(&conn, 1).unwrap().len());
    assert!(found == 0 && taken < FEW, "{taken} steps to find nothing to forget");
    let (taken, found) =
        steps(&conn, unpublished::UNPUBLISHED, || unpublished::find(&conn, i64::MAX, 9).unwrap());
    assert!(found.is_empty() && taken < FEW, "{taken} steps to find nothing to publish");

    // Rows that are due are met first, and the search ends with them.
    conn.execute("UPDATE commands SET over = 0, unpublished = 5 WHERE seq % 100000 = 0", ())
        .unwrap();
    let (taken, found) =
        steps(&conn, unpublished::UNPUBLISHED, || unpublished::find(&conn, 6, 99).unwrap());
    assert!(found.len() == 10 && taken < 10 * FEW, "{taken} steps for {found:?}");
    let (taken, found) = steps(&conn, prune::OVER, || prune::find(&conn, 101).unwrap().len());
    assert!(found == 100 && taken < 100 * FEW, "{taken} steps for {found}");
    let (taken, found) = steps(&conn, prune::OVER, || prune::find(&conn, i64::MAX).unwrap().len());
    assert!(found == prune::CHUNK && taken < 500 * FEW, "{taken} steps for {found}");
    // A scan shows that the steps count rows.
    let by_facet = "SELECT count(*) FROM commands INDEXED BY commands_by_facet WHERE facet > 0 AND updated < 1";
    let (taken, none) = steps(&conn, by_facet, || {
        conn.prepare_cached(by_facet).unwrap().query_row((), |row| row.get::<_, i64>(0))
    });
    assert!(none == Ok(0) && taken > 1_000_000, "{taken}");
}

#[test]
fn each_query_has_an_index_in_its_order() {
    let conn = ended(10);
    for (statement, expected) in [
        (prune::OVER, "SEARCH commands USING INDEX commands_over (removal=? AND updated<?)"),
        (
            unpublished::UNPUBLISHED,
            "SEARCH commands USING INDEX commands_unpublished (unpublished<?)",
        ),
        (
            aging::WITH_CONTENTS,
            "SEARCH commands USING INDEX commands_over (removal=? AND updated<?); SEARCH bodies USING INTEGER PRIMARY KEY (rowid=?)",
        ),
    ] {
        assert_eq!(plan(&conn, statement), expected, "{statement}");
    }
}

/// Returns the state of a command before the messages of its decision were published.
fn unsettled(state: CommandState, continuation: Option<ContinuationEffect>) -> CommandState {
    let event = SampleCommand::new("any", 0).completed().ending.unwrap().event;
    let effects =
        Some(Box::new(RecordedEffects { event, publish_event: true, message: continuation }));
    CommandState { phase: CallPhase::Decided { by: record_id(2), effects }, ..state }
}

fn continuation() -> ContinuationEffect {
    ContinuationEffect {
        exchange: "ferry.dead".to_owned(),
        routing_key: "stripe".to_owned(),
        headers: [].into(),
    }
}

#[test]
fn every_end_that_nobody_is_known_to_have_published_is_found_until_it_is() {
    let dir = tempfile::TempDir::new().unwrap();
    let index = LedgerIndex::open(dir.path(), "key").unwrap();
    let samples = ["done", "declined", "cancelled", "waiting", "dead", "blocked"]
        .map(|id| SampleCommand::new(id, 0));
    let [done, declined, cancelled, waiting, dead, blocked] = &samples;
    let saved = [
        (done, unsettled(done.completed(), None)),
        (declined, unsettled(declined.failed(FailureKind::Declined, "no", 402), None)),
        (cancelled, unsettled(cancelled.failed(FailureKind::Cancelled, "cancelled", 0), None)),
        (waiting, unsettled(waiting.waiting(), None)),
        (
            dead,
            unsettled(
                dead.failed(FailureKind::Rejected, "no_such_card", 404),
                Some(continuation()),
            ),
        ),
        (
            blocked,
            CommandState {
                blocked: Some("later".to_owned()),
                ..unsettled(blocked.completed(), None)
            },
        ),
    ];
    index.save(&changes(saved, 1), seconds(100)).unwrap();
    let found = |before: i64| {
        let ids = index.unpublished_endings(seconds(before), 10).unwrap();
        ids.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(100), [""; 0], "the instance that ended them has time to publish the event");
    assert_eq!(found(101), ["done", "declined", "cancelled"]);
    // A change that is not part of the command's end does not restart the wait, and nothing that
    // may be unpublished is deleted.
    index.save(&changes([(done, unsettled(done.completed(), None))], 2), seconds(1_000)).unwrap();
    assert_eq!(found(101), ["done", "declined", "cancelled"]);
    assert_eq!(index.prune_commands(seconds(5_000)).unwrap(), 0);

    index.save(&changes([(done, done.completed())], 3), seconds(1_001)).unwrap();
    assert_eq!(found(2_000), ["declined", "cancelled"]);
    assert_eq!(index.prune_commands(seconds(5_000)).unwrap(), 1);
    assert_eq!(index.command_state(&done.id()).unwrap(), None);
}

#[test]
fn a_dead_letter_is_not_over_even_where_nothing_else_is_known_of_its_command() {
    let sample = SampleCommand::new("dead", 0);
    let dead = CommandState { identity: None, ..sample.failed(FailureKind::Poison, "panic", 0) };
    assert!(!retention::is_over(&dead));
    assert!(
        retention::is_over(&sample.cancel_requested()) && retention::is_over(&sample.completed())
    );
}
