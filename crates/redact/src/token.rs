//! Finds the tokens of webhook URLs.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use ferryd_domain::webhook_token::{PARAMETER, SHORTEST};

/// The separators between the parameter's name and its value: in a query, within one or several
/// nested queries, within JSON, within HTML; and as a field of JSON, directly and within a JSON
/// text.
const SEPARATORS: [&str; 16] = [
    "=",
    "%3D",
    "%3d",
    "%253D",
    "%253d",
    "%25253D",
    "%25253d",
    "\\u003d",
    "\\u003D",
    "&#x3D;",
    "&#x3d;",
    "&#61;",
    "\":\"",
    "\": \"",
    "\\\":\\\"",
    "\\\": \\\"",
];

/// Finds the parameter's name.
static NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(PARAMETER));

/// The spans of the tokens in a text.
pub(super) fn spans(text: &str) -> Vec<Range<usize>> {
    // Nearly all headers and many values are shorter.
    if text.len() <= PARAMETER.len() + SHORTEST {
        return Vec::new();
    }
    let token = |at: usize| {
        let after = &text[at + PARAMETER.len()..];
        // Each separator begins with one of these.
        if !after.starts_with(['=', '%', '\\', '&', '"']) {
            return None;
        }
        let token = SEPARATORS.iter().find_map(|separator| after.strip_prefix(separator))?;
        let length = token
            .bytes()
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
            .count();
        let start = text.len() - token.len();
        (length >= SHORTEST).then_some(start..start + length)
    };
    NAME.find_iter(text.as_bytes()).filter_map(token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_urls_however_deep_and_nothing_else() {
        let token = "A-_9".repeat(13);
        for (text, found) in [
            (format!("https://h.example/webhooks/acme?ferry={token}"), 1),
            (format!("{{\"url\":\"https://h.example/?a=1&ferry={token}&b=2\"}}"), 1),
            (format!("url=https%3A%2F%2Fh.example%2F%3Fferry%3D{token}"), 1),
            (format!("ferry%3d{token} ferry={token}"), 2),
            (format!("ferry%253D{token} ferry\\u003d{token} ferry&#x3D;{token}&#34;"), 3),
            (format!("{{\"ferry\":\"{token}\"}} {{\\\"ferry\\\": \\\"{token}\\\"}}"), 2),
            (format!("ferry={}", &token[..40]), 0),
            (format!("ferry: {token}"), 0),
            (token.clone(), 0),
            ("ferry=".to_owned(), 0),
        ] {
            let spans = spans(&text);
            assert_eq!(spans.len(), found, "{text}");
            assert!(spans.into_iter().all(|span| text[span] == *token), "{text}");
        }
    }
}
