//! The bodies of commands: their full states in a compact form.
//!
//! A body names no fields and repeats no text. Its parts follow in a fixed order:
//!
//! - yes or no is one bit; eight of them share the byte that stands where the first is needed;
//! - a whole number takes seven bits of each byte, the lowest first;
//! - a text that the body had before, or that [every body knows](texts::WORDS), is the number of
//!   that text; the command's own id is one of these, and stands in no body;
//! - a digest in hexadecimal digits takes half as many bytes;
//! - a time is the distance from the time before, and an identity that is the one before is a bit.
//!
//! The form is part of the [version](super::schema::VERSION) of the index: who changes a type or
//! its order here raises that.

mod field;
mod json_field;
mod reader;
mod state;
mod texts;
mod writer;

use self::field::BodyField as _;
use self::reader::BodyReader;
use self::writer::BodyWriter;
use super::error::IndexError;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::command_state::CommandState;

/// Writes the state of a command to the end of `bytes`.
pub(super) fn write_body(id: &CommandId, state: &CommandState, bytes: &mut Vec<u8>) {
    state.put(&mut BodyWriter::new(id.as_str(), bytes));
}

/// Reads the state of a command from a body.
pub(super) fn read_body(id: &CommandId, bytes: &[u8]) -> Result<CommandState, IndexError> {
    let mut body = BodyReader::new(id.as_str(), bytes);
    let state = CommandState::take(&mut body).filter(|_| body.is_at_end());
    state.ok_or_else(|| IndexError::Damaged(format!("the body of `{id}` can't be read")))
}

#[cfg(test)]
mod body_tests;
