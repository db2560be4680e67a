//! Finds the call that a webhook is about: the latest, or one that was given up, with a replay
//! under another key since.
//!
//! A late notice about the former must not be taken for the end of the latter: a decline of a call
//! that is over would have the core application repeat what the provider is still doing.

use serde_json::Value;

use super::command_state::{CommandEnding, CommandState};
use crate::webhook::{NoticeMeaning, WebhookNotice};

/// The call of a command that a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallMatch {
    /// The latest call, or the only one.
    Latest,
    /// A call that was given up: the command was called again since, under another key.
    Earlier,
    /// Either: the provider's id of the latest call is not known yet, and the notice would be taken
    /// for a decline of that call.
    Unclear,
    /// Another operation that the provider has done for the command: perhaps a second payment.
    Another,
}

impl CallMatch {
    /// Finds the call by the token that proves the command, and by the provider's own id of its
    /// result. A token in the called URL decides alone; a notice with another token is also
    /// compared by its id.
    #[must_use]
    pub fn of(notice: &WebhookNotice, state: &CommandState) -> Self {
        let call = Self::call_of(notice, state);
        let is_done = matches!(notice.meaning, NoticeMeaning::Completed(_));
        // The latest call may have had another id so far, as an order has before its capture. That
        // is over with the command's final end.
        let may_be_renamed =
            call != Self::Earlier && state.ending.as_ref().is_none_or(CommandEnding::is_dead);
        match notice.reference.as_deref() {
            Some(reference)
                if is_done && !may_be_renamed && !is_its_own(reference, notice, state, call) =>
            {
                Self::Another
            }
            _ => call,
        }
    }

    /// Finds the call by an answer from a queue. Such an answer may name the command by its id or
    /// by a reference that all its messages have in common: a decline may then be about a message
    /// before the replay.
    #[must_use]
    pub fn of_answer(notice: &WebhookNotice, state: &CommandState) -> Self {
        if says_no(notice) && state.key_since > 0 && notice.generation.is_none() {
            return Self::Unclear;
        }
        Self::of(notice, state)
    }

    fn call_of(notice: &WebhookNotice, state: &CommandState) -> Self {
        match notice.generation {
            Some(generation) if generation != state.key_since => return Self::Earlier,
            Some(_) if notice.token.is_none() => return Self::Latest,
            _ => {}
        }
        let Some(reference) = notice.reference.as_deref() else { return Self::Latest };
        let says_no = says_no(notice);
        let is_replayed = state.key_since > 0;
        match state.provider_reference.as_deref() {
            // A notice without a command was found by an id that the command had: if the command
            // had one call only, the id is a new one of that call.
            Some(known) if reference != known && (is_replayed || notice.command.is_some()) => {
                Self::Earlier
            }
            None if state.former_reference.as_deref() == Some(reference) => Self::Earlier,
            None if says_no && is_replayed && notice.generation.is_none() => Self::Unclear,
            _ => Self::Latest,
        }
    }
}

fn says_no(notice: &WebhookNotice) -> bool {
    matches!(notice.meaning, NoticeMeaning::Declined(_) | NoticeMeaning::Failed(_))
}

/// Returns true if an id is one of those that the provider has given to the command's calls, in
/// whichever generation, or belongs to one of them: a result or the notice names both, as an order
/// and its capture. Where no id is known yet, any is accepted.
fn is_its_own(
    reference: &str,
    notice: &WebhookNotice,
    state: &CommandState,
    call: CallMatch,
) -> bool {
    let references =
        state.references.iter().chain(&state.provider_reference).chain(&state.former_reference);
    let known: Vec<&str> = references.map(String::as_str).collect();
    if known.is_empty() || (state.provider_reference.is_none() && call == CallMatch::Latest) {
        return call == CallMatch::Latest;
    }
    let result = state.ending.as_ref().and_then(|ending| ending.event.data.result.as_ref());
    known.contains(&reference)
        || result.is_some_and(|result| has_text(result, &|text| text == reference))
        || has_text(&notice.body, &|text| known.contains(&text))
}

/// Returns true if a text occurs anywhere in a value.
fn has_text(value: &Value, is_meant: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => is_meant(text),
        Value::Array(items) => items.iter().any(|item| has_text(item, is_meant)),
        Value::Object(fields) => fields.values().any(|item| has_text(item, is_meant)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
#[path = "call_match_tests.rs"]
mod tests;
