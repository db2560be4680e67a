//! Webhooks: a call that is verified was signed, by every scheme of the catalog and of
//! `docs/WEBHOOKS.md`.
//!
//! The input is a line with a scheme and a number of seconds, and a captured call. The call is
//! verified so many seconds after those of [`signed`] were signed. The input alone has no keys, so
//! the contents of a verified call have to equal those of a signed one. The signed contents are
//! assembled here, as the schemes' documents define them.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::provider_file::parse as parse_file;
use crate::cli::webhook::captured::parse;
use ferryd_domain::webhook::RawWebhook;
use ferryd_provider::WebhookReceiver;
use ferryd_provider::webhook::{PrivateKey, StepResult, receive_webhook};

/// The time at which calls were signed, in seconds since 1970.
const NOW: i64 = 1_800_000_000;
/// The maximum distance of a call from that time, in seconds.
const TOLERANCE: i64 = 300;
/// The schemes whose calls carry no time.
const UNTIMED: [&str; 9] = [
    "adyen-payments",
    "adyen-platform",
    "easypost",
    "github",
    "meta",
    "shopify",
    "square",
    "twilio",
    "two-secrets",
];
const DOCUMENT: &str = include_str!("../../docs/WEBHOOKS.md");
/// RFC 8032, 7.1, test 1.
const ED25519: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
const P256: &str = include_str!("../../tests/fixtures/webhooks/p256.pem");
const P256_PUBLIC: &str = include_str!("../../tests/fixtures/webhooks/p256-public.pem");
const VERIFY_TOKEN: &str = "word-of-mine";
const BATCH: &str = r#"{"notificationItems":[{"NotificationRequestItem":{"pspReference":"1","success":"true"}},{"NotificationRequestItem":{"pspReference":"2","amount":{"value":5,"currency":"EUR"}}}]}"#;

/// A scheme, and the calls that were signed by it.
pub(super) struct SignedScheme {
    /// The name of the scheme in the catalog or the document.
    pub(super) name: String,
    /// Calls that were signed.
    pub(super) signed: Vec<RawWebhook>,
    /// The verifier of the scheme's calls.
    pub(super) endpoint: Arc<dyn WebhookReceiver>,
    secret: String,
    private_key: Option<PrivateKey>,
}

/// All schemes.
pub(super) static SCHEMES: LazyLock<Vec<SignedScheme>> = LazyLock::new(|| {
    let catalog = ["stripe", "twilio", "easypost"].into_iter();
    let documented = DOCUMENT.lines().filter_map(|line| line.strip_prefix("```toml webhook "));
    catalog.chain(documented).map(SignedScheme::of).collect()
});

impl SignedScheme {
    fn of(name: &str) -> Self {
        let (secret, private_key) = match name {
            "standard-ed25519" => ("unused-secret".to_owned(), PrivateKey::parse(ED25519).ok()),
            "sendgrid" => (P256_PUBLIC.to_owned(), PrivateKey::parse(P256).ok()),
            "standard" | "svix" => ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), None),
            _ => ("11".repeat(32), None),
        };
        let endpoint = endpoint(name, &secret);
        let drafts = drafts(name).into_iter();
        let signed =
            drafts.map(|call| endpoint.sign(&call, at(0), private_key.as_ref()).unwrap()).collect();
        Self { name: name.to_owned(), signed, endpoint, secret, private_key }
    }

    /// Returns the signed contents of a call; several where a call has several signatures.
    fn signed_contents(&self, call: &RawWebhook) -> Vec<Vec<u8>> {
        let url = call.url.as_str().as_bytes();
        match self.name.as_str() {
            "adyen-payments" => items(call),
            "mercado-pago" => {
                let id = call.query("data.id").unwrap_or_default().to_lowercase();
                vec![
                    format!("{id};{}", call.header("x-request-id").unwrap_or_default().trim())
                        .into_bytes(),
                ]
            }
            "square" => vec![[url, &call.body].concat()],
            "twilio" if is_form(call) => vec![[url, form(&call.body).as_bytes()].concat()],
            "twilio" => vec![url.to_vec()],
            _ => vec![call.body.to_vec()],
        }
    }
}

pub(super) fn check(bytes: &[u8]) {
    let Some((scheme, seconds, call)) = read(bytes) else { return };
    let now = at(seconds);
    let verified = scheme.endpoint.verify(&call, now);
    let steps = scheme.endpoint.explain_verification(&call, now);
    let failed = steps.iter().filter(|step| step.result == StepResult::Failed).count();
    assert_eq!(failed, usize::from(verified.is_err()), "a refusal has one reason: {steps:#?}");
    let trace: String = steps.into_iter().map(|step| step.looked_for + &step.found).collect();
    assert!(!trace.contains(&scheme.secret), "a secret is shown: {trace}");
    if verified.is_ok() {
        was_signed(scheme, seconds, &call);
    }

    let received = receive_webhook(scheme.endpoint.as_ref(), &call, now);
    if call.method == "GET" && received.is_ok() != verified.is_ok() {
        let knows = call.query("hub.verify_token").is_some_and(|token| token == VERIFY_TOKEN);
        assert!(scheme.name == "meta" && knows, "a handshake is answered to who knows the token");
    } else {
        assert_eq!(received.err(), verified.err(), "what is not verified is not received");
    }
    if let Ok(signed) = scheme.endpoint.sign(&call, now, scheme.private_key.as_ref()) {
        assert_eq!(scheme.endpoint.verify(&signed, now), Ok(()), "ferryd verifies what it signs");
    }
}

/// Reads an input.
pub(super) fn read(bytes: &[u8]) -> Option<(&'static SignedScheme, i64, RawWebhook)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (name, seconds) = std::str::from_utf8(&bytes[..end]).ok()?.split_once(' ')?;
    let scheme = SCHEMES.iter().find(|scheme| scheme.name == name)?;
    let seconds =
        seconds.parse::<i64>().ok().filter(|seconds| (-100_000..=100_000).contains(seconds))?;
    Some((scheme, seconds, parse(&bytes[end + 1..], None).ok()?.call))
}

fn was_signed(scheme: &SignedScheme, seconds: i64, call: &RawWebhook) {
    let known: BTreeSet<Vec<u8>> =
        scheme.signed.iter().flat_map(|call| scheme.signed_contents(call)).collect();
    let said = scheme.signed_contents(call);
    assert!(
        !said.is_empty() && said.iter().all(|said| known.contains(said)),
        "{}: it was not signed",
        scheme.name
    );
    let fresh = seconds.abs() <= TOLERANCE || UNTIMED.contains(&scheme.name.as_str());
    assert!(fresh, "{}: it was signed {seconds} s before", scheme.name);
    if scheme.name == "twilio" && !is_form(call) && !call.body.is_empty() {
        let digest = hex::encode(Sha256::digest(&call.body));
        let given = call.query("bodySHA256").unwrap_or_default().to_lowercase();
        assert_eq!(given, digest, "a body that is no form has its digest in the signed URL");
    }
}

/// Returns the time so many seconds after [`NOW`].
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

fn endpoint(name: &str, secret: &str) -> Arc<dyn WebhookReceiver> {
    let fence = format!("```toml webhook {name}\n");
    let file = if let Some((_, table)) = DOCUMENT.split_once(&fence) {
        format!(
            "name = \"x\"\ntype = \"payment\"\nprotocol = \"rest\"\nbase_url = \"https://api.example.com\"\n\
             secrets = {{ webhook = {secret:?}, webhook_old = \"old-secret\", verify_token = {VERIFY_TOKEN:?} }}\n\
             [operations.act]\nrequest = {{ method = \"GET\", path = \"/\" }}\n{}",
            // Keys of any length are tried.
            table
                .split("```")
                .next()
                .unwrap()
                .replace("[webhook.verify]\n", "[webhook.verify]\nshort_keys = true\n")
        )
    } else {
        // One of the catalog.
        format!(
            "use = {name:?}\nwebhook = {{ verify = {{ short_keys = true }} }}\n\
             secrets = {{ api_key = \"k\", account_sid = \"AC1\", webhook = {secret:?}, auth_token = {secret:?} }}\n"
        )
    };
    parse_file(&file).ok().and_then(|provider| provider.default_account()?.webhook.clone()).unwrap()
}

fn drafts(name: &str) -> Vec<RawWebhook> {
    let bodies: &[(&str, &[u8])] = match name {
        "adyen-payments" => &[("application/json", BATCH.as_bytes())],
        _ => &[
            ("application/json", b"{\"id\":\"evt_1\",\"amount\":1099}"),
            ("application/octet-stream", b"\xff\x00\xc3(\r\n"),
            ("application/x-www-form-urlencoded", b"To=%2B15005550006&Body=a+b&a=1"),
            ("text/plain", b""),
        ],
    };
    let id = if name == "mercado-pago" { "x-request-id" } else { "x-other" };
    let draft = |(media_type, body): &(&str, &[u8])| RawWebhook {
        method: "POST".to_owned(),
        url: "https://hooks.example.com/x?data.id=A7&a=%20b".parse().unwrap(),
        headers: [("content-type", *media_type), (id, "r1")]
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        body: body.to_vec().into(),
        certificate: None,
    };
    bodies.iter().map(draft).collect()
}

fn is_form(call: &RawWebhook) -> bool {
    let media_type =
        call.header("content-type").and_then(|value| value.split(';').next()).unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Returns a form's parameters in order, each once.
fn form(body: &[u8]) -> String {
    let pairs: BTreeSet<_> = url::form_urlencoded::parse(body).into_owned().collect();
    pairs.into_iter().map(|(name, value)| name + &value).collect()
}

/// Returns the signed contents of each item of Adyen's.
fn items(call: &RawWebhook) -> Vec<Vec<u8>> {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let items = body["notificationItems"].as_array().cloned().unwrap_or_default();
    let said = |item: Value| {
        let item = &item["NotificationRequestItem"];
        let (amount, text) = (&item["amount"], |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        let names =
            ["pspReference", "originalReference", "merchantAccountCode", "merchantReference"];
        let ends = [&amount["value"], &amount["currency"], &item["eventCode"], &item["success"]];
        let values: Vec<_> =
            names.map(|name| &item[name]).into_iter().chain(ends).map(text).collect();
        values.join(":").into_bytes()
    };
    items.into_iter().map(said).collect()
}
