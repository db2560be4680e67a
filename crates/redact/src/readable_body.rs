//! Checks a body before it is parsed: whether the body is text, and whether every value in it is
//! spelled in its only way.

use super::byte_scan::{has_byte, has_pair};
use super::pattern::has_escapes;

/// Returns true if nothing in a text may stand for another text: the text has no escapes, and no
/// number with an exponent.
pub(super) fn is_plain(text: &[u8]) -> bool {
    !(has_escapes(text) || has_pair(text, is_exponent) && has_exponent(text))
}

/// Returns true if a digit and the byte after it may be the beginning of an exponent.
fn is_exponent(digit: u8, e: u8) -> bool {
    digit.is_ascii_digit() & e.eq_ignore_ascii_case(&b'e')
}

/// Returns true if a text without escapes has a number with an exponent outside of JSON strings,
/// where ids hold such by chance, or in a string that might be JSON itself.
fn has_exponent(text: &[u8]) -> bool {
    let (mut in_string, mut in_json) = (false, true);
    text.iter().zip(text.iter().skip(1)).any(|(byte, after)| {
        match byte {
            b'"' => {
                in_string = !in_string;
                in_json = !in_string;
            }
            b'[' | b'{' => in_json = true,
            _ => {}
        }
        in_json && is_exponent(*byte, *after)
    })
}

/// The body as a text; `None` where it is binary.
#[expect(clippy::needless_bitwise_bool, reason = "many bytes are compared at once, without jumps")]
pub(super) fn readable_body(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    // The control characters beyond ASCII are encoded as this byte and another one; so are other
    // characters.
    let is_suspect = |c: u8| {
        let is_white = (c == b'\n') | (c == b'\r') | (c == b'\t');
        (c < b' ') & !is_white | (c == 0x7f) | (c == 0xc2)
    };
    let is_binary = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    (!has_byte(body, is_suspect) || !text.contains(is_binary)).then_some(text)
}
