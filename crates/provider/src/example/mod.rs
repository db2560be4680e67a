//! Examples in provider files, and the check that the file does what they say.
//!
//! [`file`] is the structure of an example. [`test_file`] reads a provider file without its
//! secrets: the value of every secret is the secret's own name. Then it checks the file against
//! each of its examples.

mod difference;
mod expected_request;
pub(crate) mod file;
mod message;
mod sample;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

pub use self::difference::ExampleDifference;
use self::difference::compare;
use self::expected_request::compare_outbound;
use self::file::{ExampleFile, ExpectedOutcomeFile, ReplyFile};
use self::message::message;
pub use self::sample::{WebhookSample, samples};
use super::parse::{self, SecretSource};
use super::registry::ProviderDefaults;
use super::webhook_links::LinkSettings;
use super::{CallContext, Operation, Provider, catalog};
use ferryd_domain::command::{Command, CommandEnvelope};
use ferryd_domain::http_call::{CallResult, HttpReply};
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::message_call::MessageResult;
use ferryd_domain::name::Name;
use ferryd_domain::outcome::{Outcome, OutcomeName};
use ferryd_domain::retry::RetryPolicy;
use ferryd_settings::diagnostic::Diagnostic;

/// The id of an example's command, where the example states none.
const ID: &str = "example-1";

/// The results of a provider file's examples.
#[derive(Debug)]
pub struct FileExamples {
    /// The provider that the file describes.
    pub provider: Name,
    /// One result for each example, in the order of operations; those of webhooks come last.
    pub tests: Vec<FileExample>,
}

/// The result of an example.
#[derive(Debug, Clone, PartialEq)]
pub struct FileExample {
    /// The operation, or `webhook`.
    pub operation: String,
    /// The example's description.
    pub example: String,
    /// The differences between the example and the file's behaviour; empty where they agree.
    pub differences: Vec<ExampleDifference>,
}

/// Reads a provider file, without its secrets, and checks it against its examples. `file` is its
/// path, as for [`Provider::parse`].
///
/// # Errors
/// Every fault of the file.
pub fn test_file(text: &str, file: &str) -> Result<FileExamples, Vec<Diagnostic>> {
    // No example depends on the defaults.
    let defaults = ProviderDefaults {
        retry: RetryPolicy::default(),
        max_in_flight: 1,
        max_bytes_in_flight: 1,
        links: Some(links()),
    };
    let (mut file, provider) = parse::read(text, file, &defaults, SecretSource::Placeholders)?;
    let mut tests = Vec::new();
    for (name, operation) in &provider.operations {
        let examples = file.take_examples(name.as_str());
        for (n, example) in examples.iter().enumerate() {
            let differences = differences(&provider, name, operation, example);
            tests.push(FileExample {
                operation: name.to_string(),
                example: title(example.name.as_ref(), n),
                differences,
            });
        }
    }
    let account = provider.default_account();
    let webhook =
        account.and_then(|account| Some((account.webhook.as_deref()?, provider.mask_of(account))));
    for (n, example) in file.take_webhook_examples().iter().enumerate() {
        let differences = webhook
            .as_ref()
            .map(|(webhook, mask)| webhook::differences(*webhook, mask, example))
            .unwrap_or_default();
        tests.push(FileExample {
            operation: "webhook".to_owned(),
            example: title(example.name.as_ref(), n),
            differences,
        });
    }
    Ok(FileExamples { provider: provider.name, tests })
}

fn title(name: Option<&String>, number: usize) -> String {
    name.cloned().unwrap_or_else(|| format!("example {}", number + 1))
}

/// The settings of webhook URLs without a token.
fn links() -> Arc<LinkSettings> {
    let public_url = "https://hooks.example.com".to_owned();
    Arc::new(LinkSettings {
        public_url: Some(public_url),
        keys: Vec::new(),
        lifetime: Duration::ZERO,
    })
}

/// Checks a built-in file against its examples; `None` if there is no such file.
///
/// # Errors
/// Every fault of the file, which ferryd's own tests rule out.
#[must_use]
pub fn test_catalog(name: &str) -> Option<Result<FileExamples, Vec<Diagnostic>>> {
    let text = catalog::source(name)?;
    let secrets: Vec<_> =
        catalog::secrets(text).into_iter().map(|name| format!("{name} = \"x\"\n")).collect();
    Some(test_file(
        &format!("{text}\n[secrets]\n{}", secrets.concat()),
        &format!("catalog/{name}.toml"),
    ))
}

fn differences(
    provider: &Provider,
    name: &Name,
    operation: &Operation,
    example: &ExampleFile,
) -> Vec<ExampleDifference> {
    let mut found = Vec::new();
    for fault in operation.payload.check(&example.payload) {
        found.push(ExampleDifference::new("payload", "a payload that matches the schema", fault));
    }
    let Some(account) = provider.default_account() else { return Vec::new() };
    let mask = provider.mask_of(account);
    let command = match command(provider, name, example) {
        Ok(command) => command,
        Err(problem) => return vec![ExampleDifference::new("command", "a valid command", problem)],
    };
    let max_length = operation.idempotency.map(|keys| keys.max_length);
    let key = max_length
        .map(|max_length| IdempotencyKey::for_generation(&command.id, 0).shortened_to(max_length));
    let webhook_url = provider.links.as_ref().map(|links| links.example(&command));
    let call = CallContext {
        command: &command,
        key: key.as_ref(),
        generation: 0,
        attempt: 1,
        provider_reference: None,
        webhook_url: webhook_url.as_deref(),
        command_token: "",
        in_doubt: false,
    };
    let stated = example.request.is_some() || example.message.is_some();
    if stated || example.reply.is_none() {
        match account.adapter.build_request(&call) {
            Ok(request) => compare_outbound(example, &request, &mut found),
            Err(failure) => found.push(ExampleDifference::new(
                "request",
                "a request",
                failure.masked(&mask).message,
            )),
        }
    }
    let adapter = &account.adapter;
    let outcome = match (&example.reply, &example.outcome) {
        (Some(reply), _) => Some(adapter.interpret_reply(&call, &CallResult::Reply(answer(reply)))),
        (None, Some(_)) => Some(adapter.interpret_receipt(&call, &MessageResult::Acknowledged)),
        (None, None) => None,
    };
    if let Some(outcome) = outcome {
        let outcome = outcome.masked(&mask);
        let outcome = if operation.repeatable { outcome.for_read_only() } else { outcome };
        match &example.outcome {
            Some(expected) => compare_outcome(expected, &outcome, &mut found),
            None => found.push(ExampleDifference::new(
                "outcome",
                Json::Null,
                outcome.outcome_name().as_str(),
            )),
        }
    }
    found
}

fn command(
    provider: &Provider,
    operation: &Name,
    example: &ExampleFile,
) -> Result<Command, String> {
    let said = &example.command;
    let mut body = json!({
        "id": said.id.as_deref().unwrap_or(ID), "type": provider.kind, "provider": provider.name,
        "operation": operation, "payload": example.payload, "metadata": said.metadata,
    });
    if let Some(reference) = &said.reference {
        body["reference"] = reference.as_str().into();
    }
    Command::decode(body.to_string().as_bytes(), CommandEnvelope::default())
        .map_err(|invalid| invalid.failure.message)
}

fn answer(file: &ReplyFile) -> HttpReply {
    let (headers, body) = message(&file.headers, file.body.as_ref());
    HttpReply { status: file.status, headers, body }
}

fn compare_outcome(
    expected: &ExpectedOutcomeFile,
    outcome: &Outcome,
    found: &mut Vec<ExampleDifference>,
) {
    let outcome_name = OutcomeName::from(expected.r#as);
    if outcome_name != outcome.outcome_name() {
        found.push(ExampleDifference::new(
            "outcome.as",
            outcome_name.as_str(),
            outcome.outcome_name().as_str(),
        ));
    }
    let failure = outcome.failure();
    let (success, waiting_for) = match outcome {
        Outcome::Completed(success) => (Some(success), None),
        Outcome::Waiting(success, waiting_for) => (Some(success), Some(waiting_for)),
        _ => (None, None),
    };
    let reference = success.map(|success| &success.provider_reference);
    let reference = reference.or_else(|| failure.map(|failure| &failure.provider_reference));
    let got = json!({
        "code": failure.and_then(|failure| failure.code.as_deref()),
        "message": failure.map(|failure| failure.message.as_str()),
        "reference": reference,
        "result": success.map(|success| &success.result),
        "waiting_for": waiting_for,
    });
    let ExpectedOutcomeFile { code, message, reference, result, waiting_for, .. } = expected;
    let texts = [
        ("code", code),
        ("message", message),
        ("reference", reference),
        ("waiting_for", waiting_for),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            compare(&format!("outcome.{key}"), &json!(text), &got[key], found);
        }
    }
    if let Some(result) = result {
        compare("outcome.result", result, &got["result"], found);
    }
    let warnings = success.map(|success| success.warnings.as_slice()).unwrap_or_default();
    compare("outcome.warnings", &json!(expected.warnings), &json!(warnings), found);
}

#[cfg(test)]
#[path = "example_tests.rs"]
mod tests;
