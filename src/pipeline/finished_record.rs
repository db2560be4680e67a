//! The record of a decision about a message.

use lapin::types::ShortString;

use super::incoming_message::IncomingMessage;
use ferryd_domain::ledger::effects::RecordedEffects;
use ferryd_domain::ledger::record::{DecidedBy, FinishedRecord, MadeQuery, RetainedMessage};
use ferryd_domain::lifecycle::Decision;
use ferryd_domain::progress::AttemptSummary;

/// Makes the record that a step of a message is decided.
pub(super) fn finished_record(
    message: &IncomingMessage,
    known: bool,
    kept: Option<Box<RetainedMessage>>,
    effects: RecordedEffects,
) -> FinishedRecord {
    let progress = &message.state.progress;
    let called =
        |call: &&AttemptSummary| progress.query.is_none() && call.attempt == progress.attempt;
    let call = progress.history.last().filter(called).cloned();
    // Once a call was made, its recorded start has identified the command.
    let is_identified = known && (call.is_some() || !message.fresh);
    FinishedRecord {
        step: message.step(),
        identity: (!is_identified).then(|| message.command_identity().clone()),
        fresh: message.fresh,
        call,
        unknown: progress.unknown,
        // A lookup is only made where a call may have acted.
        not_found: progress.is_looked_up() && !progress.unknown,
        retained_message: kept,
        query: progress.query.map(|provider_query| MadeQuery {
            purpose: provider_query.purpose,
            early: provider_query.planned.is_some(),
        }),
        decided_by: DecidedBy::Holder,
        effects,
    }
}

/// Keeps the message of a command that begins to wait, so that its provider can be queried before
/// the planned time.
pub(super) fn retained_message(
    message: &IncomingMessage,
    decision: &Decision,
) -> Option<Box<RetainedMessage>> {
    let waits = matches!(decision, Decision::Wait(_) | Decision::Query(..));
    (waits && message.state.progress.query.is_none()).then(|| {
        let text = |property: &Option<ShortString>| property.as_ref().map(ToString::to_string);
        Box::new(RetainedMessage {
            body: String::from_utf8_lossy(&message.body).into_owned(),
            message_id: text(message.properties.message_id()),
            correlation_id: text(message.properties.correlation_id()),
        })
    })
}
