//! Takes out of requests and answers what nobody may read in a log.
//!
//! Masked are a provider's secrets wherever and however written, the headers that carry credentials, fields that the
//! provider file names, the payload's sensitive values, and card-like numbers. Text is cut only after masking, so that
//! no half of a secret remains at the cut.

mod card;
mod needle;

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use needle::Needles;

/// What stands in the place of what was masked.
pub const MASKED: &str = "***";

/// How much of a body is logged unless told otherwise, in bytes.
pub const DEFAULT_CAP: usize = 4096;

/// Shorter secrets are masked only where they are a whole value: their letters are everywhere.
const SECRET_SUBSTRING: usize = 4;

/// The same for sensitive values of a payload, which are words rather than random letters.
const VALUE_SUBSTRING: usize = 6;

const CREDENTIAL_HEADERS: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "set-cookie"];

/// What is masked in the exchanges of a provider, or of one command. Cheap to clone.
#[derive(Clone)]
pub struct Mask {
    provider: Arc<Hidden>,
    command: Arc<Hidden>,
    fields: Arc<HashSet<String>>,
    cap: usize,
}

/// Texts to hide.
#[derive(Default)]
struct Hidden {
    /// Hidden wherever they are.
    anywhere: Needles,
    /// Hidden where they are a whole value.
    whole: HashSet<String>,
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask(…)")
    }
}

impl Mask {
    /// A mask for a provider's secrets and the names of fields to be masked; case does not matter in names.
    #[must_use]
    pub fn new(secrets: &[SecretString], fields: &[String]) -> Self {
        let secrets: Vec<&str> = secrets.iter().map(|secret| secret.expose_secret().trim()).collect();
        let long = secrets.iter().copied().filter(|secret| secret.len() >= SECRET_SUBSTRING);
        let provider = Hidden { anywhere: Needles::with_base64(long), whole: whole(&secrets) };
        Self {
            provider: Arc::new(provider),
            command: Arc::default(),
            fields: Arc::new(fields.iter().map(|name| name.to_lowercase()).collect()),
            cap: DEFAULT_CAP,
        }
    }

    /// The same mask, which also hides the sensitive values of one command's payload.
    #[must_use]
    pub fn with_values(&self, values: &[String]) -> Self {
        let values: Vec<&str> = values.iter().map(|value| value.trim()).collect();
        let long = values.iter().copied().filter(|value| value.len() >= VALUE_SUBSTRING);
        let command = Hidden { anywhere: Needles::plain(long), whole: whole(&values) };
        Self { command: Arc::new(command), ..self.clone() }
    }

    /// The same mask with another limit for logged bodies, in bytes.
    #[must_use]
    pub fn capped_at(self, cap: usize) -> Self {
        Self { cap, ..self }
    }

    /// Free text, masked; it is not cut.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut spans = self.hidden_in(text);
        spans.extend(card::spans(text));
        cover(text, spans)
    }

    /// A URL, masked, its query decoded.
    #[must_use]
    pub fn url(&self, url: &Url) -> String {
        let mut base = url.clone();
        // Fails for URLs that have no host, which have no password either.
        let _ = base.set_username("").and_then(|()| base.set_password(None));
        base.set_query(None);
        base.set_fragment(None);
        let path = base.path().split('/').map(|segment| self.segment(segment)).collect::<Vec<_>>().join("/");
        let origin = base.as_str().strip_suffix(base.path()).unwrap_or_default();
        let query = url.query().map(|query| format!("?{}", self.pairs(query.as_bytes()))).unwrap_or_default();
        self.text(&format!("{origin}{path}{query}"))
    }

    /// Headers as a JSON object, masked; repeated ones are joined by commas.
    #[must_use]
    pub fn headers(&self, headers: &[(String, String)]) -> String {
        let mut shown = Map::new();
        for (name, value) in headers {
            let value = self.header(&name.to_lowercase(), value);
            match shown.get_mut(name) {
                Some(Value::String(before)) => *before = format!("{before}, {value}"),
                _ => drop(shown.insert(name.clone(), Value::String(value))),
            }
        }
        self.cut(Value::Object(shown).to_string())
    }

    /// A body, masked and cut. What can't be read as text, or might hold a masked field out of sight, is only measured.
    #[must_use]
    pub fn body(&self, content_type: Option<&str>, body: &[u8]) -> String {
        let kind = content_type.unwrap_or_default().to_ascii_lowercase();
        let Some(text) = readable(body).filter(|_| !kind.starts_with("multipart/")) else {
            return format!("[{} bytes]", body.len());
        };
        if self.nothing_to_hide(text) {
            return self.cut(text.to_owned());
        }
        let masked = match self.json(text) {
            Some(json) => self.text(&json),
            None if kind.starts_with("application/x-www-form-urlencoded") => self.text(&self.pairs(body)),
            None if kind.contains("json") && self.names_a_field(text) => {
                format!("[{} bytes that are no valid JSON]", body.len())
            }
            None => self.text(text),
        };
        self.cut(masked)
    }

    /// Whether a text shows at a glance that there is nothing in it to mask, which holds for most bodies and spares taking
    /// them apart. Where a value may be spelled in other ways than it is written (escapes, exponents, numbers among the
    /// hidden values), or fields are masked by name, no glance is enough.
    fn nothing_to_hide(&self, text: &str) -> bool {
        let plain = !text.contains(['\\', '%', '&', '+']) && !text.as_bytes().windows(2).any(is_exponent);
        let hides = |hidden: &String| hidden.parse::<f64>().is_ok() || text.contains(hidden.as_str());
        plain && self.fields.is_empty() && !self.wholes().any(hides) && self.text(text) == text
    }

    fn header(&self, name: &str, value: &str) -> String {
        if CREDENTIAL_HEADERS.contains(&name) || self.is_masked_field(name) || self.is_whole(value) {
            return MASKED.to_owned();
        }
        if !self.hidden_in(value).is_empty() {
            return MASKED.to_owned();
        }
        // Operators look for keys, and a key may look like the number of a card.
        if name.contains("idempotency") { value.to_owned() } else { self.text(value) }
    }

    fn segment(&self, segment: &str) -> String {
        let decoded = percent_decode_str(segment).decode_utf8_lossy();
        if self.is_whole(&decoded) { MASKED.to_owned() } else { segment.to_owned() }
    }

    /// The pairs of a form or query, decoded; brackets and dots in names separate fields.
    fn pairs(&self, text: &[u8]) -> String {
        let pair = |(name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| {
            let masked = name.split(['[', ']', '.']).any(|part| self.is_masked_field(part));
            let value = if masked { MASKED.to_owned() } else { self.leaf(&value) };
            format!("{name}={value}")
        };
        form_urlencoded::parse(text).map(pair).collect::<Vec<_>>().join("&")
    }

    /// A JSON object or array with its fields and leaves masked; `None` where the text is neither.
    fn json(&self, text: &str) -> Option<String> {
        let text = text.trim_start_matches('\u{feff}').trim();
        if !text.starts_with(['{', '[']) {
            return None;
        }
        let mut value = serde_json::from_str(text).ok()?;
        self.mask_value(&mut value);
        Some(value.to_string())
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
            Value::String(text) => *text = self.leaf(text),
            Value::Number(number) => {
                // A number too long for its type is printed in another way than it was written.
                let same = |hidden: &String| number.is_f64() && hidden.parse().ok() == number.as_f64();
                let text = number.to_string();
                if self.is_whole(&text) || self.wholes().any(same) || self.text(&text) != text {
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

    /// One value of a form or of JSON, before it is masked as text. JSON within it is masked by its own fields.
    fn leaf(&self, text: &str) -> String {
        if self.is_whole(text) { MASKED.to_owned() } else { self.json(text).unwrap_or_else(|| text.to_owned()) }
    }

    fn is_masked_field(&self, name: &str) -> bool {
        !self.fields.is_empty() && self.fields.contains(&name.to_lowercase())
    }

    fn names_a_field(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.fields.iter().any(|name| text.contains(name))
    }

    fn is_whole(&self, text: &str) -> bool {
        let text = text.trim();
        self.provider.whole.contains(text) || self.command.whole.contains(text)
    }

    fn wholes(&self) -> impl Iterator<Item = &String> {
        self.provider.whole.iter().chain(&self.command.whole)
    }

    fn hidden_in(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans = self.provider.anywhere.spans(text);
        spans.extend(self.command.anywhere.spans(text));
        spans
    }

    fn cut(&self, text: String) -> String {
        if text.len() <= self.cap {
            return text;
        }
        let (kept, rest) = text.split_at(text.floor_char_boundary(self.cap));
        format!("{kept}… [{} more bytes]", rest.len())
    }
}

/// Whether a digit and what follows it may be the beginning of an exponent.
fn is_exponent(pair: &[u8]) -> bool {
    pair[0].is_ascii_digit() && matches!(pair[1], b'e' | b'E')
}

fn whole(texts: &[&str]) -> HashSet<String> {
    texts.iter().filter(|text| !text.is_empty()).map(|&text| text.to_owned()).collect()
}

/// The body as text, if it is text.
fn readable(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let binary = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    (!text.contains(binary)).then_some(text)
}

/// The text with every span replaced; spans that overlap become one.
fn cover(text: &str, mut spans: Vec<Range<usize>>) -> String {
    spans.sort_unstable_by_key(|span| span.start);
    let mut covered = String::with_capacity(text.len());
    let mut at = 0;
    for (index, span) in spans.iter().enumerate() {
        if index == 0 || span.start > at {
            covered.push_str(&text[at..span.start]);
            covered.push_str(MASKED);
        }
        at = at.max(span.end);
    }
    covered.push_str(&text[at..]);
    covered
}

#[cfg(test)]
#[path = "mask_tests.rs"]
mod tests;
