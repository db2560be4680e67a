//! Properties that hold for every input from outside, as functions over bytes: the bodies of the
//! fuzz targets in `fuzz/`.
//!
//! Each target reads its bytes as the input of a publisher, a provider, an operator or the broker,
//! and checks the properties of all such inputs: nothing panics, a value that is read is written
//! the same, and a call that is verified was signed. `cargo test --lib fuzzing::` runs every target
//! on its seeds and some thousand mutations of them, always the same; `make fuzz` runs them without
//! end on inputs that reach new code.
//!
//! Only tests and the feature `fuzzing` have this module; no release does.
#![expect(
    clippy::unwrap_used,
    reason = "a fixture of a target that can't be had is a fault of the target"
)]

mod batch;
mod captured;
mod command;
mod headers;
mod provider_file;
mod record;
mod retry_after;
mod table;
mod webhook;
mod webhook_message;

/// A kind of input from outside, and the check of its properties.
#[derive(Debug, Clone, Copy)]
pub struct FuzzTarget {
    /// The name of the fuzz target, and of the folder of its seeds in `fuzz/corpus`.
    pub name: &'static str,
    /// Checks one input; panics where a property does not hold.
    pub check: fn(&[u8]),
    /// The number of mutations that the bounded run tries.
    pub cases: usize,
}

/// A published command: `domain::command`, `domain::ledger::command_identity`.
pub const COMMAND: FuzzTarget =
    FuzzTarget { name: "command", check: command::check, cases: 20_000 };
/// A captured webhook at a time, against a scheme of the catalog or of `docs/WEBHOOKS.md`:
/// `provider::webhook`.
pub const WEBHOOK: FuzzTarget =
    FuzzTarget { name: "webhook", check: webhook::check, cases: 20_000 };
/// A message in a queue of webhooks: `amqp::webhook_message`.
pub const WEBHOOK_MESSAGE: FuzzTarget =
    FuzzTarget { name: "webhook_message", check: webhook_message::check, cases: 20_000 };
/// A provider file: `provider::parse`, and the requests that an accepted file renders.
pub const PROVIDER_FILE: FuzzTarget =
    FuzzTarget { name: "provider_file", check: provider_file::check, cases: 600 };
/// The value of a header `Retry-After`, up to the decision that follows: `provider::rest::answer`,
/// `domain::lifecycle`.
pub const RETRY_AFTER: FuzzTarget =
    FuzzTarget { name: "retry_after", check: retry_after::check, cases: 10_000 };
/// Lines of the ledger: `domain::ledger::line`, and the rulings on them.
pub const RECORD: FuzzTarget = FuzzTarget { name: "record", check: record::check, cases: 10_000 };
/// A message of the ledger's stream: `ledger::batch`, `ledger::compression`.
pub const BATCH: FuzzTarget = FuzzTarget { name: "batch", check: batch::check, cases: 5_000 };
/// The headers of a command: `amqp::headers`.
pub const HEADERS: FuzzTarget =
    FuzzTarget { name: "headers", check: headers::check, cases: 20_000 };
/// A webhook in a file: `cli::webhook`.
pub const CAPTURED: FuzzTarget =
    FuzzTarget { name: "captured", check: captured::check, cases: 20_000 };

#[cfg(test)]
mod bounded;
#[cfg(test)]
mod mutation;
#[cfg(test)]
mod recorded_tests;
