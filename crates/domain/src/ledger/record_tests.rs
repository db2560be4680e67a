use proptest::prelude::*;
use serde_json::json;

use super::super::record_examples::{STEP, facts, id, job_records, record};
use super::*;

#[test]
fn every_record_about_a_job_is_read_as_it_was_written() {
    for record in job_records() {
        let line = record.encode();
        assert!(!line.contains(&b'\n'));
        assert_eq!(LedgerLine::decode(&line).unwrap(), LedgerLine::Job(Box::new(record.clone())));
        let mut nameless: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(nameless["critical"], false, "an older version passes over it");
        nameless.as_object_mut().unwrap().remove("job");
        assert!(LedgerLine::decode(nameless.to_string().as_bytes()).is_err());
    }
}

#[test]
fn every_record_is_read_as_it_was_written() {
    for body in facts() {
        let record = record(body);
        let line = record.encode();
        assert!(!line.contains(&b'\n'));
        assert_eq!(LedgerLine::decode(&line).unwrap(), LedgerLine::Record(Box::new(record)));
    }
    assert_eq!(
        LedgerLine::decode(&LedgerLine::marker_line(Timestamp::UNIX_EPOCH)).unwrap(),
        LedgerLine::Marker
    );
}

#[test]
fn a_line_of_a_later_version_is_read_as_far_as_it_is_understood() {
    let settled = json!({ "v": 2, "kind": "settled", "critical": false, "at": "1970-01-01T00:00:00Z", "new": 1,
        "command": "order-1", "data": { "finished": id(9).to_string(), "new": 1 } });
    let expected = record(RecordBody::Settled(SettledRecord { finished: id(9) }));
    assert_eq!(
        LedgerLine::decode(settled.to_string().as_bytes()).unwrap(),
        LedgerLine::Record(Box::new(expected))
    );
    for critical in [true, false] {
        let foreign = json!({ "v": 2, "kind": "split", "critical": critical, "at": "1970-01-01T00:00:00Z",
            "command": "order-1", "data": [1] });
        let expected = LedgerLine::Foreign {
            kind: "split".to_owned(),
            command: Some("order-1".parse().unwrap()),
            critical,
        };
        assert_eq!(LedgerLine::decode(foreign.to_string().as_bytes()).unwrap(), expected);
    }
}

#[test]
fn a_known_kind_without_what_belongs_to_it_is_unreadable() {
    for data in [json!({}), json!(null), json!("x")] {
        let line = json!({ "v": 1, "kind": "settled", "at": "1970-01-01T00:00:00Z", "command": "a", "data": data });
        assert!(LedgerLine::decode(line.to_string().as_bytes()).is_err(), "{line}");
    }
    let nameless = json!({ "v": 1, "kind": "settled", "at": "1970-01-01T00:00:00Z", "data": { "finished": id(1).to_string() } });
    assert!(LedgerLine::decode(nameless.to_string().as_bytes()).is_err());
}

#[test]
fn a_call_is_written_without_a_query_and_a_query_comes_after_its_call() {
    let step = |json: serde_json::Value| serde_json::from_value::<Step>(json).unwrap();
    assert_eq!(serde_json::to_value(STEP).unwrap(), json!({ "generation": 1, "attempt": 2 }));
    let query_step = Step { query: 3, ..STEP };
    assert_eq!(
        serde_json::to_value(query_step).unwrap(),
        json!({ "generation": 1, "attempt": 2, "query": 3 })
    );
    assert_eq!(step(json!({ "generation": 1, "attempt": 2 })), STEP);
    let order = [STEP, Step { query: 1, ..STEP }, query_step, Step::call(1, 3), Step::call(2, 1)];
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn a_record_has_a_name_that_can_be_written_and_read() {
    assert_eq!(id(12).to_string().parse(), Ok(id(12)));
    for wrong in [
        "",
        "12",
        "00000000-0000-0000-0000-000000000007",
        "x.1",
        "00000000-0000-0000-0000-000000000007.x",
    ] {
        assert!(wrong.parse::<RecordId>().is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn reading_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = LedgerLine::decode(&bytes);
    }

    #[test]
    fn reading_a_record_with_bytes_changed_never_panics(fact in 0..14_usize, at in 0..2_000_usize, byte in any::<u8>()) {
        let mut line = record(facts().swap_remove(fact)).encode();
        let at = at % line.len();
        line[at] = byte;
        let _ = LedgerLine::decode(&line);
    }
}
