//! A record of every kind, for tests.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::record::{
    Actor, CallGuard, CancelRequested, ClaimExpired, CommandIdentity, ContentErasure, DecidedBy,
    FinishedRecord, JobDecision, LedgerLine, OpenedRecord, Record, RecordBody, RecordId,
    ReleasedRecord, ReplayedRecord, ReplyTarget, SettledRecord, StartedRecord, Step, WaitReason,
};
use crate::command::CommandEnvelope;
use crate::command::EchoedIdentity;
use crate::command_scope::CommandScope;
use crate::conflict::ConflictNote;
use crate::event::{Event, EventKind, EventMoment, TraceContext};
use crate::job::record::{JobClaim, JobEnding, JobReport, JobRequest};
use crate::job::state::{JobEndReason, JobProgress};
use crate::job::{
    DeadLetterFilter, InstanceId, JobAction, JobChange, JobId, JobRecord, JobSpec, ReplayTerms,
};
use crate::key::IdempotencyKey;
use crate::ledger::effects::{ContinuationEffect, HeaderValue, RecordedEffects};
use crate::outcome::{Failure, OutcomeName, Success};
use crate::progress::AttemptSummary;

pub(crate) const STEP: Step = Step::call(1, 2);

pub(crate) fn id(number: u64) -> RecordId {
    RecordId { writer: Uuid::from_u128(7), number }
}

fn sample_identity() -> CommandIdentity {
    let body =
        json!({ "id": "order-1", "type": "payment", "provider": "stripe", "operation": "charge" });
    let reply_target = Some(ReplyTarget {
        reply_to: "shop.replies".to_owned(),
        correlation_id: Some("call-1".to_owned()),
    });
    CommandIdentity {
        command: EchoedIdentity::glean_identity(&body, b"", CommandEnvelope::default()).into(),
        content_digest: "c".to_owned(),
        reply_target,
        publisher: None,
    }
}

fn person() -> Actor {
    Actor { by: "ann".to_owned(), reason: Some("order withdrawn".to_owned()) }
}

fn finished(by: DecidedBy, kind: EventKind) -> RecordBody {
    let moment = EventMoment { generation: 1, attempt: 2, at: Timestamp::UNIX_EPOCH };
    let headers = [
        ("ferry-attempt".to_owned(), HeaderValue::Number(2)),
        ("ferry-unknown".to_owned(), HeaderValue::Flag(true)),
        ("ferry-kind".to_owned(), HeaderValue::Text("retry".to_owned())),
    ];
    let continuation = ContinuationEffect {
        exchange: "e".to_owned(),
        routing_key: "k".to_owned(),
        headers: headers.into(),
    };
    let effects = RecordedEffects {
        event: Event::new(sample_identity().command, moment, kind, TraceContext::default()).into(),
        publish_event: true,
        message: Some(continuation),
    };
    let call = AttemptSummary {
        attempt: 2,
        at: Timestamp::UNIX_EPOCH,
        duration_ms: 7,
        outcome: OutcomeName::Unknown,
        code: Some("timeout".to_owned()),
        http_status: Some(504),
        message: Some("no answer".to_owned()),
    };
    let (command_identity, call) = (Some(sample_identity()), Some(call));
    RecordBody::Finished(Box::new(FinishedRecord {
        step: STEP,
        identity: command_identity,
        fresh: true,
        call,
        unknown: true,
        not_found: false,
        retained_message: None,
        query: None,
        decided_by: by,
        effects,
    }))
}

/// Lists every kind, and every form of those that have several.
pub(crate) fn facts() -> Vec<RecordBody> {
    let success = Success { result: Some(json!({ "amount": 10.7 })), ..Success::default() };
    let started = |guard, expired_claim| {
        RecordBody::Started(Box::new(StartedRecord {
            step: STEP,
            identity: Some(sample_identity()),
            fresh: false,
            recorded: true,
            guard,
            redelivered: true,
            expired_claim,
            unknown: true,
            key: Some(IdempotencyKey::from_header("order-1~1")),
            request_digest: "d".to_owned(),
            token: "T".to_owned(),
            money: None,
            first_sent: Some(Timestamp::UNIX_EPOCH),
        }))
    };
    let until = Some(Timestamp::UNIX_EPOCH);
    let failure = Failure::new("timeout", "no answer");
    vec![
        RecordBody::Opened(Box::new(OpenedRecord {
            identity: sample_identity(),
            step: STEP,
            fresh: true,
            recorded: false,
            reason: WaitReason::Early,
            until,
            submitted_by: None,
        })),
        RecordBody::Opened(Box::new(OpenedRecord {
            identity: sample_identity(),
            step: STEP,
            fresh: true,
            recorded: false,
            reason: WaitReason::Submitted,
            until: None,
            submitted_by: Some("api:shop".to_owned()),
        })),
        started(CallGuard::Key(45_000), None),
        started(CallGuard::Claim(45_000), Some(id(3))),
        started(CallGuard::ReadOnly, None),
        RecordBody::Released(ReleasedRecord { started: id(3) }),
        RecordBody::ClaimExpired(ClaimExpired { claim: id(3) }),
        finished(DecidedBy::Holder, EventKind::Completed(success)),
        finished(
            DecidedBy::Canceller(person()),
            EventKind::Failed(crate::lifecycle::FailureKind::Cancelled, failure.clone()),
        ),
        finished(
            DecidedBy::Job(JobDecision { id: JobId(uuid::Uuid::from_u128(3)), actor: person() }),
            EventKind::Failed(crate::lifecycle::FailureKind::Discarded, failure.clone()),
        ),
        finished(
            DecidedBy::Operator(person()),
            EventKind::Pending { due: Timestamp::UNIX_EPOCH, failure },
        ),
        RecordBody::Conflicted(Box::new(ConflictNote {
            at: Timestamp::UNIX_EPOCH,
            conflict: "content".to_owned(),
            event: "order-1/conflict/d".to_owned(),
            message: "another content".to_owned(),
        })),
        RecordBody::Erased(ContentErasure { actor: person() }),
        RecordBody::Settled(SettledRecord { finished: id(9) }),
        RecordBody::CancelRequested(CancelRequested { actor: person() }),
        RecordBody::Replayed(Box::new(ReplayedRecord {
            identity: sample_identity(),
            from: 0,
            unknown: true,
            key: Some(IdempotencyKey::from_header("order-1")),
            first_sent: until,
            request_digest: Some("d".to_owned()),
            token: "T".to_owned(),
            actor: person(),
            job: Some(JobId(uuid::Uuid::from_u128(3))),
        })),
        RecordBody::ReplyRequested(ReplyTarget {
            reply_to: "shop.replies".to_owned(),
            correlation_id: None,
        }),
        decided_by_lookup(),
    ]
}

/// Returns a decision after a lookup that found no operation.
fn decided_by_lookup() -> RecordBody {
    let RecordBody::Finished(finished) =
        finished(DecidedBy::Holder, EventKind::Completed(Success::default()))
    else {
        unreachable!()
    };
    let step = Step { query: 3, ..STEP };
    RecordBody::Finished(Box::new(FinishedRecord {
        step,
        call: None,
        unknown: false,
        not_found: true,
        ..*finished
    }))
}

pub(crate) fn record(body: RecordBody) -> Record {
    Record { at: Timestamp::UNIX_EPOCH, command: "order-1".parse().unwrap(), fact: body }
}

/// Lists every kind of line, as it is written.
#[must_use]
pub fn lines() -> Vec<Vec<u8>> {
    let records = facts().into_iter().map(|body| record(body).encode());
    let jobs = job_records().into_iter().map(|record| record.encode());
    records.chain(jobs).chain([LedgerLine::marker_line(Timestamp::UNIX_EPOCH)]).collect()
}

/// Lists a record of each kind that is about a job.
pub(crate) fn job_records() -> Vec<JobRecord> {
    let spec = JobSpec {
        action: JobAction::Replay(ReplayTerms {
            canary_s: Some(60),
            stop_at: "5%".parse().ok(),
            ..Default::default()
        }),
        filter: DeadLetterFilter { ids: ["order-1".parse().unwrap()].into(), ..Default::default() },
        scope: CommandScope::default(),
        cut_off: Timestamp::UNIX_EPOCH,
        rate: "0.5/s".parse().ok(),
        ramp: true,
        dry_run: false,
        actor: person(),
    };
    let progress = JobProgress {
        total: Some(7),
        missing: vec!["order-2".parse().unwrap()],
        ..Default::default()
    };
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
