//! Commands for tests, built from records as the ledger builds them.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::{IndexChanges, IndexCheckpoint};
use ferryd_domain::command::EchoedIdentity;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::{Event, EventKind, EventMoment, TraceContext};
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::effects::RecordedEffects;
use ferryd_domain::ledger::record::{
    Actor, CallGuard, CancelRequested, CommandIdentity, ContentErasure, DecidedBy, FinishedRecord,
    OpenedRecord, Record, RecordBody, RecordId, ReplayedRecord, SettledRecord, StartedRecord, Step,
    WaitReason,
};
use ferryd_domain::lifecycle::FailureKind;
use ferryd_domain::outcome::{Failure, OutcomeName, Success, WaitingFor};
use ferryd_domain::progress::AttemptSummary;

/// The time at which every fixture begins.
pub fn start() -> Timestamp {
    "2026-11-01T00:00:00Z".parse().unwrap()
}

pub fn seconds(after: i64) -> Timestamp {
    start() + SignedDuration::from_secs(after)
}

pub fn id(text: &str) -> CommandId {
    text.parse().unwrap()
}

pub fn record_id(number: u64) -> RecordId {
    RecordId { writer: Uuid::from_u128(7), number }
}

/// A command, and the moment at which its first record was written.
#[derive(Debug, Clone)]
pub struct SampleCommand {
    pub identity: EchoedIdentity,
    pub at: Timestamp,
}

impl SampleCommand {
    /// Creates the command `id` of provider `stripe`, `after` seconds from the start.
    pub fn new(id: &str, after: i64) -> Self {
        let name = |text: &str| Some(text.parse().unwrap());
        let identity = EchoedIdentity {
            id: id.parse().unwrap(),
            r#type: name("payment"),
            provider: name("stripe"),
            account: name("default"),
            operation: name("charge"),
            reference: Some(format!("order-of-{id}")),
            metadata: [("tenant".to_owned(), "eu-1".to_owned())].into(),
        };
        Self { identity, at: seconds(after) }
    }

    pub fn provider(mut self, provider: &str) -> Self {
        self.identity.provider = Some(provider.parse().unwrap());
        self
    }

    pub fn id(&self) -> CommandId {
        self.identity.id.clone()
    }

    fn identity(&self) -> CommandIdentity {
        CommandIdentity {
            command: self.identity.clone().into(),
            content_digest: "c".repeat(32),
            reply_target: None,
            publisher: None,
        }
    }

    fn event(&self, step: Step, at: Timestamp, kind: EventKind) -> Event {
        let Step { generation, attempt, .. } = step;
        let moment = EventMoment { generation, attempt, at };
        Event::new(self.identity.clone(), moment, kind, TraceContext::default())
    }

    /// Returns the state of the command while it waits for its first call.
    pub fn opened(&self) -> CommandState {
        let (command_identity, step) = (self.identity(), Step::call(0, 1));
        let opened = OpenedRecord {
            identity: command_identity,
            step,
            fresh: true,
            recorded: false,
            reason: WaitReason::Submitted,
            until: None,
            submitted_by: None,
        };
        let mut slot = None;
        rule(&mut slot, 1, self.at, &self.identity.id, RecordBody::Opened(Box::new(opened)));
        slot.unwrap()
    }

    /// Returns the state of the command after a call. The decision, an event of `kind`, was recorded
    /// a second later.
    pub fn after_event(&self, kind: EventKind) -> CommandState {
        let mut slot = None;
        for (number, body) in [(1, self.started()), (2, self.finished(kind)), (3, settled(2))] {
            let at = self.at + SignedDuration::from_secs(i64::from(number >= 2));
            rule(&mut slot, number, at, &self.identity.id, body);
        }
        slot.unwrap()
    }

    pub fn completed(&self) -> CommandState {
        let reference = Some(format!("pi_{}", self.identity.id));
        let result = Some(
            json!({ "id": reference, "status": "succeeded", "amount": 1099, "currency": "eur" }),
        );
        self.after_event(EventKind::Completed(Success {
            result,
            provider_reference: reference,
            ..Success::default()
        }))
    }

    pub fn waiting(&self) -> CommandState {
        let success = Success { provider_reference: Some("pi_1".to_owned()), ..Success::default() };
        self.after_event(EventKind::Waiting(success, WaitingFor::Customer))
    }

    pub fn failed(&self, kind: FailureKind, code: &str, http_status: u16) -> CommandState {
        let failure = Failure {
            http_status: Some(http_status),
            ..Failure::new(code, format!("the provider says {code}"))
        };
        self.after_event(EventKind::Failed(kind, failure))
    }

    /// Puts a text into every field that the publisher of the command controls.
    pub fn with_contents(mut self, text: &str) -> Self {
        self.identity.reference = Some(text.to_owned());
        self.identity.metadata = [("note".to_owned(), text.to_owned())].into();
        self
    }

    /// Returns an ended state after an erasure.
    pub fn erased(&self, state: CommandState) -> CommandState {
        let mut slot = Some(state);
        let person = Actor { by: "ann".to_owned(), reason: Some("request 4711".to_owned()) };
        rule(
            &mut slot,
            9,
            seconds(9_000),
            &self.identity.id,
            RecordBody::Erased(ContentErasure { actor: person }),
        );
        slot.unwrap()
    }

    /// Returns the state of the command where only a request to cancel it is known.
    pub fn cancel_requested(&self) -> CommandState {
        let mut slot = None;
        let person = Actor { by: "ann".to_owned(), reason: Some("a mistake".to_owned()) };
        rule(
            &mut slot,
            1,
            self.at,
            &self.identity.id,
            RecordBody::CancelRequested(CancelRequested { actor: person }),
        );
        slot.unwrap()
    }

    fn started(&self) -> RecordBody {
        RecordBody::Started(Box::new(StartedRecord {
            step: Step::call(0, 1),
            identity: Some(self.identity()),
            fresh: true,
            redelivered: false,
            expired_claim: None,
            recorded: false,
            guard: CallGuard::Key(45_000),
            unknown: false,
            key: None,
            request_digest: "d".repeat(32),
            token: String::new(),
            money: None,
            first_sent: None,
        }))
    }

    fn finished(&self, kind: EventKind) -> RecordBody {
        self.finished_at(Step::call(0, 1), DecidedBy::Holder, kind)
    }

    fn finished_at(&self, step: Step, by: DecidedBy, kind: EventKind) -> RecordBody {
        let event = self.event(step, self.at + SignedDuration::from_secs(1), kind);
        let effects = RecordedEffects { event: event.into(), publish_event: true, message: None };
        let (command_identity, fresh) = (Some(self.identity()), false);
        let call = (by == DecidedBy::Holder).then_some(AttemptSummary {
            attempt: step.attempt,
            at: self.at,
            duration_ms: 12,
            outcome: OutcomeName::Rejected,
            code: None,
            http_status: None,
            message: None,
        });
        RecordBody::Finished(Box::new(FinishedRecord {
            step,
            identity: command_identity,
            fresh,
            call,
            unknown: false,
            not_found: false,
            retained_message: None,
            query: None,
            decided_by: by,
            effects,
        }))
    }
}

fn settled(finished: u64) -> RecordBody {
    RecordBody::Settled(SettledRecord { finished: record_id(finished) })
}

fn rule(
    slot: &mut Option<CommandState>,
    number: u64,
    at: Timestamp,
    command: &CommandId,
    body: RecordBody,
) {
    CommandState::apply_record(
        slot,
        record_id(number),
        &Record { at, command: command.clone(), fact: body },
    );
}

/// Builds changes that hold these commands.
pub fn changes<'a>(
    states: impl IntoIterator<Item = (&'a SampleCommand, CommandState)>,
    offset: u64,
) -> IndexChanges {
    let states = states.into_iter().map(|(sample, state)| (sample.id(), state.into())).collect();
    let checkpoint = IndexCheckpoint { offset, hash: offset.wrapping_mul(u64::MAX / 3) };
    IndexChanges {
        cases: states,
        writers: Vec::new(),
        jobs: Vec::new(),
        unreadable: Vec::new(),
        checkpoint,
    }
}

/// Generates a command after up to eight decisions.
pub fn any_command_state() -> impl Strategy<Value = (SampleCommand, CommandState)> {
    let sample = ("[a-z]{1,20}", prop::option::of(".{0,20}"), 0..1_000_i64).prop_map(
        |(id, reference, after)| {
            let mut sample = SampleCommand::new(&id, after);
            sample.identity.reference = reference;
            sample
        },
    );
    (sample, prop::collection::vec((0..8_u32, 0..3_u32, any_event_kind(), ".{0,30}"), 1..8))
        .prop_filter_map("something is known", |(sample, facts)| {
            let mut slot = None;
            for (number, (what, generation, kind, text)) in (1..).zip(facts) {
                let body =
                    any_record_body(&sample, what, Step::call(generation, 1 + what), kind, text);
                rule(&mut slot, number, sample.at, &sample.identity.id, body);
            }
            slot.map(|state| (sample, state))
        })
}

fn any_record_body(
    sample: &SampleCommand,
    what: u32,
    step: Step,
    kind: EventKind,
    text: String,
) -> RecordBody {
    let person = Actor { by: text, reason: None };
    match what {
        0 => sample.started(),
        1 => settled(u64::from(step.attempt)),
        2 => RecordBody::CancelRequested(CancelRequested { actor: person }),
        3 => RecordBody::Replayed(Box::new(ReplayedRecord {
            identity: sample.identity(),
            from: step.generation,
            unknown: true,
            key: None,
            first_sent: Some(sample.at),
            request_digest: None,
            token: String::new(),
            actor: person,
            job: None,
        })),
        4 => sample.finished_at(step, DecidedBy::Operator(person), kind),
        _ => sample.finished_at(step, DecidedBy::Holder, kind),
    }
}

fn any_event_kind() -> impl Strategy<Value = EventKind> {
    let failure = (".{0,30}", prop::option::of(".{0,300}"), prop::option::of(100..600_u16));
    let failure = failure.prop_map(|(code, message, http_status)| Failure {
        code: Some(code),
        message: message.unwrap_or_default(),
        details: Some(json!({ "a": [1.1, null] })),
        http_status,
        provider_reference: None,
    });
    let success =
        (any::<f64>(), prop::option::of(".{0,20}")).prop_map(|(number, provider_reference)| {
            Success {
                result: Some(json!({ "n": number, "t": "\u{0}\"" })),
                provider_reference,
                ..Success::default()
            }
        });
    prop_oneof![
        failure.clone().prop_map(|failure| EventKind::Pending { due: start(), failure }),
        (0..FailureKind::ALL.len(), failure)
            .prop_map(|(kind, failure)| EventKind::Failed(FailureKind::ALL[kind], failure)),
        success.clone().prop_map(|success| EventKind::Waiting(success, WaitingFor::Provider)),
        success.prop_map(EventKind::Completed),
    ]
}
