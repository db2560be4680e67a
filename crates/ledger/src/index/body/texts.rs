//! The texts that a body refers to by their numbers.

/// The texts that every body knows.
pub(super) const WORDS: [&str; 48] = [
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
    "payment",
    "shipping",
    "notification",
    "charge",
    "capture",
    "refund",
    "cancel",
    "amount",
    "currency",
    "eur",
    "usd",
    "succeeded",
    "object",
    "tenant",
    "tracking_code",
    "waiting_for",
];

/// The maximum number of texts of a body's own that it knows; it writes later ones out each time.
const MOST: usize = 128;

/// The number of places for texts that are found again: more than there are texts, so that one is
/// always free.
const PLACES: usize = 256;

/// Marks a place where no text is.
const NOTHING: u8 = u8::MAX;

/// The places of the words.
const WORD_PLACES: [u8; PLACES] = {
    let (mut places, mut number) = ([NOTHING; PLACES], 0_u8);
    while (number as usize) < WORDS.len() {
        let mut place = first_place(WORDS[number as usize].as_bytes());
        while places[place] != NOTHING {
            place = (place + 1) % PLACES;
        }
        places[place] = number;
        number += 1;
    }
    places
};

/// The texts that a body knows: the words, and then its own in their order.
pub(super) struct KnownTexts<'a> {
    own: Vec<&'a str>,
    /// The number of the text in each place. A text is in its first place, or in the next that was
    /// free.
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

    /// Returns the number of a text.
    pub fn number(&self, text: &str) -> Option<usize> {
        let mut place = first_place(text.as_bytes());
        while self.places[place] != NOTHING {
            let number = usize::from(self.places[place]);
            if self.text(number) == Some(text) {
                return Some(number);
            }
            place = (place + 1) % PLACES;
        }
        None
    }

    /// Adds a text that is written out.
    pub fn add(&mut self, text: &'a str) {
        if let Ok(number) = u8::try_from(WORDS.len() + self.own.len())
            && self.own.len() < MOST
        {
            let mut place = first_place(text.as_bytes());
            while self.places[place] != NOTHING {
                place = (place + 1) % PLACES;
            }
            self.places[place] = number;
            self.own.push(text);
        }
    }
}

/// Returns the first place of a text, from its length and some of its bytes.
const fn first_place(text: &[u8]) -> usize {
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

    #[test]
    fn as_many_texts_as_are_known_are_found_again_and_no_more() {
        let own: Vec<String> = (0..2 * MOST).map(|number| format!("text-{number:03}")).collect();
        let mut texts = KnownTexts::new(&own[0]);
        own[1..].iter().for_each(|text| texts.add(text));
        for (number, text) in own.iter().enumerate() {
            let expected = (number < MOST).then_some(WORDS.len() + number);
            assert_eq!(texts.number(text), expected, "{text}");
            assert!(expected.is_none_or(|expected| texts.text(expected) == Some(text)), "{text}");
        }
    }

    /// Bodies hold the numbers of the words: others are another version of the index.
    #[test]
    fn the_words_stay_the_same_within_a_version_of_the_index() {
        let (words, version) = (WORDS.join("\n"), super::super::super::schema::VERSION);
        insta::assert_snapshot!(format!("version {version}\n{words}"));
    }
}
