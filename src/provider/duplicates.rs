//! What a second copy of a command does at an operation.
//!
//! A provider that offers no idempotency key acts on every call. ferryd never repeats such a call by itself after
//! an outcome
//! nobody knows, and takes a message that the broker marks as delivered before for such an outcome. But a crash of
//! the broker
//! can leave two copies of a message that look alike, and nothing tells the second one from a new command.

use super::{Operation, Provider};
use crate::domain::name::Name;

/// The type of provider that moves money.
const PAYMENT: &str = "payment";

/// How a second copy of a command ends at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repetition {
    /// The provider acts once, because it takes an idempotency key; or not at all, because it is only asked.
    Safe,
    /// The provider may be called twice. The operator accepted that, or no money is moved.
    Tolerated,
    /// Money may be moved twice, and nobody accepted that. Such a provider is not served.
    Refused,
}

/// How a second copy of a command ends at an operation of a provider of this type.
#[must_use]
pub fn repetition(kind: &Name, operation: &Operation) -> Repetition {
    if operation.idempotency.is_some() || operation.repeatable {
        Repetition::Safe
    } else if operation.accept_duplicates || kind.as_str() != PAYMENT {
        Repetition::Tolerated
    } else {
        Repetition::Refused
    }
}

/// The operations of a provider at which a second copy of a command ends in this way.
pub fn operations(provider: &Provider, wanted: Repetition) -> impl Iterator<Item = &Name> {
    let all = provider.operations.iter();
    all.filter(move |(_, operation)| repetition(&provider.kind, operation) == wanted).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::retry::RetryPolicy;
    use crate::provider::{Idempotency, PayloadSchema};

    #[test]
    fn only_payments_without_a_key_that_nobody_accepted_are_refused() {
        let table = [
            // type, key, accept_duplicates, expected
            ("payment", true, false, Repetition::Safe),
            ("payment", true, true, Repetition::Safe),
            ("payment", false, true, Repetition::Tolerated),
            ("payment", false, false, Repetition::Refused),
            ("notification", true, false, Repetition::Safe),
            ("notification", false, false, Repetition::Tolerated),
        ];
        for (kind, key, accept_duplicates, expected) in table {
            let idempotency = key.then_some(Idempotency { retention: Duration::from_hours(24), max_length: None });
            let operation = Operation {
                timeout: std::time::Duration::from_secs(30),
                idempotency,
                retry: RetryPolicy::default(),
                deadline: Duration::from_hours(1),
                poll: None,
                lookup: None,
                payload: PayloadSchema::any(),
                repeatable: false,
                accept_duplicates,
            };
            let kind: Name = kind.parse().unwrap();
            assert_eq!(repetition(&kind, &operation), expected, "{kind} {key} {accept_duplicates}");
        }
    }
}
