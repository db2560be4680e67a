use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::domain::command::Envelope;
use crate::domain::command_scope::CommandScope;
use crate::domain::event::{Event, Happening, Moment, Trace};
use crate::domain::job::record::{JobClaim, JobEnding, JobReport, JobRequest};
use crate::domain::job::state::{JobEndReason, JobProgress};
use crate::domain::job::{DeadLetterFilter, InstanceId, JobAction, JobChange, JobId, JobRecord, JobSpec, ReplayTerms};
use crate::domain::ledger::effects::{Carried, HeaderValue};
use crate::domain::outcome::{Failure, Success, Verdict};

const STEP: Step = Step::call(1, 2);

fn id(number: u64) -> RecordId {
    RecordId { writer: Uuid::from_u128(7), number }
}

fn opening() -> Opening {
    let body = json!({ "id": "order-1", "type": "payment", "provider": "stripe", "operation": "charge" });
    let asked = Some(Asked { reply_to: "shop.replies".to_owned(), correlation_id: Some("call-1".to_owned()) });
    Opening {
        identity: Identity::glean(&body, b"", Envelope::default()),
        content: "c".to_owned(),
        asked,
        publisher: None,
    }
}

fn person() -> Person {
    Person { by: "ann".to_owned(), reason: Some("order withdrawn".to_owned()) }
}

fn finished(by: By, happening: Happening) -> Fact {
    let moment = Moment { generation: 1, attempt: 2, at: Timestamp::UNIX_EPOCH };
    let headers = [
        ("ferry-attempt".to_owned(), HeaderValue::Number(2)),
        ("ferry-unknown".to_owned(), HeaderValue::Flag(true)),
        ("ferry-kind".to_owned(), HeaderValue::Text("retry".to_owned())),
    ];
    let carried = Carried { exchange: "e".to_owned(), routing_key: "k".to_owned(), headers: headers.into() };
    let effects = RecordedEffects {
        event: Event::new(opening().identity, moment, happening, Trace::default()),
        told: true,
        carried: Some(carried),
    };
    let call = Attempted {
        attempt: 2,
        at: Timestamp::UNIX_EPOCH,
        duration_ms: 7,
        outcome: Verdict::Unknown,
        code: Some("timeout".to_owned()),
        http_status: Some(504),
        message: Some("no answer".to_owned()),
    };
    let (opening, call) = (Some(opening()), Some(call));
    Fact::Finished(Box::new(Finished {
        step: STEP,
        opening,
        fresh: true,
        call,
        unknown: true,
        absent: false,
        kept: None,
        query: None,
        by,
        effects,
    }))
}

/// Every kind, and every form of those that have several.
fn facts() -> Vec<Fact> {
    let success = Success { result: Some(json!({ "amount": 10.7 })), ..Success::default() };
    let started = |guard, waited_out| {
        Fact::Started(Box::new(Started {
            step: STEP,
            opening: Some(opening()),
            fresh: false,
            recorded: true,
            guard,
            redelivered: true,
            waited_out,
            unknown: true,
            key: Some(IdempotencyKey::from_header("order-1.g1")),
            digest: "d".to_owned(),
            token: None,
            money: None,
            first_sent: Some(Timestamp::UNIX_EPOCH),
        }))
    };
    let until = Some(Timestamp::UNIX_EPOCH);
    let failure = Failure::new("timeout", "no answer");
    vec![
        Fact::Opened(Box::new(Opened {
            opening: opening(),
            step: STEP,
            fresh: true,
            recorded: false,
            reason: Reason::Early,
            until,
            by: None,
        })),
        Fact::Opened(Box::new(Opened {
            opening: opening(),
            step: STEP,
            fresh: true,
            recorded: false,
            reason: Reason::Submitted,
            until: None,
            by: Some("api:shop".to_owned()),
        })),
        started(Guard::Key(45_000), None),
        started(Guard::Claim(45_000), Some(id(3))),
        started(Guard::Harmless, None),
        Fact::Released(Released { started: id(3) }),
        Fact::TakenOver(TakenOver { claim: id(3) }),
        finished(By::Holder, Happening::Completed(success)),
        finished(
            By::Canceller(person()),
            Happening::Failed(crate::domain::lifecycle::Kind::Cancelled, failure.clone()),
        ),
        finished(
            By::Job(JobDecision { id: JobId(uuid::Uuid::from_u128(3)), person: person() }),
            Happening::Failed(crate::domain::lifecycle::Kind::Discarded, failure.clone()),
        ),
        finished(By::Operator(person()), Happening::Pending { due: Timestamp::UNIX_EPOCH, failure }),
        Fact::Conflicted(Box::new(ConflictNote {
            at: Timestamp::UNIX_EPOCH,
            conflict: "content".to_owned(),
            event: "order-1/conflict/d".to_owned(),
            message: "another content".to_owned(),
        })),
        Fact::Erased(ContentErasure { person: person() }),
        Fact::Settled(Settled { finished: id(9) }),
        Fact::CancelWished(CancelWished { person: person() }),
        Fact::Replayed(Box::new(Replayed {
            opening: opening(),
            from: 0,
            unknown: true,
            key: Some(IdempotencyKey::from_header("order-1")),
            first_sent: until,
            digest: Some("d".to_owned()),
            token: None,
            person: person(),
            job: Some(JobId(uuid::Uuid::from_u128(3))),
        })),
        Fact::Asked(Asked { reply_to: "shop.replies".to_owned(), correlation_id: None }),
        asked_about(),
    ]
}

/// A question about a call: what a lookup came to that says nothing was done.
fn asked_about() -> Fact {
    let Fact::Finished(finished) = finished(By::Holder, Happening::Completed(Success::default())) else {
        unreachable!()
    };
    let step = Step { inquiry: 3, ..STEP };
    Fact::Finished(Box::new(Finished { step, call: None, unknown: false, absent: true, ..*finished }))
}

fn record(fact: Fact) -> Record {
    Record { at: Timestamp::UNIX_EPOCH, command: "order-1".parse().unwrap(), fact }
}

/// Every kind of line, as it is written.
pub(crate) fn lines() -> Vec<Vec<u8>> {
    let records = facts().into_iter().map(|fact| record(fact).encode());
    let jobs = job_records().into_iter().map(|record| record.encode());
    records.chain(jobs).chain([Line::marker(Timestamp::UNIX_EPOCH)]).collect()
}

/// A record of each kind that is about a job.
fn job_records() -> Vec<JobRecord> {
    let spec = JobSpec {
        action: JobAction::Replay(ReplayTerms { canary_s: Some(60), stop_at: "5%".parse().ok(), ..Default::default() }),
        filter: DeadLetterFilter { ids: ["order-1".parse().unwrap()].into(), ..Default::default() },
        scope: CommandScope::default(),
        cut_off: Timestamp::UNIX_EPOCH,
        rate: "0.5/s".parse().ok(),
        ramp: true,
        dry_run: false,
        actor: person(),
    };
    let progress = JobProgress { total: Some(7), missing: vec!["order-2".parse().unwrap()], ..Default::default() };
    let request = JobRequest { actor: person() };
    let (reason, detail) = (JobEndReason::Incomplete, Some("1 was in no queue".to_owned()));
    let changes = [
        JobChange::Started(Box::new(spec)),
        JobChange::Taken(JobClaim { instance: InstanceId(uuid::Uuid::from_u128(4)), term: 1 }),
        JobChange::Progressed(Box::new(JobReport { term: 1, progress: progress.clone() })),
        JobChange::Paused(request.clone()),
        JobChange::Resumed(request.clone()),
        JobChange::Stopped(request),
        JobChange::Ended(Box::new(JobEnding { term: 1, progress, reason, detail })),
    ];
    let job = JobId(uuid::Uuid::from_u128(3));
    changes.into_iter().map(|change| JobRecord { at: Timestamp::UNIX_EPOCH, job, change }).collect()
}

#[test]
fn every_record_about_a_job_is_read_as_it_was_written() {
    for record in job_records() {
        let line = record.encode();
        assert!(!line.contains(&b'\n'));
        assert_eq!(Line::decode(&line).unwrap(), Line::Job(Box::new(record.clone())));
        let mut nameless: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(nameless["critical"], false, "an older version passes over it");
        nameless.as_object_mut().unwrap().remove("job");
        assert!(Line::decode(nameless.to_string().as_bytes()).is_err());
    }
}

#[test]
fn every_record_is_read_as_it_was_written() {
    for fact in facts() {
        let record = record(fact);
        let line = record.encode();
        assert!(!line.contains(&b'\n'));
        assert_eq!(Line::decode(&line).unwrap(), Line::Record(Box::new(record)));
    }
    assert_eq!(Line::decode(&Line::marker(Timestamp::UNIX_EPOCH)).unwrap(), Line::Marker);
}

#[test]
fn a_line_of_a_later_version_is_read_as_far_as_it_is_understood() {
    let settled = json!({ "v": 2, "kind": "settled", "critical": false, "at": "1970-01-01T00:00:00Z", "new": 1,
        "command": "order-1", "data": { "finished": id(9).to_string(), "new": 1 } });
    let expected = record(Fact::Settled(Settled { finished: id(9) }));
    assert_eq!(Line::decode(settled.to_string().as_bytes()).unwrap(), Line::Record(Box::new(expected)));
    for critical in [true, false] {
        let foreign = json!({ "v": 2, "kind": "split", "critical": critical, "at": "1970-01-01T00:00:00Z",
            "command": "order-1", "data": [1] });
        let expected = Line::Foreign { kind: "split".to_owned(), command: Some("order-1".parse().unwrap()), critical };
        assert_eq!(Line::decode(foreign.to_string().as_bytes()).unwrap(), expected);
    }
}

#[test]
fn a_known_kind_without_what_belongs_to_it_is_unreadable() {
    for data in [json!({}), json!(null), json!("x")] {
        let line = json!({ "v": 1, "kind": "settled", "at": "1970-01-01T00:00:00Z", "command": "a", "data": data });
        assert!(Line::decode(line.to_string().as_bytes()).is_err(), "{line}");
    }
    let nameless =
        json!({ "v": 1, "kind": "settled", "at": "1970-01-01T00:00:00Z", "data": { "finished": id(1).to_string() } });
    assert!(Line::decode(nameless.to_string().as_bytes()).is_err());
}

#[test]
fn a_step_is_written_as_before_where_nothing_is_asked_and_a_question_comes_after_its_call() {
    let step = |json: serde_json::Value| serde_json::from_value::<Step>(json).unwrap();
    assert_eq!(serde_json::to_value(STEP).unwrap(), json!({ "generation": 1, "attempt": 2 }));
    let question = Step { inquiry: 3, ..STEP };
    assert_eq!(serde_json::to_value(question).unwrap(), json!({ "generation": 1, "attempt": 2, "inquiry": 3 }));
    assert_eq!(step(json!({ "generation": 1, "attempt": 2 })), STEP);
    let order = [STEP, Step { inquiry: 1, ..STEP }, question, Step::call(1, 3), Step::call(2, 1)];
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn a_record_has_a_name_that_can_be_written_and_read() {
    assert_eq!(id(12).to_string().parse(), Ok(id(12)));
    for wrong in ["", "12", "00000000-0000-0000-0000-000000000007", "x.1", "00000000-0000-0000-0000-000000000007.x"] {
        assert!(wrong.parse::<RecordId>().is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn reading_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Line::decode(&bytes);
    }

    #[test]
    fn reading_a_record_with_bytes_changed_never_panics(fact in 0..14_usize, at in 0..2_000_usize, byte in any::<u8>()) {
        let mut line = record(facts().swap_remove(fact)).encode();
        let at = at % line.len();
        line[at] = byte;
        let _ = Line::decode(&line);
    }
}
