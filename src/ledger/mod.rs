//! The ledger as it is kept: a stream of records at the broker, and an index of what they come to on this host's disk.

pub mod exchanges;
pub mod index;
