//! Formats times and calls in few characters.

use jiff::Timestamp;

use ferryd_domain::ledger::record::Step;

/// Formats a call: `#2`, and `g1#2` after a replay; `#2?3` for the third query about its outcome.
pub(super) fn format_step(step: Step) -> String {
    let Step { generation, attempt, query } = step;
    let generation = if generation == 0 { String::new() } else { format!("g{generation}") };
    let query = if query == 0 { String::new() } else { format!("?{query}") };
    format!("{generation}#{attempt}{query}")
}

/// Formats a moment, to the millisecond.
pub(super) fn format_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S%.3fZ").to_string()
}

/// Formats the time since a moment, in its largest unit.
pub(super) fn format_age(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Formats the time between two moments, in its two largest units. Clocks of two hosts may make it
/// negative.
pub(super) fn format_interval(from: Timestamp, to: Timestamp) -> String {
    let millis = to.duration_since(from).as_millis();
    let (sign, millis) = if millis < 0 { ("-", -millis) } else { ("", millis) };
    let seconds = millis / 1_000;
    let span = match seconds {
        0 => format!("{millis}ms"),
        1..60 => format!("{seconds}.{}s", millis % 1_000 / 100),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..172_800 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    };
    format!("{sign}{span}")
}

/// Cuts a text to its first `most` characters.
pub(super) fn shorten(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000_000_000 + millis).unwrap()
    }

    #[test]
    fn an_age_has_one_unit_and_is_never_negative() {
        for (seconds, text) in [
            (-5, "0s"),
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_599, "59m"),
            (7_200, "2h"),
            (172_800, "2d"),
        ] {
            assert_eq!(format_age(at(-seconds * 1_000), at(0)), text);
        }
    }

    #[test]
    fn a_span_has_two_units_at_most() {
        for (millis, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_234, "1.2s"),
            (61_999, "1m 1s"),
            (7_265_000, "2h 1m"),
            (180_000_000, "2d 2h"),
            (-40, "-40ms"),
        ] {
            assert_eq!(format_interval(at(0), at(millis)), text);
        }
    }

    #[test]
    fn the_first_generation_goes_without_saying() {
        assert_eq!(format_step(Step::call(0, 3)), "#3");
        assert_eq!(format_step(Step::call(2, 1)), "g2#1");
        assert_eq!(format_step(Step { query: 4, ..Step::call(0, 1) }), "#1?4");
    }
}
