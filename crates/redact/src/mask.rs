//! The mask: the texts that it hides, and how it reads texts, URLs, headers and bodies.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use url::{Position, Url, form_urlencoded};

use super::masked::{MaskedExcerpt, MaskedHeaders, MaskedText};
use super::pattern::PatternSet;
use super::readable_body::{is_plain, readable_body};
use super::{card, token};

/// The replacement for a masked text.
pub const MASKED: &str = "***";

/// The default size to which logged bodies are cut, in bytes.
pub const DEFAULT_CAP: usize = 4096;

/// The fewest bytes of a secret that is masked within longer texts. A shorter secret is masked only
/// where it is the whole value, because its letters are everywhere.
const SECRET_SUBSTRING: usize = 4;

/// The fewest bytes of a sensitive payload value that is masked within longer texts: such values
/// are words rather than random letters. The same limit holds for everything that is searched for
/// in data, where a false hit would take from a program what the program needs.
const LONG: usize = 6;

const CREDENTIAL_HEADERS: [&str; 4] =
    ["authorization", "cookie", "proxy-authorization", "set-cookie"];

/// The secrets, tokens and sensitive values of a provider's account, or of one call, which are
/// masked in logs and records. Cheap to clone.
#[derive(Clone)]
pub struct Mask {
    account: Arc<HiddenTexts>,
    tokens: Vec<Arc<HiddenTexts>>,
    command: Arc<HiddenTexts>,
    fields: Arc<HashSet<String>>,
    cap: usize,
}

/// Texts to hide.
#[derive(Default)]
struct HiddenTexts {
    /// The texts that are hidden wherever they occur.
    anywhere: PatternSet,
    /// The texts that are hidden where they are a whole value.
    whole: HashSet<String>,
    /// The lengths of the texts of `whole`, each a bit; the last bit stands for all longer ones.
    lengths: u64,
    /// The texts of `whole` that are too short to be in `anywhere`.
    short: Vec<String>,
    /// True where any text is a number, which can be spelled in several ways.
    numbers: bool,
}

impl HiddenTexts {
    fn of_secrets(secrets: &[&str]) -> Self {
        let long = secrets.iter().copied().filter(|secret| secret.len() >= SECRET_SUBSTRING);
        Self::new(PatternSet::of_secrets(long), secrets, SECRET_SUBSTRING)
    }

    fn new(anywhere: PatternSet, texts: &[&str], substring: usize) -> Self {
        let whole: HashSet<String> =
            texts.iter().filter(|text| !text.is_empty()).map(|&text| text.to_owned()).collect();
        let short = whole.iter().filter(|text| text.len() < substring).cloned().collect();
        let numbers = whole.iter().any(|text| text.parse::<f64>().is_ok());
        let lengths = whole.iter().fold(0, |lengths, text| lengths | length_bit(text));
        Self { anywhere, whole, lengths, short, numbers }
    }

    fn is_whole(&self, text: &str) -> bool {
        self.lengths & length_bit(text) != 0 && self.whole.contains(text)
    }
}

/// The bit that stands for the length of a text.
fn length_bit(text: &str) -> u64 {
    1 << text.len().min(63)
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask(…)")
    }
}

impl Default for Mask {
    /// A mask without secrets: it hides card-like numbers and the tokens of webhook URLs.
    fn default() -> Self {
        Self::new(&[], &[])
    }
}

impl Mask {
    /// Makes a mask for an account's secrets and the names of fields to be masked; case does not
    /// matter in names.
    #[must_use]
    pub fn new(secrets: &[SecretString], fields: &[String]) -> Self {
        let secrets: Vec<&str> =
            secrets.iter().map(|secret| secret.expose_secret().trim()).collect();
        Self {
            account: Arc::new(HiddenTexts::of_secrets(&secrets)),
            tokens: Vec::new(),
            command: Arc::default(),
            fields: Arc::new(fields.iter().map(|name| name.to_lowercase()).collect()),
            cap: DEFAULT_CAP,
        }
    }

    /// Returns the mask with further tokens to hide: the one that authorised a call, and the one
    /// that proves its command.
    #[must_use]
    pub fn with_tokens(&self, tokens: &[&str]) -> Self {
        let tokens: Vec<&str> = tokens.iter().copied().filter(|token| !token.is_empty()).collect();
        if tokens.is_empty() {
            return self.clone();
        }
        let mut mask = self.clone();
        mask.tokens.push(Arc::new(HiddenTexts::of_secrets(&tokens)));
        mask
    }

    /// Returns the mask with the sensitive values of one command's payload to hide.
    #[must_use]
    pub fn with_values(&self, values: &[String]) -> Self {
        let values: Vec<&str> = values.iter().map(|value| value.trim()).collect();
        let long = values.iter().copied().filter(|value| value.len() >= LONG);
        let command = HiddenTexts::new(PatternSet::plain(long), &values, LONG);
        Self { command: Arc::new(command), ..self.clone() }
    }

    /// Returns the mask with another limit for logged bodies, in bytes.
    #[must_use]
    pub fn capped_at(self, cap: usize) -> Self {
        Self { cap, ..self }
    }

    /// Masks free text.
    #[must_use]
    pub fn masked<'a>(&self, text: impl Into<Cow<'a, str>>) -> MaskedText<'a> {
        let text = text.into();
        let spans = self.spans(&text);
        MaskedText::new(if spans.is_empty() { text } else { cover(&text, spans).into() })
    }

    /// Masks free text, without cutting it.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        self.masked(text).into_string()
    }

    /// Masks a text that a program reads: nothing is taken for a secret by its looks alone, unless
    /// it stands in a sentence.
    #[must_use]
    pub fn masked_data<'a>(&self, text: impl Into<Cow<'a, str>>) -> MaskedText<'a> {
        let text = text.into();
        let spans = self.data_spans(&text);
        MaskedText::new(if spans.is_empty() { text } else { cover(&text, spans).into() })
    }

    /// Returns a provider's own id unchanged, because the provider is queried by it. An id that
    /// holds a secret is dropped.
    #[must_use]
    pub fn reference(&self, reference: Option<String>) -> Option<String> {
        reference.filter(|reference| self.secrets_in(reference).is_empty())
    }

    /// Masks a URL: without user, password and fragment, with its query decoded.
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
        self.masked(shown).into_string()
    }

    /// Masks headers; repeated ones are joined by commas.
    #[must_use]
    pub fn headers<'a>(&self, headers: &'a [(String, String)]) -> MaskedHeaders<'a> {
        let mut shown = MaskedHeaders::with_capacity(headers.len());
        for (name, value) in headers {
            shown.push(name, self.header(name, value));
        }
        shown
    }

    /// Masks a body and cuts it. Of a body that is no text, or that might hide a masked field, only
    /// the size is given.
    #[must_use]
    pub fn body<'a>(&self, content_type: Option<&str>, body: &'a [u8]) -> MaskedExcerpt<'a> {
        let kind = content_type.unwrap_or_default().to_ascii_lowercase();
        let Some(text) = readable_body(body).filter(|_| !kind.starts_with("multipart/")) else {
            return MaskedExcerpt { text: format!("[{} bytes]", body.len()).into(), cut: 0 };
        };
        if self.nothing_to_hide(text) {
            return self.cut(MaskedText::new(text.into()));
        }
        let masked = match self.json(text) {
            Some(json) => self.masked(json),
            None if kind.starts_with("application/x-www-form-urlencoded") => {
                let mut pairs = String::with_capacity(body.len());
                self.push_pairs(&mut pairs, body);
                self.masked(pairs)
            }
            None if kind.contains("json") && self.names_a_field(text) => {
                MaskedText::new(format!("[{} bytes that are no valid JSON]", body.len()).into())
            }
            None => self.masked(text),
        };
        self.cut(masked)
    }

    /// Cuts a masked text to the limit for bodies.
    #[must_use]
    pub fn cut<'a>(&self, text: MaskedText<'a>) -> MaskedExcerpt<'a> {
        text.cut_to(self.cap)
    }

    /// Returns true if a quick check shows that a text has nothing to mask, which holds for most
    /// bodies and saves parsing them. The quick check is not sufficient where a value may be
    /// spelled in other ways (escapes, exponents, numbers among the hidden values), or where the
    /// name of a masked field occurs.
    fn nothing_to_hide(&self, text: &str) -> bool {
        let short = || self.layers().flat_map(|hidden| &hidden.short);
        // Beyond ASCII, the other case of a letter depends on its neighbours.
        let no_field = || self.fields.is_empty() || text.is_ascii() && !self.names_a_field(text);
        !self.hides_numbers()
            && is_plain(text.as_bytes())
            && no_field()
            && !short().any(|hidden| text.contains(hidden.as_str()))
            && self.spans(text).is_empty()
    }

    fn header<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        let credential = CREDENTIAL_HEADERS.iter().any(|header| header.eq_ignore_ascii_case(name));
        if credential
            || self.is_masked_field(name)
            || self.is_whole(value)
            || !self.hidden_in(value).is_empty()
        {
            return MASKED.into();
        }
        let mut spans = card::spans(value);
        // Operators search for idempotency keys, and a key may look like a card number.
        if !spans.is_empty() && name.to_lowercase().contains("idempotency") {
            spans.clear();
        }
        spans.append(&mut token::spans(value));
        if spans.is_empty() { value.into() } else { cover(value, spans).into() }
    }

    /// Appends the pairs of a form or query, decoded; brackets and dots in names separate fields.
    fn push_pairs(&self, shown: &mut String, text: &[u8]) {
        for (index, (name, value)) in form_urlencoded::parse(text).enumerate() {
            shown.push_str(if index > 0 { "&" } else { "" });
            shown.push_str(&name);
            shown.push('=');
            let masked = !self.fields.is_empty()
                && name.split(['[', ']', '.']).any(|part| self.is_masked_field(part));
            let leaf = if masked { Some(MASKED.to_owned()) } else { self.leaf(&value) };
            shown.push_str(leaf.as_deref().unwrap_or(&value));
        }
    }

    pub(super) fn is_masked_field(&self, name: &str) -> bool {
        !self.fields.is_empty() && self.fields.contains(&name.to_lowercase())
    }

    pub(super) fn names_a_field(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.fields.iter().any(|name| text.contains(name))
    }

    pub(super) fn is_whole(&self, text: &str) -> bool {
        let text = text.trim();
        self.layers().any(|hidden| hidden.is_whole(text))
    }

    pub(super) fn wholes(&self) -> impl Iterator<Item = &String> {
        self.layers().flat_map(|hidden| &hidden.whole)
    }

    pub(super) fn hides_numbers(&self) -> bool {
        self.layers().any(|hidden| hidden.numbers)
    }

    fn layers(&self) -> impl Iterator<Item = &HiddenTexts> {
        self.credentials().chain([self.command.as_ref()])
    }

    fn credentials(&self) -> impl Iterator<Item = &HiddenTexts> {
        [&self.account].into_iter().chain(&self.tokens).map(AsRef::as_ref)
    }

    /// Finds the hidden texts in a text that people read.
    pub(super) fn spans(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans = self.hidden_in(text);
        spans.append(&mut card::spans(text));
        spans.append(&mut token::spans(text));
        spans
    }

    /// Finds the hidden texts in a text that a program reads.
    pub(super) fn data_spans(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans = self.secrets_in(text);
        let values = self.command.anywhere.spans(text, LONG).into_iter();
        spans.extend(values.filter(|span| !is_within_number(text, span)));
        if is_sentence(text) {
            spans.append(&mut card::spans(text));
        }
        spans
    }

    /// Finds the secrets and tokens in a text, except those that may occur by chance.
    fn secrets_in(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans: Vec<_> =
            self.credentials().flat_map(|hidden| hidden.anywhere.spans(text, LONG)).collect();
        spans.append(&mut token::spans(text));
        spans
    }

    fn hidden_in(&self, text: &str) -> Vec<Range<usize>> {
        self.layers().flat_map(|hidden| hidden.anywhere.spans(text, 0)).collect()
    }
}

/// Returns true if a number that was found is a part of a longer one.
fn is_within_number(text: &str, span: &Range<usize>) -> bool {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let before = span.start > 0 && is_digit(span.start) && is_digit(span.start - 1);
    before || (is_digit(span.end - 1) && is_digit(span.end))
}

/// Returns true if a text has words; an id has none.
fn is_sentence(text: &str) -> bool {
    let is_word = |word: &str| word.len() > 1 && word.chars().all(char::is_alphabetic);
    text.contains(' ') && text.split(' ').any(is_word)
}

/// Replaces every span of the text; overlapping spans become one.
pub(super) fn cover(text: &str, mut spans: Vec<Range<usize>>) -> String {
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
