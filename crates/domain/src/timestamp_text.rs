//! The text of a timestamp: RFC 3339, in UTC. Each record, event and call has several, so they are
//! written here and not by the general printer of jiff, whose text is the same.

use std::fmt::Write as _;

use jiff::Timestamp;

/// The number of seconds of a day.
const DAY: u64 = 86_400;
/// The days from the first of March of the year 0 to the first of January 1970.
const BEFORE_1970: u32 = 719_468;
/// The days of four centuries.
const FOUR_CENTURIES: u32 = 146_097;

/// A text of the greatest length: the digits are replaced.
const LONGEST: LongText = *b"0000-00-00T00:00:00.000000000Z";
/// The place of the point before the fraction of a second.
const POINT: usize = 19;

type LongText = [u8; 30];

/// Appends a timestamp as jiff displays it: with as many digits after the second as it needs.
pub fn push_timestamp(text: &mut String, at: Timestamp) {
    match since_1970(at) {
        Some((seconds, nanoseconds)) => push_parts(text, seconds, nanoseconds, None),
        // Writing to a string does not fail.
        None => drop(write!(text, "{at}")),
    }
}

/// Appends a timestamp with exactly six digits after the second; what lies below is cut.
pub fn push_timestamp_micros(text: &mut String, at: Timestamp) {
    match since_1970(at) {
        Some((seconds, nanoseconds)) => push_parts(text, seconds, nanoseconds, Some(6)),
        // Writing to a string does not fail.
        None => drop(write!(text, "{at:.6}")),
    }
}

/// Returns the seconds since 1970 and the nanoseconds; `None` for an earlier time.
fn since_1970(at: Timestamp) -> Option<(u64, u32)> {
    let seconds = u64::try_from(at.as_second()).ok()?;
    Some((seconds, u32::try_from(at.subsec_nanosecond()).ok()?))
}

fn push_parts(text: &mut String, seconds: u64, nanoseconds: u32, digits: Option<usize>) {
    let (year, month, day) = date(seconds / DAY);
    let second_of_day = u32::try_from(seconds % DAY).unwrap_or_default();
    let mut all = LONGEST;
    set_pair(&mut all, 0, year / 100);
    set_pair(&mut all, 2, year % 100);
    set_pair(&mut all, 5, month);
    set_pair(&mut all, 8, day);
    set_pair(&mut all, 11, second_of_day / 3_600);
    set_pair(&mut all, 14, second_of_day / 60 % 60);
    set_pair(&mut all, 17, second_of_day % 60);
    let mut end = POINT;
    if nanoseconds > 0 || digits.is_some() {
        set_pair(&mut all, 20, nanoseconds / 10_000_000);
        set_pair(&mut all, 22, nanoseconds / 100_000 % 100);
        set_pair(&mut all, 24, nanoseconds / 1_000 % 100);
        set_pair(&mut all, 26, nanoseconds / 10 % 100);
        set_pair(&mut all, 27, nanoseconds % 100);
        let fraction = &all[POINT + 1..29];
        let needed = || fraction.iter().rposition(|digit| *digit != b'0').map_or(0, |at| at + 1);
        end += 1 + digits.unwrap_or_else(needed);
    }
    all[end] = b'Z';
    text.push_str(str::from_utf8(&all[..=end]).unwrap_or_default());
}

/// Returns year, month and day of a day that is counted from the first of January 1970, by the
/// algorithm of Howard Hinnant (<https://howardhinnant.github.io/date_algorithms.html>). A year of
/// it begins in March.
fn date(days: u64) -> (u32, u32, u32) {
    let days = u32::try_from(days).unwrap_or_default() + BEFORE_1970;
    let (era, day_of_era) = (days / FOUR_CENTURIES, days % FOUR_CENTURIES);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u32::from(month <= 2), month, day)
}

/// Writes a number below 100 as two digits.
fn set_pair(all: &mut LongText, at: usize, number: u32) {
    let digit = |number: u32| b'0' + u8::try_from(number).unwrap_or_default();
    (all[at], all[at + 1]) = (digit(number / 10), digit(number % 10));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(at: Timestamp) -> (String, String) {
        let (mut text, mut micros) = (String::from("at "), String::new());
        push_timestamp(&mut text, at);
        push_timestamp_micros(&mut micros, at);
        (text.split_off(3), micros)
    }

    #[test]
    fn every_day_of_four_centuries_and_more_is_shown_as_jiff_shows_it() {
        for day in 0..150_000 {
            for second in [0, 86_399] {
                let at = Timestamp::from_second(day * 86_400 + second).unwrap();
                assert_eq!(shown(at), (at.to_string(), format!("{at:.6}")));
            }
        }
    }

    #[test]
    fn the_edges_are_shown_as_jiff_shows_them() {
        let edges = [
            Timestamp::MIN,
            Timestamp::MAX,
            Timestamp::UNIX_EPOCH,
            Timestamp::new(0, -1).unwrap(),
            Timestamp::new(0, 1).unwrap(),
            Timestamp::new(-1, 0).unwrap(),
        ];
        for at in edges {
            assert_eq!(shown(at), (at.to_string(), format!("{at:.6}")));
        }
    }

    proptest! {
        #[test]
        fn any_time_is_shown_as_jiff_shows_it(
            second in Timestamp::MIN.as_second()..=Timestamp::MAX.as_second(),
            nanosecond in 0..1_000_000_000_i32,
            zeros in 0..9_u32,
        ) {
            let nanosecond = nanosecond / 10_i32.pow(zeros) * 10_i32.pow(zeros);
            let at = Timestamp::new(second, nanosecond).unwrap();
            prop_assert_eq!(shown(at), (at.to_string(), format!("{at:.6}")));
        }
    }
}
