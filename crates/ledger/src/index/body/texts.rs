//! The texts that a body refers to by their numbers.

/// The texts that every body knows.
pub(super) const WORDS: [&str; 32] = [
    "",
    "1.0",
    "application/json",
    "/0/1/completed",
    "/0/1/failed",
    "/0/1/waiting",
    "/0/1/pending",
    "/0/1/processing",
    "/0/2/completed",
    "/0/2/failed",
    "completed",
    "failed",
    "waiting",
    "pending",
    "processing",
    "started",
    "submitted",
    "retry",
    "lookup",
    "declined",
    "rejected",
    "unavailable",
    "unresolved",
    "expired",
    "cancelled",
    "discarded",
    "replayed",
    "early",
    "busy",
    "default",
    "id",
    "status",
];

/// The maximum number of texts of a body's own that it knows; it writes later ones out each time.
const MOST: usize = 128;

/// The number of places for texts that may be found again.
const PLACES: usize = 256;

/// Marks a place where no text is.
const NOTHING: u8 = u8::MAX;

/// The places of the words.
const WORD_PLACES: [u8; PLACES] = {
    let (mut places, mut number) = ([NOTHING; PLACES], 0_u8);
    while (number as usize) < WORDS.len() {
        places[place(WORDS[number as usize].as_bytes())] = number;
        number += 1;
    }
    places
};

/// The texts that a body knows: the words, and then its own in their order.
pub(super) struct KnownTexts<'a> {
    own: Vec<&'a str>,
    /// The number of the latest text of each place.
    places: [u8; PLACES],
}

impl<'a> KnownTexts<'a> {
    /// Creates the texts that are known before the first text of a body: the id of its command.
    pub fn new(id: &'a str) -> Self {
        let mut texts = Self { own: Vec::with_capacity(32), places: WORD_PLACES };
        texts.add(id);
        texts
    }

    /// Returns the text of a number.
    pub fn text(&self, number: usize) -> Option<&'a str> {
        let own = || self.own.get(number.checked_sub(WORDS.len())?);
        WORDS.get(number).or_else(own).copied()
    }

    /// Returns the number of a text, unless another one took its place.
    pub fn number(&self, text: &str) -> Option<usize> {
        let number = usize::from(self.places[place(text.as_bytes())]);
        self.text(number).filter(|known| *known == text).map(|_| number)
    }

    /// Adds a text that is written out.
    pub fn add(&mut self, text: &'a str) {
        if let Ok(number) = u8::try_from(WORDS.len() + self.own.len())
            && self.own.len() < MOST
        {
            self.places[place(text.as_bytes())] = number;
            self.own.push(text);
        }
    }
}

/// Returns the place of a text, from its length and some of its bytes.
const fn place(text: &[u8]) -> usize {
    let length = text.len();
    if length == 0 {
        return 0;
    }
    let near = if length > 3 { 3 } else { length - 1 };
    let (first, fourth) = (text[0] as usize, text[near] as usize);
    let (middle, last) = (text[length / 2] as usize, text[length - 1] as usize);
    (length * 7 + first * 11 + fourth * 11 + middle * 47 + last * 21) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_a_place_of_its_own() {
        let texts = KnownTexts::new("order-1");
        for (number, word) in WORDS.iter().enumerate() {
            assert_eq!(texts.number(word), Some(number), "{word}");
        }
    }
}
