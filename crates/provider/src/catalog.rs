//! The built-in provider files: `use = "stripe"` builds on one.

use std::collections::BTreeSet;

/// The built-in providers: names and files.
const CATALOG: [(&str, &str); 7] = [
    ("adyen", include_str!("catalog/adyen.toml")),
    ("easypost", include_str!("catalog/easypost.toml")),
    ("paypal", include_str!("catalog/paypal.toml")),
    ("sendgrid", include_str!("catalog/sendgrid.toml")),
    ("slack", include_str!("catalog/slack.toml")),
    ("stripe", include_str!("catalog/stripe.toml")),
    ("twilio", include_str!("catalog/twilio.toml")),
];

/// The names of the built-in providers, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    CATALOG.iter().map(|(name, _)| *name)
}

/// The names of the secrets that a built-in file mentions.
pub(super) fn secrets(text: &str) -> BTreeSet<&str> {
    let after = text.split("secrets.").skip(1);
    after
        .map(|rest| {
            &rest[..rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len())]
        })
        .collect()
}

/// The file of a built-in provider.
#[must_use]
pub fn source(name: &str) -> Option<&'static str> {
    CATALOG.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
