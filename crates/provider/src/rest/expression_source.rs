//! Checks of an expression's source text that its compiler does not make.

use minijinja::Value;

use super::engine::ENGINE;
use super::expression_error::ExpressionError;

/// Counts the brackets that are open at once, those in string literals included.
pub(super) fn depth(source: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// Refuses filters and tests that do not exist. The engine itself notices them only when it
/// evaluates them.
pub(super) fn check_words(source: &str) -> Result<(), ExpressionError> {
    let bare = without_strings(source);
    for (at, _) in bare.match_indices('|') {
        let name = identifier(&bare[at + 1..]);
        if !name.is_empty() && !is_known(name, "filter") {
            return Err(ExpressionError::Word { what: "filter", name: name.to_owned() });
        }
    }
    let words: Vec<&str> =
        bare.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).collect();
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        if word != "is" {
            continue;
        }
        let name =
            words.next().filter(|word| *word != "not").or_else(|| words.next()).unwrap_or_default();
        if !is_known(name, "test") {
            return Err(ExpressionError::Word { what: "test", name: name.to_owned() });
        }
    }
    Ok(())
}

/// Asks the engine whether a filter or test exists, by its own tests `filter` and `test`.
pub(super) fn is_known(name: &str, what: &str) -> bool {
    let test = ENGINE.compile_expression_owned(format!("name is {what}"));
    let scope = Value::from_pairs([("name", name)]);
    test.and_then(|test| test.eval(scope)).is_ok_and(|answer| answer.is_true())
}

/// Finds the identifier that a text begins with.
pub(super) fn identifier(text: &str) -> &str {
    let text = text.trim_start();
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// Finds the words of an expression that may name a variable: all but those behind a dot.
pub(super) fn words(source: &str) -> Vec<String> {
    let is_within = |c: char| c.is_alphanumeric() || c == '_';
    let mut words: Vec<String> = Vec::new();
    let mut rest = source;
    while let Some(start) = rest.find(is_within) {
        let (before, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|c| !is_within(c)).unwrap_or(from.len()));
        if !before.trim_end().ends_with('.') && !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
        rest = after;
    }
    words
}

/// The steps of an expression that is nothing but names with dots between them.
pub(super) fn path(source: &str) -> Option<Vec<String>> {
    let is_name = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && name.starts_with(|first: char| !first.is_ascii_digit())
    };
    source.split('.').map(|name| is_name(name).then(|| name.to_owned())).collect()
}

/// Blanks the string literals of an expression.
pub(super) fn without_strings(source: &str) -> String {
    let mut quote = None;
    let mut escaped = false;
    let blank = |c: char| {
        let inside = quote.is_some();
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            _ => {}
        }
        if inside || quote.is_some() { ' ' } else { c }
    };
    source.chars().map(blank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_behind_a_dot_name_no_variable() {
        for (source, expected) in [
            ("body.status == 'succeeded'", "body succeeded"),
            (
                "payload.reference | default((command.reference)[:key.n])",
                "payload default command key",
            ),
            ("payload . status[in_doubt]", "payload in_doubt"),
            ("1.5 * a if b else a", "1 a if b else"),
        ] {
            assert_eq!(words(source).join(" "), expected, "{source}");
        }
    }

    #[test]
    fn a_path_is_nothing_but_names_and_dots() {
        for (source, steps) in [("payload", 1), ("payload.a_1.b", 3)] {
            assert_eq!(path(source).map(|path| path.len()), Some(steps), "{source}");
        }
        for source in
            ["", ".", "a.", "a..b", "a.1", "a[0]", "a b", "a .b", "a|b", "'a'", "(a)", "a.é", "-a"]
        {
            assert_eq!(path(source), None, "{source}");
        }
    }
}
