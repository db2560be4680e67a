//! Records as lines of JSON.
//!
//! `{"v":1,"kind":"started","critical":true,"at":"…","command":"…","data":{…}}`. The field
//! `critical` states if a reader of an older version may skip a kind that it does not know. Where
//! it may not, it decides nothing more about that command. `docs/schema/record.json` is the schema.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::record::{Record, RecordBody};
use crate::command_id::CommandId;
use crate::job::{JobChange, JobId, JobRecord};
use crate::json_writer::{JsonWriter, WriteJson};

/// The version of the record format that this program writes.
pub const VERSION: u32 = 1;

/// The usual size of a record, in bytes: most are shorter.
const USUAL: usize = 1_536;

/// A line as it was read.
#[derive(Debug, Clone, PartialEq)]
pub enum LedgerLine {
    /// A record about a command that this version understands.
    Record(Box<Record>),
    /// A record about a job.
    Job(Box<JobRecord>),
    /// A place in the order without contents, by which a reader knows how far it has read.
    Marker,
    /// A kind that this version does not know.
    Foreign {
        /// The kind of the record.
        kind: String,
        /// The command of the record, where it has one.
        command: Option<CommandId>,
        /// True if nothing more may be decided about the command without understanding the record.
        critical: bool,
    },
}

/// A line that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("no record: {0}")]
pub struct UnreadableLine(#[from] serde_json::Error);

/// The kind of a marker.
const MARKER: &str = "marker";

#[derive(Serialize)]
struct WrittenLine<'a, T> {
    v: u32,
    kind: &'a str,
    critical: bool,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a CommandId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobId>,
    data: &'a T,
}

#[derive(Deserialize)]
struct ParsedLine<'a> {
    kind: String,
    #[serde(default)]
    critical: bool,
    #[serde(default)]
    command: Option<CommandId>,
    #[serde(borrow, default)]
    job: Option<&'a RawValue>,
    at: Timestamp,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl Record {
    /// Encodes the record as a line, without a line break.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Self { at, command, fact } = self;
        let mut line = String::with_capacity(USUAL);
        let json = &mut JsonWriter::new(&mut line);
        json.number("{\"v\":", VERSION);
        json.text(",\"kind\":", fact.kind());
        json.flag(",\"critical\":", fact.is_critical());
        json.time(",\"at\":", *at);
        json.text(",\"command\":", command.as_str());
        json.value(",\"data\":", fact);
        json.raw("}");
        line.into_bytes()
    }
}

impl WriteJson for RecordBody {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        match self {
            Self::Opened(data) => data.write_json(json),
            Self::Started(data) => data.write_json(json),
            Self::Finished(data) => data.write_json(json),
            Self::Settled(data) => data.write_json(json),
            Self::Released(data) => json.serialized("", data),
            Self::ClaimExpired(data) => json.serialized("", data),
            Self::CancelRequested(data) => json.serialized("", data),
            Self::Replayed(data) => json.serialized("", data),
            Self::ReplyRequested(data) => json.serialized("", data),
            Self::Conflicted(data) => json.serialized("", data),
            Self::Erased(data) => json.serialized("", data),
            Self::Prompted(data) => json.serialized("", data),
        }
    }
}

impl LedgerLine {
    /// Encodes a marker as a line, without a line break.
    #[must_use]
    pub fn marker_line(at: Timestamp) -> Vec<u8> {
        let written = WrittenLine {
            v: VERSION,
            kind: MARKER,
            critical: false,
            at,
            command: None,
            job: None,
            data: &(),
        };
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// Decodes a line.
    ///
    /// # Errors
    /// [`UnreadableLine`]: the line is not JSON, or a known kind without its fields.
    pub fn decode(line: &[u8]) -> Result<Self, UnreadableLine> {
        let ParsedLine { kind, critical, command, job, at, data } = serde_json::from_slice(line)?;
        if kind == MARKER {
            return Ok(Self::Marker);
        }
        let text = data.map_or("null", RawValue::get);
        let body = match kind.as_str() {
            "opened" => RecordBody::Opened(serde_json::from_str(text)?),
            "started" => RecordBody::Started(serde_json::from_str(text)?),
            "released" => RecordBody::Released(serde_json::from_str(text)?),
            "claim_expired" => RecordBody::ClaimExpired(serde_json::from_str(text)?),
            "finished" => RecordBody::Finished(serde_json::from_str(text)?),
            "settled" => RecordBody::Settled(serde_json::from_str(text)?),
            "cancel_requested" => RecordBody::CancelRequested(serde_json::from_str(text)?),
            "replayed" => RecordBody::Replayed(serde_json::from_str(text)?),
            "reply_requested" => RecordBody::ReplyRequested(serde_json::from_str(text)?),
            "conflicted" => RecordBody::Conflicted(serde_json::from_str(text)?),
            "erased" => RecordBody::Erased(serde_json::from_str(text)?),
            "prompted" => RecordBody::Prompted(serde_json::from_str(text)?),
            _ => return Self::decode_job(kind, command, critical, (job, at, text)),
        };
        let command = command
            .ok_or_else(|| <serde_json::Error as serde::de::Error>::missing_field("command"))?;
        Ok(Self::Record(Box::new(Record { at, command, fact: body })))
    }

    /// Decodes a line of a kind that is about no command.
    fn decode_job(
        kind: String,
        command: Option<CommandId>,
        critical: bool,
        (job, at, text): (Option<&RawValue>, Timestamp, &str),
    ) -> Result<Self, UnreadableLine> {
        let change = match kind.as_str() {
            "job_started" => JobChange::Started(serde_json::from_str(text)?),
            "job_taken" => JobChange::Taken(serde_json::from_str(text)?),
            "job_progress" => JobChange::Progressed(serde_json::from_str(text)?),
            "job_paused" => JobChange::Paused(serde_json::from_str(text)?),
            "job_resumed" => JobChange::Resumed(serde_json::from_str(text)?),
            "job_stopped" => JobChange::Stopped(serde_json::from_str(text)?),
            "job_ended" => JobChange::Ended(serde_json::from_str(text)?),
            _ => return Ok(Self::Foreign { kind, command, critical }),
        };
        let job =
            job.ok_or_else(|| <serde_json::Error as serde::de::Error>::missing_field("job"))?;
        Ok(Self::Job(Box::new(JobRecord { at, job: serde_json::from_str(job.get())?, change })))
    }
}

impl JobRecord {
    /// Encodes the record as a line, without a line break.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match &self.change {
            JobChange::Started(data) => self.write(data),
            JobChange::Taken(data) => self.write(data),
            JobChange::Progressed(data) => self.write(data),
            JobChange::Paused(data) | JobChange::Resumed(data) | JobChange::Stopped(data) => {
                self.write(data)
            }
            JobChange::Ended(data) => self.write(data),
        }
    }

    fn write<T: Serialize>(&self, data: &T) -> Vec<u8> {
        let (kind, at, job) = (self.change.kind(), self.at, Some(self.job));
        // A record is plain data, which always has a JSON form.
        serde_json::to_vec(&WrittenLine {
            v: VERSION,
            kind,
            critical: false,
            at,
            command: None,
            job,
            data,
        })
        .unwrap_or_default()
    }
}

/// A record to be appended.
#[derive(Debug, Clone, PartialEq)]
pub enum AnyRecord {
    /// A record about a command.
    Command(Box<Record>),
    /// A record about a job.
    Job(Box<JobRecord>),
}

impl AnyRecord {
    /// Encodes the record as a line, without a line break.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Command(record) => record.encode(),
            Self::Job(record) => record.encode(),
        }
    }
}

impl From<Record> for AnyRecord {
    fn from(record: Record) -> Self {
        Self::Command(Box::new(record))
    }
}

impl From<JobRecord> for AnyRecord {
    fn from(record: JobRecord) -> Self {
        Self::Job(Box::new(record))
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
