//! Accounts: the credentials with which a provider is called.
//!
//! A provider file without `accounts_dir` has one account, `default`, with the secrets of the file
//! itself. With `accounts_dir`, every file of that folder is an account, named like the file; its
//! values override `[secrets]` and `[account]` of the provider file, which all accounts share. All
//! accounts must state the same names, so that every value the provider file names exists for each
//! account.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use minijinja::Value;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value as Json;
use url::Url;

use super::publishers::{PublisherFile, compile_publishers};
use super::registry::files;
use super::rest::expression::NAME;
use super::rest::file::ProviderFile;
use super::webhook::InboundQueue;
use super::{Adapter, WebhookReceiver};
use ferryd_domain::name::Name;
use ferryd_domain::publisher::PublisherList;
use ferryd_settings::diagnostic::Diagnostic;
use ferryd_settings::findings::{FindingList, SettingsCursor};
use ferryd_settings::reading::read_value;
use ferryd_settings::schema_check;
use ferryd_settings::source::SettingsSource;

static SCHEMA: LazyLock<Json> = LazyLock::new(|| schemars::schema_for!(AccountFile).to_value());

/// The JSON Schema of account files, with which editors complete and validate account files.
#[must_use]
pub fn account_schema() -> &'static Json {
    &SCHEMA
}

/// A provider with the credentials of one account.
#[derive(Clone)]
pub struct Account {
    /// The account's name.
    pub name: Name,
    /// The provider's adapter, with this account's secrets.
    pub adapter: Arc<dyn Adapter>,
    /// Verifies the account's webhooks; `None` where the provider has no endpoint.
    pub webhook: Option<Arc<dyn WebhookReceiver>>,
    /// The queue of the account's answers at the provider's broker; `None` where there is none.
    pub inbound: Option<Arc<InboundQueue>>,
    /// The AMQP users that may publish commands for the account; `None` where every user may.
    pub publishers: Option<PublisherList>,
    /// The base URL of the provider for this account.
    pub base_url: Url,
    /// The way to the provider.
    pub link: ProviderLink,
    /// Every secret of the account, and the encoded credentials that contain one, so that each is
    /// masked wherever it appears.
    pub secrets: Vec<SecretString>,
}

/// The way to a provider.
#[derive(Debug, Clone)]
pub enum ProviderLink {
    /// HTTPS; each request carries its own authorisation.
    Https,
    /// AMQP 0-9-1 to the provider's broker.
    Amqp {
        /// The user at the broker.
        username: String,
        /// The user's password.
        password: SecretString,
    },
    /// NATS JetStream at the provider's server.
    Nats(NatsLogin),
}

/// The login at a NATS server.
#[derive(Debug, Clone)]
pub enum NatsLogin {
    /// A user with a password.
    User {
        /// The user.
        username: String,
        /// The user's password.
        password: SecretString,
    },
    /// A token.
    Token(SecretString),
}

impl ProviderLink {
    /// Returns the name of the protocol, for people.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Https => "HTTPS",
            Self::Amqp { .. } => "AMQP 0-9-1",
            Self::Nats(_) => "NATS",
        }
    }

    /// Describes how `ferryd check --connect` tries the credentials where the provider file need
    /// not say; `None` where it must.
    #[must_use]
    pub fn verification(&self) -> Option<&'static str> {
        match self {
            Self::Https => None,
            Self::Amqp { .. } => Some("a login at the broker"),
            Self::Nats(_) => Some("a login at the server"),
        }
    }
}

/// An account of a provider of ferryd: its values override those of the provider file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "ferryd account file")]
struct AccountFile {
    /// Secrets by name, as in the provider file; relative paths are resolved against the folder of
    /// this file.
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    /// Values that expressions read as `account.<name>`, such as a region or a shop.
    #[serde(default)]
    account: BTreeMap<String, String>,
    /// The AMQP users that may publish commands for this account, in place of those of the provider
    /// file: names, or tables such as `{ user = "warehouse", ids = ["wh-"] }`. Absent in both:
    /// every user may.
    #[schemars(with = "Vec<PublisherFile>")]
    #[serde(default)]
    publishers: Option<Vec<PublisherFile>>,
}

/// An account as its files state it, before it is compiled.
#[derive(Debug)]
pub(super) struct AccountSpec {
    /// The account's name.
    pub(super) name: Name,
    /// The secrets that the account's own file states.
    pub(super) secrets: BTreeMap<String, String>,
    /// The account's values, those of the provider file included.
    values: BTreeMap<String, String>,
    /// The account's publishers, from its own file or else from the provider file.
    publishers: Option<Vec<PublisherFile>>,
    /// The account's own file; `None` where the provider file itself is the account.
    own: Option<AccountSource>,
}

/// The file of an account, and the faults found in it.
#[derive(Debug)]
struct AccountSource {
    source: SettingsSource,
    folder: PathBuf,
    faults: FindingList,
}

/// The names that every account of a provider must state.
#[derive(Debug, Default)]
pub(super) struct AccountNames {
    /// The names of secrets.
    pub(super) secrets: BTreeSet<String>,
    /// The names of values.
    pub(super) values: BTreeSet<String>,
}

/// The values of an account, as expressions see them.
#[derive(Debug, Clone, Copy)]
pub(super) struct AccountValues<'f> {
    /// The account's name.
    pub(super) name: &'f Name,
    /// The names of values that all accounts of the provider state.
    pub(super) names: &'f BTreeSet<String>,
    of_name: &'f BTreeMap<String, String>,
}

impl AccountValues<'_> {
    /// The variable `account` of expressions.
    pub(super) fn variable(&self) -> Value {
        let name = std::iter::once((NAME, self.name.as_str()));
        Value::from_pairs(
            name.chain(self.of_name.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
        )
    }
}

impl AccountNames {
    /// Collects the names in a provider file and its accounts.
    pub(super) fn of(file: &ProviderFile, accounts: &[AccountSpec]) -> Self {
        let secrets = accounts.iter().flat_map(|account| account.secrets.keys());
        let values = accounts.iter().flat_map(|account| account.values.keys());
        Self {
            secrets: file.secrets.keys().chain(secrets).cloned().collect(),
            values: file.account.keys().chain(values).cloned().collect(),
        }
    }
}

impl AccountSpec {
    /// The only account of a provider file without `accounts_dir`.
    fn whole_file(file: &ProviderFile) -> Self {
        Self {
            name: Name::default_account(),
            secrets: BTreeMap::new(),
            values: file.account.clone(),
            publishers: file.publishers.clone(),
            own: None,
        }
    }

    /// Reads the file of an account.
    fn read(
        path: &Path,
        provider: &ProviderFile,
        root: &SettingsCursor<'_>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let shown = path.display().to_string();
        let refuse = |text: String| vec![Diagnostic::of_file(&shown, None, text)];
        let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        let name = stem
            .parse()
            .map_err(|error| refuse(format!("the file's name is the account's, and {error}")))?;
        let text =
            fs::read_to_string(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
        let source = SettingsSource::parse(&shown, &text)?;
        let faults = root.faults_above();
        let mut value = source.value().clone();
        schema_check::check_schema(&SCHEMA, &mut value, &faults.place());
        let file: AccountFile = read_value(value, &faults.place()).unwrap_or_default();
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut values = provider.account.clone();
        values.extend(file.account);
        let publishers = file.publishers.or_else(|| provider.publishers.clone());
        Ok(Self {
            name,
            secrets: file.secrets,
            values,
            publishers,
            own: Some(AccountSource { source, folder, faults }),
        })
    }

    /// The place at which faults of the account are reported: in its own file, or else in the
    /// provider file.
    pub(super) fn place<'a>(&'a self, root: &SettingsCursor<'a>) -> SettingsCursor<'a> {
        self.own.as_ref().map_or_else(|| root.clone(), |own| own.faults.place())
    }

    /// The folder against which relative paths of the account's own file are resolved.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| own.folder.as_path())
    }

    /// The account's values.
    pub(super) fn values<'a>(&'a self, names: &'a AccountNames) -> AccountValues<'a> {
        AccountValues { name: &self.name, names: &names.values, of_name: &self.values }
    }

    /// The AMQP users that may publish commands for the account; `None` where every user may.
    /// Faults are reported at `place`.
    pub(super) fn publishers(&self, place: &SettingsCursor<'_>) -> Option<PublisherList> {
        self.publishers.as_deref().map(|files| compile_publishers(files, &place.key("publishers")))
    }

    /// Refuses an account that lacks names which another account states, and a value that would
    /// hide the account's name.
    pub(super) fn check(
        &self,
        provider: &ProviderFile,
        names: &AccountNames,
        place: &SettingsCursor<'_>,
    ) {
        let lacks = |name: &str| {
            format!(
                "`{name}` is missing, which another account states; write it here, or for all into the provider file"
            )
        };
        for name in &names.secrets {
            if !self.secrets.contains_key(name) && !provider.secrets.contains_key(name) {
                place.key("secrets").refuse(lacks(name));
            }
        }
        for name in &names.values {
            if !self.values.contains_key(name) {
                place.key("account").refuse(lacks(name));
            }
        }
        if self.values.contains_key(NAME) {
            place
                .key("account")
                .key(NAME)
                .refuse("is the account's own name already; write another word");
        }
    }

    /// The faults of the account's own file. Faults that stand in the provider file are reported
    /// there.
    pub(super) fn faults(self, provider: &[&SettingsSource]) -> Vec<Diagnostic> {
        let Some(AccountSource { source, faults, .. }) = self.own else { return Vec::new() };
        let sources: Vec<_> = std::iter::once(&source).chain(provider.iter().copied()).collect();
        faults.located(&sources)
    }
}

/// Reads the accounts of a provider file.
///
/// # Errors
/// Every account file that can't be read. Faults of `accounts_dir` itself are reported at `root`.
pub(super) fn account_specs(
    file: &ProviderFile,
    folder: &Path,
    root: &SettingsCursor<'_>,
) -> Result<Vec<AccountSpec>, Vec<Diagnostic>> {
    let Some(dir) = &file.accounts_dir else { return Ok(vec![AccountSpec::whole_file(file)]) };
    let (dir, place) = (folder.join(dir), root.key("accounts_dir"));
    let Ok(paths) = files(&dir) else {
        place.refuse(format!(
            "the folder {} cannot be read; create it, and a file in it for each account",
            dir.display()
        ));
        return Ok(Vec::new());
    };
    if paths.is_empty() {
        place.refuse(format!(
            "there is no account in {}; write a file such as default.toml",
            dir.display()
        ));
    }
    let (mut accounts, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        match AccountSpec::read(&path, file, root) {
            Ok(account) => accounts.push(account),
            Err(faults) => errors.extend(faults),
        }
    }
    if errors.is_empty() { Ok(accounts) } else { Err(errors) }
}

/// Replaces the accounts by a single one in which every secret has its own name as its value, so
/// that no real secret is needed.
pub(super) fn pretended_account(
    file: &ProviderFile,
    accounts: Vec<AccountSpec>,
) -> Vec<AccountSpec> {
    let mut one = AccountSpec::whole_file(file);
    for account in accounts {
        one.secrets.extend(account.secrets.into_keys().map(|name| (name.clone(), name)));
        one.values.extend(account.values);
    }
    vec![one]
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
