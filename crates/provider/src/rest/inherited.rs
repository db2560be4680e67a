//! The settings that an operation inherits from its provider, and the durations that both state.

use std::path::Path;
use std::time::Duration;

use super::expression::KnownVariables;
use super::file::{ErrorFile, ProviderProtocol, RuleFile};
use ferryd_domain::retry::RetryPolicy;
use ferryd_settings::findings::SettingsCursor;
use ferryd_settings::units::parse_size;

/// The settings that an operation inherits from its provider.
pub(super) struct InheritedSettings<'f> {
    /// The provider's protocol.
    pub(super) protocol: ProviderProtocol,
    /// The variables that requests may name.
    pub(super) in_request: KnownVariables<'f>,
    /// The variables that addresses may name.
    pub(super) in_address: KnownVariables<'f>,
    /// The variables that answers may name.
    pub(super) in_answer: KnownVariables<'f>,
    /// The folder against which relative paths are resolved.
    pub(super) folder: &'f Path,
    /// The most time for connecting.
    pub(super) connect_timeout: Duration,
    /// The most time for a call.
    pub(super) timeout: Duration,
    /// The retry policy of commands.
    pub(super) retry: RetryPolicy,
    /// The provider's rules.
    pub(super) rules: &'f [RuleFile],
    /// The places of the provider's errors in an answer.
    pub(super) error: Option<&'f ErrorFile>,
    /// The whole file.
    pub(super) root: SettingsCursor<'f>,
}

/// Parses a size above zero.
pub(super) fn size(text: &str, place: &SettingsCursor<'_>) -> Option<usize> {
    match parse_size(text) {
        Ok(0) => {
            place.refuse("is no size at all; write a size such as `64MiB`");
            None
        }
        Ok(bytes) => Some(bytes),
        Err(error) => {
            place.refuse(format!("`{text}` {error}"));
            None
        }
    }
}

/// Parses a duration above zero.
pub(crate) fn duration(text: &str, place: &SettingsCursor<'_>) -> Option<Duration> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Some(duration),
        Ok(_) => {
            place.refuse("is no time at all; write a duration such as `30s`");
            None
        }
        Err(_) => {
            place.refuse(format!(
                "`{text}` is not a duration; write one such as `30s`, `2m` or `24h`"
            ));
            None
        }
    }
}
