//! Files that people write in TOML: their values with the line of each key, every fault at once
//! with what to write instead, and secrets that are stored elsewhere. The configuration and the
//! provider files are read with this module.
//!
//! | module | what |
//! |---|---|
//! | [`source`] | the text of a file as a tree of values, with the line of each key |
//! | [`key_path`] | the place of a value in a file |
//! | [`shape`] | a value against the JSON Schema that editors use |
//! | [`reading`] | a value as a type |
//! | [`faults`] | what is wrong, gathered whole |
//! | [`diagnostic`] | one fault, for the person who wrote it |
//! | [`suggest`] | "did you mean" |
//! | [`placeholder`] | `${env:NAME}` and `${file:/path}` |

pub mod diagnostic;
pub mod faults;
pub mod key_path;
pub mod placeholder;
pub mod reading;
pub mod shape;
pub mod source;
pub mod suggest;
