//! Masks the values of a command's payload that a webhook echoes.

use super::log::mask_of_notices;
use super::webhook_handler::WebhookHandler;
use ferryd_broker::webhook_message::WebhookMessage;
use ferryd_domain::command::{Command, CommandEnvelope, EncodedIdentity};
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::webhook::WebhookNotice;
use ferryd_provider::Provider;
use ferryd_redact::{Mask, MaskableValue as _};

impl WebhookHandler {
    /// Makes the mask for what is published about a call. The mask also hides the sensitive values
    /// in the payloads of the commands that the call is about, where the ledger keeps them: while a
    /// command waits, at an operation with a lookup.
    pub(super) fn mask_of_commands(
        &self,
        webhook: &WebhookMessage,
        commands: &[EncodedIdentity],
    ) -> Mask {
        let mask = mask_of_notices(&self.lanes, webhook);
        let cases = commands
            .iter()
            .filter_map(|command| self.pipeline.ledger_gate.command_state(&command.id));
        let values: Vec<_> =
            cases.flat_map(|state| sensitive_values(&self.provider, &state)).collect();
        if values.is_empty() { mask } else { mask.with_values(&values) }
    }
}

/// Masks the published parts of a notice. Its reference and amount stay: the reference identifies
/// the command, and the amount is compared.
pub(super) fn mask_echoes(notice: &WebhookNotice, mask: &Mask) -> WebhookNotice {
    let (reference, amount) = (notice.reference.clone(), notice.amount.clone());
    WebhookNotice { reference, amount, ..notice.clone().masked(mask) }
}

/// Lists the sensitive values in the payload of a command whose message the ledger keeps.
fn sensitive_values(provider: &Provider, state: &CommandState) -> Vec<String> {
    let Some(kept) = &state.retained_message else { return Vec::new() };
    let envelope =
        CommandEnvelope { message_id: kept.message_id.as_deref(), ..CommandEnvelope::default() };
    let Ok(command) = Command::decode(kept.body.as_bytes(), envelope) else { return Vec::new() };
    let operation = provider.operations.get(&command.operation);
    operation
        .map(|operation| operation.payload.sensitive_values(&command.payload))
        .unwrap_or_default()
}
