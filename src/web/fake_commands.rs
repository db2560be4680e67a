//! The commands in the memory of a fake service: what tests have become of them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::fake_service::{FIRST, FakeCommandService};
use ferryd_domain::command::{Command, CommandEnvelope};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::dead_letter::{self, DeadLetter};
use ferryd_domain::event::{Event, EventKind, EventMoment, TraceContext};
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::effects::{ContinuationEffect, HeaderValue, RecordedEffects};
use ferryd_domain::ledger::record::{
    CommandIdentity, DecidedBy, FinishedRecord, Record, RecordBody, RecordId, SettledRecord,
};
use ferryd_domain::ledger::ruling::Ruling;
use ferryd_domain::lifecycle::FailureKind;
use ferryd_domain::outcome::{Failure, Outcome, Success};
use ferryd_domain::progress::AttemptSummary;

impl FakeCommandService {
    /// Appends a record to the ledger.
    pub fn rule(&self, command: &CommandId, body: RecordBody) -> Ruling {
        let id =
            RecordId { writer: Uuid::nil(), number: self.number.fetch_add(1, Ordering::SeqCst) };
        let record = Record { at: Timestamp::UNIX_EPOCH, command: command.clone(), fact: body };
        let ruling = CommandState::apply_record(
            self.cases.lock().unwrap().entry(command.clone()).or_default(),
            id,
            &record,
        );
        self.news.send_replace(());
        ruling
    }

    /// Records something about a command that this version does not understand.
    pub fn block(&self, command: &CommandId, kind: &str) {
        CommandState::block(self.cases.lock().unwrap().entry(command.clone()).or_default(), kind);
    }

    /// Records that a command has completed.
    pub fn complete(&self, body: &str) {
        let command = Command::decode(body.as_bytes(), CommandEnvelope::default()).unwrap();
        let command_identity = CommandIdentity::of(&command, &"stripe".parse().unwrap());
        let moment = EventMoment { generation: 0, attempt: 1, at: Timestamp::UNIX_EPOCH };
        let kind = EventKind::Completed(Success::default());
        let event =
            Event::new(command_identity.command.clone(), moment, kind, TraceContext::default());
        let outcome = Outcome::Completed(Success::default());
        let finished = FinishedRecord {
            step: FIRST,
            identity: Some(command_identity),
            fresh: true,
            call: Some(AttemptSummary::new(1, Timestamp::UNIX_EPOCH, Duration::ZERO, &outcome)),
            unknown: false,
            not_found: false,
            retained_message: None,
            query: None,
            decided_by: DecidedBy::Holder,
            effects: RecordedEffects { event: event.into(), publish_event: true, message: None },
        };
        assert!(matches!(
            self.rule(&command.id, RecordBody::Finished(Box::new(finished))),
            Ruling::Counts(_)
        ));
    }

    /// Records the refusal of a message that bears a command's id.
    pub fn refuse(&self, body: &str) -> CommandId {
        self.fail(refused_identity(body), FailureKind::Invalid, false)
    }

    /// Records that a command was given up.
    pub fn give_up(&self, body: &str) -> CommandId {
        let command = Command::decode(body.as_bytes(), CommandEnvelope::default()).unwrap();
        self.fail(
            CommandIdentity::of(&command, &"stripe".parse().unwrap()),
            FailureKind::Unavailable,
            true,
        )
    }

    /// Records the refusal of a message under the id of a command, with a dead letter.
    pub fn give_up_refused(&self, body: &str) -> CommandId {
        self.fail(refused_identity(body), FailureKind::Invalid, true)
    }

    fn fail(
        &self,
        command_identity: CommandIdentity,
        kind: FailureKind,
        is_kept: bool,
    ) -> CommandId {
        let failure = Failure::new("unknown_account", "there is no account `mars`");
        let moment = EventMoment { generation: 0, attempt: 1, at: Timestamp::UNIX_EPOCH };
        let event_kind = EventKind::Failed(kind, failure);
        let event = Event::new(
            command_identity.command.clone(),
            moment,
            event_kind,
            TraceContext::default(),
        );
        let id = command_identity.command.id.clone();
        let record = json!({
            "command": command_identity.command, "kind": kind, "message": "there is no account `mars`", "generation": 0, "attempt": 1,
            "unknown": false, "history": [], "first_failed_at": Timestamp::UNIX_EPOCH,
            "dead_lettered_at": Timestamp::UNIX_EPOCH, "host": "here", "version": "0",
        });
        let headers =
            [(dead_letter::HEADER.to_owned(), HeaderValue::Text(record.to_string()))].into();
        let continuation = ContinuationEffect {
            exchange: "ferry.dead".to_owned(),
            routing_key: "stripe".to_owned(),
            headers,
        };
        let finished = FinishedRecord {
            step: FIRST,
            identity: Some(command_identity),
            fresh: true,
            call: None,
            unknown: false,
            not_found: false,
            retained_message: None,
            query: None,
            decided_by: DecidedBy::Holder,
            effects: RecordedEffects {
                event: event.into(),
                publish_event: true,
                message: is_kept.then_some(continuation),
            },
        };
        assert!(matches!(
            self.rule(&id, RecordBody::Finished(Box::new(finished))),
            Ruling::Counts(_)
        ));
        id
    }

    /// Returns the record of a dead letter.
    pub fn record_of(&self, id: &str) -> DeadLetter {
        *self.find(&id.parse().unwrap()).unwrap().ending.unwrap().letter.unwrap()
    }

    /// Records that the last decided end of a command is published.
    pub fn settle(&self, id: &str) {
        let finished =
            RecordId { writer: Uuid::nil(), number: self.number.load(Ordering::SeqCst) - 1 };
        self.rule(&id.parse().unwrap(), RecordBody::Settled(SettledRecord { finished }));
    }
}

fn refused_identity(body: &str) -> CommandIdentity {
    let command = Command::decode(body.as_bytes(), CommandEnvelope::default()).unwrap();
    let mut identity = CommandIdentity::of(&command, &"stripe".parse().unwrap());
    let refused = command.id.for_refused(&[body.as_bytes()]);
    identity.command = identity.command.with_changes(|identity| identity.id = refused);
    identity
}
