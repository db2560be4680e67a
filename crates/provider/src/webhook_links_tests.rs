//! Webhook URLs from a provider file to a webhook and back.

use serde_json::json;

use super::*;
use crate::fixture::{self, lines, links, parse};
use crate::registry::ProviderDefaults;
use crate::webhook::StepResult;
use crate::{CallContext, Provider};
use ferryd_domain::http_call::HttpRequest;
use ferryd_domain::webhook::{VerificationError, WebhookNotice};
use ferryd_redact::Mask;

const FILE: &str = r#"
name = "acme"
type = "payment"
protocol = "rest"
base_url = "https://api.example.com"
[operations.act]
request = { method = "POST", path = "/acts" }
body = { notify = "{{ webhook_url }}" }
[webhook]
verify = "token"
event = "{{ body.type }}"
[[webhook.on]]
when = "body.type == 'done'"
as = "completed"
"#;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// The request of a command that is first called at this time.
fn request(provider: &Provider, account: &str) -> HttpRequest {
    let mut command = fixture::command("act", &json!({}));
    command.account = account.parse().unwrap();
    let url =
        provider.links.as_ref().and_then(|links| links.urls(&command, 0, at(1_796_126_400)).next());
    let webhook_url = url.as_deref();
    let call = CallContext {
        command: &command,
        key: None,
        generation: 0,
        attempt: 1,
        provider_reference: None,
        webhook_url,
        command_token: "",
        in_doubt: false,
    };
    let account = provider.default_account().unwrap();
    account.adapter.build_request(&call).unwrap().into_http().unwrap()
}

fn notify(request: &HttpRequest) -> String {
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    body["notify"].as_str().unwrap().to_owned()
}

fn call(url: &str) -> RawWebhook {
    let body = json!({"type": "done"}).to_string().into();
    RawWebhook {
        method: "POST".to_owned(),
        url: url.parse().unwrap(),
        headers: Vec::new(),
        body,
        certificate: None,
    }
}

/// The errors of a file, with webhook URLs configured or not.
fn faults(text: &str, configured: bool) -> String {
    let links = configured.then(links);
    let parsed = Provider::parse(
        text,
        "providers/acme.toml",
        &ProviderDefaults { links, ..fixture::defaults() },
    );
    parsed.map(drop).map_err(|errors| lines(&errors)).err().unwrap_or_default()
}

#[test]
fn a_request_holds_an_address_of_the_providers_endpoint_that_names_its_command() {
    let provider = parse(FILE).map_err(|errors| lines(&errors)).unwrap();
    for (account, path) in
        [("default", "/webhooks/acme?ferry="), ("eu", "/webhooks/acme/eu?ferry=")]
    {
        let url = notify(&request(&provider, account));
        assert!(url.starts_with(&format!("https://hooks.example.com{path}")), "{url}");
        let named_at = |account: &str| {
            let account = account.parse().unwrap();
            provider
                .links
                .as_ref()
                .unwrap()
                .named_by(&account, &call(&url), at(1_796_126_401))
                .unwrap()
        };
        assert_eq!(
            named_at(account).unwrap(),
            TokenClaims { command: "c1".parse().unwrap(), generation: 0 }
        );
        assert_eq!(named_at("another"), Err(TokenError::Forged));
    }
    assert_eq!(request(&provider, "default").digest(), request(&provider, "default").digest());
}

#[test]
fn a_token_is_verified_where_nobody_signs() {
    let provider = parse(FILE).map_err(|errors| lines(&errors)).unwrap();
    let url = notify(&request(&provider, "default"));
    let webhook = provider.webhook(&Name::default_account()).unwrap();
    let (soon, late) = (at(1_796_126_401), at(1_796_126_400 + 60 * 86_400));
    let first = if url.contains("ferry=A") { "ferry=B" } else { "ferry=A" };
    let other_bit = url.replacen(&url[url.find("ferry=").unwrap()..][..7], first, 1);
    for (url, now, expected) in [
        (url.as_str(), soon, Ok(())),
        (&format!("{url}&more=1"), soon, Ok(())),
        (&url, late, Err(VerificationError::Stale)),
        (&other_bit, soon, Err(VerificationError::ForgedToken)),
        (&url.replace("ferry", "fairy"), soon, Err(VerificationError::NoToken)),
        (url.split('?').next().unwrap(), soon, Err(VerificationError::NoToken)),
    ] {
        assert_eq!(webhook.verify(&call(url), now), expected, "{url}");
        let failed = webhook
            .explain_verification(&call(url), now)
            .iter()
            .any(|step| step.result == StepResult::Failed);
        assert_eq!(failed, expected.is_err(), "{url}");
        assert_eq!(webhook.sign(&call(url), now, None).is_ok(), expected.is_ok(), "{url}");
    }
    let notices = webhook.read_notices(&call(&url)).masked(&Mask::default()).unwrap();
    assert!(
        matches!(&notices[..], [WebhookNotice { command: None, reference: None, .. }]),
        "{notices:?}"
    );
    assert!(webhook.list_cautions(soon)[0].starts_with("`verify` is \"token\""));
}

#[test]
fn a_file_that_needs_a_webhook_url_is_refused_where_there_is_none() {
    let signed = FILE.replace("\"token\"", "\"none\"");
    let deaf = FILE.split("[webhook]").next().unwrap();
    let optional =
        |text: &str| text.replace("{{ webhook_url }}", "{{ webhook_url | default(none) }}");
    let by_id = |text: &str| text.replace("event =", "command = \"{{ body.id }}\"\nevent =");
    let place = "providers/acme.toml:8: operations.act.body.notify: `webhook_url` ";
    for (text, configured, fault) in [
        (FILE, true, None),
        (&signed, true, None),
        (
            &signed,
            false,
            Some(
                "needs `webhooks.public_url` and `webhooks.signing_keys` in the configuration; write both",
            ),
        ),
        (
            deaf,
            true,
            Some(
                "leads to this provider's endpoint, and the file has none; write a table [webhook]",
            ),
        ),
        (deaf, false, Some("leads to this provider's endpoint")),
        (&optional(deaf), false, None),
        (&optional(&by_id(&signed)), false, None),
    ] {
        let faults = faults(text, configured);
        let first = faults.lines().next().unwrap_or_default();
        assert_eq!(faults.is_empty(), fault.is_none(), "{faults}");
        assert!(
            fault.is_none_or(|fault| first.starts_with(&format!("{place}{fault}"))),
            "{faults}"
        );
    }
    // A field without a value is left out with its key.
    let provider = Provider::parse(
        &optional(deaf),
        "a.toml",
        &ProviderDefaults { links: None, ..fixture::defaults() },
    );
    assert_eq!(
        &request(&provider.map_err(|errors| lines(&errors)).unwrap(), "default").body[..],
        b"{}"
    );
}

/// The form that Twilio is sent for a text message, with webhook URLs configured or not.
fn sent_to_twilio(
    webhook: &str,
    configured: bool,
    payload: &serde_json::Value,
) -> (Provider, Vec<(String, String)>) {
    let file = format!(
        "use = \"twilio\"\nsecrets = {{ account_sid = \"AC1\", auth_token = \"12345678901234567890123456789012\" }}\n{webhook}\n"
    );
    let defaults = ProviderDefaults { links: configured.then(links), ..fixture::defaults() };
    let provider =
        Provider::parse(&file, "twilio.toml", &defaults).map_err(|errors| lines(&errors)).unwrap();
    let command = fixture::command("send_sms", payload);
    let url =
        provider.links.as_ref().and_then(|links| links.urls(&command, 0, at(1_796_126_400)).next());
    let webhook_url = url.as_deref();
    let call = CallContext {
        command: &command,
        key: None,
        generation: 0,
        attempt: 1,
        provider_reference: None,
        webhook_url,
        command_token: "",
        in_doubt: false,
    };
    let request = provider.default_account().unwrap().adapter.build_request(&call).unwrap();
    let body = request.into_http().unwrap().body;
    (provider, url::form_urlencoded::parse(&body).into_owned().collect())
}

#[test]
fn twilio_gets_a_webhook_url_if_it_can_call_and_signs_the_token_too() {
    let sms = json!({"to": "+1", "from": "+2", "body": "Hi"});
    let own = json!({"to": "+1", "from": "+2", "body": "Hi", "status_callback": "https://shop.example/cb"});
    let status_callback = |webhook: &str, configured, payload| {
        let (_, form) = sent_to_twilio(webhook, configured, payload);
        form.into_iter().find(|(name, _)| name == "StatusCallback").map(|(_, value)| value)
    };
    for (webhook, configured) in [("", false), ("", true), ("webhook = {}", false)] {
        assert_eq!(status_callback(webhook, configured, &sms), None, "{webhook} {configured}");
    }
    assert_eq!(
        status_callback("webhook = {}", true, &own).as_deref(),
        Some("https://shop.example/cb")
    );
    let url = status_callback("webhook = {}", true, &sms).unwrap();

    let (provider, _) = sent_to_twilio("webhook = {}", true, &sms);
    let (webhook, now) = (provider.webhook(&Name::default_account()).unwrap(), at(1_796_126_401));
    let form = RawWebhook {
        headers: vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())],
        body: "MessageSid=SM1&MessageStatus=delivered".into(),
        ..call(&url)
    };
    let signed = webhook.sign(&form, now, None).unwrap();
    assert_eq!((signed.url.as_str(), webhook.verify(&signed, now)), (url.as_str(), Ok(())));
    let named = provider.links.as_ref().unwrap().named_by(&Name::default_account(), &signed, now);
    assert_eq!(named.unwrap().unwrap().command.as_str(), "c1");
    for other in
        [url.replace("ferry=", "ferry=A"), url.replace("ferry", "fairy"), format!("{url}&a=1")]
    {
        let altered = RawWebhook { url: other.parse().unwrap(), ..signed.clone() };
        assert_eq!(webhook.verify(&altered, now), Err(VerificationError::Forged), "{other}");
    }
}

#[test]
fn calls_that_a_token_verifies_are_about_its_command_alone() {
    let never_requested = "is \"token\", and no request has a `webhook_url` with one";
    let silent = FILE.replace("{{ webhook_url }}", "x");
    let optional = FILE.replace("{{ webhook_url }}", "{{ webhook_url | default(none) }}");
    for (text, configured, key, fault) in [
        (
            FILE.replace("event =", "command = \"{{ body.id }}\"\nevent ="),
            true,
            "command",
            "is not verified",
        ),
        (
            FILE.replace("event =", "reference = \"{{ body.id }}\"\nevent ="),
            true,
            "reference",
            "is not verified",
        ),
        (silent.clone(), true, "verify", never_requested),
        (optional, false, "verify", never_requested),
        (
            silent.replace("\"token\"", "\"none\""),
            true,
            "on",
            "stands without `command` or `reference`",
        ),
    ] {
        let faults = faults(&text, configured);
        assert!(faults.contains(&format!("webhook.{key}: {fault}")), "{key}: {faults}");
    }
}
