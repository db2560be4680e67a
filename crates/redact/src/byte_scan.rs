//! Questions about the bytes of a text, answered for many bytes at once.
//!
//! The conditions are joined by `|` and `&`: of `matches!` and `||` the compiler makes jumps, or
//! tables of bits, for each byte.

/// The number of bytes that are compared at once.
const WIDTH: usize = 32;

/// Returns true if a byte of the text meets a condition, which a space must not meet.
pub(super) fn has_byte(text: &[u8], is_sought: impl Fn(u8) -> bool) -> bool {
    let any = |part: &[u8; WIDTH]| part.iter().fold(false, |any, byte| any | is_sought(*byte));
    let (parts, rest) = text.as_chunks();
    parts.iter().any(any) || any(&padded(rest))
}

/// Returns true if two neighbouring bytes of the text meet a condition, which a space as the first
/// one must not meet.
pub(super) fn has_pair(text: &[u8], is_sought: impl Fn(u8, u8) -> bool) -> bool {
    let any = |firsts: &[u8; WIDTH], seconds: &[u8; WIDTH]| {
        firsts.iter().zip(seconds).fold(false, |any, (one, two)| any | is_sought(*one, *two))
    };
    let Some((_, after)) = text.split_first() else { return false };
    let (seconds, last_seconds) = after.as_chunks();
    let (firsts, last_firsts) = text[..after.len()].as_chunks();
    firsts.iter().zip(seconds).any(|(firsts, seconds)| any(firsts, seconds))
        || any(&padded(last_firsts), &padded(last_seconds))
}

/// Fills up the end of a text with spaces.
fn padded(rest: &[u8]) -> [u8; WIDTH] {
    let mut part = [b' '; WIDTH];
    part[..rest.len()].copy_from_slice(rest);
    part
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_answer_is_that_of_a_look_at_every_byte(text in "[a-e0-9 é]{0,150}") {
            let bytes = text.as_bytes();
            let is_exponent = |one: u8, two: u8| one == b'7' && two == b'e';
            prop_assert_eq!(has_byte(bytes, |byte| byte == b'7'), text.contains('7'));
            prop_assert_eq!(has_pair(bytes, is_exponent), text.contains("7e"));
        }
    }
}
