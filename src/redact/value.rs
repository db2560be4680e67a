//! Masks JSON in its place.

use serde_json::{Map, Value};

use super::mask::{MASKED, Mask, cover};
use crate::domain::callback_token::{PARAMETER, SHORTEST};

/// The use that is made of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueReader {
    /// People: a field that the provider file names is masked, and so is what looks like a card.
    Person,
    /// People, most of the time: the same, but no id is taken for a card.
    Either,
    /// A program, which gets what the provider file maps for it.
    Program,
}

impl Mask {
    /// A value that people read, masked.
    #[must_use]
    pub fn value(&self, mut value: Value) -> Value {
        self.mask_value(&mut value);
        self.mask_texts(&mut value, ValueReader::Person);
        value
    }

    /// The details of an error, masked.
    #[must_use]
    pub fn details(&self, mut value: Value) -> Value {
        self.mask_texts(&mut value, ValueReader::Either);
        value
    }

    /// A value that a program reads, masked: of what a provider says, only what is known to be secret, and card-like numbers in
    /// sentences.
    #[must_use]
    pub fn data(&self, mut value: Value) -> Value {
        self.mask_texts(&mut value, ValueReader::Program);
        value
    }

    fn mask_texts(&self, value: &mut Value, reader: ValueReader) {
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => {
                if reader != ValueReader::Person && !self.data_spans(&number.to_string()).is_empty() {
                    *value = Value::from(MASKED);
                }
            }
            Value::String(text) => {
                if let Some(masked) = self.masked_leaf(text, reader) {
                    *text = masked;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_texts(item, reader)),
            Value::Object(fields) => {
                for (name, value) in fields.iter_mut() {
                    let is_named = reader != ValueReader::Program && self.is_masked_field(name);
                    if is_named || is_callback_token(name, value) {
                        *value = Value::from(MASKED);
                    } else {
                        self.mask_texts(value, reader);
                    }
                }
                self.mask_names(fields, reader);
            }
        }
    }

    /// A text that stands in JSON, masked; `None` where nothing is to be masked.
    fn masked_leaf(&self, text: &str, reader: ValueReader) -> Option<String> {
        let inner = (reader == ValueReader::Either && self.names_a_field(text)).then(|| self.json(text)).flatten();
        let text = inner.as_deref().unwrap_or(text);
        let spans = if reader == ValueReader::Person { self.spans(text) } else { self.data_spans(text) };
        if spans.is_empty() { inner } else { Some(cover(text, spans)) }
    }

    fn mask_names(&self, fields: &mut Map<String, Value>, reader: ValueReader) {
        if fields.keys().any(|name| self.masked_leaf(name, reader).is_some()) {
            let masked = |(name, value): (String, Value)| (self.masked_leaf(&name, reader).unwrap_or(name), value);
            *fields = std::mem::take(fields).into_iter().map(masked).collect();
        }
    }

    /// A JSON object or array with its fields and leaves masked; `None` where the text is neither.
    pub(super) fn json(&self, text: &str) -> Option<String> {
        let text = text.trim_start_matches('\u{feff}').trim();
        if !text.starts_with(['{', '[']) {
            return None;
        }
        let value = serde_json::from_str(text).ok()?;
        // Before it is escaped once more.
        Some(self.value(value).to_string())
    }

    fn mask_value(&self, value: &mut Value) {
        match value {
            Value::Null => {}
            Value::Object(fields) => {
                for (name, value) in fields {
                    if self.is_masked_field(name) {
                        *value = Value::from(MASKED);
                    } else {
                        self.mask_value(value);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_value(item)),
            Value::String(text) => {
                if let Some(leaf) = self.leaf(text) {
                    *text = leaf;
                }
            }
            Value::Number(number) => {
                // A number too long for its type is printed in another way than it was written.
                let same = |hidden: &String| number.is_f64() && hidden.parse().ok() == number.as_f64();
                let text = number.to_string();
                if self.is_whole(&text)
                    || self.hides_numbers() && self.wholes().any(same)
                    || !self.spans(&text).is_empty()
                {
                    *value = Value::from(MASKED);
                }
            }
            Value::Bool(flag) => {
                if self.is_whole(if *flag { "true" } else { "false" }) {
                    *value = Value::from(MASKED);
                }
            }
        }
    }

    /// Masks one value of a form or of JSON before it is masked as text: as a whole, or JSON within it by its own fields; `None`
    /// where it stays.
    pub(super) fn leaf(&self, text: &str) -> Option<String> {
        if self.is_whole(text) { Some(MASKED.to_owned()) } else { self.json(text) }
    }
}

/// Tells whether a field is the parameter of a callback URL, taken apart.
fn is_callback_token(name: &str, value: &Value) -> bool {
    let is_token = |text: &str| {
        text.len() >= SHORTEST && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name == PARAMETER && value.as_str().is_some_and(is_token)
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
