//! Records: what the ledger holds, one line of JSON each.
//!
//! `{"v":1,"kind":"started","critical":true,"at":"…","command":"…","data":{…}}`. A reader of an older version knows by
//! `critical` whether it may pass over a kind it does not know; where it may not, it decides nothing more about that
//! command. `docs/LEDGER.md` documents every kind, `docs/schema/record.json` is the schema.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::effects::Effects;
pub use super::record_id::{InvalidRecordId, RecordId};
use crate::domain::command::Identity;
use crate::domain::command_id::CommandId;
use crate::domain::key::IdempotencyKey;
use crate::domain::progress::Attempted;

/// The version of the record format that this program writes.
pub const VERSION: u32 = 1;

/// Most records are shorter, in bytes.
const USUAL: usize = 1_536;

/// One call of a command, or the place of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// 0 for a command as published; each replay starts the next.
    pub generation: u32,
    /// The number of the call within the generation, from 1.
    pub attempt: u32,
}

/// One line of the ledger about one command.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When it was written, by its writer's clock. For people: nothing is decided by it.
    pub at: Timestamp,
    /// The command.
    pub command: CommandId,
    /// What is said.
    pub fact: Fact,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A command is known and waits; no call is under way.
    Opened(Box<Opened>),
    /// A call is about to be made.
    Started(Box<Started>),
    /// A call that was started is not going to be made.
    Released(Released),
    /// The one who started a call does not answer for it: whether it acted is unknown.
    TakenOver(TakenOver),
    /// A step is decided: by a call, before one, or by a person.
    Finished(Box<Finished>),
    /// The effects of a decision have been published and confirmed.
    Settled(Settled),
    /// A command that is not known yet shall not be carried out.
    CancelWished(CancelWished),
    /// A dead letter is sent again, as the next generation.
    Replayed(Box<Replayed>),
    /// Somebody else waits for the end of the command.
    Asked(Asked),
}

/// Which command, and what it asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Opening {
    /// What events echo.
    pub identity: Identity,
    /// A digest of its content: two commands with the same id and the same content are one.
    pub content: String,
    /// Where its publisher waits for the end, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
}

/// See [`Fact::Opened`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Opened {
    /// Which command.
    pub opening: Opening,
    /// The step that waits.
    pub step: Step,
    /// Whether it came from a publisher, and not from ferryd itself.
    pub fresh: bool,
    /// Whether the message says that the ledger knew the command when it was sent on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recorded: bool,
    /// Why it waits.
    pub reason: Reason,
    /// Until when, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Why a command waits without a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was handed in and is on its way to the queue.
    Submitted,
    /// Its time has not come (`not_before`).
    Early,
    /// Its provider is busy.
    Busy,
    /// ferryd stopped before the call.
    Stopping,
}

/// What keeps a call from acting twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// The provider, by an idempotency key. A copy of the message waits so many milliseconds for whoever was first, to spare
    /// the provider a call.
    Key(u64),
    /// The ledger: the first to start a step has it to itself for so many milliseconds.
    Claim(u64),
    /// Nothing: the call only reads.
    Harmless,
}

/// See [`Fact::Started`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about the message, and a field of the record"
)]
pub struct Started {
    /// The call.
    pub step: Step,
    /// Which command, where the ledger may not know it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
    /// Whether the message came from a publisher, and not from ferryd itself.
    pub fresh: bool,
    /// Whether the message says that the ledger knew the command when it was sent on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recorded: bool,
    /// What keeps the call from acting twice.
    pub guard: Guard,
    /// Whether the broker had given the message to somebody before, who may have died.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redelivered: bool,
    /// The start of the same step that this message has waited for in vain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_out: Option<RecordId>,
    /// Whether, by what the message says, an earlier call may have acted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    /// The key of the generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub key: Option<IdempotencyKey>,
    /// The digest of the request.
    pub digest: String,
    /// When a request of this generation was first sent; absent: at this record's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sent: Option<Timestamp>,
}

/// See [`Fact::Released`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Released {
    /// The record that started the call.
    pub started: RecordId,
}

/// See [`Fact::TakenOver`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TakenOver {
    /// The record that claimed the step.
    pub claim: RecordId,
}

/// See [`Fact::Finished`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finished {
    /// The step that is decided.
    pub step: Step,
    /// Which command, where the ledger may not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
    /// Whether the message came from a publisher, and not from ferryd itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fresh: bool,
    /// The call that was made, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Attempted>,
    /// Whether some call of the generation may have acted without its end being known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    /// Who decided it, and on what condition.
    #[serde(default)]
    pub by: By,
    /// What follows.
    pub effects: Effects,
}

/// Who decided a step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Whoever held the message.
    #[default]
    Holder,
    /// Somebody who cancels: counts only where no call was or may have been made.
    Canceller(Person),
    /// An operator, about a dead letter: counts only while it is one.
    Operator(Person),
}

/// A person, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// Who.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// See [`Fact::Settled`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Settled {
    /// The decision.
    pub finished: RecordId,
}

/// See [`Fact::CancelWished`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CancelWished {
    /// Who wishes it.
    pub person: Person,
}

/// See [`Fact::Replayed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replayed {
    /// Which command, where the ledger may not know it any more.
    pub opening: Opening,
    /// The generation that failed.
    pub from: u32,
    /// Whether a call of an earlier generation may have acted.
    pub unknown: bool,
    /// The key of the new generation, where it keeps the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub key: Option<IdempotencyKey>,
    /// When a request was first sent under that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sent: Option<Timestamp>,
    /// The digest of that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Who.
    pub person: Person,
}

/// See [`Fact::Asked`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Asked {
    /// The queue to which the end is to be sent.
    pub reply_to: String,
    /// Goes with the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// A line as it was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// A record that this version understands.
    Record(Box<Record>),
    /// Nothing but a place in the order, by which a reader knows how far it has come.
    Marker,
    /// A kind that this version does not know.
    Foreign {
        /// Its kind.
        kind: String,
        /// Its command, where it has one.
        command: Option<CommandId>,
        /// Whether nothing more may be decided about the command without understanding it.
        critical: bool,
    },
}

/// A line that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("no record: {0}")]
pub struct Unreadable(#[from] serde_json::Error);

/// The kind of a marker.
const MARKER: &str = "marker";

#[derive(Serialize)]
struct Written<'a, T> {
    v: u32,
    kind: &'a str,
    critical: bool,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a CommandId>,
    data: &'a T,
}

#[derive(Deserialize)]
struct Read<'a> {
    kind: String,
    #[serde(default)]
    critical: bool,
    #[serde(default)]
    command: Option<CommandId>,
    at: Timestamp,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl Fact {
    /// The word for its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Opened(_) => "opened",
            Self::Started(_) => "started",
            Self::Released(_) => "released",
            Self::TakenOver(_) => "taken_over",
            Self::Finished(_) => "finished",
            Self::Settled(_) => "settled",
            Self::CancelWished(_) => "cancel_wished",
            Self::Replayed(_) => "replayed",
            Self::Asked(_) => "asked",
        }
    }

    /// Whether a reader that does not know the kind must not decide anything more about the command.
    #[must_use]
    pub fn is_critical(&self) -> bool {
        !matches!(self, Self::Settled(_) | Self::Asked(_))
    }
}

impl Record {
    /// The record as a line, without its line break.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match &self.fact {
            Fact::Opened(data) => self.write(data),
            Fact::Started(data) => self.write(data),
            Fact::Released(data) => self.write(data),
            Fact::TakenOver(data) => self.write(data),
            Fact::Finished(data) => self.write(data),
            Fact::Settled(data) => self.write(data),
            Fact::CancelWished(data) => self.write(data),
            Fact::Replayed(data) => self.write(data),
            Fact::Asked(data) => self.write(data),
        }
    }

    fn write<T: Serialize>(&self, data: &T) -> Vec<u8> {
        let (kind, critical) = (self.fact.kind(), self.fact.is_critical());
        let written = Written { v: VERSION, kind, critical, at: self.at, command: Some(&self.command), data };
        let mut line = Vec::with_capacity(USUAL);
        // A record is plain data; it always has a JSON form.
        let _ = serde_json::to_writer(&mut line, &written);
        line
    }
}

impl Line {
    /// A marker as a line, without its line break.
    #[must_use]
    pub fn marker(at: Timestamp) -> Vec<u8> {
        let written = Written { v: VERSION, kind: MARKER, critical: false, at, command: None, data: &() };
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// Reads a line.
    ///
    /// # Errors
    /// [`Unreadable`]: it is no JSON, or a known kind without what belongs to it.
    pub fn decode(line: &[u8]) -> Result<Self, Unreadable> {
        let Read { kind, critical, command, at, data } = serde_json::from_slice(line)?;
        if kind == MARKER {
            return Ok(Self::Marker);
        }
        let text = data.map_or("null", RawValue::get);
        let fact = match kind.as_str() {
            "opened" => Fact::Opened(serde_json::from_str(text)?),
            "started" => Fact::Started(serde_json::from_str(text)?),
            "released" => Fact::Released(serde_json::from_str(text)?),
            "taken_over" => Fact::TakenOver(serde_json::from_str(text)?),
            "finished" => Fact::Finished(serde_json::from_str(text)?),
            "settled" => Fact::Settled(serde_json::from_str(text)?),
            "cancel_wished" => Fact::CancelWished(serde_json::from_str(text)?),
            "replayed" => Fact::Replayed(serde_json::from_str(text)?),
            "asked" => Fact::Asked(serde_json::from_str(text)?),
            _ => return Ok(Self::Foreign { kind, command, critical }),
        };
        let command = command.ok_or_else(|| <serde_json::Error as serde::de::Error>::missing_field("command"))?;
        Ok(Self::Record(Box::new(Record { at, command, fact })))
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
pub(crate) mod tests;
