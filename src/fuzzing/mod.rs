//! What holds for every input from outside, as functions over bytes: the bodies of the fuzz targets in `fuzz/`.
//!
//! Each target reads its bytes as something that a publisher, a provider, an operator or the broker hands in, and checks what
//! holds for all of them: not only that nothing panics, but that what is read is written the same, and that what is
//! believed was signed. `cargo test --lib fuzzing::` runs every target on its seeds and some thousand mutations of them, always the
//! same; `make fuzz` runs them without end on inputs that reach new code.
//!
//! Only tests and the feature `fuzzing` have this module; no release does.
#![expect(clippy::unwrap_used, reason = "a fixture of a target that can't be had is a fault of the target")]

mod batch;
mod callback;
mod captured;
mod command;
mod headers;
mod provider_file;
mod record;
mod retry_after;
mod table;
mod webhook;

/// Bytes from outside, and what holds for them.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: the fuzz target's, and the folder of its seeds in `fuzz/corpus`.
    pub name: &'static str,
    /// Panics where it does not hold.
    pub check: fn(&[u8]),
    /// How many mutations the bounded run tries.
    pub cases: usize,
}

/// A published command: `domain::command`, `domain::ledger::opening`.
pub const COMMAND: Target = Target { name: "command", check: command::check, cases: 20_000 };
/// A captured webhook call at a time, against a scheme of the catalog or of `docs/WEBHOOKS.md`: `provider::webhook`.
pub const WEBHOOK: Target = Target { name: "webhook", check: webhook::check, cases: 20_000 };
/// A message in a queue of callbacks: `amqp::callback`.
pub const CALLBACK: Target = Target { name: "callback", check: callback::check, cases: 20_000 };
/// A provider file: `provider::parse`, and the requests that a taken file renders.
pub const PROVIDER_FILE: Target = Target { name: "provider_file", check: provider_file::check, cases: 600 };
/// The value of a header `Retry-After`, up to the decision that follows: `provider::rest::answer`, `domain::lifecycle`.
pub const RETRY_AFTER: Target = Target { name: "retry_after", check: retry_after::check, cases: 10_000 };
/// Lines of the ledger: `domain::ledger::line`, and what they come to.
pub const RECORD: Target = Target { name: "record", check: record::check, cases: 10_000 };
/// A message of the ledger's stream: `ledger::batch`, `ledger::packing`.
pub const BATCH: Target = Target { name: "batch", check: batch::check, cases: 5_000 };
/// What travels beside a command: `amqp::headers`.
pub const HEADERS: Target = Target { name: "headers", check: headers::check, cases: 20_000 };
/// A webhook call in a file: `cli::webhook`.
pub const CAPTURED: Target = Target { name: "captured", check: captured::check, cases: 20_000 };

#[cfg(test)]
mod bounded;
#[cfg(test)]
mod mutation;
