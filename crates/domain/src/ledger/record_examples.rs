//! A record of every kind, for tests.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::record::{
    Asked, By, CancelWished, ContentErasure, Fact, Finished, Guard, JobDecision, Line, Opened, Opening, Person, Reason,
    Record, RecordId, Released, Replayed, Settled, Started, Step, TakenOver,
};
use crate::command::Envelope;
use crate::command::Identity;
use crate::command_scope::CommandScope;
use crate::conflict::ConflictNote;
use crate::event::{Event, Happening, Moment, Trace};
use crate::job::record::{JobClaim, JobEnding, JobReport, JobRequest};
use crate::job::state::{JobEndReason, JobProgress};
use crate::job::{DeadLetterFilter, InstanceId, JobAction, JobChange, JobId, JobRecord, JobSpec, ReplayTerms};
use crate::key::IdempotencyKey;
use crate::ledger::effects::{Carried, HeaderValue, RecordedEffects};
use crate::outcome::{Failure, Success, Verdict};
use crate::progress::Attempted;

pub(crate) const STEP: Step = Step::call(1, 2);

pub(crate) fn id(number: u64) -> RecordId {
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

/// Lists every kind, and every form of those that have several.
pub(crate) fn facts() -> Vec<Fact> {
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
        finished(By::Canceller(person()), Happening::Failed(crate::lifecycle::Kind::Cancelled, failure.clone())),
        finished(
            By::Job(JobDecision { id: JobId(uuid::Uuid::from_u128(3)), person: person() }),
            Happening::Failed(crate::lifecycle::Kind::Discarded, failure.clone()),
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

/// Returns a decision after a lookup that found no operation.
fn asked_about() -> Fact {
    let Fact::Finished(finished) = finished(By::Holder, Happening::Completed(Success::default())) else {
        unreachable!()
    };
    let step = Step { inquiry: 3, ..STEP };
    Fact::Finished(Box::new(Finished { step, call: None, unknown: false, absent: true, ..*finished }))
}

pub(crate) fn record(fact: Fact) -> Record {
    Record { at: Timestamp::UNIX_EPOCH, command: "order-1".parse().unwrap(), fact }
}

/// Lists every kind of line, as it is written.
#[must_use]
pub fn lines() -> Vec<Vec<u8>> {
    let records = facts().into_iter().map(|fact| record(fact).encode());
    let jobs = job_records().into_iter().map(|record| record.encode());
    records.chain(jobs).chain([Line::marker(Timestamp::UNIX_EPOCH)]).collect()
}

/// Lists a record of each kind that is about a job.
pub(crate) fn job_records() -> Vec<JobRecord> {
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
