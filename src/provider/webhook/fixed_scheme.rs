//! What every scheme of verification is compiled from, and what one that is fixed leaves no room for.

use std::collections::BTreeSet;

use super::file::VerifyTable;
use crate::provider::rest::secret::Secrets;
use crate::settings::faults::Place;

/// The secrets of a file.
#[derive(Clone, Copy)]
pub(in crate::provider) struct SecretsOfFile<'f> {
    /// Their names, also of those that can't be had.
    pub(in crate::provider) names: &'f BTreeSet<String>,
    /// Those that can be had.
    pub(in crate::provider) secrets: &'f Secrets,
}

/// Refuses what describes a scheme, beside one that is fixed.
pub(super) fn refuse_surplus(scheme: &str, file: &VerifyTable, place: &Place<'_>) {
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
