//! Lines of the ledger: a record that is read is written the same, and records in any order get
//! rulings.

use std::collections::HashMap;

use jiff::Timestamp;
use uuid::Uuid;

use ferryd_domain::command_id::CommandId;
use ferryd_domain::job::{JobId, JobState};
use ferryd_domain::ledger::case::Case;
use ferryd_domain::ledger::record::{Line, Record, RecordId};

pub(super) fn check(bytes: &[u8]) {
    let mut cases: HashMap<CommandId, Option<Case>> = HashMap::new();
    let mut jobs: HashMap<JobId, Option<JobState>> = HashMap::new();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        match Line::decode(line) {
            Ok(Line::Record(record)) => {
                assert_survives(&record);
                let id = RecordId { writer: Uuid::from_u128(7), number };
                let case = cases.entry(record.command.clone()).or_default();
                assert_ruled_alike(case, id, &record);
            }
            Ok(Line::Job(record)) => {
                let again = Line::decode(&record.encode()).ok();
                assert_eq!(again, Some(Line::Job(record.clone())), "what is read is written the same");
                let _ = JobState::apply(jobs.entry(record.job).or_default(), &record);
            }
            Ok(Line::Marker) => {
                assert_eq!(Line::decode(&Line::marker(Timestamp::UNIX_EPOCH)).ok(), Some(Line::Marker));
            }
            Ok(Line::Foreign { kind, command, critical: true }) => {
                if let Some(command) = command {
                    Case::block(cases.entry(command).or_default(), &kind);
                }
            }
            Ok(Line::Foreign { .. }) | Err(_) => {}
        }
    }
    for case in cases.values().flatten() {
        let _ = (case.state(), case.may_have_acted(), case.is_unresolved(), case.unsettled());
    }
}

fn assert_survives(record: &Record) {
    let written = record.encode();
    assert!(!written.contains(&b'\n'), "a record is one line");
    let again = Line::decode(&written).ok();
    assert_eq!(again, Some(Line::Record(Box::new(record.clone()))), "what is read is written the same");
}

/// Checks that two instances with the same state come to the same ruling.
fn assert_ruled_alike(case: &mut Option<Case>, id: RecordId, record: &Record) {
    let mut other = case.clone();
    let rulings = (Case::rule(case, id, record), Case::rule(&mut other, id, record));
    assert_eq!(rulings.0, rulings.1);
    assert_eq!(*case, other);
}
