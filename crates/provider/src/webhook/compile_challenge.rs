//! Compiles the table of an endpoint's challenge.

use super::challenge::WebhookChallenge;
use super::file::{ChallengeFile, ChallengeMethod};
use super::fixed_scheme::SecretsOfFile;
use crate::rest::expression::{Condition, KnownVariables};
use crate::rest::text::TextTemplate;
use ferryd_settings::findings::SettingsCursor;

pub(super) fn challenge(
    file: &ChallengeFile,
    secrets: SecretsOfFile<'_>,
    place: &SettingsCursor<'_>,
) -> Option<WebhookChallenge> {
    let known = KnownVariables::in_webhook(secrets.names);
    let text = |key: &str, source: &str, place: &SettingsCursor<'_>| {
        place.key(key).check(TextTemplate::compile(source, &known))
    };
    let token = file.token.as_ref().map(|token| {
        let at = place.key("token");
        let (given, expected) =
            (text("given", &token.given, &at), text("expected", &token.expected, &at));
        Some((given?, expected?))
    });
    let when = place.key("when").check(Condition::compile(&file.when, &known));
    let reply = text("reply", &file.reply, place);
    let content_type = content_type(file.content_type.as_deref(), &place.key("content_type"));
    Some(WebhookChallenge {
        method: match file.method {
            ChallengeMethod::Get => "GET",
            ChallengeMethod::Post => "POST",
        },
        when: when?,
        token: match token {
            None => None,
            Some(compiled) => Some(compiled?),
        },
        reply: reply?,
        content_type: content_type?,
        secrets: secrets.secrets.variable(),
    })
}

/// A media type that no browser displays as a page, because the caller wrote the content of the
/// answer.
fn content_type(text: Option<&str>, place: &SettingsCursor<'_>) -> Option<String> {
    let text = text.unwrap_or("text/plain");
    let is_one =
        text.split_once('/').is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty());
    if !is_one || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        place
            .refuse(format!("`{text}` is no media type; write `text/plain` or `application/json`"));
        return None;
    }
    let lower = text.to_ascii_lowercase();
    if ["html", "xml", "svg", "javascript"].iter().any(|word| lower.contains(word)) {
        place.refuse(
            "a browser would run what the caller wrote; write `text/plain` or `application/json`",
        );
        return None;
    }
    Some(text.to_owned())
}
