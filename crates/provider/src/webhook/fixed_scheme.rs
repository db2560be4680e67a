//! The input of every verification scheme, and the refusal of keys that a built-in scheme does not
//! take.

use std::collections::BTreeSet;

use super::file::VerifyTable;
use crate::rest::secret::ProviderSecrets;
use ferryd_settings::findings::SettingsCursor;

/// The secrets of a file.
#[derive(Clone, Copy)]
pub(crate) struct SecretsOfFile<'f> {
    /// The names of all secrets, missing ones included.
    pub(crate) names: &'f BTreeSet<String>,
    /// The secrets that have a value.
    pub(crate) secrets: &'f ProviderSecrets,
}

/// Refuses the keys that describe a scheme, in the table of a built-in one.
pub(super) fn refuse_surplus(scheme: &str, file: &VerifyTable, place: &SettingsCursor<'_>) {
    let surplus = [
        ("algorithm", file.algorithm.is_some()),
        ("key_encoding", file.key_encoding.is_some()),
        ("key_prefix", file.key_prefix.is_some()),
        ("signature", file.signature.is_some()),
        ("timestamp", file.timestamp.is_some()),
        ("signed", file.signed.is_some()),
        ("signed_parts", !file.signed_parts.is_empty()),
        ("body_digest", file.body_digest.is_some()),
        ("unsigned_body", file.unsigned_body.is_some()),
    ];
    for (key, _) in surplus.iter().filter(|(_, written)| *written) {
        place.key(key).refuse(format!("is fixed by the scheme `{scheme}`; leave it out"));
    }
}
