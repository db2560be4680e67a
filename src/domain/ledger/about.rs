//! Which of a command's calls a webhook call is about: the latest, or one that was given up, with a replay under another key since.
//!
//! What a provider says late about the former must not be taken for the end of the latter: a "no" to what is over would have the
//! core application try again what the provider is doing.

use serde_json::Value;

use super::case::{Case, Ending};
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
    /// Something else that the provider has done for the command: perhaps a second payment.
    Another,
}

impl About {
    /// Tells by the token that proves the command, and by the provider's own id for what it did. Who calls a URL calls it about
    /// one call; what else bears a token is looked at twice.
    #[must_use]
    pub fn of(notice: &Notice, case: &Case) -> Self {
        let call = Self::call_of(notice, case);
        let is_done = matches!(notice.meaning, Meaning::Completed(_));
        // The latest call may have had another id so far, as an order has before its capture. That is over with its last end.
        let may_be_renamed = call != Self::Earlier && case.ending.as_ref().is_none_or(Ending::is_dead);
        match notice.reference.as_deref() {
            Some(told) if is_done && !may_be_renamed && !is_its_own(told, notice, case, call) => Self::Another,
            _ => call,
        }
    }

    fn call_of(notice: &Notice, case: &Case) -> Self {
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

/// Tells whether an id is one of those by which the provider has told of the command's calls, in whichever generation,
/// or belongs to one of them: it was told beside it in a result, or the notice tells it beside it, as an order beside
/// its capture. Where none is known yet, any is.
fn is_its_own(told: &str, notice: &Notice, case: &Case, call: About) -> bool {
    let references = case.references.iter().chain(&case.provider_reference).chain(&case.former_reference);
    let known: Vec<&str> = references.map(String::as_str).collect();
    if known.is_empty() || (case.provider_reference.is_none() && call == About::Latest) {
        return call == About::Latest;
    }
    let result = case.ending.as_ref().and_then(|ending| ending.event.data.result.as_ref());
    known.contains(&told)
        || result.is_some_and(|result| has_text(result, &|text| text == told))
        || has_text(&notice.body, &|text| known.contains(&text))
}

/// Tells whether a text stands anywhere in a value.
fn has_text(value: &Value, is_meant: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => is_meant(text),
        Value::Array(items) => items.iter().any(|item| has_text(item, is_meant)),
        Value::Object(fields) => fields.values().any(|item| has_text(item, is_meant)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
#[path = "about_tests.rs"]
mod tests;
