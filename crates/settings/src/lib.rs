//! Files that people write in TOML: their values with the line of each key, every fault at once
//! with advice, and secrets that are stored elsewhere. The configuration and the provider files are
//! read with this module.
//!
//! | module | content |
//! |---|---|
//! | [`source`] | the text of a file as a tree of values, with the line of each key |
//! | [`key_path`] | the place of a value in a file |
//! | [`schema_check`] | validation against the JSON Schema that editors use |
//! | [`reading`] | deserialization of a value into a type |
//! | [`findings`] | all faults of a file |
//! | [`diagnostic`] | one fault, for the person who wrote it |
//! | [`suggest`] | "did you mean" |
//! | [`units`] | durations and sizes as people write them |
//! | [`placeholder`] | `${env:NAME}` and `${file:/path}` |

pub mod diagnostic;
pub mod findings;
pub mod key_path;
pub mod placeholder;
pub mod reading;
pub mod schema_check;
pub mod source;
pub mod suggest;
pub mod units;
