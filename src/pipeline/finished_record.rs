//! The record of a decision about a message.

use lapin::types::ShortString;

use super::parcel::Parcel;
use ferryd_domain::ledger::effects::RecordedEffects;
use ferryd_domain::ledger::record::{By, Finished, Kept, MadeQuery};
use ferryd_domain::lifecycle::Decision;
use ferryd_domain::progress::Attempted;

/// Makes the record that a step of a message is decided.
pub(super) fn finished(parcel: &Parcel, known: bool, kept: Option<Box<Kept>>, effects: RecordedEffects) -> Finished {
    let progress = &parcel.travel.progress;
    let called = |call: &&Attempted| progress.inquiry.is_none() && call.attempt == progress.attempt;
    let call = progress.history.last().filter(called).cloned();
    // Once a call was made, its recorded start has identified the command.
    let told = known && (call.is_some() || !parcel.fresh);
    Finished {
        step: parcel.step(),
        opening: (!told).then(|| parcel.opening().clone()),
        fresh: parcel.fresh,
        call,
        unknown: progress.unknown,
        // A lookup is only made where a call may have acted.
        absent: progress.is_looked_up() && !progress.unknown,
        kept,
        query: progress.inquiry.map(|inquiry| MadeQuery { purpose: inquiry.purpose, early: inquiry.planned.is_some() }),
        by: By::Holder,
        effects,
    }
}

/// Keeps the message of a command that begins to wait, so that its provider can be queried before
/// the planned time.
pub(super) fn kept(parcel: &Parcel, decision: &Decision) -> Option<Box<Kept>> {
    let waits = matches!(decision, Decision::Wait(_) | Decision::Inquire(..));
    (waits && parcel.travel.progress.inquiry.is_none()).then(|| {
        let text = |property: &Option<ShortString>| property.as_ref().map(ToString::to_string);
        Box::new(Kept {
            body: String::from_utf8_lossy(&parcel.body).into_owned(),
            message_id: text(parcel.properties.message_id()),
            correlation_id: text(parcel.properties.correlation_id()),
        })
    })
}
