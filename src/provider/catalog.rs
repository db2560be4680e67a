//! Provider files that come with ferryd: `use = "stripe"` builds on one.

/// The catalog: names and files.
const CATALOG: [(&str, &str); 3] = [
    ("easypost", include_str!("catalog/easypost.toml")),
    ("stripe", include_str!("catalog/stripe.toml")),
    ("twilio", include_str!("catalog/twilio.toml")),
];

/// The names of the catalog, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    CATALOG.iter().map(|(name, _)| *name)
}

/// The file of a catalog provider.
#[must_use]
pub fn source(name: &str) -> Option<&'static str> {
    CATALOG.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
