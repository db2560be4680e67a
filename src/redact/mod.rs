//! Takes out of whatever leaves ferryd what nobody may read: logs, events, records, answers of the API, dead letters.
//!
//! A [`Mask`] knows the secrets of a provider's account, the tokens of a call and the sensitive values of its payload, in every
//! spelling. What a provider says arrives as [`UnmaskedValue`], which only a mask opens, so no event, record, header or log line can
//! hold a word of a provider that has not been masked. Texts are cut only as [`MaskedText`], so no half of a secret is left at a
//! cut.
//!
//! The module uses nothing of ferryd but its domain types.

mod card;
mod fit;
mod glance;
mod mask;
mod masked;
mod needle;
mod notice;
mod outcome;
mod token;
mod unmasked;
mod value;

pub use mask::{DEFAULT_CAP, MASKED, Mask};
pub(crate) use masked::told;
pub use masked::{Excerpt, Headers, MaskedText};
pub use unmasked::{MaskableValue, UnmaskedValue};
