//! Checks of a command against the provider it arrived at: its account, its publisher, its
//! operation and payload.

use super::publisher_rules::PublisherRules;
use ferryd_broker::headers::MessageState;
use ferryd_domain::command::Command;
use ferryd_domain::name::Name;
use ferryd_domain::outcome::Failure;
use ferryd_provider::{Account, Operation, Provider};

/// Describes an account that a provider does not have. The failure names none of its accounts: a
/// publisher need not know them.
pub(super) fn unknown_account(provider: &Provider, account: &Name) -> Failure {
    Failure::new(
        "unknown_account",
        format!("provider `{}` has no account `{account}`", provider.name),
    )
}

/// Checks a command against the provider it arrived at.
pub(crate) fn check<'a>(
    command: &Command,
    provider: &'a Provider,
) -> Result<&'a Operation, Failure> {
    check_account(command, provider)?;
    check_operation(command, provider)
}

/// Checks that a command is for the provider it arrived at, and finds its account.
pub(super) fn check_account<'a>(
    command: &Command,
    provider: &'a Provider,
) -> Result<&'a Account, Failure> {
    let Provider { name, kind, accounts, .. } = provider;
    if command.kind != *kind {
        let message = format!("provider `{name}` is of type `{kind}`, not `{}`", command.kind);
        return Err(Failure::new("type_mismatch", message));
    }
    if command.provider.as_ref().is_some_and(|named| named != name) {
        return Err(Failure::new(
            "key_mismatch",
            format!("arrived on the queue of provider `{name}`"),
        ));
    }
    accounts
        .get(&command.account)
        .map(AsRef::as_ref)
        .ok_or_else(|| unknown_account(provider, &command.account))
}

/// Checks a command against the rules for publishers, unless that was done before.
pub(super) fn check_publisher(
    command: &Command,
    provider: &Provider,
    rules: &PublisherRules,
    state: &mut MessageState,
) -> Result<(), Failure> {
    let account = check_account(command, provider)?;
    if state.unchecked {
        rules.check(command, state.publisher.as_deref(), provider, account)?;
        state.unchecked = false;
    }
    Ok(())
}

/// Checks that the provider has the operation that a command names.
pub(super) fn check_operation<'a>(
    command: &Command,
    provider: &'a Provider,
) -> Result<&'a Operation, Failure> {
    let operation = find_operation(command, provider)?;
    let faults = operation.payload.check(&command.payload);
    if faults.is_empty() {
        Ok(operation)
    } else {
        Err(Failure::new("invalid_payload", faults.join("; ")))
    }
}

/// Finds the operation of a provider that a command names.
pub(super) fn find_operation<'a>(
    command: &Command,
    provider: &'a Provider,
) -> Result<&'a Operation, Failure> {
    let Provider { name, operations, .. } = provider;
    operations.get(&command.operation).ok_or_else(|| {
        let known: Vec<_> = operations.keys().map(ToString::to_string).collect();
        let message = format!(
            "provider `{name}` has no operation `{}`; it has {}",
            command.operation,
            known.join(", ")
        );
        Failure::new("unknown_operation", message)
    })
}
