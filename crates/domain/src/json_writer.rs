//! Writes compact JSON, byte for byte as `serde_json` writes it, in fewer steps: a name comes with
//! the punctuation around it, numbers and times are written without the machinery of formatting,
//! and of a text eight bytes are looked at together.
//!
//! Records, events and calls, which ferryd encodes for each command, are written by this; all else
//! by serde. Reading is serde's. Tests hold that a type which has both forms is written the same.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Number, Value};

use super::timestamp_text::push_timestamp;

/// The size of most values, in bytes.
const USUAL_SIZE: usize = 1024;

/// A value that writes itself as JSON, as its [`Serialize`] does.
pub trait WriteJson {
    /// Appends the value.
    fn write_json(&self, json: &mut JsonWriter<'_>);

    /// Returns the value in its JSON form.
    fn to_json(&self) -> Box<str> {
        let mut json = String::with_capacity(USUAL_SIZE);
        self.write_json(&mut JsonWriter::new(&mut json));
        // A copy of the right size costs less than to shrink the first.
        Box::from(json.as_str())
    }
}

/// Appends JSON to a text. The parameter `name` of its functions is written as it is: the name of a
/// member, with the punctuation before and behind it.
#[derive(Debug)]
pub struct JsonWriter<'j> {
    json: &'j mut String,
}

impl<'j> JsonWriter<'j> {
    /// Begins to append to a text.
    pub fn new(json: &'j mut String) -> Self {
        Self { json }
    }

    /// The text to which the writer appends.
    pub fn buffer(&mut self) -> &mut String {
        self.json
    }

    /// Writes JSON as it is.
    pub fn raw(&mut self, json: &str) {
        self.json.push_str(json);
    }

    /// Writes JSON as it is where `is_set` is true: a member that is left out where it is false.
    pub fn raw_if(&mut self, is_set: bool, json: &str) {
        if is_set {
            self.raw(json);
        }
    }

    /// Writes a text in quotes.
    pub fn text(&mut self, name: &str, text: &str) {
        self.raw(name);
        self.json.push('"');
        self.push_escaped(text);
        self.json.push('"');
    }

    /// Writes a text, where there is one.
    pub fn optional_text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// Writes a whole number.
    pub fn number(&mut self, name: &str, number: impl Into<u64>) {
        self.raw(name);
        self.push_number(number.into());
    }

    /// Writes a truth value.
    pub fn flag(&mut self, name: &str, flag: bool) {
        self.raw(name);
        self.raw(if flag { "true" } else { "false" });
    }

    /// Writes a time in quotes.
    pub fn time(&mut self, name: &str, at: Timestamp) {
        self.raw(name);
        self.json.push('"');
        push_timestamp(self.json, at);
        self.json.push('"');
    }

    /// Writes a value.
    pub fn value(&mut self, name: &str, value: &impl WriteJson) {
        self.raw(name);
        value.write_json(self);
    }

    /// Writes a value by its [`Serialize`], for what is rarely written.
    pub fn serialized(&mut self, name: &str, value: &impl Serialize) {
        self.raw(name);
        // Plain data always has a JSON form.
        self.raw(serde_json::to_string(value).as_deref().unwrap_or("null"));
    }

    fn push_number(&mut self, mut number: u64) {
        let (mut digits, mut start) = ([0; 20], 20);
        loop {
            let digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
            if number == 0 && start == digits.len() {
                return self.json.push(char::from(digit));
            }
            start -= 1;
            digits[start] = digit;
            if number == 0 {
                break;
            }
        }
        self.raw(str::from_utf8(&digits[start..]).unwrap_or_default());
    }

    fn push_any_number(&mut self, number: &Number) {
        match number.as_u64() {
            Some(number) => self.push_number(number),
            // Writing to a string does not fail.
            None => drop(write!(self.json, "{number}")),
        }
    }

    fn push_escaped(&mut self, text: &str) {
        let mut rest = text;
        while let Some((at, byte)) = find_special(rest.as_bytes()) {
            self.raw(&rest[..at]);
            self.push_escape(byte);
            rest = &rest[at + 1..];
        }
        self.raw(rest);
    }

    fn push_escape(&mut self, byte: u8) {
        match byte {
            b'"' => self.raw("\\\""),
            b'\\' => self.raw("\\\\"),
            b'\n' => self.raw("\\n"),
            b'\r' => self.raw("\\r"),
            b'\t' => self.raw("\\t"),
            0x08 => self.raw("\\b"),
            0x0c => self.raw("\\f"),
            // Writing to a string does not fail.
            byte => drop(write!(self.json, "\\u{byte:04x}")),
        }
    }
}

impl WriteJson for Value {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        match self {
            Self::Null => json.raw("null"),
            Self::Bool(flag) => json.flag("", *flag),
            Self::Number(number) => json.push_any_number(number),
            Self::String(text) => json.text("", text),
            Self::Array(items) => {
                json.raw("[");
                for (index, item) in items.iter().enumerate() {
                    json.value(if index > 0 { "," } else { "" }, item);
                }
                json.raw("]");
            }
            Self::Object(fields) => {
                json.raw("{");
                for (index, (name, value)) in fields.iter().enumerate() {
                    json.text(if index > 0 { "," } else { "" }, name);
                    json.value(":", value);
                }
                json.raw("}");
            }
        }
    }
}

/// The byte 1, eight times.
const ONES: u64 = u64::MAX / 0xff;
/// The highest bit of each of eight bytes.
const HIGH_BITS: u64 = ONES << 7;

/// Finds the first byte that JSON escapes in a text.
fn find_special(bytes: &[u8]) -> Option<(usize, u8)> {
    let (eights, rest) = bytes.as_chunks::<8>();
    let in_eight = |start: usize, eight: [u8; 8]| {
        let marks = mark_special(u64::from_le_bytes(eight));
        (marks != 0).then(|| start + marks.trailing_zeros() as usize / 8)
    };
    let in_rest = || match bytes.last_chunk() {
        // The bytes before the rest, which are looked at once more, are not special.
        Some(last) if !rest.is_empty() => in_eight(bytes.len() - 8, *last),
        _ => rest.iter().position(|byte| is_special(*byte)),
    };
    let mut numbered = eights.iter().enumerate();
    let at = numbered.find_map(|(index, eight)| in_eight(index * 8, *eight)).or_else(in_rest)?;
    Some((at, bytes[at]))
}

fn is_special(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'"' | b'\\')
}

/// Sets the highest bit of the lowest byte that is special, and perhaps of bytes above that one;
/// none where no byte is special.
fn mark_special(eight: u64) -> u64 {
    let below_space = eight.wrapping_sub(ONES * u64::from(b' ')) & !eight;
    let equal_to = |byte: u8| {
        let zero_where_equal = eight ^ (ONES * u64::from(byte));
        zero_where_equal.wrapping_sub(ONES) & !zero_where_equal
    };
    (below_space | equal_to(b'"') | equal_to(b'\\')) & HIGH_BITS
}

#[cfg(test)]
#[path = "json_writer_tests.rs"]
mod tests;
