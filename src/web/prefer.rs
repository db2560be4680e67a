//! Reads the time that a client prefers to wait for the end of a command: `Prefer: wait=N` (RFC
//! 7240).

use std::time::Duration;

use axum::http::HeaderMap;

/// The longest time that a request waits.
pub const LONGEST: Duration = Duration::from_mins(1);

/// Returns the time that a client prefers to wait; `None` without such a preference. An unreadable
/// preference is ignored, as the RFC requires, and of several the first counts.
#[must_use]
pub fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let texts = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = texts.flat_map(|text| text.split(','));
    let seconds = preferences.find_map(|preference| {
        // Parameters of the preference stand behind a `;`.
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("wait")
            .then(|| value.trim().trim_matches('"').trim().to_owned())
    })?;
    let seconds: u64 = seconds.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_first_wait_counts_and_is_capped() {
        for (values, expected) in [
            (&["wait=10"][..], Some(10)),
            (&["wait=\"7\""], Some(7)),
            (&["WAIT = 3"], Some(3)),
            (&["respond-async, wait=5"], Some(5)),
            (&["handling=lenient; x=1, wait=4; y=2"], Some(4)),
            (&["return=minimal", "wait=6"], Some(6)),
            (&["wait=1, wait=9"], Some(1)),
            (&["wait=0"], Some(0)),
            (&["wait=61"], Some(60)),
            (&["wait=99999999999"], Some(60)),
            (&["wait=99999999999999999999999"], None),
            (&["wait=-1"], None),
            (&["wait=soon"], None),
            (&["wait"], None),
            (&["waiting=3"], None),
            (&[""], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("prefer", HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(preferred_wait(&headers), expected.map(Duration::from_secs), "{values:?}");
        }
    }
}
