//! Which of a command's calls a webhook call is about: the latest, or one that was given up, with a replay under another key since.
//!
//! What a provider says late about the former must not be taken for the end of the latter: a "no" to what is over would have the
//! core application try again what the provider is doing.

use super::case::Case;
use crate::domain::callback::{Meaning, Notice};

/// Which of a command's calls a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The latest, or there was no other.
    Latest,
    /// One that was given up: the command was called again since, under another key.
    Earlier,
    /// Either: what the provider calls the latest by is not known yet, and what it says would be taken for a "no" to that.
    Unclear,
}

impl About {
    /// Tells by the token that proves the command, and by the provider's own id for what it did. Who calls a URL calls it about
    /// one call; what else bears a token is looked at twice.
    #[must_use]
    pub fn of(notice: &Notice, case: &Case) -> Self {
        match notice.generation {
            Some(generation) if generation != case.key_since => return Self::Earlier,
            Some(_) if notice.token.is_none() => return Self::Latest,
            _ => {}
        }
        let Some(told) = notice.reference.as_deref() else { return Self::Latest };
        let says_no = matches!(notice.meaning, Meaning::Declined(_) | Meaning::Failed(_));
        let is_replayed = case.key_since > 0;
        match case.provider_reference.as_deref() {
            // One that does not name its command was found by an id that the command had: of the only call, another one.
            Some(known) if told != known && (is_replayed || notice.command.is_some()) => Self::Earlier,
            None if case.former_reference.as_deref() == Some(told) => Self::Earlier,
            None if says_no && is_replayed && notice.generation.is_none() => Self::Unclear,
            _ => Self::Latest,
        }
    }
}

#[cfg(test)]
#[path = "about_tests.rs"]
mod tests;
