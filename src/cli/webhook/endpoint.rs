//! Finds the endpoint for a subcommand of `ferryd webhook`.

use crate::cli::error::CommandError;
use crate::cli::loaded_config::LoadedConfig;
use ferryd_domain::name::Name;
use ferryd_provider::{Provider, WebhookReceiver};

/// Finds the endpoint of an account of a provider.
pub(super) fn endpoint<'p>(
    provider: &'p Provider,
    account: Option<&Name>,
) -> Result<&'p dyn WebhookReceiver, CommandError> {
    LoadedConfig::account(provider, account)?.webhook.as_deref().ok_or_else(|| {
        CommandError::Refused(format!(
            "provider `{}` has no endpoint: its file has no [webhook]; see docs/WEBHOOKS.md",
            provider.name
        ))
    })
}
