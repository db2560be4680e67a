//! Compiles the table `[inbound]` into a queue of answers.

use super::compile_notices::{NoticeSource, compile_reader};
use super::file::TrustFile;
use super::fixed_scheme::SecretsOfFile;
use super::inbound::InboundQueue;
use super::inbound_file::InboundFile;
use super::notice::{CommandNaming, NoticeReader};
use super::notice_meaning::NoticeMeaningName;
use crate::account::AccountValues;
use crate::rest::expression::{ExpressionScope, KnownVariables};
use crate::rest::text::TextTemplate;
use ferryd_settings::findings::SettingsCursor;

/// The most bytes of a queue's name (AMQP 0-9-1, short string).
const LONGEST_NAME: usize = 255;

/// The property of an answer that names the message it answers.
const CORRELATION_ID: &str = "{{ headers['correlation-id'] }}";

/// Compiles the table for an account. Faults are reported at `place`.
pub(crate) fn compile_inbound(
    file: &InboundFile,
    secrets: SecretsOfFile<'_>,
    account: &AccountValues<'_>,
    place: &SettingsCursor<'_>,
) -> Option<InboundQueue> {
    if !file.trusted {
        place.key("trusted").refuse(
            "is not true: messages carry no signature, and anybody who may write to the queue could end commands; let only \
             the provider write to it, and write `trusted = true`",
        );
    }
    for (number, on) in file.on.iter().enumerate() {
        if on.r#as == NoticeMeaningName::Lookup {
            place.key("on").item(number).key("as").refuse(
                "looks commands up, and a broker answers no lookup; write the meaning of the message",
            );
        }
    }
    let queue = queue_name(file.queue.as_deref(), account, &place.key("queue"));
    let correlation_id = CORRELATION_ID.to_owned();
    // A reference alone is a choice, too: the property may then be an id of the provider's own.
    let by_default = file.reference.is_none().then_some(&correlation_id);
    let source = NoticeSource {
        each: file.each.as_ref(),
        event: file.event.as_ref(),
        id: file.id.as_ref(),
        command: file.command.as_ref().or(by_default),
        reference: file.reference.as_ref(),
        trust: TrustFile::Signature,
        on: &file.on,
    };
    let known = KnownVariables::in_webhook(secrets.names);
    let naming = match file.command {
        Some(_) => CommandNaming::IdOrMessageId,
        None => CommandNaming::MessageId,
    };
    let reading = NoticeReader { naming, ..compile_reader(source, &known, place) };
    Some(InboundQueue { queue: queue?, reading, secrets: secrets.secrets.variable() })
}

fn queue_name(
    text: Option<&str>,
    account: &AccountValues<'_>,
    place: &SettingsCursor<'_>,
) -> Option<String> {
    let Some(text) = text else {
        place
            .refuse("is missing; write the queue at the provider's broker, such as `shop.answers`");
        return None;
    };
    let known = KnownVariables::in_base_url(account.names);
    let text = place.check(TextTemplate::compile(text, &known))?;
    let scope = ExpressionScope::new([("account", account.variable().into())]);
    let name = text.string(&scope).ok().flatten().unwrap_or_default();
    if name.is_empty() || name.len() > LONGEST_NAME {
        place.refuse("is no queue's name; write 1 to 255 bytes");
        return None;
    }
    Some(name)
}

#[cfg(test)]
#[path = "compile_inbound_tests.rs"]
mod tests;
