//! The ledger's streams: what happened to every command, and what was said to its provider.

pub mod exchanges;
