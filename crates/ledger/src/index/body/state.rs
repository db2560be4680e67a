//! The state of a command in its body, with every type that it is made of.

use super::field::{BodyField, fields, variants};
use super::reader::BodyReader;
use super::writer::BodyWriter;
use ferryd_domain::command::{EchoedIdentity, EncodedIdentity};
use ferryd_domain::conflict::ConflictNote;
use ferryd_domain::dead_letter::DeadLetter;
use ferryd_domain::event::{EncodedEvent, Event, EventData, EventError};
use ferryd_domain::ledger::command_state::{CallPhase, CommandEnding, CommandState};
use ferryd_domain::ledger::content_removal::ContentRemoval;
use ferryd_domain::ledger::effects::{ContinuationEffect, HeaderValue, RecordedEffects};
use ferryd_domain::ledger::job_mark::JobMark;
use ferryd_domain::ledger::prompt::{CommandPrompt, NoticePrompt, PromptNote, QueryNote};
use ferryd_domain::ledger::record::{
    Actor, CallGuard, CommandIdentity, ReplyTarget, RetainedMessage, Step,
};
use ferryd_domain::ledger::transition::StateTransition;
use ferryd_domain::lifecycle::{FailureKind, LifecycleState};
use ferryd_domain::money::MoneyAmount;
use ferryd_domain::outcome::{OutcomeName, WaitingFor};
use ferryd_domain::progress::AttemptSummary;
use ferryd_domain::query::QueryPurpose;

fields! { CommandState {
    identity, step, phase, unknown, key, key_since, first_sent, digest, token, calls, money,
    provider_reference, references, former_reference, deadline, retained_message, asking, ending,
    published_sequence, replies, cancel, blocked, conflicts, removal, prompts, prompted, queries,
    job, history,
} }

fields! { CommandIdentity { command, content_digest, reply_target, publisher } }
fields! { ReplyTarget { reply_to, correlation_id } }
fields! { Step { generation, attempt, query } }

variants! { CallPhase {
    0: Open {},
    1: Started { by: by, guard: guard },
    2: ClaimExpired {},
    3: Decided { by: by, effects: effects },
} }
variants! { CallGuard { 0: Key { 0: span }, 1: Claim { 0: span }, 2: ReadOnly {} } }

fields! { RecordedEffects { event, publish_event, message } }
fields! { ContinuationEffect { exchange, routing_key, headers } }
variants! { HeaderValue { 0: Flag { 0: flag }, 1: Number { 0: number }, 2: Text { 0: text } } }

fields! { CommandEnding { by, event, letter } }
fields! { EventData {
    command, state, generation, attempt, sequence, r#final, result, error, provider_reference,
    waiting_for, next_attempt_at, warnings, occurred_at,
} }
fields! { EventError { kind, code, message, details, http_status, dead_lettered } }

variants! { LifecycleState {
    0: Pending {}, 1: Processing {}, 2: Waiting {}, 3: Failed {}, 4: Completed {},
} }
variants! { FailureKind {
    0: Declined {}, 1: Invalid {}, 2: Rejected {}, 3: Unavailable {}, 4: Expired {},
    5: Unresolved {}, 6: Cancelled {}, 7: Poison {}, 8: Discarded {},
} }
variants! { WaitingFor { 0: Provider {}, 1: Customer {} } }

fields! { DeadLetter {
    command, kind, code, message, http_status, generation, attempt, key, digest, token, unknown,
    first_sent, unknown_since, provider_reference, key_retention_s, expires_at, history,
    first_failed_at, dead_lettered_at, routing_key, publisher, unchecked, host, version,
} }
fields! { AttemptSummary { attempt, at, duration_ms, outcome, code, http_status, message } }
variants! { OutcomeName {
    0: Completed {}, 1: Waiting {}, 2: Declined {}, 3: Rejected {}, 4: Transient {},
    5: Unknown {}, 6: Lookup {},
} }

fields! { MoneyAmount { amount, currency } }
fields! { RetainedMessage { body, message_id, correlation_id } }
fields! { Actor { by, reason } }
fields! { ConflictNote { at, conflict, event, message } }
variants! { ContentRemoval { 0: Aged {}, 1: Erased { at: at, actor: actor } } }
fields! { PromptNote { at, prompt, starts_query } }
variants! { CommandPrompt {
    0: Notice { 0: notice }, 1: Actor { 0: person }, 2: Command { 0: id },
} }
fields! { NoticePrompt { id, event, meaning, verified } }
fields! { QueryNote { at, step, purpose, cause, state, detail, times, latest } }
variants! { QueryPurpose { 0: Poll {}, 1: Lookup {} } }
fields! { JobMark { id, awaits_end } }
fields! { StateTransition { at, state, step, reason, detail, until } }

/// An identity that is the one before is a flag.
impl BodyField for EncodedIdentity {
    fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
        let is_known = body.identity == Some(self);
        body.put_flag(is_known);
        if is_known {
            return;
        }
        body.identity = Some(self);
        let EchoedIdentity { id, r#type, provider, account, operation, reference, metadata } =
            &**self;
        id.put(body);
        for name in [r#type, provider, account, operation] {
            name.put(body);
        }
        reference.put(body);
        metadata.put(body);
    }

    fn take(body: &mut BodyReader<'_>) -> Option<Self> {
        if !body.take_flag()? {
            let identity = EchoedIdentity {
                id: body.take()?,
                r#type: body.take()?,
                provider: body.take()?,
                account: body.take()?,
                operation: body.take()?,
                reference: body.take()?,
                metadata: body.take()?,
            };
            body.identity = Some(identity.into());
        }
        body.identity.clone()
    }
}

/// The JSON form of an event follows from the event.
impl BodyField for EncodedEvent {
    fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
        Event::put(self, body);
    }

    fn take(body: &mut BodyReader<'_>) -> Option<Self> {
        body.take().map(|event: Event| event.into())
    }
}

/// The fields of an event follow from its data, for the most part.
impl BodyField for Event {
    fn put<'a>(&'a self, body: &mut BodyWriter<'a>) {
        let Self {
            specversion,
            id,
            source,
            r#type,
            subject,
            time,
            datacontenttype,
            traceparent,
            tracestate,
            data,
        } = self;
        data.put(body);
        body.put_text(subject);
        body.put_after(subject, id);
        body.put_after(SOURCE, source);
        body.put_after(TYPE, r#type);
        time.put(body);
        specversion.put(body);
        datacontenttype.put(body);
        traceparent.put(body);
        tracestate.put(body);
    }

    fn take(body: &mut BodyReader<'_>) -> Option<Self> {
        let data = body.take()?;
        let subject = body.take_text()?;
        Some(Self {
            data,
            id: body.take_after(&subject)?,
            source: body.take_after(SOURCE)?,
            r#type: body.take_after(TYPE)?,
            time: body.take()?,
            specversion: body.take()?,
            datacontenttype: body.take()?,
            traceparent: body.take()?,
            tracestate: body.take()?,
            subject,
        })
    }
}

const SOURCE: &str = "/ferryd/";
const TYPE: &str = "ferry.command.";
