//! Masks secrets in everything that leaves ferryd: logs, events, records, answers of the API, dead
//! letters. [`escape`] writes out what a terminal would obey.
//!
//! A [`Mask`] knows the secrets of a provider's account, the tokens of a call and the sensitive
//! values of its payload, in every spelling. Data of a provider arrives as [`UnmaskedValue`], which
//! only a mask opens, so no event, record, header or log line can hold unmasked data of a provider.
//! Texts are cut only as [`MaskedText`], so a cut leaves no half of a secret.
//!
//! The module depends on nothing of ferryd except its domain types.

mod byte_scan;
mod card;
pub mod escape;
mod fit;
mod mask;
mod masked;
mod notice;
mod outcome;
mod pattern;
mod readable_body;
mod skip_table;
mod token;
mod unmasked;
mod value;

pub use mask::{DEFAULT_CAP, MASKED, Mask};
pub use masked::{MaskedExcerpt, MaskedHeaders, MaskedText, cut_note, with_cut_note};
pub use unmasked::{MaskableValue, UnmaskedValue};
