//! Removes the contents of an ended command: because a person requested the erasure, or because
//! nothing needs them any more.
//!
//! The remaining fields identify the command and its end, so that a copy of it is distinguished
//! from a new command and makes no call: its id, its names, the digest of its content, its state,
//! its step, its key and its times.

use jiff::Timestamp;

use super::command_state::{CommandEnding, CommandState};
use super::content_removal::ContentRemoval;
use super::record::ContentErasure;
use super::ruling::{Ruling, RulingGrant, TooLate};
use crate::command::EncodedIdentity;
use crate::event::{EncodedEvent, Event, EventError};

/// The warning in an event whose contents a person had erased.
pub const ERASED_WARNING: &str =
    "erased: the contents of this command were erased, and are not published again";

/// The warning in an event whose contents are past their retention.
pub const AGED_WARNING: &str = "aged: the contents of this command are older than they are kept";

impl CommandState {
    /// Returns true if a person had the command's contents erased.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        matches!(self.removal, Some(ContentRemoval::Erased { .. }))
    }

    /// Returns the reason against an erasure, if there is one: the command goes on, its end may be
    /// unpublished, or an operator has to decide about its dead letter.
    #[must_use]
    pub fn refuse_erasure(&self) -> Option<TooLate> {
        match &self.ending {
            None => Some(TooLate::NotEnded),
            Some(ending) if ending.is_dead() => Some(TooLate::DeadLetter),
            Some(_) if self.unsettled_decision().is_some() => Some(TooLate::Unpublished),
            Some(_) => None,
        }
    }

    /// Applies the record of an erasure. A second one changes nothing.
    pub(super) fn erase(&mut self, at: Timestamp, erased: &ContentErasure) -> Ruling {
        if self.is_erased() {
            return Ruling::Superseded;
        }
        if let Some(too_late) = self.refuse_erasure() {
            return Ruling::TooLate(too_late);
        }
        self.removal = Some(ContentRemoval::Erased { at, actor: erased.actor.clone() });
        self.remove_contents();
        Ruling::Counts(RulingGrant::default())
    }

    /// Removes contents that later records have added to an erased command.
    pub(super) fn keep_erased(&mut self) {
        if self.is_erased() {
            self.remove_contents();
        }
    }

    /// Returns the command without contents, as it is kept past their retention. `None` where it
    /// has none, or goes on.
    #[must_use]
    pub fn without_contents(&self) -> Option<Self> {
        if self.removal.is_some() || self.refuse_erasure().is_some() {
            return None;
        }
        let mut aged = Self { removal: Some(ContentRemoval::Aged), ..self.clone() };
        aged.remove_contents();
        Some(aged)
    }

    fn remove_contents(&mut self) {
        let is_erased = self.is_erased();
        if let Some(identity) = &mut self.identity {
            identity.reply_target = None;
            identity.command = bare_identity(&identity.command, is_erased);
        }
        if let Some(ending) = self.ending.take() {
            self.ending = Some(CommandEnding {
                event: bare_event(&ending.event, is_erased),
                letter: None,
                ..ending
            });
        }
        (self.retained_message, self.asking, self.money, self.cancel) = (None, None, None, None);
        (self.replies, self.prompts, self.queries, self.prompted) =
            (Vec::new(), Vec::new(), Vec::new(), None);
        if is_erased {
            (self.provider_reference, self.former_reference) = (None, None);
            self.references = Vec::new();
        }
        for transition in &mut self.history {
            transition.detail = None;
        }
        for note in &mut self.conflicts {
            note.message = String::new();
        }
    }
}

/// Returns the identity of a command without its publisher's metadata and, where it is erased,
/// reference.
fn bare_identity(identity: &EncodedIdentity, is_erased: bool) -> EncodedIdentity {
    identity.with_changes(|bare| {
        bare.metadata.clear();
        if is_erased {
            bare.reference = None;
        }
    })
}

/// Returns the terminal event with the kind of end, and without its contents.
fn bare_event(event: &EncodedEvent, is_erased: bool) -> EncodedEvent {
    event.with_changes(|bare| remove_event_contents(bare, is_erased))
}

fn remove_event_contents(event: &mut Event, is_erased: bool) {
    let warning = if is_erased { ERASED_WARNING } else { AGED_WARNING };
    (event.traceparent, event.tracestate) = (None, None);
    event.data.command = bare_identity(&event.data.command, is_erased);
    event.data.result = None;
    event.data.warnings = vec![warning.to_owned()];
    event.data.error = event.data.error.as_ref().map(|error| EventError {
        kind: error.kind,
        code: error.code.clone().filter(|_| !is_erased),
        message: warning.to_owned(),
        details: None,
        http_status: error.http_status,
        dead_lettered: error.dead_lettered,
    });
    if is_erased {
        event.data.provider_reference = None;
    }
}
