//! Finds texts that look like payment card numbers (ISO/IEC 7812-1): 13 to 19 digits, possibly
//! grouped, with a correct check digit.

use std::ops::Range;

const LENGTHS: std::ops::RangeInclusive<usize> = 13..=19;

/// The spans of card-like numbers; spans may overlap.
pub(super) fn spans(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    if has_a_long_run(bytes) { all_spans(bytes) } else { Vec::new() }
}

fn all_spans(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    // A reader may take `%20` for a space or for the end of a percentage: both readings are
    // checked.
    for percent_encoded in [false, true] {
        let mut chain = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits > 0 {
                chain.push(at..at + digits);
                at += digits;
            }
            let gap = separator(&bytes[at..], percent_encoded);
            if digits == 0 || gap == 0 {
                numbers_in(bytes, &chain, &mut spans);
                chain.clear();
            }
            at += if gap > 0 {
                gap
            } else {
                usize::from(digits == 0).max(skip(&bytes[at..], percent_encoded))
            };
        }
        numbers_in(bytes, &chain, &mut spans);
    }
    spans
}

/// Returns true if a text has as many digits as the shortest number, with nothing but possible
/// separators between them. Few texts do. Every letter of an encoded separator counts as a
/// separator.
fn has_a_long_run(bytes: &[u8]) -> bool {
    const SHORTEST: usize = *LENGTHS.start();
    let belongs = |byte: &&u8| {
        matches!(byte, b'0'..=b'9' | b' ' | b'-' | b'+' | b'.' | b'%' | b'b' | b'B' | b'd' | b'D')
    };
    // A run has at least so many bytes, so one of every so many belongs to it.
    let mut at = SHORTEST - 1;
    while let Some((before, after)) =
        bytes.split_at_checked(at).filter(|(_, after)| !after.is_empty())
    {
        let behind = after.iter().take_while(belongs).count();
        if behind > 0 {
            let ahead = before.iter().rev().take_while(belongs).count();
            let run = &bytes[at - ahead..at + behind];
            if run.iter().filter(|byte| byte.is_ascii_digit()).count() >= SHORTEST {
                return true;
            }
        }
        at += behind + SHORTEST;
    }
    false
}

/// The length of a separator of digit groups, 0 for none.
fn separator(rest: &[u8], percent_encoded: bool) -> usize {
    match rest {
        [b' ' | b'-' | b'+' | b'.', ..] => 1,
        [b'%', b'2', b'0' | b'd' | b'D' | b'b' | b'B', ..] if percent_encoded => 3,
        _ => 0,
    }
}

/// The length of a percent-encoded character that is no digit; 0 for none.
fn skip(rest: &[u8], percent_encoded: bool) -> usize {
    match rest {
        [b'%', a, b, ..] if percent_encoded && a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => 3,
        _ => 0,
    }
}

/// Adds the card-like numbers that neighbouring groups of a chain make up.
fn numbers_in(text: &[u8], chain: &[Range<usize>], spans: &mut Vec<Range<usize>>) {
    for first in 0..chain.len() {
        let mut length = 0;
        for last in first..chain.len() {
            length += chain[last].len();
            if length > *LENGTHS.end() {
                break;
            }
            if LENGTHS.contains(&length)
                && luhn(chain[first..=last].iter().flat_map(|group| &text[group.clone()]))
            {
                spans.push(chain[first].start..chain[last].end);
            }
        }
    }
}

/// Returns true if the last digit is the check digit of the others.
fn luhn<'a>(digits: impl DoubleEndedIterator<Item = &'a u8>) -> bool {
    let weighted = digits.rev().enumerate().map(|(index, digit)| {
        let digit = u32::from(digit - b'0') * if index % 2 == 0 { 1 } else { 2 };
        digit / 10 + digit % 10
    });
    weighted.sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_passed_over_at_a_glance_holds_no_number(text in r"([0-9]{1,9}|[ +.%-]|%2[0dDbB]|[a-f]|%[0-9a-f]{2}|é){0,14}") {
            if !has_a_long_run(text.as_bytes()) {
                prop_assert!(all_spans(text.as_bytes()).is_empty());
            }
        }
    }
}
