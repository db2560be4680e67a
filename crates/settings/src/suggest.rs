//! "Did you mean …": suggestions for unknown words.

/// Suggests the known word that is close to a word; `None` if none is close.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let limit = 1 + word.chars().count() / 4;
    let scored = known.map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate));
    let (distance, candidate) = scored.min()?;
    (distance <= limit).then(|| format!("did you mean `{candidate}`?"))
}

/// Lists every known word, for an error about an unknown one.
#[must_use]
pub fn one_of<'a>(known: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = known.map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [only] => format!("write {only}"),
        _ => format!("write one of {}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_close_word_is_suggested() {
        let known = ["method", "path", "headers"];
        let table = [
            ("metod", Some("method")),
            ("mehtod", Some("method")),
            ("header", Some("headers")),
            ("body", None),
            ("x", None),
        ];
        for (word, expected) in table {
            let expected = expected.map(|word| format!("did you mean `{word}`?"));
            assert_eq!(nearest(word, known.into_iter()), expected, "{word}");
        }
        assert_eq!(nearest("a", std::iter::empty()), None);
    }
}
