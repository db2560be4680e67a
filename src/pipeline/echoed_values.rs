//! Masks the values of a command's payload that a webhook call echoes.

use super::callbacks::Callbacks;
use super::log::mask_of_notices;
use ferryd_broker::callback::Callback;
use ferryd_domain::callback::Notice;
use ferryd_domain::command::{Command, Envelope, Identity};
use ferryd_domain::ledger::case::Case;
use ferryd_provider::Provider;
use ferryd_redact::{Mask, MaskableValue as _};

impl Callbacks {
    /// Makes the mask for what is published about a call. The mask also hides the sensitive values
    /// in the payloads of the commands that the call is about, where the ledger keeps them: while a
    /// command waits, at an operation with a lookup.
    pub(super) fn mask_of_commands(&self, callback: &Callback, commands: &[Identity]) -> Mask {
        let mask = mask_of_notices(&self.lanes, callback);
        let cases = commands.iter().filter_map(|command| self.pipeline.memory.case(&command.id));
        let values: Vec<_> = cases.flat_map(|case| sensitive_values(&self.provider, &case)).collect();
        if values.is_empty() { mask } else { mask.with_values(&values) }
    }
}

/// Masks the published parts of a notice. Its reference and amount stay: the reference identifies
/// the command, and the amount is compared.
pub(super) fn mask_echoes(notice: &Notice, mask: &Mask) -> Notice {
    let (reference, amount) = (notice.reference.clone(), notice.amount.clone());
    Notice { reference, amount, ..notice.clone().masked(mask) }
}

/// Lists the sensitive values in the payload of a command whose message the ledger keeps.
fn sensitive_values(provider: &Provider, case: &Case) -> Vec<String> {
    let Some(kept) = &case.kept else { return Vec::new() };
    let envelope = Envelope { message_id: kept.message_id.as_deref(), ..Envelope::default() };
    let Ok(command) = Command::decode(kept.body.as_bytes(), envelope) else { return Vec::new() };
    let operation = provider.operations.get(&command.operation);
    operation.map(|operation| operation.payload.sensitive_values(&command.payload)).unwrap_or_default()
}
