//! The commands that a caller may see or operate: by type, provider and account.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::command::EchoedIdentity;
use super::name::Name;

/// A set of commands. Every list that is given has to name the command's own; without any list all
/// commands are in it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CommandScope {
    /// The types. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types: Option<BTreeSet<Name>>,
    /// The providers. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub providers: Option<BTreeSet<Name>>,
    /// The accounts, each as `provider/account`, such as `stripe/default`. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accounts: Option<BTreeSet<AccountPath>>,
}

/// An account with its provider: `stripe/eu`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[a-z][a-z0-9_-]{0,62}/[a-z][a-z0-9_-]{0,62}$"))]
pub struct AccountPath {
    /// The provider.
    pub provider: Name,
    /// The account.
    pub account: Name,
}

/// An error: a text is not an [`AccountPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no account: write its provider and its name, such as stripe/default")]
pub struct InvalidAccountPath;

impl CommandScope {
    /// Returns true if the scope admits every command.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }

    /// Returns true if the scope admits a command. A command whose type, provider or account is
    /// unknown is in no scope that limits it.
    #[must_use]
    pub fn admits(&self, command: &EchoedIdentity) -> bool {
        let EchoedIdentity { r#type, provider, account, .. } = command;
        let [r#type, provider, account] =
            [r#type, provider, account].map(|name| name.as_ref().map(Name::as_str));
        self.admits_names(r#type, provider, account)
    }

    /// Returns true if the scope admits a command of these names.
    #[must_use]
    pub fn admits_names(
        &self,
        r#type: Option<&str>,
        provider: Option<&str>,
        account: Option<&str>,
    ) -> bool {
        let names = |list: &Option<BTreeSet<Name>>, name: Option<&str>| {
            list.as_ref().is_none_or(|list| list.iter().any(|listed| Some(listed.as_str()) == name))
        };
        let is_account = |path: &AccountPath| {
            Some(path.provider.as_str()) == provider && Some(path.account.as_str()) == account
        };
        names(&self.types, r#type)
            && names(&self.providers, provider)
            && self.accounts.as_ref().is_none_or(|accounts| accounts.iter().any(is_account))
    }
}

impl CommandScope {
    /// Returns whether every command of another scope is certainly in this one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let providers = |wanted: &BTreeSet<Name>| {
            let named =
                other.providers.as_ref().is_some_and(|providers| providers.is_subset(wanted));
            let of_accounts = |accounts: &BTreeSet<AccountPath>| {
                accounts.iter().all(|path| wanted.contains(&path.provider))
            };
            named || other.accounts.as_ref().is_some_and(of_accounts)
        };
        is_within(other.types.as_ref(), self.types.as_ref())
            && self.providers.as_ref().is_none_or(providers)
            && is_within(other.accounts.as_ref(), self.accounts.as_ref())
    }
}

/// Returns whether everything that one list allows is allowed by another; none allows all.
fn is_within<T: Ord>(list: Option<&BTreeSet<T>>, allowed: Option<&BTreeSet<T>>) -> bool {
    allowed.is_none_or(|allowed| list.is_some_and(|list| list.is_subset(allowed)))
}

impl FromStr for AccountPath {
    type Err = InvalidAccountPath;

    fn from_str(text: &str) -> Result<Self, InvalidAccountPath> {
        let (provider, account) = text.split_once('/').ok_or(InvalidAccountPath)?;
        let name = |text: &str| text.parse().map_err(|_| InvalidAccountPath);
        Ok(Self { provider: name(provider)?, account: name(account)? })
    }
}

impl TryFrom<String> for AccountPath {
    type Error = InvalidAccountPath;

    fn try_from(text: String) -> Result<Self, InvalidAccountPath> {
        text.parse()
    }
}

impl From<AccountPath> for String {
    fn from(path: AccountPath) -> Self {
        path.to_string()
    }
}

impl fmt::Display for AccountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_in_a_scope_where_every_list_that_is_given_names_it() {
        let scope = |text: &str| -> CommandScope { serde_json::from_str(text).unwrap() };
        let stripe = (Some("payment"), Some("stripe"), Some("eu"));
        let twilio = (Some("notification"), Some("twilio"), Some("eu"));
        let unknown = (None, None, None);
        for (text, admitted) in [
            ("{}", [true, true, true]),
            (r#"{"types":["payment"]}"#, [true, false, false]),
            (r#"{"providers":["stripe","twilio"]}"#, [true, true, false]),
            (r#"{"accounts":["twilio/eu","stripe/us"]}"#, [false, true, false]),
            (r#"{"types":["payment"],"providers":["twilio"]}"#, [false, false, false]),
            (r#"{"types":["payment"],"accounts":["stripe/eu"]}"#, [true, false, false]),
            (r#"{"accounts":[]}"#, [false, false, false]),
        ] {
            let scope = scope(text);
            let found = [stripe, twilio, unknown]
                .map(|(kind, provider, account)| scope.admits_names(kind, provider, account));
            assert_eq!(found, admitted, "{text}");
            assert_eq!(scope.is_unlimited(), text == "{}");
        }
    }

    #[test]
    fn a_scope_covers_another_where_every_command_of_that_is_certainly_in_it() {
        let scope = |text: &str| -> CommandScope { serde_json::from_str(text).unwrap() };
        for (wide, narrow, covers) in [
            ("{}", "{}", true),
            ("{}", r#"{"providers":["stripe"]}"#, true),
            (r#"{"providers":["stripe"]}"#, "{}", false),
            (r#"{"providers":["stripe","twilio"]}"#, r#"{"providers":["stripe"]}"#, true),
            (r#"{"providers":["stripe"]}"#, r#"{"providers":["stripe","twilio"]}"#, false),
            (r#"{"providers":["stripe"]}"#, r#"{"accounts":["stripe/eu"]}"#, true),
            (r#"{"providers":["stripe"]}"#, r#"{"accounts":["twilio/eu"]}"#, false),
            (r#"{"types":["payment"]}"#, r#"{"providers":["stripe"]}"#, false),
            (r#"{"types":["payment"]}"#, r#"{"types":["payment"],"providers":["stripe"]}"#, true),
            (r#"{"accounts":["stripe/eu"]}"#, r#"{"providers":["stripe"]}"#, false),
            (r#"{"accounts":["stripe/eu","stripe/us"]}"#, r#"{"accounts":["stripe/us"]}"#, true),
        ] {
            assert_eq!(scope(wide).covers(&scope(narrow)), covers, "{wide} {narrow}");
        }
    }

    #[test]
    fn an_account_has_a_provider() {
        assert_eq!("stripe/eu".parse::<AccountPath>().unwrap().to_string(), "stripe/eu");
        for text in ["stripe", "stripe/", "/eu", "stripe/eu/x", "Stripe/eu", ""] {
            assert!(text.parse::<AccountPath>().is_err(), "{text}");
        }
    }
}
