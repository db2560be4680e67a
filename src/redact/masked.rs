//! Masked texts, bodies and headers.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text from which a [`Mask`](super::Mask) has taken what nobody may read. Only such a text is cut: of a secret that a cut had
/// parted, no mask would find the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedText<'a>(Cow<'a, str>);

/// A masked text, cut where it was longer than the cap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt<'a> {
    /// What is left of the text.
    pub text: Cow<'a, str>,
    /// How many bytes of the masked text were cut.
    pub cut: usize,
}

/// Masked headers, in their order. Repeated ones are joined by commas.
///
/// They are whole: the HTTP client takes at most 100 headers, of 400 KiB together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> MaskedText<'a> {
    /// A text that was masked just now.
    pub(super) fn new(text: Cow<'a, str>) -> Self {
        Self(text)
    }

    /// All of it.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0.into_owned()
    }

    /// All of it, borrowed where nothing was masked.
    #[must_use]
    pub fn into_cow(self) -> Cow<'a, str> {
        self.0
    }

    /// Its first `cap` bytes, or a little less: characters stay whole.
    #[must_use]
    pub fn cut_to(self, cap: usize) -> Excerpt<'a> {
        let Self(text) = self;
        if text.len() <= cap {
            return Excerpt { text, cut: 0 };
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
        Excerpt { text, cut }
    }

    /// All of it where it has at most so many characters; else its beginning, with an ellipsis as the last of them.
    #[must_use]
    pub fn first_chars(self, most: usize) -> String {
        let Some((end, _)) = self.0.char_indices().nth(most) else { return self.into_string() };
        let mut short: String = self.0[..end].to_owned();
        short.pop();
        short.push('…');
        short
    }
}

impl Excerpt<'_> {
    /// The text, which says at its end how much of it is missing.
    #[must_use]
    pub fn told(&self) -> Cow<'_, str> {
        told(&self.text, self.cut)
    }
}

/// A text that says at its end how many bytes of it were cut, if any were.
pub(crate) fn told(text: &str, cut: usize) -> Cow<'_, str> {
    if cut == 0 { Cow::Borrowed(text) } else { Cow::Owned(format!("{text}… [{cut} more bytes]")) }
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told())
    }
}

impl<'a> Headers<'a> {
    pub(super) fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    pub(super) fn push(&mut self, name: &'a str, value: Cow<'a, str>) {
        match self.0.iter_mut().find(|(before, _)| before == name) {
            Some((_, before)) => *before = format!("{before}, {value}").into(),
            None => self.0.push((name.into(), value)),
        }
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The value of a header; names are equal whatever their case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All of them as the text of a JSON object.
    #[must_use]
    pub fn json(&self) -> MaskedText<'static> {
        // Texts can always be written as JSON.
        MaskedText(serde_json::to_string(self).unwrap_or_default().into())
    }
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Headers<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
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
        deserializer.deserialize_map(Pairs).map(Self)
    }
}
