//! Finds texts that must not be seen, in every spelling that they may have in a request or answer.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use url::form_urlencoded;

use super::byte_scan::has_byte;
use super::skip_table::SkipTable;

/// The characters that RFC 3986 allows only percent-encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Characters, and their escapes in XML.
const ENTITIES: [(char, &str); 9] = [
    ('&', "&amp;"),
    ('<', "&lt;"),
    ('>', "&gt;"),
    ('"', "&quot;"),
    ('"', "&#34;"),
    ('"', "&#x22;"),
    ('\'', "&apos;"),
    ('\'', "&#39;"),
    ('\'', "&#x27;"),
];

/// Characters, and the letters that stand for them after a backslash (RFC 8259, section 7).
const CONTROLS: [(char, u8); 5] =
    [('\n', b'n'), ('\r', b'r'), ('\t', b't'), ('\u{8}', b'b'), ('\u{c}', b'f')];

/// The most bytes of backslashes that are taken for the escape of one character: four layers of
/// escaping. Without a limit, an answer of nothing but backslashes would be scanned over and over.
const LONGEST_RUN: usize = 16;

/// The texts to find.
#[derive(Default)]
pub(super) struct PatternSet {
    all: Vec<SecretPattern>,
    /// The bytes with which an occurrence may start, each with the indexes of its needles; sorted.
    starting: Vec<(u8, usize)>,
    first: ByteSet,
    /// The bytes that may follow a first character that is written unescaped.
    second: ByteSet,
    /// The places where the texts may begin in a text without escapes, which holds them as they
    /// are.
    skips: Option<SkipTable>,
}

/// The bytes with which escaped spellings of a character begin.
const ESCAPES: [u8; 4] = [b'\\', b'%', b'&', b'+'];

/// A set of bytes.
#[derive(Default)]
struct ByteSet([u64; 4]);

impl ByteSet {
    fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    fn holds(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }
}

struct SecretPattern {
    chars: Vec<char>,
    /// The length of the text in bytes.
    length: usize,
    /// True for the inside of a base64 text, all of which is to be masked.
    base64: bool,
}

impl PatternSet {
    /// Makes needles that match each text as it is, percent-encoded, escaped for JSON or XML, and
    /// in any mixture of these.
    pub(super) fn plain<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self::of(
            texts.into_iter().map(|text| SecretPattern::new(text, text.len(), false)).collect(),
        )
    }

    /// Makes needles as [`PatternSet::plain`] does, and also for hexadecimal digits and for base64
    /// of any text that contains the secret, such as a body in which the secret stands escaped.
    pub(super) fn of_secrets<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let forms = |text: &'a str| {
            let pattern = |form: &str, base64| SecretPattern::new(form, text.len(), base64);
            let mut forms = vec![pattern(text, false)];
            for inner in inner_spellings(text) {
                let digits = hex::encode(&inner);
                forms.extend([pattern(&digits, false), pattern(&digits.to_uppercase(), false)]);
                forms.extend(base64_cores(inner.as_bytes()).iter().map(|core| pattern(core, true)));
            }
            forms
        };
        Self::of(texts.into_iter().flat_map(forms).collect())
    }

    fn of(needles: Vec<SecretPattern>) -> Self {
        let mut found = Self { all: needles, ..Self::default() };
        if found.all.is_empty() {
            return found;
        }
        for byte in ESCAPES {
            found.second.insert(byte);
        }
        for (index, pattern) in found.all.iter().enumerate() {
            for byte in pattern.first_bytes() {
                found.first.insert(byte);
                found.starting.push((byte, index));
            }
            for byte in pattern.second_bytes() {
                found.second.insert(byte);
            }
        }
        found.starting.sort_unstable();
        let literals: Vec<String> = found.all.iter().filter_map(SecretPattern::literal).collect();
        found.skips = SkipTable::new(literals.iter().map(String::as_bytes));
        found
    }

    /// Finds the texts of at least so many bytes; spans may overlap.
    pub(super) fn spans(&self, text: &str, least: usize) -> Vec<Range<usize>> {
        if self.all.is_empty() {
            return Vec::new();
        }
        let bytes = text.as_bytes();
        let span_at = |at: usize| self.longest_at(text, at, bytes[at], least);
        match &self.skips {
            Some(skips) if !has_escapes(bytes) => skips.starts(bytes).filter_map(span_at).collect(),
            _ => self.likely_starts(bytes).filter_map(span_at).collect(),
        }
    }

    /// Lists the places where a text may begin in any of its spellings. Two lookups in sets of
    /// bytes rule out nearly every other place.
    fn likely_starts<'t>(&'t self, bytes: &'t [u8]) -> impl Iterator<Item = usize> + 't {
        let is_likely = |&(at, byte): &(usize, &u8)| {
            self.first.holds(*byte)
                && (ESCAPES.contains(byte) || self.may_follow(bytes.get(at + 1)))
        };
        bytes.iter().enumerate().filter(is_likely).map(|(at, _)| at)
    }

    fn may_follow(&self, byte: Option<&u8>) -> bool {
        byte.is_none_or(|byte| self.second.holds(*byte))
    }

    fn longest_at(&self, text: &str, at: usize, byte: u8, least: usize) -> Option<Range<usize>> {
        let from = self.starting.partition_point(|(first, _)| *first < byte);
        let starting = self.starting[from..].iter().take_while(|(first, _)| *first == byte);
        let candidates =
            starting.map(|(_, index)| &self.all[*index]).filter(|pattern| pattern.length >= least);
        candidates
            .filter_map(|pattern| pattern.span_at(text, at))
            .max_by_key(ExactSizeIterator::len)
    }
}

/// Returns true if a part of the text may stand for another character.
#[expect(clippy::needless_bitwise_bool, reason = "many bytes are compared at once, without jumps")]
pub(super) fn has_escapes(text: &[u8]) -> bool {
    has_byte(text, |c| (c == b'\\') | (c == b'%') | (c == b'&') | (c == b'+'))
}

impl SecretPattern {
    fn new(text: &str, length: usize, base64: bool) -> Self {
        let mut chars: Vec<char> = text.trim().chars().collect();
        // Escaping multiplies backslashes: one stands for any number of them.
        chars.dedup_by(|a, b| *a == '\\' && *b == '\\');
        Self { chars, length, base64 }
    }

    /// The text as it stands in a text without escapes; `None` where it can't stand there.
    fn literal(&self) -> Option<String> {
        let literal: String = self.chars.iter().collect();
        (!has_escapes(literal.as_bytes())).then_some(literal)
    }

    fn first_bytes(&self) -> Vec<u8> {
        let first = self.chars.first().copied().unwrap_or_default();
        let mut bytes = [&ESCAPES[..], &first.encode_utf8(&mut [0; 4]).as_bytes()[..1]].concat();
        bytes.sort_unstable();
        bytes.dedup();
        bytes
    }

    /// The bytes that may come second if the first character is written unescaped: any byte, for a
    /// needle of one byte.
    fn second_bytes(&self) -> impl Iterator<Item = u8> {
        let start: String = self.chars.iter().take(2).collect();
        let second = start.as_bytes().get(1).copied();
        second.map_or(0..=u8::MAX, |byte| byte..=byte)
    }

    fn span_at(&self, text: &str, at: usize) -> Option<Range<usize>> {
        let end = end_of(&self.chars, text.as_bytes(), at)?;
        Some(if self.base64 { whole_base64(text, at..end) } else { at..end })
    }
}

/// The end of the characters that start at `at`, in any of their spellings; the farthest such end.
///
/// All readings are followed in parallel: `%255C` may be an encoded `%5C` as well as a backslash
/// encoded twice.
fn end_of(chars: &[char], text: &[u8], at: usize) -> Option<usize> {
    // An unescaped character has only one reading, and most text is unescaped.
    let (mut start, mut chars) = (at, chars);
    while let [c, rest @ ..] = chars
        && text.get(start).is_some_and(|byte| !b"\\%&+".contains(byte))
    {
        start = literal(*c, text, start)?;
        chars = rest;
    }
    let Some((&first, rest)) = chars.split_first() else { return (start > at).then_some(start) };
    let (mut ends, mut next) = (Vec::new(), Vec::new());
    spell(first, text, start, &mut ends);
    for &c in rest {
        ends.drain(..).for_each(|at| spell(c, text, at, &mut next));
        next.sort_unstable();
        next.dedup();
        std::mem::swap(&mut ends, &mut next);
        if ends.is_empty() {
            return None;
        }
    }
    ends.last().copied()
}

/// Adds the ends of all spellings of a character at `at`.
fn spell(c: char, text: &[u8], at: usize, ends: &mut Vec<usize>) {
    match text.get(at) {
        None => {}
        Some(b'\\' | b'%') => {
            ends.extend([literal(c, text, at), percent_encoded(c, text, at)].into_iter().flatten());
            if c == '%' && text[at..].starts_with(b"%2525") {
                ends.push(at + 5);
            }
            let run = std::iter::successors(backslash(text, at), |&at| backslash(text, at));
            for at in run.take_while(|end| *end <= at + LONGEST_RUN) {
                if c == '\\' { ends.push(at) } else { ends.extend(escaped(c, text, at)) }
            }
        }
        Some(b'&') => {
            ends.extend([entity(c, text, at), literal(c, text, at)].into_iter().flatten());
        }
        Some(b'+') if c == ' ' => ends.push(at + 1),
        Some(_) => ends.extend(literal(c, text, at)),
    }
}

fn literal(c: char, text: &[u8], at: usize) -> Option<usize> {
    let mut buffer = [0; 4];
    let bytes = c.encode_utf8(&mut buffer).as_bytes();
    text[at..].starts_with(bytes).then_some(at + bytes.len())
}

/// The end of one backslash, in any spelling.
fn backslash(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at..)? {
        [b'\\', b'u', b'0', b'0', b'5', b'c' | b'C', ..] => Some(at + 6),
        [b'\\', ..] => Some(at + 1),
        [b'%', ..] => percent_encoded('\\', text, at),
        _ => None,
    }
}

/// The end of a character after the backslashes that escape it.
fn escaped(c: char, text: &[u8], at: usize) -> Option<usize> {
    let letter = CONTROLS.iter().find(|(control, _)| *control == c).map(|(_, letter)| *letter);
    match *text.get(at)? {
        b'u' if let Some(end) = unicode_escape(c, text, at) => Some(end),
        byte if Some(byte) == letter => Some(at + 1),
        _ => literal(c, text, at).or_else(|| percent_encoded(c, text, at)),
    }
}

/// The end of `uXXXX`, or of two of them for characters beyond the first 65,536.
fn unicode_escape(c: char, text: &[u8], mut at: usize) -> Option<usize> {
    for (index, unit) in c.encode_utf16(&mut [0; 2]).iter().enumerate() {
        if index > 0 {
            at = backslash(text, at)?;
            while let Some(end) = backslash(text, at) {
                at = end;
            }
        }
        let digits = text.get(at..at + 5)?.strip_prefix(b"u")?;
        if u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16) != Ok(*unit) {
            return None;
        }
        at += 5;
    }
    Some(at)
}

/// The end of `%XX` for each byte, also where the percent sign itself is encoded once more.
fn percent_encoded(c: char, text: &[u8], mut at: usize) -> Option<usize> {
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        at += text.get(at..)?.strip_prefix(b"%").map(|_| 1)?;
        let layers =
            text[at..].chunks_exact(2).take(LONGEST_RUN).take_while(|pair| *pair == b"25").count();
        at += if byte == b'%' { 0 } else { 2 * layers };
        if hex(text.get(at..)?)? != byte {
            return None;
        }
        at += 2;
    }
    Some(at)
}

fn hex(text: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(text.get(..2)?).ok()?, 16).ok()
}

fn entity(c: char, text: &[u8], at: usize) -> Option<usize> {
    let there = |entity: &str| text[at..].starts_with(entity.as_bytes());
    ENTITIES
        .iter()
        .find(|(of, entity)| *of == c && there(entity))
        .map(|(_, entity)| at + entity.len())
}

/// The spellings of a text in a body, URL or header, each of which may then be encoded as a whole:
/// unescaped, escaped for JSON, and encoded for a form or query. A text of letters and digits has
/// one spelling.
fn inner_spellings(text: &str) -> Vec<String> {
    let json = Value::from(text).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let form = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let percent = utf8_percent_encode(text, RESERVED).to_string();
    let mut spellings = vec![text.to_owned(), json.replace('/', "\\/"), json, form, percent];
    spellings.sort_unstable();
    spellings.dedup();
    spellings
}

/// The base64 characters that a text always yields, at each of its three alignments and in both
/// alphabets: without the characters at the edges, which depend on neighbouring bytes.
fn base64_cores(text: &[u8]) -> Vec<String> {
    let mut cores = Vec::new();
    for before in 0..3 {
        let padded = [&[0; 2][..before], text].concat();
        let inside = (before * 8).div_ceil(6)..padded.len() * 8 / 6;
        for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            cores.push(alphabet.encode(&padded)[inside.clone()].to_owned());
        }
    }
    cores.sort_unstable();
    cores.dedup();
    cores
}

/// Extends a span to everything that may belong to the same base64 text.
fn whole_base64(text: &str, span: Range<usize>) -> Range<usize> {
    let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_-%".contains(byte);
    let bytes = text.as_bytes();
    let before = bytes[..span.start].iter().rev().take_while(|byte| belongs(byte)).count();
    let after = bytes[span.end..].iter().take_while(|byte| belongs(byte)).count();
    span.start - before..span.end + after
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_two_bytes_rule_out_is_no_occurrence(
            needle in r"[ab\\%&+é]{1,4}",
            text in r"([ab\\&+é]|%[0-9a-c]{2}|%25|u00[0-9a-f]{2}|&amp;|\\\\){0,12}",
        ) {
            let needles = PatternSet::of_secrets([needle.as_str()]);
            let everywhere = text.as_bytes().iter().enumerate();
            let spans: Vec<_> = everywhere.filter_map(|(at, byte)| needles.longest_at(&text, at, *byte, 0)).collect();
            prop_assert_eq!(needles.spans(&text, 0), spans);
        }
    }
}
