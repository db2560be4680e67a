//! Records a command that is submitted to the API, and builds its message.

use jiff::Timestamp;
use lapin::types::FieldTable;

use super::commands::{CommandServiceError, CommandSubmission, SubmitResult};
use ferryd_broker::headers::put_trace;
use ferryd_broker::message::{
    OutgoingMessage, TextTooLong, persistent_properties, set_user, short_string,
};
use ferryd_broker::topology::TopologyNames;
use ferryd_domain::command::ANY;
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::next_action::{NextAction, RulingRole, next_action};
use ferryd_domain::ledger::record::{
    CommandIdentity, OpenedRecord, Record, RecordBody, Step, WaitReason,
};
use ferryd_domain::ledger::ruling::Ruling;
use ferryd_domain::name::Name;
use ferryd_ledger::Ledger;

/// Returns what a ruling says of a submitted command; `None` where it is to be published.
pub(super) fn follow(ruling: Ruling) -> Option<SubmitResult> {
    match next_action(RulingRole::Submitter, ruling) {
        NextAction::Proceed(_) => None,
        NextAction::Conflict => Some(SubmitResult::OtherContent),
        NextAction::Answer(event) => Some(SubmitResult::Ended(event)),
        NextAction::Wait(kind) => Some(SubmitResult::Blocked(kind)),
        _ => Some(SubmitResult::UnderWay),
    }
}

/// Returns true where a process has taken up the message of a command, so that the message exists.
/// Before that it may never have been published: the process that recorded the command may have
/// died.
pub(super) fn is_taken_up(state: &CommandState) -> bool {
    state
        .history
        .iter()
        .any(|transition| !matches!(transition.reason.as_str(), "submitted" | "cancel_requested"))
}

/// Builds the message of a command that ferryd itself publishes, as this user of the broker.
pub(super) fn message(
    names: &TopologyNames,
    user: Option<&str>,
    submission: CommandSubmission,
) -> Result<OutgoingMessage, TextTooLong> {
    let CommandSubmission { command, body, trace, .. } = submission;
    let provider = command.provider.as_ref().map_or(ANY, Name::as_str);
    let key = format!("{}.{provider}.{}", command.kind, command.operation);
    let mut headers = FieldTable::default();
    put_trace(&mut headers, &trace);
    let properties = persistent_properties()
        .with_content_type("application/json".into())
        .with_message_id(short_string(command.id.as_str())?)
        .with_timestamp(u64::try_from(Timestamp::now().as_second()).unwrap_or_default())
        .with_headers(headers);
    let properties = set_user(properties, user)?;
    Ok(OutgoingMessage {
        exchange: short_string(names.commands())?,
        routing_key: short_string(&key)?,
        properties,
        body: body.into(),
    })
}

/// Records a command that `user` of the broker is going to publish. Returns what is known of it; `None` where it is to be published.
pub(super) async fn record_submission(
    ledger: &Ledger,
    user: Option<&str>,
    submission: &CommandSubmission,
) -> Result<Option<SubmitResult>, CommandServiceError> {
    let CommandSubmission { command, provider, by, .. } = submission;
    let command_identity = CommandIdentity {
        publisher: user.map(str::to_owned),
        ..CommandIdentity::of(command, provider)
    };
    let step = Step::call(0, 1);
    let (reason, by) = (WaitReason::Submitted, Some(by.clone()));
    let opened = OpenedRecord {
        identity: command_identity,
        step,
        fresh: true,
        recorded: false,
        reason,
        until: None,
        submitted_by: by,
    };
    let record = Record {
        at: Timestamp::now(),
        command: command.id.clone(),
        fact: RecordBody::Opened(Box::new(opened)),
    };
    let known = follow(ledger.append(record).await?.ruling);
    let taken_up = || {
        ledger
            .command_state(&command.id)
            .is_some_and(|state| is_taken_up(&state))
            .then_some(SubmitResult::UnderWay)
    };
    Ok(known.or_else(taken_up))
}
