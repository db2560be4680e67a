//! Checks a body before it is parsed: whether the body is text, and whether every value in it is
//! spelled in its only way.

/// Returns true if nothing in a text may stand for another text: the text has no escapes, and no
/// number with an exponent.
pub(super) fn is_plain(text: &[u8]) -> bool {
    // Written so that many bytes are compared at once.
    let escapes = |part: &[u8]| {
        part.iter().fold(false, |any, byte| any | matches!(byte, b'\\' | b'%' | b'&' | b'+'))
    };
    let exponents =
        || text.iter().zip(text.iter().skip(1)).fold(false, |any, pair| any | is_exponent(pair));
    !(text.chunks(256).any(escapes) || exponents() && has_exponent(text))
}

/// Returns true if a digit and the byte after it may be the beginning of an exponent.
fn is_exponent((digit, e): (&u8, &u8)) -> bool {
    digit.is_ascii_digit() & matches!(e, b'e' | b'E')
}

/// Returns true if a text without escapes has a number with an exponent outside of JSON strings,
/// where ids hold such by chance, or in a string that might be JSON itself.
fn has_exponent(text: &[u8]) -> bool {
    let (mut in_string, mut in_json) = (false, true);
    text.iter().zip(text.iter().skip(1)).any(|pair| {
        match pair.0 {
            b'"' => {
                in_string = !in_string;
                in_json = !in_string;
            }
            b'[' | b'{' => in_json = true,
            _ => {}
        }
        in_json && is_exponent(pair)
    })
}

/// The body as a text; `None` where it is binary.
pub(super) fn readable_body(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    // The control characters beyond ASCII are encoded as this byte and another one; so are other
    // characters.
    let suspect = |byte: &u8| {
        *byte < b' ' && !matches!(byte, b'\n' | b'\r' | b'\t') || matches!(byte, 0x7f | 0xc2)
    };
    let binary = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    let suspicious =
        body.chunks(256).any(|part| part.iter().fold(false, |any, byte| any | suspect(byte)));
    (!suspicious || !text.contains(binary)).then_some(text)
}
