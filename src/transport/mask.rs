//! Takes out of requests and answers what nobody may read in a log.
//!
//! Masked are a provider's secrets wherever and however written, the headers that carry credentials, fields that the
//! provider file names, the payload's sensitive values, the tokens of callback URLs, and card-like numbers. Text is cut
//! only after masking, so that no half of a secret remains at the cut.

mod card;
mod needle;
mod shown;
mod token;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::{Position, Url, form_urlencoded};

use needle::Needles;
pub(crate) use shown::told;
pub use shown::{Excerpt, Headers};

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
    /// Those of them that are too short to be hidden anywhere.
    short: Vec<String>,
    /// Whether any is a number, which can be written in other ways.
    numbers: bool,
}

impl Hidden {
    fn new(anywhere: Needles, texts: &[&str], substring: usize) -> Self {
        let whole: HashSet<String> =
            texts.iter().filter(|text| !text.is_empty()).map(|&text| text.to_owned()).collect();
        let short = whole.iter().filter(|text| text.len() < substring).cloned().collect();
        let numbers = whole.iter().any(|text| text.parse::<f64>().is_ok());
        Self { anywhere, whole, short, numbers }
    }

    fn is_whole(&self, text: &str) -> bool {
        !self.whole.is_empty() && self.whole.contains(text)
    }
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
        let provider = Hidden::new(Needles::with_base64(long), &secrets, SECRET_SUBSTRING);
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
        let command = Hidden::new(Needles::plain(long), &values, VALUE_SUBSTRING);
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
        self.masked(text.into()).into_owned()
    }

    /// A value, masked; it is not cut.
    #[must_use]
    pub fn value(&self, mut value: Value) -> Value {
        self.mask_value(&mut value);
        let text = value.to_string();
        let spans = self.spans(&text);
        if spans.is_empty() {
            return value;
        }
        let masked = cover(&text, spans);
        serde_json::from_str(&masked).unwrap_or(Value::String(masked))
    }

    /// A URL, masked, without user, password and fragment, its query decoded.
    #[must_use]
    pub fn url(&self, url: &Url) -> String {
        let mut shown = String::with_capacity(url.as_str().len());
        shown.push_str(&url[..Position::BeforeUsername]);
        shown.push_str(&url[Position::BeforeHost..Position::BeforePath]);
        for (index, segment) in url.path().split('/').enumerate() {
            shown.push_str(if index > 0 { "/" } else { "" });
            shown.push_str(if self.is_whole(&percent_decode_str(segment).decode_utf8_lossy()) {
                MASKED
            } else {
                segment
            });
        }
        if let Some(query) = url.query() {
            shown.push('?');
            self.push_pairs(&mut shown, query.as_bytes());
        }
        self.masked(shown.into()).into_owned()
    }

    /// Headers, masked; repeated ones are joined by commas.
    #[must_use]
    pub fn headers<'a>(&self, headers: &'a [(String, String)]) -> Headers<'a> {
        let mut shown = Headers::with_capacity(headers.len());
        for (name, value) in headers {
            shown.push(name, self.header(name, value));
        }
        shown
    }

    /// A body, masked and cut. What can't be read as text, or might hold a masked field out of sight, is only measured.
    #[must_use]
    pub fn body<'a>(&self, content_type: Option<&str>, body: &'a [u8]) -> Excerpt<'a> {
        let kind = content_type.unwrap_or_default().to_ascii_lowercase();
        let Some(text) = readable(body).filter(|_| !kind.starts_with("multipart/")) else {
            return Excerpt { text: format!("[{} bytes]", body.len()).into(), cut: 0 };
        };
        if self.nothing_to_hide(text) {
            return self.cut(text.into());
        }
        let masked = match self.json(text) {
            Some(json) => self.masked(json.into()),
            None if kind.starts_with("application/x-www-form-urlencoded") => {
                let mut pairs = String::with_capacity(body.len());
                self.push_pairs(&mut pairs, body);
                self.masked(pairs.into())
            }
            None if kind.contains("json") && self.names_a_field(text) => {
                format!("[{} bytes that are no valid JSON]", body.len()).into()
            }
            None => self.masked(text.into()),
        };
        self.cut(masked)
    }

    /// A text to the cap.
    #[must_use]
    pub fn cut<'a>(&self, text: Cow<'a, str>) -> Excerpt<'a> {
        Excerpt::of(text, self.cap)
    }

    /// Whether a text shows at a glance that there is nothing in it to mask, which holds for most bodies and spares taking
    /// them apart. Where a value may be spelled in other ways than it is written (escapes, exponents, numbers among the
    /// hidden values), or the name of a masked field is there, no glance is enough.
    fn nothing_to_hide(&self, text: &str) -> bool {
        let hides_numbers = self.provider.numbers || self.command.numbers;
        let short = || self.provider.short.iter().chain(&self.command.short);
        // Beyond ASCII, what a letter's other case is depends on its neighbours.
        let no_field = || self.fields.is_empty() || text.is_ascii() && !self.names_a_field(text);
        !hides_numbers
            && is_plain(text.as_bytes())
            && no_field()
            && !short().any(|hidden| text.contains(hidden.as_str()))
            && self.spans(text).is_empty()
    }

    fn header<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        let credential = CREDENTIAL_HEADERS.iter().any(|header| header.eq_ignore_ascii_case(name));
        if credential || self.is_masked_field(name) || self.is_whole(value) || !self.hidden_in(value).is_empty() {
            return MASKED.into();
        }
        let mut spans = token::spans(value);
        // Operators look for keys, and a key may look like the number of a card.
        if !name.to_lowercase().contains("idempotency") {
            spans.append(&mut card::spans(value));
        }
        if spans.is_empty() { value.into() } else { cover(value, spans).into() }
    }

    /// Adds the pairs of a form or query, decoded; brackets and dots in names separate fields.
    fn push_pairs(&self, shown: &mut String, text: &[u8]) {
        for (index, (name, value)) in form_urlencoded::parse(text).enumerate() {
            shown.push_str(if index > 0 { "&" } else { "" });
            shown.push_str(&name);
            shown.push('=');
            let masked = !self.fields.is_empty() && name.split(['[', ']', '.']).any(|part| self.is_masked_field(part));
            let leaf = if masked { Some(MASKED.to_owned()) } else { self.leaf(&value) };
            shown.push_str(leaf.as_deref().unwrap_or(&value));
        }
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
            Value::String(text) => {
                if let Some(leaf) = self.leaf(text) {
                    *text = leaf;
                }
            }
            Value::Number(number) => {
                // A number too long for its type is printed in another way than it was written.
                let same = |hidden: &String| number.is_f64() && hidden.parse().ok() == number.as_f64();
                let text = number.to_string();
                let numbers = self.provider.numbers || self.command.numbers;
                if self.is_whole(&text) || numbers && self.wholes().any(same) || !self.spans(&text).is_empty() {
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

    /// What to show of one value of a form or of JSON, before it is masked as text; `None` for all of it. JSON within it is
    /// masked by its own fields.
    fn leaf(&self, text: &str) -> Option<String> {
        if self.is_whole(text) { Some(MASKED.to_owned()) } else { self.json(text) }
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
        self.provider.is_whole(text) || self.command.is_whole(text)
    }

    fn wholes(&self) -> impl Iterator<Item = &String> {
        self.provider.whole.iter().chain(&self.command.whole)
    }

    /// The same, without copying where there is nothing to mask.
    pub(crate) fn masked<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        let spans = self.spans(&text);
        if spans.is_empty() { text } else { cover(&text, spans).into() }
    }

    fn spans(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans = self.hidden_in(text);
        spans.append(&mut card::spans(text));
        spans.append(&mut token::spans(text));
        spans
    }

    fn hidden_in(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans = self.provider.anywhere.spans(text);
        spans.append(&mut self.command.anywhere.spans(text));
        spans
    }
}

/// Whether nothing in a text may stand for another text: no escapes, and no number with an exponent.
fn is_plain(text: &[u8]) -> bool {
    // Written so that many bytes are compared at once.
    let escapes = |part: &[u8]| part.iter().fold(false, |any, byte| any | matches!(byte, b'\\' | b'%' | b'&' | b'+'));
    let exponents = || text.iter().zip(text.iter().skip(1)).fold(false, |any, pair| any | is_exponent(pair));
    !(text.chunks(256).any(escapes) || exponents() && has_exponent(text))
}

/// Whether a digit and what follows it may be the beginning of an exponent.
fn is_exponent((digit, e): (&u8, &u8)) -> bool {
    digit.is_ascii_digit() & matches!(e, b'e' | b'E')
}

/// Whether a text without escapes has a number with an exponent outside of JSON's strings, where ids hold such by chance, or
/// in a string that might be JSON itself.
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

/// The body as text, if it is text.
fn readable(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    // The controls beyond ASCII are encoded as this byte and another one; so are other characters.
    let suspect = |byte: &u8| *byte < b' ' && !matches!(byte, b'\n' | b'\r' | b'\t') || matches!(byte, 0x7f | 0xc2);
    let binary = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    let suspicious = body.chunks(256).any(|part| part.iter().fold(false, |any, byte| any | suspect(byte)));
    (!suspicious || !text.contains(binary)).then_some(text)
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
