//! Masks JSON in place.

use serde_json::{Map, Value};

use super::mask::{MASKED, Mask, cover};
use ferryd_domain::webhook_token::{PARAMETER, SHORTEST};

/// The reader for whom a value is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueReader {
    /// A person: fields that the provider file names are masked, and so are card-like numbers.
    Person,
    /// Usually a person: like [`Self::Person`], but no id is taken for a card number.
    Either,
    /// A program, which gets the data that the provider file maps for it.
    Program,
}

impl Mask {
    /// Masks a value that people read.
    #[must_use]
    pub fn value(&self, mut value: Value) -> Value {
        self.mask_value(&mut value);
        self.mask_texts(&mut value, ValueReader::Person);
        value
    }

    /// Masks the details of an error.
    #[must_use]
    pub fn details(&self, mut value: Value) -> Value {
        self.mask_texts(&mut value, ValueReader::Either);
        value
    }

    /// Masks a value that a program reads: only known secrets, and card-like numbers in sentences.
    #[must_use]
    pub fn data(&self, mut value: Value) -> Value {
        self.mask_texts(&mut value, ValueReader::Program);
        value
    }

    fn mask_texts(&self, value: &mut Value, reader: ValueReader) {
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => {
                if reader != ValueReader::Person && !self.data_spans(&number.to_string()).is_empty()
                {
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
                    if is_named || is_webhook_token(name, value) {
                        *value = Value::from(MASKED);
                    } else {
                        self.mask_texts(value, reader);
                    }
                }
                self.mask_names(fields, reader);
            }
        }
    }

    /// Masks a text that stands in JSON; `None` if nothing is to be masked.
    fn masked_leaf(&self, text: &str, reader: ValueReader) -> Option<String> {
        let inner = (reader == ValueReader::Either && self.names_a_field(text))
            .then(|| self.json(text))
            .flatten();
        let text = inner.as_deref().unwrap_or(text);
        let spans =
            if reader == ValueReader::Person { self.spans(text) } else { self.data_spans(text) };
        if spans.is_empty() { inner } else { Some(cover(text, spans)) }
    }

    fn mask_names(&self, fields: &mut Map<String, Value>, reader: ValueReader) {
        if fields.keys().any(|name| self.masked_leaf(name, reader).is_some()) {
            let masked = |(name, value): (String, Value)| {
                (self.masked_leaf(&name, reader).unwrap_or(name), value)
            };
            *fields = std::mem::take(fields).into_iter().map(masked).collect();
        }
    }

    /// Masks the fields and leaves of a JSON object or array; `None` if the text is neither.
    pub(super) fn json(&self, text: &str) -> Option<String> {
        let text = text.trim_start_matches('\u{feff}').trim();
        if !text.starts_with(['{', '[']) {
            return None;
        }
        let value = serde_json::from_str(text).ok()?;
        // Masked before the text is escaped once more.
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
                let same =
                    |hidden: &String| number.is_f64() && hidden.parse().ok() == number.as_f64();
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

    /// Masks one value of a form or of JSON before it is masked as text: as a whole, or JSON within
    /// it by its own fields; `None` if the value stays.
    pub(super) fn leaf(&self, text: &str) -> Option<String> {
        if self.is_whole(text) { Some(MASKED.to_owned()) } else { self.json(text) }
    }
}

/// Returns true if a field is the token parameter of a webhook URL whose query was parsed.
fn is_webhook_token(name: &str, value: &Value) -> bool {
    let is_token = |text: &str| {
        text.len() >= SHORTEST
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name == PARAMETER && value.as_str().is_some_and(is_token)
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
