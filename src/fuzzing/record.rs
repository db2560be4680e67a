//! Lines of the ledger: a record that is read is written the same, and records in any order get
//! rulings.

use std::collections::HashMap;

use jiff::Timestamp;
use uuid::Uuid;

use ferryd_domain::command_id::CommandId;
use ferryd_domain::job::{JobId, JobState};
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::record::{LedgerLine, Record, RecordId};

pub(super) fn check(bytes: &[u8]) {
    let mut cases: HashMap<CommandId, Option<CommandState>> = HashMap::new();
    let mut jobs: HashMap<JobId, Option<JobState>> = HashMap::new();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        match LedgerLine::decode(line) {
            Ok(LedgerLine::Record(record)) => {
                assert_survives(&record);
                let id = RecordId { writer: Uuid::from_u128(7), number };
                let state = cases.entry(record.command.clone()).or_default();
                assert_ruled_alike(state, id, &record);
            }
            Ok(LedgerLine::Job(record)) => {
                let again = LedgerLine::decode(&record.encode()).ok();
                assert_eq!(
                    again,
                    Some(LedgerLine::Job(record.clone())),
                    "what is read is written the same"
                );
                let _ = JobState::apply(jobs.entry(record.job).or_default(), &record);
            }
            Ok(LedgerLine::Marker) => {
                assert_eq!(
                    LedgerLine::decode(&LedgerLine::marker_line(Timestamp::UNIX_EPOCH)).ok(),
                    Some(LedgerLine::Marker)
                );
            }
            Ok(LedgerLine::Foreign { kind, command, critical: true }) => {
                if let Some(command) = command {
                    CommandState::block(cases.entry(command).or_default(), &kind);
                }
            }
            Ok(LedgerLine::Foreign { .. }) | Err(_) => {}
        }
    }
    for state in cases.values().flatten() {
        let _ = (
            state.state(),
            state.may_have_acted(),
            state.is_unresolved(),
            state.unsettled_decision(),
        );
    }
}

fn assert_survives(record: &Record) {
    let written = record.encode();
    assert!(!written.contains(&b'\n'), "a record is one line");
    let again = LedgerLine::decode(&written).ok();
    assert_eq!(
        again,
        Some(LedgerLine::Record(Box::new(record.clone()))),
        "what is read is written the same"
    );
}

/// Checks that two instances with the same state come to the same ruling.
fn assert_ruled_alike(state: &mut Option<CommandState>, id: RecordId, record: &Record) {
    let mut other = state.clone();
    let rulings = (
        CommandState::apply_record(state, id, record),
        CommandState::apply_record(&mut other, id, record),
    );
    assert_eq!(rulings.0, rulings.1);
    assert_eq!(*state, other);
}
