//! The rules for fresh commands that no message can state itself: a command that names no provider
//! is carried out where the route leads, and an account takes commands of its publishers alone.
//!
//! The broker guarantees both only in part. Before RabbitMQ 4.0.3 topic permissions do not cover
//! the headers `CC` and `BCC`, so a message can reach the queue of a provider that its publisher
//! may not name. The publisher sets the property `user_id`, and RabbitMQ refuses any value but the
//! user of the connection.
//!
//! A command is checked against the rules once, before anything else is done about it. A message
//! that was sent on before that check, or was given up and is replayed, says so in a header of
//! ferryd's own, beside the name of its publisher.

use std::collections::BTreeMap;

use ferryd_domain::command::Command;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::name::Name;
use ferryd_domain::outcome::Failure;
use ferryd_domain::publisher::BoundPrefixes;
use ferryd_provider::registry::ProviderRegistry;
use ferryd_provider::{Account, Provider};

/// The rules by which fresh commands are carried out, or refused.
#[derive(Debug, Clone, Default)]
pub struct PublisherRules {
    /// ferryd's own AMQP user. The messages of this user were authorised before: by the scope of an
    /// API token, or on the command line.
    own_user: Option<String>,
    routes: BTreeMap<Name, Name>,
    bound: BoundPrefixes,
}

impl PublisherRules {
    /// Makes the rules of these providers and routes, for a ferryd with this broker user.
    #[must_use]
    pub fn new(registry: &ProviderRegistry, own_user: Option<String>) -> Self {
        let accounts = registry.iter().flat_map(|provider| provider.accounts.values());
        let bound = BoundPrefixes::of(accounts.filter_map(|account| account.publishers.as_ref()));
        let routes =
            registry.routes().map(|(kind, provider)| (kind.clone(), provider.clone())).collect();
        Self { own_user, routes, bound }
    }

    /// Checks a command in the queue of this provider, for this account of it, against the rules.
    ///
    /// # Errors
    /// The failure, one of the codes `not_routed_here`, `publisher_unknown`,
    /// `publisher_not_allowed`, `id_not_allowed`.
    pub(super) fn check(
        &self,
        command: &Command,
        publisher: Option<&str>,
        provider: &Provider,
        account: &Account,
    ) -> Result<(), Failure> {
        self.check_route(command, &provider.name)?;
        if self.own_user.is_some() && publisher == self.own_user.as_deref() {
            return Ok(());
        }
        check_listed(command, publisher, provider, account)?;
        let Some(prefix) = self.bound.bound_to_others(&command.id, publisher) else {
            return Ok(());
        };
        let message = format!(
            "ids that begin with `{prefix}` are bound to another publisher; send the command under an id of your own, or with \
             the property `user_id` if they are yours"
        );
        Err(Failure::new("id_not_allowed", message))
    }

    /// Explains why a command that comes without a message of this publisher may not bear its id at
    /// this account; `None` where it may.
    #[must_use]
    pub fn refuse_id(
        &self,
        id: &CommandId,
        publisher: Option<&str>,
        account: &Account,
    ) -> Option<String> {
        let own =
            account.publishers.as_ref().zip(publisher).and_then(|(list, user)| list.find(user));
        if let Some(own) = own.filter(|own| !own.may_use(id)) {
            let prefixes = own.id_prefixes.join("`, `");
            return Some(format!(
                "the publisher `{}` only uses ids that begin with `{prefixes}` there",
                own.user
            ));
        }
        let prefix = self.bound.bound_to_others(id, publisher)?;
        Some(format!("ids that begin with `{prefix}` are bound to a publisher"))
    }

    fn check_route(&self, command: &Command, here: &Name) -> Result<(), Failure> {
        if command.provider.is_some() {
            return Ok(());
        }
        let kind = &command.kind;
        let leads = match self.routes.get(kind) {
            Some(provider) if provider == here => return Ok(()),
            Some(provider) => format!("the route of type `{kind}` leads to `{provider}`"),
            None => format!("no route says which provider takes commands of type `{kind}`"),
        };
        let message = format!(
            "the command names no provider and came into the queue of `{here}`, but {leads}: the route was changed meanwhile, an \
             old binding is still there, or the publisher sent it here with the header CC or BCC"
        );
        Err(Failure::new("not_routed_here", message))
    }
}

/// Checks a command against the publishers of its account. The failure lists none of them: a
/// publisher need not know the others.
fn check_listed(
    command: &Command,
    publisher: Option<&str>,
    provider: &Provider,
    account: &Account,
) -> Result<(), Failure> {
    let Some(publishers) = &account.publishers else { return Ok(()) };
    let (provider, account) = (&provider.name, &account.name);
    let Some(user) = publisher else {
        let message = format!(
            "account `{account}` of provider `{provider}` takes commands of certain publishers alone, and the message does not say \
             who sent it; set the AMQP property `user_id` to the user of the connection"
        );
        return Err(Failure::new("publisher_unknown", message));
    };
    let Some(allowed) = publishers.find(user) else {
        let message = format!(
            "user `{user}` may not publish for account `{account}` of provider `{provider}`"
        );
        return Err(Failure::new("publisher_not_allowed", message));
    };
    if allowed.may_use(&command.id) {
        return Ok(());
    }
    let prefixes = allowed.id_prefixes.join("`, `");
    let message = format!(
        "user `{user}` may only use ids that begin with `{prefixes}` at account `{account}` of provider `{provider}`"
    );
    Err(Failure::new("id_not_allowed", message))
}

#[cfg(test)]
#[path = "publisher_rules_tests.rs"]
mod tests;
