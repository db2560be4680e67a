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
