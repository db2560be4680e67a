//! A rule about settings that is broken.

use std::ops::RangeInclusive;
use std::time::Duration;

use ferryd_settings::units;

/// A key, and the rule that its value breaks.
pub(super) type ConfigFault = (String, String);

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn rule(key: &str, message: impl Into<String>) -> ConfigFault {
    (key.to_owned(), message.into())
}

pub(super) fn within(
    key: &str,
    duration: Duration,
    range: RangeInclusive<Duration>,
) -> Option<ConfigFault> {
    let [least, given, most] = [*range.start(), duration, *range.end()].map(units::format_duration);
    (!range.contains(&duration))
        .then(|| rule(key, format!("{given} is not possible: write {least} to {most}")))
}
