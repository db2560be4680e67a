//! The times for which the ledger keeps commands that have ended, and the keys that ask for them.

use std::time::Duration;

use crate::config::{Config, LedgerConfig};
use ferryd_domain::name::Name;
use ferryd_ledger::LedgerRetention;
use ferryd_provider::registry::ProviderRegistry;
use ferryd_provider::{Operation, Provider};
use ferryd_settings::units::format_duration;

/// The time for which the ledger has to keep a command after the last possible change.
const MARGIN: Duration = Duration::from_hours(48);

/// Describes each operation whose commands may still change after the ledger has pruned them, or
/// their contents.
pub(super) fn find_too_short(config: &Config, provider: &Provider) -> Vec<String> {
    let LedgerConfig { duplicate_window, retention, .. } = &config.ledger;
    let kept =
        [("ledger.duplicate_window", Some(*duplicate_window)), ("ledger.retention", *retention)];
    let fault = |(name, operation): (&Name, &Operation)| {
        let (longest, key) = longest_need(operation);
        let least = longest.saturating_add(MARGIN);
        let (too_short, _) = kept.iter().find(|(_, kept)| kept.is_some_and(|kept| kept < least))?;
        Some(format!(
            "provider {}: operations.{name}: the ledger forgets its commands too early; write `{too_short}` of at least {}, \
             which is two days more than its `{key}` ({})",
            provider.name,
            format_duration(least),
            format_duration(longest)
        ))
    };
    provider.operations.iter().filter_map(fault).collect()
}

/// The time for which the ledger keeps contents, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContentRetention {
    /// The time for which contents are kept.
    pub(super) time: Duration,
    /// The key of the configuration or of a provider file that demands it, and the margin on top.
    pub(super) reason: String,
}

/// Returns the time for which contents are kept: as configured, else as long as the providers need.
pub(super) fn content_retention<'p>(
    config: &Config,
    providers: impl IntoIterator<Item = &'p Provider>,
) -> ContentRetention {
    if let Some(time) = config.ledger.retention {
        return ContentRetention { time, reason: "ledger.retention".to_owned() };
    }
    let needs = providers.into_iter().flat_map(|provider| {
        provider.operations.iter().map(move |(name, operation)| {
            let (longest, key) = longest_need(operation);
            (longest, format!("two days more than {key} of {}.{name}", provider.name))
        })
    });
    let retry = (config.retry.give_up_after, "two days more than retry.give_up_after".to_owned());
    let (longest, reason) =
        needs.fold(retry, |most, need| if need.0 > most.0 { need } else { most });
    ContentRetention {
        time: longest.saturating_add(MARGIN).min(config.ledger.duplicate_window),
        reason,
    }
}

/// Returns the times for which the ledger keeps contents, and ids with digests.
pub(super) fn ledger_retention(config: &Config, registry: &ProviderRegistry) -> LedgerRetention {
    let contents = content_retention(config, registry.iter().map(AsRef::as_ref)).time;
    LedgerRetention { contents, duplicate_window: config.ledger.duplicate_window }
}

/// Returns the longest time for which a command of an operation may still change, and the key that
/// sets it.
fn longest_need(operation: &Operation) -> (Duration, &'static str) {
    let keys = operation.idempotency.map_or(Duration::ZERO, |idempotency| idempotency.retention);
    let waits = [
        (operation.retry.give_up_after, "give_up_after"),
        (keys, "idempotency.retention"),
        (operation.deadline, "deadline"),
    ];
    waits.into_iter().max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::loaded_config::cross_file_faults;
    use super::*;
    use crate::cli::fixture;
    use ferryd_provider::IdempotencyPolicy;

    #[test]
    fn the_ledger_remembers_longer_than_anything_may_happen() {
        let hours = Duration::from_hours;
        let table = [
            // give_up_after, key retention, deadline, the least retention of the ledger, the key
            // that demands it
            (72, 24, 48, 120, "two days more than its `give_up_after` (3d)"),
            (24, 72, 48, 120, "two days more than its `idempotency.retention` (3d)"),
            (24, 24, 72, 120, "two days more than its `deadline` (3d)"),
        ];
        for (give_up, keys, deadline, least, reason) in table {
            let mut payments = fixture::payments();
            payments.operations.retain(|name, _| name.as_str() == "charge");
            for operation in payments.operations.values_mut() {
                operation.retry.give_up_after = hours(give_up);
                operation.idempotency =
                    Some(IdempotencyPolicy { retention: hours(keys), max_length: None });
                operation.deadline = hours(deadline);
            }
            let mut config = Config::default();
            (config.ledger.duplicate_window, config.ledger.retention) =
                (hours(least), Some(hours(least)));
            assert_eq!(cross_file_faults(&config, &[&payments]), Vec::<String>::new());
            let too_short = Duration::from_secs(least * 3_600 - 1);
            config.ledger.retention = Some(too_short);
            let found = cross_file_faults(&config, &[&payments]);
            let fault = "provider stripe: operations.charge: the ledger forgets its commands too early; write \
                         `ledger.retention` of at least 5d";
            assert!(
                matches!(&found[..], [one] if one.starts_with(fault) && one.ends_with(reason)),
                "{found:?}"
            );
            (config.ledger.duplicate_window, config.ledger.retention) = (too_short, None);
            let found = cross_file_faults(&config, &[&payments]);
            let fault = fault.replace("retention", "duplicate_window");
            assert!(
                matches!(&found[..], [one] if one.starts_with(&fault) && one.ends_with(reason)),
                "{found:?}"
            );
        }
    }

    #[test]
    fn contents_are_kept_for_as_long_as_the_providers_need() {
        let hours = Duration::from_hours;
        let mut payments = fixture::payments();
        for operation in payments.operations.values_mut() {
            (operation.retry.give_up_after, operation.deadline) = (hours(24), hours(1));
            operation.idempotency =
                Some(IdempotencyPolicy { retention: hours(24), max_length: None });
        }
        let mut config = Config::default();
        let kept = |config: &Config, payments: &Provider| {
            let ContentRetention { time, reason } = content_retention(config, [payments]);
            (time, reason)
        };
        let retry = "two days more than retry.give_up_after".to_owned();
        assert_eq!(kept(&config, &payments), (hours(72), retry));
        payments.operations.get_mut(&"charge".parse::<Name>().unwrap()).unwrap().deadline =
            hours(24 * 7);
        let deadline = "two days more than deadline of stripe.charge".to_owned();
        assert_eq!(kept(&config, &payments), (hours(24 * 9), deadline));
        config.ledger.retention = Some(hours(24 * 30));
        assert_eq!(kept(&config, &payments), (hours(24 * 30), "ledger.retention".to_owned()));
    }
}
