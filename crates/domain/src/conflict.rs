//! The event `ferry.command.conflict`, which ferryd publishes when something contradicts the
//! recorded state of a command.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::command::EncodedIdentity;
use super::digest::digest;
use super::event::{Event, TraceContext, routing_key};
use super::lifecycle::LifecycleState;
use super::name::excerpt;
use super::outcome::Failure;

/// The last word of the event's routing key and type.
const WORD: &str = "conflict";

/// A `CloudEvents` 1.0 event about a contradiction. The recorded command does not change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "ferryd conflict event")]
pub struct ConflictEvent {
    /// Always `1.0`.
    pub specversion: String,
    /// The id of the event, the same for every copy.
    pub id: String,
    /// `/ferryd/<provider>`.
    pub source: String,
    /// Always `ferry.command.conflict`.
    pub r#type: String,
    /// The command's id.
    pub subject: String,
    /// The time at which the contradiction was found.
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// The trace context of the message that contradicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The W3C `tracestate` that belongs to `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    /// The contradiction.
    pub data: ConflictData,
}

/// A contradiction of the recorded state of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConflictData {
    /// The command, as the contradicting message names it.
    pub command: EncodedIdentity,
    /// The kind of the contradiction.
    pub conflict: ConflictKind,
    /// The error message, for a person.
    pub message: String,
    /// The id of the event that stays valid, where the command has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands: Option<String>,
    /// The state that the contradicting answer would have led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contradicted_by: Option<LifecycleState>,
    /// The provider's own id in the contradicting message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_reference: Option<String>,
}

/// The kind of a contradiction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConflictKind {
    /// A command arrived under an id that is known with another content. It was not carried out.
    Content,
    /// The provider gave an answer that contradicts the one by which the command has ended.
    Answer,
    /// The provider reports an operation for the command under an id that belongs to none of the
    /// command's calls: perhaps a second payment.
    Reference,
    /// The provider's amount differs from the command's. The command goes on waiting.
    Amount,
}

impl ConflictKind {
    /// Returns the name of the kind, as a filter has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Answer => "answer",
            Self::Reference => "reference",
            Self::Amount => "amount",
        }
    }
}

/// A contradiction, as the ledger records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConflictNote {
    /// The time at which the contradiction was found.
    pub at: Timestamp,
    /// The name of the kind; a later version may have others.
    pub conflict: String,
    /// The id of the published event.
    pub event: String,
    /// The error message, for a person.
    pub message: String,
}

impl ConflictEvent {
    /// Builds the event of a command that arrived under an id known with another content; `content`
    /// is its digest.
    #[must_use]
    pub fn of_content(
        command: EncodedIdentity,
        content: &str,
        trace: TraceContext,
        at: Timestamp,
    ) -> Self {
        let id = format!("{}/conflict/{}", command.id, content.replace(':', "-"));
        let data = ConflictData {
            conflict: ConflictKind::Content,
            message: "a command with this id and another content came before; this one is not carried out: \
                      publish it under an id of its own"
                .to_owned(),
            stands: None,
            contradicted_by: None,
            provider_reference: None,
            command,
        };
        Self::new(id, data, trace, at)
    }

    /// Builds the event of an answer that contradicts the end of the command.
    #[must_use]
    pub fn of_answer(answer: &Event, stands: &Event) -> Self {
        let message = format!(
            "a later answer of the provider leads to `{}`, but the command has ended as `{}`; look it up at the provider",
            answer.data.state.as_str(),
            stands.data.state.as_str(),
        );
        let data = ConflictData {
            conflict: ConflictKind::Answer,
            message,
            stands: Some(stands.id.clone()),
            contradicted_by: Some(answer.data.state),
            provider_reference: answer.data.provider_reference.clone(),
            command: answer.data.command.clone(),
        };
        let trace =
            TraceContext { parent: answer.traceparent.clone(), state: answer.tracestate.clone() };
        Self::new(format!("{}/conflict", answer.id), data, trace, answer.time)
    }

    /// Builds the event of an operation that the provider has done for a command under the id
    /// `reference`, where its id of the command's operation was `known` so far, if it had one.
    #[must_use]
    pub fn of_reference(
        command: EncodedIdentity,
        reference: &str,
        known: Option<&str>,
        stands: Option<&Event>,
        at: Timestamp,
    ) -> Self {
        let known = match known {
            Some(known) => format!("whose own transaction has the id `{}`", excerpt(known)),
            None => "whose own transaction has no known id".to_owned(),
        };
        let message = format!(
            "the provider says that `{}` is done for this command, {known}: perhaps a second payment; look it up at the \
             provider",
            excerpt(reference),
        );
        let data = ConflictData {
            conflict: ConflictKind::Reference,
            message,
            stands: stands.map(|stands| stands.id.clone()),
            contradicted_by: Some(LifecycleState::Completed),
            provider_reference: Some(reference.to_owned()),
            command,
        };
        let id = format!("{}/conflict/{}", data.command.id, digest(reference.as_bytes()));
        Self::new(id, data, TraceContext::default(), at)
    }

    /// Returns the contradiction in the form that the ledger records.
    #[must_use]
    pub fn to_note(&self) -> ConflictNote {
        let ConflictData { conflict, message, .. } = &self.data;
        ConflictNote {
            at: self.time,
            conflict: conflict.as_str().to_owned(),
            event: self.id.clone(),
            message: message.clone(),
        }
    }

    /// Builds the event of an amount at the provider that differs from the command's. `generation`
    /// is the command's.
    #[must_use]
    pub fn of_amount(
        command: EncodedIdentity,
        generation: u32,
        mismatch: &Failure,
        trace: TraceContext,
        at: Timestamp,
    ) -> Self {
        let id = format!("{}/{generation}/conflict/amount", command.id);
        let message = mismatch.message.clone();
        let conflict = ConflictKind::Amount;
        let data = ConflictData {
            conflict,
            message,
            stands: None,
            contradicted_by: None,
            provider_reference: mismatch.provider_reference.clone(),
            command,
        };
        Self::new(id, data, trace, at)
    }

    fn new(id: String, data: ConflictData, trace: TraceContext, at: Timestamp) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id,
            source: format!(
                "/ferryd/{}",
                data.command.provider.as_ref().map_or("unknown", |name| name.as_str())
            ),
            r#type: format!("ferry.command.{WORD}"),
            subject: data.command.id.to_string(),
            time: at,
            datacontenttype: "application/json".to_owned(),
            traceparent: trace.parent,
            tracestate: trace.state,
            data,
        }
    }

    /// Returns the routing key `<type>.<provider>.<operation>.conflict`.
    #[must_use]
    pub fn routing_key(&self) -> String {
        routing_key(&self.data.command, WORD)
    }
}
