//! Data of a provider or publisher, which is accessible only after masking.

use std::fmt;

use super::mask::Mask;
use ferryd_domain::outcome::{Outcome, OutcomeName};

/// A value with data of a provider or publisher. The data leaves the value masked, or not at all.
pub struct UnmaskedValue<T>(T);

/// Values that can be masked.
pub trait MaskableValue {
    /// Returns the value with all secrets and sensitive values masked.
    #[must_use]
    fn masked(self, mask: &Mask) -> Self;
}

impl<T> UnmaskedValue<T> {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T: MaskableValue> UnmaskedValue<T> {
    /// Masks the value.
    #[must_use]
    pub fn masked(self, mask: &Mask) -> T {
        self.0.masked(mask)
    }
}

impl UnmaskedValue<Outcome> {
    /// The kind of the outcome, without any data.
    #[must_use]
    pub fn outcome_name(&self) -> OutcomeName {
        self.0.outcome_name()
    }
}

impl<T> fmt::Debug for UnmaskedValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnmaskedValue(…)")
    }
}

impl<T: MaskableValue> MaskableValue for Option<T> {
    fn masked(self, mask: &Mask) -> Self {
        self.map(|value| value.masked(mask))
    }
}

impl<T: MaskableValue> MaskableValue for Vec<T> {
    fn masked(self, mask: &Mask) -> Self {
        self.into_iter().map(|value| value.masked(mask)).collect()
    }
}

impl<T: MaskableValue, E: MaskableValue> MaskableValue for Result<T, E> {
    fn masked(self, mask: &Mask) -> Self {
        match self {
            Ok(value) => Ok(value.masked(mask)),
            Err(error) => Err(error.masked(mask)),
        }
    }
}

impl MaskableValue for String {
    fn masked(self, mask: &Mask) -> Self {
        mask.masked(self).into_string()
    }
}
