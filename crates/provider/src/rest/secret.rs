//! The secrets of a provider.

use std::collections::BTreeMap;

use minijinja::Value;
use secrecy::{ExposeSecret as _, SecretString};

/// The secrets of one provider, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProviderSecrets(BTreeMap<String, SecretString>);

impl ProviderSecrets {
    /// Makes the secrets from a map.
    pub(crate) fn new(secrets: BTreeMap<String, SecretString>) -> Self {
        Self(secrets)
    }

    /// The values of the secrets.
    pub(super) fn values(&self) -> impl Iterator<Item = &SecretString> {
        self.0.values()
    }

    /// The number of secrets.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The variable `secrets` of expressions.
    pub(crate) fn variable(&self) -> Value {
        Value::from_pairs(
            self.0.iter().map(|(name, secret)| (name.as_str(), secret.expose_secret())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_debug_shows_a_secret() {
        let secrets = ProviderSecrets::new([("a".to_owned(), "sk_live".into())].into());
        assert!(!format!("{secrets:?}").contains("sk_live"));
    }
}
