//! Compares the examples of webhooks with the notices that are read in them.

use serde_json::{Value as Json, json};
use url::Url;

use super::difference::{ExampleDifference, compare};
use super::file::{ExpectedNoticeFile, WebhookExampleFile};
use super::message::message;
use crate::WebhookReceiver;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::outcome::Success;
use ferryd_domain::webhook::{NoticeMeaning, RawWebhook, WebhookNotice};
use ferryd_redact::Mask;

/// The URL that the calls of examples are made to.
const ADDRESS: &str = "https://hooks.example.com/";

/// The differences between an example and the notices that are read in its call.
pub(super) fn differences(
    webhook: &dyn WebhookReceiver,
    mask: &Mask,
    example: &WebhookExampleFile,
) -> Vec<ExampleDifference> {
    let mut found = Vec::new();
    let notices = match call(example) {
        Ok(call) => webhook.read_notices(&call).masked(mask),
        Err(error) => Err(error.to_string()),
    };
    let notices = match notices {
        Ok(notices) => notices,
        Err(problem) => {
            return vec![ExampleDifference::new("expect", "a call that can be read", problem)];
        }
    };
    for number in 0..example.expect.len().max(notices.len()) {
        let at = format!("expect[{number}]");
        match (example.expect.get(number), notices.get(number)) {
            (Some(expected), Some(notice)) => compare_notice(&at, expected, notice, &mut found),
            (Some(expected), None) => {
                found.push(ExampleDifference::new(at, json!({ "as": expected.r#as }), Json::Null));
            }
            (None, notice) => {
                let word = notice.map(|notice| notice.meaning.as_str());
                found.push(ExampleDifference::new(at, Json::Null, json!({ "as": word })));
            }
        }
    }
    found
}

fn call(example: &WebhookExampleFile) -> Result<RawWebhook, url::ParseError> {
    let mut url = Url::parse(ADDRESS)?;
    if !example.query.is_empty() {
        url.query_pairs_mut().extend_pairs(&example.query);
    }
    let (headers, body) = message(&example.headers, example.body.as_ref());
    Ok(RawWebhook { method: "POST".to_owned(), url, headers, body, certificate: None })
}

fn compare_notice(
    at: &str,
    expected: &ExpectedNoticeFile,
    notice: &WebhookNotice,
    found: &mut Vec<ExampleDifference>,
) {
    let (mapped, failure) = match &notice.meaning {
        NoticeMeaning::Completed(Success { result, .. }) | NoticeMeaning::Progress(result) => {
            (result.as_ref(), None)
        }
        NoticeMeaning::Declined(failure) | NoticeMeaning::Failed(failure) => (None, Some(failure)),
        NoticeMeaning::Lookup | NoticeMeaning::Nothing => (None, None),
    };
    let ExpectedNoticeFile { event, id, reference, command, result, code, message, .. } = expected;
    let texts = [
        ("event", event, notice.event.as_deref()),
        ("id", id, notice.id.as_deref()),
        ("reference", reference, notice.reference.as_deref()),
        ("command", command, notice.command.as_ref().map(CommandId::as_str)),
        ("code", code, failure.and_then(|failure| failure.code.as_deref())),
        ("message", message, failure.map(|failure| failure.message.as_str())),
    ];
    compare(&format!("{at}.as"), &json!(expected.r#as), &json!(notice.meaning.as_str()), found);
    for (key, expected, got) in texts {
        if let Some(expected) = expected {
            compare(&format!("{at}.{key}"), &json!(expected), &json!(got), found);
        }
    }
    if let Some(result) = result {
        compare(&format!("{at}.result"), result, &json!(mapped), found);
    }
    let warnings = match &notice.meaning {
        NoticeMeaning::Completed(Success { warnings, .. }) => warnings.as_slice(),
        _ => &[],
    };
    compare(&format!("{at}.warnings"), &json!(expected.warnings), &json!(warnings), found);
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
