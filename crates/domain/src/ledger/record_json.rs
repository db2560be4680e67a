//! The JSON of the records that each command writes: its start, its end, and what they contain.

use uuid::Uuid;

use super::effects::RecordedEffects;
use super::record::{
    CallGuard, CommandIdentity, DecidedBy, FinishedRecord, OpenedRecord, RecordId, SettledRecord,
    StartedRecord, Step,
};
use crate::json_writer::{JsonWriter, WriteJson};
use crate::key::IdempotencyKey;
use crate::progress::AttemptSummary;

impl WriteJson for Step {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        let Self { generation, attempt, query } = *self;
        json.number("{\"generation\":", generation);
        json.number(",\"attempt\":", attempt);
        if query > 0 {
            json.number(",\"query\":", query);
        }
        json.raw("}");
    }
}

impl WriteJson for RecordId {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        let Self { writer, number } = self;
        json.raw("\"");
        json.raw(writer.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        json.number(".", *number);
        json.raw("\"");
    }
}

impl WriteJson for CommandIdentity {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        let Self { command, content_digest, reply_target, publisher } = self;
        json.value("{\"command\":", command);
        json.text(",\"content_digest\":", content_digest);
        if let Some(target) = reply_target {
            json.serialized(",\"reply_target\":", target);
        }
        json.optional_text(",\"publisher\":", publisher.as_deref());
        json.raw("}");
    }
}

impl WriteJson for CallGuard {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        match *self {
            Self::Key(milliseconds) => json.number("{\"key\":", milliseconds),
            Self::Claim(milliseconds) => json.number("{\"claim\":", milliseconds),
            Self::ReadOnly => return json.raw("\"read_only\""),
        }
        json.raw("}");
    }
}

impl WriteJson for OpenedRecord {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        let Self { identity, step, fresh, recorded, reason, until, submitted_by } = self;
        json.value("{\"identity\":", identity);
        json.value(",\"step\":", step);
        json.flag(",\"fresh\":", *fresh);
        json.raw_if(*recorded, ",\"recorded\":true");
        json.serialized(",\"reason\":", reason);
        if let Some(until) = until {
            json.time(",\"until\":", *until);
        }
        json.optional_text(",\"submitted_by\":", submitted_by.as_deref());
        json.raw("}");
    }
}

impl WriteJson for StartedRecord {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        let Self {
            step,
            identity,
            fresh,
            recorded,
            guard,
            redelivered,
            expired_claim,
            unknown,
            key,
            request_digest,
            token,
            money,
            first_sent,
        } = self;
        json.value("{\"step\":", step);
        if let Some(identity) = identity {
            json.value(",\"identity\":", identity);
        }
        json.flag(",\"fresh\":", *fresh);
        json.raw_if(*recorded, ",\"recorded\":true");
        json.value(",\"guard\":", guard);
        json.raw_if(*redelivered, ",\"redelivered\":true");
        if let Some(claim) = expired_claim {
            json.value(",\"expired_claim\":", claim);
        }
        json.raw_if(*unknown, ",\"unknown\":true");
        json.optional_text(",\"key\":", key.as_ref().map(IdempotencyKey::as_str));
        json.text(",\"request_digest\":", request_digest);
        json.optional_text(",\"token\":", Some(token.as_str()).filter(|token| !token.is_empty()));
        if let Some(money) = money {
            json.serialized(",\"money\":", money);
        }
        if let Some(at) = first_sent {
            json.time(",\"first_sent\":", *at);
        }
        json.raw("}");
    }
}

impl WriteJson for FinishedRecord {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        let Self {
            step,
            identity,
            fresh,
            call,
            unknown,
            not_found,
            retained_message,
            query,
            decided_by,
            effects,
        } = self;
        json.value("{\"step\":", step);
        if let Some(identity) = identity {
            json.value(",\"identity\":", identity);
        }
        json.raw_if(*fresh, ",\"fresh\":true");
        if let Some(call) = call {
            json.value(",\"call\":", call);
        }
        json.raw_if(*unknown, ",\"unknown\":true");
        json.raw_if(*not_found, ",\"not_found\":true");
        if let Some(message) = retained_message {
            json.serialized(",\"retained_message\":", message);
        }
        if let Some(query) = query {
            json.serialized(",\"query\":", query);
        }
        json.value(",\"decided_by\":", decided_by);
        json.value(",\"effects\":", effects);
        json.raw("}");
    }
}

impl WriteJson for DecidedBy {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        match self {
            Self::Holder => json.raw("\"holder\""),
            Self::Canceller(_) | Self::Operator(_) | Self::Job(_) => json.serialized("", self),
        }
    }
}

impl WriteJson for AttemptSummary {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        let Self { attempt, at, duration_ms, outcome, code, http_status, message } = self;
        json.number("{\"attempt\":", *attempt);
        json.time(",\"at\":", *at);
        json.number(",\"duration_ms\":", *duration_ms);
        json.text(",\"outcome\":", outcome.as_str());
        json.optional_text(",\"code\":", code.as_deref());
        if let Some(status) = http_status {
            json.number(",\"http_status\":", *status);
        }
        json.optional_text(",\"message\":", message.as_deref());
        json.raw("}");
    }
}

impl WriteJson for RecordedEffects {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        let Self { event, publish_event, message } = self;
        json.value("{\"event\":", event);
        json.raw_if(*publish_event, ",\"publish_event\":true");
        if let Some(message) = message {
            json.serialized(",\"message\":", message);
        }
        json.raw("}");
    }
}

impl WriteJson for SettledRecord {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        let Self { finished } = self;
        json.value("{\"finished\":", finished);
        json.raw("}");
    }
}
