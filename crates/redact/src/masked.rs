//! Masked texts, bodies and headers.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that a [`Mask`](super::Mask) has masked. Only such a text is cut: a mask does not find a
/// secret of which a cut left only a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedText<'a>(Cow<'a, str>);

/// A masked text, cut where it was longer than the cap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedExcerpt<'a> {
    /// The part of the text that is left.
    pub text: Cow<'a, str>,
    /// The number of bytes of the masked text that were cut.
    pub cut: usize,
}

/// Masked headers, in their order. Repeated ones are joined by commas.
///
/// The headers are never cut: the HTTP client accepts at most 100 of them, of 400 KiB together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MaskedHeaders<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> MaskedText<'a> {
    /// Wraps a text that was just masked.
    pub(super) fn new(text: Cow<'a, str>) -> Self {
        Self(text)
    }

    /// The whole text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0.into_owned()
    }

    /// The whole text, borrowed where nothing was masked.
    #[must_use]
    pub fn into_cow(self) -> Cow<'a, str> {
        self.0
    }

    /// The first `cap` bytes of the text, or a few less: no character is split.
    #[must_use]
    pub fn cut_to(self, cap: usize) -> MaskedExcerpt<'a> {
        let Self(text) = self;
        if text.len() <= cap {
            return MaskedExcerpt { text, cut: 0 };
        }
        let end = text.floor_char_boundary(cap);
        let cut = text.len() - end;
        let text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
            Cow::Owned(mut text) => {
                text.truncate(end);
                Cow::Owned(text)
            }
        };
        MaskedExcerpt { text, cut }
    }

    /// The whole text if it has at most so many characters; else its beginning, with an ellipsis as
    /// the last character.
    #[must_use]
    pub fn first_chars(self, most: usize) -> String {
        let Some((end, _)) = self.0.char_indices().nth(most) else { return self.into_string() };
        let mut short: String = self.0[..end].to_owned();
        short.pop();
        short.push('…');
        short
    }
}

impl MaskedExcerpt<'_> {
    /// The text, with the number of missing bytes at its end.
    #[must_use]
    pub fn with_cut_note(&self) -> Cow<'_, str> {
        with_cut_note(&self.text, self.cut)
    }
}

/// The text, with the number of cut bytes at its end if any were cut.
#[must_use]
pub fn with_cut_note(text: &str, cut: usize) -> Cow<'_, str> {
    if cut == 0 { Cow::Borrowed(text) } else { Cow::Owned(format!("{text}{}", cut_note(cut))) }
}

/// The note behind a text of which so many bytes were cut; no character of it is escaped in JSON.
#[must_use]
pub fn cut_note(cut: usize) -> String {
    format!("… [{cut} more bytes]")
}

impl fmt::Display for MaskedExcerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_cut_note())
    }
}

impl<'a> MaskedHeaders<'a> {
    pub(super) fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    pub(super) fn push(&mut self, name: &'a str, value: Cow<'a, str>) {
        match self.0.iter_mut().find(|(before, _)| before == name) {
            Some((_, before)) => *before = format!("{before}, {value}").into(),
            None => self.0.push((name.into(), value)),
        }
    }

    /// The names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The value of a header; names are equal whatever their case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The headers as the text of a JSON object.
    #[must_use]
    pub fn json(&self) -> MaskedText<'static> {
        // Texts can always be serialized as JSON.
        MaskedText(serde_json::to_string(self).unwrap_or_default().into())
    }
}

impl Serialize for MaskedHeaders<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for MaskedHeaders<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = Vec<(Cow<'static, str>, Cow<'static, str>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    pairs.push((name.into(), value.into()));
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(HeaderVisitor).map(Self)
    }
}
