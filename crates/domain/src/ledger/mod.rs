//! The protocol of the ledger, as pure state machines.
//!
//! The ledger is one ordered list of [records](record::Record), read by every instance. A record is
//! a proposal: it states an action that its writer has taken or requests, and its place in the list
//! decides its effect. [`Case::apply_record`](command_state::CommandState::apply_record) is that
//! decision: it goes through the records of one command in their order and gives each a
//! [`Ruling`](ruling::Ruling). Its only inputs are the records, no clock and no instance, so every
//! instance that reads the list comes to the same rulings. The appender of a record reads it back
//! and acts on the ruling; [`next_action`](next_action::next_action) returns that action, for each
//! role.
//!
//! So every race has one winner without coordination: a claim is the first `started` of a step, the
//! end of a command its first definite `finished`. `docs/LEDGER.md` describes the records, `tests`
//! here check the protocol over all interleavings of several instances, crashes and copies.

mod actor;
mod apply_record;
mod awaited_step;
pub mod call_match;
pub mod command_identity;
pub mod command_state;
pub mod content_removal;
mod decision;
pub mod effects;
mod ending;
pub mod erasure;
pub mod job_mark;
mod line;
pub mod next_action;
pub mod prompt;
pub mod record;
#[cfg(any(test, feature = "fixtures"))]
pub mod record_examples;
mod record_id;
mod record_json;
pub mod refusal_note;
mod remember_prompt;
pub mod ruling;
pub mod state_slot;
mod step;
pub mod transition;
