//! Escapes text from outside on its way to a terminal or into the log.
//!
//! A terminal obeys control characters: they move the cursor, clear the screen and set the title.
//! Other characters reorder the text (U+202E) or are invisible (U+200B), so that a line reads other
//! than it is. Printed and logged text holds none of them: they are written as escape sequences, in
//! text as Rust writes them and in JSON as JSON does, where a program reads the same text back.

use std::borrow::Cow;
use std::fmt::{self, Write};

use unicode_general_category::{GeneralCategory, get_general_category};

/// Returns true for the characters that are escaped: those of the Unicode categories Cc, Cf, Zl and
/// Zp.
#[must_use]
pub fn is_escaped(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    matches!(
        get_general_category(c),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

/// Escapes those characters as `\n` or `\u{202e}`. Escaping an escaped text again leaves it as it
/// is.
#[must_use]
pub fn escape_text(text: &str) -> Cow<'_, str> {
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    // Writing to a string does not fail.
    let _ = TextEscaper(&mut escaped).write_str(text);
    Cow::Owned(escaped)
}

/// Escapes those characters as `\u202e` in a JSON document, which keeps its meaning.
#[must_use]
pub fn escape_json(document: &str) -> Cow<'_, str> {
    if !document.contains(|c| is_escaped(c) && c != '\n') {
        return Cow::Borrowed(document);
    }
    let mut escaped = String::with_capacity(document.len() + 16);
    // Writing to a string does not fail.
    let _ = JsonEscaper(&mut escaped).write_str(document);
    Cow::Owned(escaped)
}

/// Escapes the text that is written through it.
pub struct TextEscaper<W>(pub W);

impl<W: Write> Write for TextEscaper<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_runs(&mut self.0, text, is_escaped, |writer, c| {
            write!(writer, "{}", c.escape_default())
        })
    }
}

/// Escapes a JSON document that is written through it. JSON allows no raw line feed within a text,
/// so any line feed stands between values and is kept.
pub struct JsonEscaper<W>(pub W);

impl<W: Write> Write for JsonEscaper<W> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        write_runs(&mut self.0, part, |c| c != '\n' && is_escaped(c), write_units)
    }
}

/// Writes what is written through it as the inside of a JSON text, and escapes those characters
/// too.
pub struct JsonTextEscaper<W>(pub W);

impl<W: Write> Write for JsonTextEscaper<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_json_text(&mut self.0, text)
    }
}

/// Appends a text in quotes to a JSON document, and escapes those characters too.
pub fn push_json_text(json: &mut String, text: &str) {
    json.push('"');
    // Writing to a string does not fail.
    let _ = write_json_text(json, text);
    json.push('"');
}

fn write_json_text<W: Write>(writer: &mut W, text: &str) -> fmt::Result {
    let is_special = |c| matches!(c, '"' | '\\') || is_escaped(c);
    write_runs(writer, text, is_special, |writer, c| match c {
        '"' => writer.write_str("\\\""),
        '\\' => writer.write_str("\\\\"),
        '\n' => writer.write_str("\\n"),
        '\r' => writer.write_str("\\r"),
        '\t' => writer.write_str("\\t"),
        '\u{8}' => writer.write_str("\\b"),
        '\u{c}' => writer.write_str("\\f"),
        c => write_units(writer, c),
    })
}

/// Writes a character as JSON escapes it: `\u202e`, two of these beyond the first 65,536.
fn write_units<W: Write>(writer: &mut W, c: char) -> fmt::Result {
    c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(writer, "\\u{unit:04x}"))
}

/// Writes a text: `escape` writes the characters that `is_special` names, and what lies between
/// them is written as it is, at once. A printable ASCII character but `"` and `\` is never special.
fn write_runs<W: Write>(
    writer: &mut W,
    text: &str,
    is_special: impl Fn(char) -> bool,
    escape: impl Fn(&mut W, char) -> fmt::Result,
) -> fmt::Result {
    let bytes = text.as_bytes();
    let mut written = 0;
    for start in (0..bytes.len()).step_by(8) {
        let eight = match bytes[start..].first_chunk() {
            Some(eight) => u64::from_le_bytes(*eight),
            None => last_bytes(bytes, bytes.len() - start),
        };
        let mut marks = mark_candidates(eight);
        while marks != 0 {
            let at = start + marks.trailing_zeros() as usize / 8;
            marks &= marks - 1;
            if let Some(c) = char_at(text, at).filter(|c| is_special(*c)) {
                writer.write_str(&text[written..at])?;
                escape(writer, c)?;
                written = at + c.len_utf8();
            }
        }
    }
    writer.write_str(&text[written..])
}

/// The character that begins at a byte; `None` within a character, or behind the text.
fn char_at(text: &str, at: usize) -> Option<char> {
    match *text.as_bytes().get(at)? {
        byte @ ..0x80 => Some(char::from(byte)),
        0x80..0xc0 => None,
        _ => text[at..].chars().next(),
    }
}

/// The last bytes of a text, less than eight, filled up with spaces.
fn last_bytes(bytes: &[u8], count: usize) -> u64 {
    const SPACES: u64 = u64::from_le_bytes([b' '; 8]);
    if let Some(eight) = bytes.last_chunk() {
        // Those before them are shifted out.
        return (u64::from_le_bytes(*eight) >> (8 * (8 - count))) | (SPACES << (8 * count));
    }
    let mut eight = [b' '; 8];
    eight[..count].copy_from_slice(bytes);
    u64::from_le_bytes(eight)
}

/// Sets the highest bit of each of eight bytes that is not printable ASCII, or is `"` or `\`. Above
/// the first of these, the bits of other bytes may be set too.
fn mark_candidates(eight: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    // Subtracting sets the highest bit of a byte that is smaller, and borrows from higher bytes
    // only there.
    let smaller = |eight: u64, than: u8| eight.wrapping_sub(ONES * u64::from(than)) & !eight;
    let equal = |byte: u8| smaller(eight ^ (ONES * u64::from(byte)), 1);
    let controls = smaller(eight, 0x20) | equal(0x7f);
    (eight | controls | equal(b'"') | equal(b'\\')) & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Characters, and whether they are escaped: those that a terminal obeys, that reorder a line,
    /// that are invisible, and that are ordinary.
    const CHARACTERS: [(char, bool); 26] = [
        ('\0', true),
        ('\t', true),
        ('\n', true),
        ('\r', true),
        ('\u{1b}', true),
        ('\u{7f}', true),
        ('\u{85}', true),
        ('\u{9b}', true),
        ('\u{ad}', true),
        ('\u{61c}', true),
        ('\u{200b}', true),
        ('\u{200d}', true),
        ('\u{200f}', true),
        ('\u{2028}', true),
        ('\u{2029}', true),
        ('\u{202e}', true),
        ('\u{2066}', true),
        ('\u{feff}', true),
        ('\u{e0041}', true),
        (' ', false),
        ('\\', false),
        ('a', false),
        ('ä', false),
        ('ש', false),
        ('\u{301}', false),
        ('🦀', false),
    ];

    #[test]
    fn what_acts_on_a_terminal_or_hides_is_written_out_and_all_else_stays() {
        for (c, escaped) in CHARACTERS {
            let text = format!("a{c}b");
            let shown = escape_text(&text);
            assert_eq!((is_escaped(c), shown != text), (escaped, escaped), "{c:?}");
            assert!(!shown.contains(is_escaped), "{c:?}");
            assert_eq!(escape_text(&shown), shown, "{c:?}: escaping twice");
        }
        assert_eq!(
            escape_text("\u{1b}[2J\r\n\u{202e}\u{e0041}"),
            "\\u{1b}[2J\\r\\n\\u{202e}\\u{e0041}"
        );
    }

    #[test]
    fn json_keeps_its_lines_and_means_the_same() {
        let text: String = CHARACTERS.iter().map(|(c, _)| *c).collect();
        let value = serde_json::json!({ text.as_str(): [text] });
        for document in
            [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()]
        {
            let escaped = escape_json(&document);
            assert_eq!(escaped.find(|c| is_escaped(c) && c != '\n'), None, "{escaped}");
            assert_eq!(escaped.lines().count(), document.lines().count(), "{escaped}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
        }
        assert_eq!(escape_json("\"\u{9b}\u{e0041}\""), r#""\u009b\udb40\udc41""#);
        assert_eq!(escape_json("{\n  \"a\": 1\n}"), "{\n  \"a\": 1\n}");
    }

    #[test]
    fn a_text_is_written_as_serde_json_writes_it_and_then_escaped() {
        for c in (0..=0x10_FFFF).filter_map(char::from_u32) {
            let (text, mut whole) = (format!("{c}a{c}{c}"), String::new());
            push_json_text(&mut whole, &text);
            assert_eq!(whole, escape_json(&serde_json::to_string(&text).unwrap()), "{c:?}");
        }
    }

    proptest! {
        #[test]
        fn every_escaped_character_is_found_wherever_it_stands(text in r#"([a-d ~]{0,9}["\\\x00\x1f\x7f\x80é\u{200b}🦀]?){0,6}"#) {
            let expected: String = text.chars().map(|c| {
                if is_escaped(c) { c.escape_default().to_string() } else { c.to_string() }
            }).collect();
            let mut escaped = String::new();
            TextEscaper(&mut escaped).write_str(&text).unwrap();
            prop_assert_eq!(&escaped, &expected);
            let mut json = String::from("\"");
            JsonTextEscaper(&mut json).write_str(&text).unwrap();
            json.push('"');
            let plain = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(json, escape_json(&plain));
        }
    }
}
