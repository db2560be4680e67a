//! The protocol of the ledger, as pure state machines.
//!
//! The ledger is one ordered list of [records](record::Record), read by every instance. A record is a proposal: it says what
//! somebody did or wants to do, and its place in the list decides what it comes to. [`Case::rule`](case::Case::rule) is that
//! decision: it goes through the records of one command in their order and gives each a [`Ruling`](ruling::Ruling). It
//! looks at nothing else, no clock and no instance, so every instance that reads the list comes to the same rulings.
//! Whoever appended a record reads it back, and does what the ruling says; [`next_action`](next_action::next_action) says
//! what that is, for each role.
//!
//! So every race has one winner without anybody asking anybody: a claim is the first `started` of a step, the end of a
//! command its first definite `finished`. `docs/LEDGER.md` describes the records, `tests` here check the protocol over all
//! interleavings of several instances, crashes and copies.

pub mod about;
mod awaited;
pub mod case;
pub mod content_removal;
pub mod effects;
mod ending;
pub mod erasure;
mod finish;
pub mod job_mark;
mod line;
pub mod next_action;
pub mod opening;
mod person;
pub mod prompt;
pub mod record;
#[cfg(test)]
pub(crate) mod record_examples;
mod record_id;
pub mod refusal_note;
mod remember_prompt;
mod rule;
pub mod ruling;
mod step;
pub mod transition;
