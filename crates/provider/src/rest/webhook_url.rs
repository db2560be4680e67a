//! The variable `webhook_url`: whether a file may name the variable, and whether the file does.

use std::cell::Cell;

use super::expression_source::identifier;

/// The variable's name in expressions.
pub(super) const NAME: &str = "webhook_url";

/// The availability and the use of `webhook_url` while a file is read.
#[derive(Debug)]
pub(crate) struct WebhookUrl {
    /// The reason why the variable is unavailable; `None` where it is available.
    missing: Option<&'static str>,
    named: Cell<bool>,
}

impl WebhookUrl {
    /// Makes the state for a file that may have an endpoint, under a configuration that may have a
    /// public address.
    pub(super) fn new(has_endpoint: bool, configured: bool) -> Self {
        let missing = match (has_endpoint, configured) {
            (false, _) => Some(
                "leads to this provider's endpoint, and the file has none; write a table [webhook], or \
                 `webhook_url | default(…)` for what stands in its place",
            ),
            (true, false) => Some(
                "needs `webhooks.public_url` and `webhooks.signing_keys` in the configuration; write both there, or \
                 `webhook_url | default(…)` for what stands in its place",
            ),
            (true, true) => None,
        };
        Self { missing, named: Cell::new(false) }
    }

    /// Returns true if an expression names the variable, and the variable is available.
    pub(super) fn is_named(&self) -> bool {
        self.named.get()
    }

    /// Notes that an expression names the variable; `bare` is the expression without its string
    /// literals.
    ///
    /// # Errors
    /// The reason why the variable is unavailable, if the expression has no default for it.
    pub(super) fn name_in(&self, bare: &str) -> Result<(), &'static str> {
        let Some(missing) = self.missing else {
            self.named.set(true);
            return Ok(());
        };
        if has_default(bare) { Ok(()) } else { Err(missing) }
    }
}

/// Returns true if an expression has a default for the variable: `webhook_url | default(…)`.
fn has_default(bare: &str) -> bool {
    bare.match_indices(NAME).any(|(at, name)| {
        let rest = bare[at + name.len()..].trim_start();
        rest.strip_prefix('|').is_some_and(|filter| ["default", "d"].contains(&identifier(filter)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_none_an_expression_has_to_say_what_stands_in_its_place() {
        for (bare, taken) in [
            ("webhook_url", false),
            ("webhook_url ~ x", false),
            ("webhook_url | lower", false),
            ("payload.url | default(webhook_url)", false),
            ("webhook_url | default(none)", true),
            ("webhook_url|d(none)", true),
            ("payload.url | default(webhook_url | default(none))", true),
        ] {
            for (has_endpoint, configured) in [(false, false), (false, true), (true, false)] {
                let webhook_url = WebhookUrl::new(has_endpoint, configured);
                assert_eq!(
                    (webhook_url.name_in(bare).is_ok(), webhook_url.is_named()),
                    (taken, false),
                    "{bare}"
                );
            }
            let webhook_url = WebhookUrl::new(true, true);
            assert_eq!(
                (webhook_url.name_in(bare), webhook_url.is_named()),
                (Ok(()), true),
                "{bare}"
            );
        }
    }
}
