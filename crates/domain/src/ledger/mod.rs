//! The protocol of the ledger, as pure state machines.
//!
//! The ledger is one ordered list of [records](record::Record), read by every instance. A record is
//! a proposal: it states an action that its writer has taken or requests, and its place in the list
//! decides its effect. [`Case::rule`](case::Case::rule) is that decision: it goes through the
//! records of one command in their order and gives each a [`Ruling`](ruling::Ruling). Its only
//! inputs are the records, no clock and no instance, so every instance that reads the list comes to
//! the same rulings. The appender of a record reads it back and acts on the ruling;
//! [`next_action`](next_action::next_action) returns that action, for each role.
//!
//! So every race has one winner without coordination: a claim is the first `started` of a step, the
//! end of a command its first definite `finished`. `docs/LEDGER.md` describes the records, `tests`
//! here check the protocol over all interleavings of several instances, crashes and copies.

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
#[cfg(any(test, feature = "fixtures"))]
pub mod record_examples;
mod record_id;
pub mod refusal_note;
mod remember_prompt;
mod rule;
pub mod ruling;
mod step;
pub mod transition;
