//! The rate of a job, and the number of failures at which it ends.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rates of a ramp, in dead letters a second; behind the last one there is no limit but the
/// job's own.
const RAMP: [f64; 8] = [1.0, 2.0, 5.0, 20.0, 50.0, 100.0, 250.0, 1_000.0];
/// The time for which each rate of a ramp holds.
const RAMP_STEP: Duration = Duration::from_secs(5);

/// A number of dead letters a second, from 0.001 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
#[schemars(extend("minimum" = 0.001, "maximum" = 1_000_000))]
pub struct JobRate(f64);

/// An error: a number is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no rate: write a number of dead letters a second from 0.001 to 1000000, such as `50` or `0.5/s`"
)]
pub struct InvalidJobRate;

impl JobRate {
    /// Returns the time between two dead letters.
    #[must_use]
    pub fn interval(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.0)
    }
}

impl TryFrom<f64> for JobRate {
    type Error = InvalidJobRate;

    fn try_from(rate: f64) -> Result<Self, InvalidJobRate> {
        if (0.001..=1_000_000.0).contains(&rate) { Ok(Self(rate)) } else { Err(InvalidJobRate) }
    }
}

impl From<JobRate> for f64 {
    fn from(rate: JobRate) -> Self {
        rate.0
    }
}

impl FromStr for JobRate {
    type Err = InvalidJobRate;

    fn from_str(text: &str) -> Result<Self, InvalidJobRate> {
        text.trim_end_matches("/s").parse::<f64>().map_err(|_| InvalidJobRate)?.try_into()
    }
}

/// Returns the rate of a job that has been running for so long: with a ramp, slow at first and
/// never faster than `rate`.
#[must_use]
pub fn ramped_rate(rate: Option<JobRate>, ramp: bool, elapsed: Duration) -> Option<JobRate> {
    let step = usize::try_from(elapsed.as_secs() / RAMP_STEP.as_secs()).unwrap_or(usize::MAX);
    match RAMP.get(step).copied().filter(|_| ramp) {
        Some(slow) => Some(rate.map_or(JobRate(slow), |rate| JobRate(rate.0.min(slow)))),
        None => rate,
    }
}

/// The number, or the share, of replayed commands that may fail again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-9]+%?$"))]
pub enum FailureLimit {
    /// A number of commands.
    Count(u64),
    /// A percentage of the commands.
    Percent(u8),
}

/// An error: a text is not a limit of failures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no limit of failures: write a number of commands, such as `20`, or a share from 0% to 99%, such as `5%`"
)]
pub struct InvalidFailureLimit;

impl FailureLimit {
    /// The number of ended replays below which a percentage is not applied.
    const LEAST: u64 = 10;

    /// Returns true if more than the limit of the replayed commands that have ended have failed
    /// again.
    #[must_use]
    pub fn is_exceeded(self, failed: u64, ended: u64) -> bool {
        match self {
            Self::Count(most) => failed > most,
            Self::Percent(most) => {
                ended >= Self::LEAST
                    && u128::from(failed) * 100 > u128::from(ended) * u128::from(most)
            }
        }
    }
}

impl fmt::Display for FailureLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(most) => most.fmt(f),
            Self::Percent(most) => write!(f, "{most}%"),
        }
    }
}

impl FromStr for FailureLimit {
    type Err = InvalidFailureLimit;

    fn from_str(text: &str) -> Result<Self, InvalidFailureLimit> {
        match text.strip_suffix('%') {
            Some(share) => {
                let share = share.parse().ok().filter(|share| *share < 100);
                share.map(Self::Percent).ok_or(InvalidFailureLimit)
            }
            None => text.parse().map(Self::Count).map_err(|_| InvalidFailureLimit),
        }
    }
}

impl TryFrom<String> for FailureLimit {
    type Error = InvalidFailureLimit;

    fn try_from(text: String) -> Result<Self, InvalidFailureLimit> {
        text.parse()
    }
}

impl From<FailureLimit> for String {
    fn from(limit: FailureLimit) -> Self {
        limit.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_above_zero() {
        for (text, rate) in [("50", 50.0), ("0.5/s", 0.5), ("2/s", 2.0)] {
            assert_eq!(text.parse(), Ok(JobRate(rate)), "{text}");
        }
        for text in ["0", "-1", "fast", "", "NaN", "inf", "0.0001"] {
            assert!(text.parse::<JobRate>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_ramp_begins_at_one_a_second_and_ends_at_the_rate_of_the_job() {
        let at = |rate: Option<f64>, ramp, seconds| {
            let rate = rate.map(|rate| rate.try_into().unwrap());
            ramped_rate(rate, ramp, Duration::from_secs(seconds))
                .map(|rate| f64::from(rate).to_string())
        };
        assert_eq!(
            [0, 5, 10, 15, 20].map(|s| at(Some(30.0), true, s).unwrap()),
            ["1", "2", "5", "20", "30"]
        );
        assert_eq!((at(None, true, 39), at(None, true, 40)), (Some("1000".to_owned()), None));
        assert_eq!((at(None, false, 0), at(Some(0.5), true, 9)), (None, Some("0.5".to_owned())));
    }

    #[test]
    fn a_limit_of_failures_is_a_number_or_a_share() {
        let limit = |text: &str| text.parse::<FailureLimit>();
        assert_eq!(
            (limit("20"), limit("5%")),
            (Ok(FailureLimit::Count(20)), Ok(FailureLimit::Percent(5)))
        );
        for text in ["", "%", "100%", "-1", "0.5"] {
            assert!(limit(text).is_err(), "{text}");
        }
        for (text, failed, ended, exceeded) in [
            ("0", 1, 1, true),
            ("2", 2, 2, false),
            ("2", 3, 3, true),
            ("10%", 5, 5, false),
            ("10%", 1, 10, false),
            ("10%", 2, 10, true),
            ("0%", 1, 1_000, true),
        ] {
            assert_eq!(
                limit(text).unwrap().is_exceeded(failed, ended),
                exceeded,
                "{text} {failed}/{ended}"
            );
        }
    }
}
