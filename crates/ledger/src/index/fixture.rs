//! Commands for tests, built from records as the ledger builds them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::{Changes, Checkpoint};
use ferryd_domain::command::Identity;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::{Event, Happening, Moment, Trace};
use ferryd_domain::ledger::case::Case;
use ferryd_domain::ledger::effects::RecordedEffects;
use ferryd_domain::ledger::record::{
    By, CancelWished, ContentErasure, Fact, Finished, Guard, Opened, Opening, Person, Reason, Record, RecordId,
    Replayed, Settled, Started, Step,
};
use ferryd_domain::lifecycle::Kind;
use ferryd_domain::outcome::{Failure, Party, Success, Verdict};
use ferryd_domain::progress::Attempted;

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
pub struct Sample {
    pub identity: Identity,
    pub at: Timestamp,
}

impl Sample {
    /// Creates the command `id` of provider `stripe`, `after` seconds from the start.
    pub fn new(id: &str, after: i64) -> Self {
        let name = |text: &str| Some(text.parse().unwrap());
        let identity = Identity {
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

    fn opening(&self) -> Opening {
        Opening { identity: self.identity.clone(), content: "c".repeat(43), asked: None, publisher: None }
    }

    fn event(&self, step: Step, at: Timestamp, happening: Happening) -> Event {
        let Step { generation, attempt, .. } = step;
        let moment = Moment { generation, attempt, at };
        Event::new(self.identity.clone(), moment, happening, Trace::default())
    }

    /// Returns the state of the command while it waits for its first call.
    pub fn opened(&self) -> Case {
        let (opening, step) = (self.opening(), Step::call(0, 1));
        let opened =
            Opened { opening, step, fresh: true, recorded: false, reason: Reason::Submitted, until: None, by: None };
        let mut slot = None;
        rule(&mut slot, 1, self.at, &self.identity.id, Fact::Opened(Box::new(opened)));
        slot.unwrap()
    }

    /// Returns the state of the command after a call, whose decision `happening` came a second
    /// later.
    pub fn happened(&self, happening: Happening) -> Case {
        let mut slot = None;
        for (number, fact) in [(1, self.started()), (2, self.finished(happening)), (3, settled(2))] {
            let at = self.at + SignedDuration::from_secs(i64::from(number >= 2));
            rule(&mut slot, number, at, &self.identity.id, fact);
        }
        slot.unwrap()
    }

    pub fn completed(&self) -> Case {
        let reference = Some(format!("pi_{}", self.identity.id));
        let result = Some(json!({ "id": reference, "status": "succeeded", "amount": 1099, "currency": "eur" }));
        self.happened(Happening::Completed(Success { result, provider_reference: reference, ..Success::default() }))
    }

    pub fn waiting(&self) -> Case {
        let success = Success { provider_reference: Some("pi_1".to_owned()), ..Success::default() };
        self.happened(Happening::Waiting(success, Party::Customer))
    }

    pub fn failed(&self, kind: Kind, code: &str, http_status: u16) -> Case {
        let failure =
            Failure { http_status: Some(http_status), ..Failure::new(code, format!("the provider says {code}")) };
        self.happened(Happening::Failed(kind, failure))
    }

    /// Puts a text into every field that the publisher of the command controls.
    pub fn saying(mut self, text: &str) -> Self {
        self.identity.reference = Some(text.to_owned());
        self.identity.metadata = [("note".to_owned(), text.to_owned())].into();
        self
    }

    /// Returns an ended state after an erasure.
    pub fn erased(&self, case: Case) -> Case {
        let mut slot = Some(case);
        let person = Person { by: "ann".to_owned(), reason: Some("request 4711".to_owned()) };
        rule(&mut slot, 9, seconds(9_000), &self.identity.id, Fact::Erased(ContentErasure { person }));
        slot.unwrap()
    }

    /// Returns the state of the command where only a request to cancel it is known.
    pub fn wished(&self) -> Case {
        let mut slot = None;
        let person = Person { by: "ann".to_owned(), reason: Some("a mistake".to_owned()) };
        rule(&mut slot, 1, self.at, &self.identity.id, Fact::CancelWished(CancelWished { person }));
        slot.unwrap()
    }

    fn started(&self) -> Fact {
        Fact::Started(Box::new(Started {
            step: Step::call(0, 1),
            opening: Some(self.opening()),
            fresh: true,
            redelivered: false,
            waited_out: None,
            recorded: false,
            guard: Guard::Key(45_000),
            unknown: false,
            key: None,
            digest: "d".repeat(43),
            token: None,
            money: None,
            first_sent: None,
        }))
    }

    fn finished(&self, happening: Happening) -> Fact {
        self.finished_at(Step::call(0, 1), By::Holder, happening)
    }

    fn finished_at(&self, step: Step, by: By, happening: Happening) -> Fact {
        let event = self.event(step, self.at + SignedDuration::from_secs(1), happening);
        let effects = RecordedEffects { event, told: true, carried: None };
        let (opening, fresh) = (Some(self.opening()), false);
        let call = (by == By::Holder).then_some(Attempted {
            attempt: step.attempt,
            at: self.at,
            duration_ms: 12,
            outcome: Verdict::Rejected,
            code: None,
            http_status: None,
            message: None,
        });
        Fact::Finished(Box::new(Finished {
            step,
            opening,
            fresh,
            call,
            unknown: false,
            absent: false,
            kept: None,
            query: None,
            by,
            effects,
        }))
    }
}

fn settled(finished: u64) -> Fact {
    Fact::Settled(Settled { finished: record_id(finished) })
}

fn rule(slot: &mut Option<Case>, number: u64, at: Timestamp, command: &CommandId, fact: Fact) {
    Case::rule(slot, record_id(number), &Record { at, command: command.clone(), fact });
}

/// Builds changes that hold these commands.
pub fn changes<'a>(cases: impl IntoIterator<Item = (&'a Sample, Case)>, offset: u64) -> Changes {
    let cases = cases.into_iter().map(|(sample, case)| (sample.id(), Arc::new(case))).collect();
    let checkpoint = Checkpoint { offset, hash: offset.wrapping_mul(u64::MAX / 3) };
    Changes { cases, writers: Vec::new(), jobs: Vec::new(), unreadable: Vec::new(), checkpoint }
}

/// Generates a command after up to eight decisions.
pub fn any_case() -> impl Strategy<Value = (Sample, Case)> {
    let sample = ("[a-z]{1,20}", prop::option::of(".{0,20}"), 0..1_000_i64).prop_map(|(id, reference, after)| {
        let mut sample = Sample::new(&id, after);
        sample.identity.reference = reference;
        sample
    });
    (sample, prop::collection::vec((0..8_u32, 0..3_u32, any_happening(), ".{0,30}"), 1..8)).prop_filter_map(
        "something is known",
        |(sample, facts)| {
            let mut slot = None;
            for (number, (what, generation, happening, text)) in (1..).zip(facts) {
                let fact = any_fact(&sample, what, Step::call(generation, 1 + what), happening, text);
                rule(&mut slot, number, sample.at, &sample.identity.id, fact);
            }
            slot.map(|case| (sample, case))
        },
    )
}

fn any_fact(sample: &Sample, what: u32, step: Step, happening: Happening, text: String) -> Fact {
    let person = Person { by: text, reason: None };
    match what {
        0 => sample.started(),
        1 => settled(u64::from(step.attempt)),
        2 => Fact::CancelWished(CancelWished { person }),
        3 => Fact::Replayed(Box::new(Replayed {
            opening: sample.opening(),
            from: step.generation,
            unknown: true,
            key: None,
            first_sent: Some(sample.at),
            digest: None,
            token: None,
            person,
            job: None,
        })),
        4 => sample.finished_at(step, By::Operator(person), happening),
        _ => sample.finished_at(step, By::Holder, happening),
    }
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let failure = (".{0,30}", prop::option::of(".{0,300}"), prop::option::of(100..600_u16));
    let failure = failure.prop_map(|(code, message, http_status)| Failure {
        code: Some(code),
        message: message.unwrap_or_default(),
        details: Some(json!({ "a": [1.1, null] })),
        http_status,
        provider_reference: None,
    });
    let success = (any::<f64>(), prop::option::of(".{0,20}")).prop_map(|(number, provider_reference)| Success {
        result: Some(json!({ "n": number, "t": "\u{0}\"" })),
        provider_reference,
        ..Success::default()
    });
    prop_oneof![
        failure.clone().prop_map(|failure| Happening::Pending { due: start(), failure }),
        (0..Kind::ALL.len(), failure).prop_map(|(kind, failure)| Happening::Failed(Kind::ALL[kind], failure)),
        success.clone().prop_map(|success| Happening::Waiting(success, Party::Provider)),
        success.prop_map(Happening::Completed),
    ]
}
