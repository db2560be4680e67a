//! Provider files: every diagnostic names its place, and no accepted file makes ferryd call another
//! host than its own.

use std::sync::LazyLock;

use jiff::Timestamp;

use ferryd_domain::command::{Command, CommandEnvelope};
use ferryd_domain::http_call::{CallResult, HttpMethod, HttpReply};
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::outbound_request::OutboundRequest;
use ferryd_domain::retry::RetryPolicy;
use ferryd_domain::webhook::RawWebhook;
use ferryd_provider::registry::ProviderDefaults;
use ferryd_provider::{CallContext, Provider};
use ferryd_settings::diagnostic::Diagnostic;

const COMMAND: &[u8] = br#"{"id":"c-1","type":"payment","operation":"charge","reference":"order-1","payload":
    {"amount":1099,"currency":"eur","to":"+15005550006","body":"hi","id":"../../x?y#z","address":{"name":"A"},"list":[1]}}"#;

static ORDER: LazyLock<Command> =
    LazyLock::new(|| Command::decode(COMMAND, CommandEnvelope::default()).unwrap());

pub(super) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    // Other files of the host, and its environment, are not part of the input.
    if ["file", "env", "\\u", "\\U", "\\x"].iter().any(|word| text.contains(word)) {
        return;
    }
    match parse(&text) {
        Ok(provider) => taken(&provider),
        Err(errors) => refused(&errors),
    }
}

/// Parses a file that may omit everything optional.
pub(super) fn parse(text: &str) -> Result<Provider, Vec<Diagnostic>> {
    let defaults = ProviderDefaults {
        retry: RetryPolicy::default(),
        max_in_flight: 64,
        max_bytes_in_flight: 1 << 26,
        links: None,
    };
    Provider::parse(text, "acme.toml", &defaults)
}

/// Builds a first call.
pub(super) fn call(command: &Command) -> CallContext<'_> {
    CallContext {
        command,
        key: None,
        generation: 0,
        attempt: 1,
        provider_reference: None,
        webhook_url: None,
        command_token: "",
        in_doubt: false,
    }
}

fn refused(errors: &[Diagnostic]) {
    assert!(!errors.is_empty(), "a refused file has a fault");
    for error in errors {
        let text = error.to_string();
        let rest = text.strip_prefix(&format!("{}: ", error.origin));
        let (place, message) = rest.map(parted).unwrap_or_default();
        assert!(!place.is_empty() && !message.is_empty(), "{text}");
        assert!(place == "not TOML" || !outside_quotes(place).contains(' '), "{text}");
    }
}

/// Splits a diagnostic into its place and its message.
fn parted(text: &str) -> (&str, &str) {
    let ends = text.match_indices(": ").map(|(at, _)| at);
    let mut ends = ends.filter(|at| {
        text[..*at].replace("\\\\", "").replace("\\\"", "").matches('"').count().is_multiple_of(2)
    });
    ends.next().map_or((text, ""), |at| (&text[..at], &text[at + 2..]))
}

fn outside_quotes(place: &str) -> String {
    place.replace("\\\\", "").replace("\\\"", "").split('"').step_by(2).collect()
}

/// Checks that credentials are tried at the provider's own host, by a method that is safe by
/// definition.
fn trying_does_nothing(provider: &Provider) {
    let account = provider.default_account().unwrap();
    let Some(Ok(request)) = account.adapter.verification_request() else { return };
    assert_eq!(
        request.url.origin(),
        account.base_url.origin(),
        "credentials are tried at the provider's own host"
    );
    assert!(
        matches!(request.method, HttpMethod::Get | HttpMethod::Post),
        "credentials are tried by {}",
        request.method.as_str()
    );
    let reply = HttpReply { status: 401, headers: Vec::new(), body: b"{}".to_vec().into() };
    let _ = account
        .adapter
        .interpret_credential_check(&CallResult::Reply(reply))
        .masked(&provider.mask_of(account));
}

fn taken(provider: &Provider) {
    let scheme = provider.default_account().unwrap().base_url.scheme().to_owned();
    assert!(["https", "amqps", "tls"].contains(&scheme.as_str()), "{scheme}");
    let key = IdempotencyKey::from_header("c-1");
    for operation in provider.operations.keys() {
        let command =
            Command { operation: operation.clone(), kind: provider.kind.clone(), ..ORDER.clone() };
        let call = CallContext { key: Some(&key), ..call(&command) };
        let Ok(request) = provider.default_account().unwrap().adapter.build_request(&call) else {
            continue;
        };
        let base_url = &provider.default_account().unwrap().base_url;
        match &request {
            OutboundRequest::Http(request) => assert_eq!(
                request.url.origin(),
                base_url.origin(),
                "calls go to the provider's own host"
            ),
            OutboundRequest::Message(message) => assert_eq!(&message.server, base_url),
        }
        let again = provider.default_account().unwrap().adapter.build_request(&call);
        assert_eq!(
            again.ok().map(|again| again.digest()),
            Some(request.digest()),
            "a request is rendered alike"
        );
        for status in [200, 302, 404, 503] {
            let body = br#"{"id":"x","status":"created","error":{"code":"c","message":"m"}}"#;
            let reply = HttpReply { status, headers: Vec::new(), body: body.to_vec().into() };
            let account = provider.default_account().unwrap();
            let _ = account
                .adapter
                .interpret_reply(&call, &CallResult::Reply(reply))
                .masked(&provider.mask_of(account));
        }
    }
    trying_does_nothing(provider);
    let Some(webhook) = &provider.default_account().unwrap().webhook else { return };
    let now = Timestamp::UNIX_EPOCH;
    let accepts_everybody =
        webhook.list_cautions(now).iter().any(|caution| caution.contains("`verify` is \"none\""));
    let bare = RawWebhook {
        method: "POST".to_owned(),
        url: provider.default_account().unwrap().base_url.clone(),
        headers: Vec::new(),
        body: b"{}".to_vec().into(),
        certificate: None,
    };
    assert_eq!(
        webhook.verify(&bare, now).is_ok(),
        accepts_everybody,
        "a call without headers is not verified"
    );
}
