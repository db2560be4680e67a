//! Providers, commands and answers for the tests of this module.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::registry::ProviderDefaults;
use super::webhook_links::LinkSettings;
use super::{Adapter, CallContext, Provider};
use ferryd_domain::command::{Command, CommandEnvelope};
use ferryd_domain::http_call::{CallResult, HttpReply, HttpRequest};
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::message_call::MessageResult;
use ferryd_domain::outbound_request::OutboundRequest;
use ferryd_domain::outcome::{Failure, Outcome};
use ferryd_domain::retry::RetryPolicy;
use ferryd_domain::webhook_token::TokenKey;
use ferryd_redact::{MaskableValue, UnmaskedValue};
use ferryd_settings::diagnostic::Diagnostic;

/// The settings that a file may leave out.
pub(super) fn defaults() -> ProviderDefaults {
    ProviderDefaults {
        retry: RetryPolicy::default(),
        max_in_flight: 64,
        max_bytes_in_flight: 1 << 26,
        links: Some(links()),
    }
}

/// The settings of webhook URLs.
pub(super) fn links() -> Arc<LinkSettings> {
    let (public_url, keys) =
        ("https://hooks.example.com".to_owned(), vec![TokenKey::new("a key of ferryd's own")]);
    Arc::new(LinkSettings {
        public_url: Some(public_url),
        keys,
        lifetime: Duration::from_hours(60 * 24),
    })
}

/// Reads a file as `providers/test.toml`.
pub(super) fn parse(text: &str) -> Result<Provider, Vec<Diagnostic>> {
    Provider::parse(text, "providers/test.toml", &defaults())
}

/// A provider with the operation `act`, whose tables are given.
pub(super) fn acting(operation: &str) -> Provider {
    let head = r#"
        name = "test"
        type = "payment"
        protocol = "rest"
        base_url = "https://api.example.com/base/"
        auth = { scheme = "bearer", token = "{{ secrets.token }}" }
        secrets = { token = "tok_secret_1", short = "abc" }
    "#;
    parse(&format!("{head}\n{operation}")).unwrap_or_else(|errors| panic!("{}", lines(&errors)))
}

/// The texts of errors.
pub(super) fn lines(errors: &[Diagnostic]) -> String {
    errors.iter().flat_map(|error| [error.to_string(), "\n".to_owned()]).collect()
}

/// A command for an operation.
pub(super) fn command(operation: &str, payload: &Value) -> Command {
    let body = json!({
        "id": "c1", "type": "payment", "operation": operation, "payload": payload, "reference": "order-7",
        "metadata": {"tenant": "eu-1"}
    });
    Command::decode(body.to_string().as_bytes(), CommandEnvelope::default()).unwrap()
}

/// The request of a first attempt.
pub(super) fn request(
    provider: &Provider,
    operation: &str,
    payload: &Value,
) -> Result<HttpRequest, Failure> {
    request_under(provider, operation, payload, None)
}

/// The request of a first attempt under a key.
pub(super) fn request_under(
    provider: &Provider,
    operation: &str,
    payload: &Value,
    key: Option<&str>,
) -> Result<HttpRequest, Failure> {
    let request = outbound(provider, operation, payload, key)?;
    Ok(request.into_http().expect("an HTTP request"))
}

/// The request or message of a first attempt, under a key where there is one.
pub(super) fn outbound(
    provider: &Provider,
    operation: &str,
    payload: &Value,
    key: Option<&str>,
) -> Result<OutboundRequest, Failure> {
    let key = key.map(IdempotencyKey::from_header);
    let command = command(operation, payload);
    let call = CallContext {
        command: &command,
        key: key.as_ref(),
        generation: 0,
        attempt: 1,
        provider_reference: None,
        webhook_url: None,
        command_token: "",
        in_doubt: false,
    };
    let account = provider.default_account().unwrap();
    account
        .adapter
        .build_request(&call)
        .map_err(|failure| failure.masked(&provider.mask_of(account)))
}

/// Reads by the adapter of the default account, and masks the result.
pub(super) fn opened<T: MaskableValue>(
    provider: &Provider,
    read: impl FnOnce(&dyn Adapter) -> UnmaskedValue<T>,
) -> T {
    let account = provider.default_account().unwrap();
    read(account.adapter.as_ref()).masked(&provider.mask_of(account))
}

/// The meaning of an answer to a first attempt.
pub(super) fn interpret(
    provider: &Provider,
    operation: &str,
    payload: &Value,
    reply: HttpReply,
) -> Outcome {
    let command = command(operation, payload);
    let call = CallContext {
        command: &command,
        key: None,
        generation: 0,
        attempt: 1,
        provider_reference: None,
        webhook_url: None,
        command_token: "",
        in_doubt: false,
    };
    opened(provider, |adapter| adapter.interpret_reply(&call, &CallResult::Reply(reply)))
}

/// The meaning of the result of a message.
pub(super) fn interpret_receipt(
    provider: &Provider,
    operation: &str,
    payload: &Value,
    result: &MessageResult,
) -> Outcome {
    let command = command(operation, payload);
    let call = CallContext {
        command: &command,
        key: None,
        generation: 0,
        attempt: 1,
        provider_reference: None,
        webhook_url: None,
        command_token: "",
        in_doubt: false,
    };
    opened(provider, |adapter| adapter.interpret_receipt(&call, result))
}

/// An answer in JSON.
pub(super) fn reply(status: u16, body: &Value) -> HttpReply {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    HttpReply { status, headers, body: body.to_string().into() }
}
