//! Provider files that come with ferryd: `use = "stripe"` builds on one.

use std::collections::BTreeSet;

/// The catalog: names and files.
const CATALOG: [(&str, &str); 7] = [
    ("adyen", include_str!("catalog/adyen.toml")),
    ("easypost", include_str!("catalog/easypost.toml")),
    ("paypal", include_str!("catalog/paypal.toml")),
    ("sendgrid", include_str!("catalog/sendgrid.toml")),
    ("slack", include_str!("catalog/slack.toml")),
    ("stripe", include_str!("catalog/stripe.toml")),
    ("twilio", include_str!("catalog/twilio.toml")),
];

/// The names of the catalog, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    CATALOG.iter().map(|(name, _)| *name)
}

/// The names of the secrets that a file of the catalog speaks of.
pub(super) fn secrets(text: &str) -> BTreeSet<&str> {
    let after = text.split("secrets.").skip(1);
    after
        .map(|rest| &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())])
        .collect()
}

/// The file of a catalog provider.
#[must_use]
pub fn source(name: &str) -> Option<&'static str> {
    CATALOG.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
