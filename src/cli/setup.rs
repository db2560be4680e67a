//! What most commands begin with: the configuration and the provider files.

use std::path::Path;

use super::error::CommandError;
use crate::config::Config;
use crate::provider::Provider;
use crate::provider::duplicates::{self, Repetition};
use crate::provider::registry::Registry;

/// Everything that was configured.
pub struct Setup {
    /// The daemon's settings.
    pub config: Config,
    /// The providers.
    pub registry: Registry,
}

impl Setup {
    /// Reads the configuration and every provider file.
    ///
    /// # Errors
    /// Every fault found.
    pub fn load(path: Option<&Path>) -> Result<Self, CommandError> {
        let config = Config::load(path)?;
        let registry = Registry::load(&config.providers.dir, &config.provider_defaults(), config.routes.clone())?;
        Ok(Self { config, registry })
    }

    /// The providers, by name.
    pub fn providers(&self) -> Vec<&Provider> {
        self.registry.iter().map(AsRef::as_ref).collect()
    }

    /// What keeps the daemon from serving these providers although each file is right by itself: one line for each fault.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        self.providers().into_iter().flat_map(refused).collect()
    }

    /// Reads everything, and refuses what the daemon would not serve.
    ///
    /// # Errors
    /// Every fault found.
    pub fn load_servable(path: Option<&Path>) -> Result<Self, CommandError> {
        let setup = Self::load(path)?;
        let refusals = setup.refusals();
        if refusals.is_empty() { Ok(setup) } else { Err(CommandError::Providers(refusals)) }
    }
}

/// Where money may be moved twice and nobody accepted that.
pub(super) fn refused(provider: &Provider) -> Vec<String> {
    let text = |operation| {
        format!(
            "provider {}: operations.{operation}: moves money and has no idempotency key, so a command that the broker copies may be paid \
             twice; write `idempotency`, or `accept_duplicates = true` to accept that",
            provider.name
        )
    };
    duplicates::operations(provider, Repetition::Refused).map(text).collect()
}

/// Where something may be done twice.
pub(super) fn warnings(provider: &Provider) -> Vec<String> {
    let text = |operation| {
        format!(
            "provider {}: operations.{operation}: has no idempotency key; for a command that the broker copies it may be called twice",
            provider.name
        )
    };
    duplicates::operations(provider, Repetition::Tolerated).map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture;

    #[test]
    fn payments_that_may_be_made_twice_are_refused_and_the_rest_is_warned_of() {
        let (payments, messages) = (fixture::payments(), fixture::messages());
        let table = [
            (refused(&payments), Some("provider stripe: operations.payout: moves money")),
            (warnings(&payments), Some("provider stripe: operations.tip: has no idempotency key")),
            (refused(&messages), None),
            (warnings(&messages), Some("provider twilio: operations.send_sms: has no idempotency key")),
        ];
        for (lines, start) in table {
            assert_eq!(lines.len(), usize::from(start.is_some()), "{lines:?}");
            assert!(lines.iter().zip(start).all(|(line, start)| line.starts_with(start)), "{lines:?}");
        }
    }
}
