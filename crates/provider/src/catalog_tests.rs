//! Compares requests of the catalog's providers, decoded, with recordings of the providers' own
//! SDKs.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::fixture::{lines, parse, request_under};
use super::{Provider, catalog};
use ferryd_domain::http_call::HttpRequest;
use ferryd_domain::token::AccessToken;

pub(super) fn provider(name: &str) -> Provider {
    let secrets = match name {
        "stripe" => "api_key = \"sk_test_123\"",
        "twilio" => "account_sid = \"AC00000000000000000000000000000000\"\nauth_token = \"tok\"",
        "paypal" => "client_id = \"CID\"\nclient_secret = \"SEC\"",
        "adyen" => "api_key = \"AQEx_test\"\nmerchant_account = \"TestMerchant\"",
        "sendgrid" => "api_key = \"SG.key\"",
        "slack" => "bot_token = \"xoxb-1\"",
        _ => "api_key = \"EZTK_test\"",
    };
    parse(&format!("use = \"{name}\"\n[secrets]\n{secrets}\n"))
        .unwrap_or_else(|errors| panic!("{}", lines(&errors)))
}

/// A request, with everything decoded that SDKs encode in different, equivalent ways.
#[derive(Debug, PartialEq)]
pub(super) struct DecodedRequest {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    form: Vec<(String, String)>,
    json: Option<Value>,
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = form_urlencoded::parse(text).into_owned().collect();
    // The order of pairs with one name is kept: it is the order of a list.
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs
}

pub(super) fn decoded(method: &str, url: &Url, content_type: &str, body: &[u8]) -> DecodedRequest {
    let json = (content_type.starts_with("application/json") && !body.is_empty())
        .then(|| serde_json::from_slice(body).unwrap());
    let form = if json.is_none() { pairs(body) } else { Vec::new() };
    let query = pairs(url.query().unwrap_or_default().as_bytes());
    DecodedRequest { method: method.to_owned(), path: url.path().to_owned(), query, form, json }
}

pub(super) fn recording(name: &str, number: usize) -> (DecodedRequest, BTreeMap<String, String>) {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .join("tests/fixtures/provider-requests")
        .join(format!("{name}.json"));
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let recorded = &file["requests"][number];
    let text = |key: &str| recorded[key].as_str().unwrap();
    let headers = recorded["headers"].as_object().unwrap().iter();
    let headers: BTreeMap<_, _> = headers
        .map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap().to_owned()))
        .collect();
    let url = Url::parse(&format!("https://host{}", text("path"))).unwrap();
    let content_type = headers.get("content-type").map_or("", String::as_str);
    (decoded(text("method"), &url, content_type, text("body").as_bytes()), headers)
}

/// Compares with the last request of a recording.
fn assert_recorded(name: &str, request: &HttpRequest) {
    let (mut expected, headers) =
        recording(name, usize::from(name == "paypal-token-and-create-order"));
    if name == "stripe-empty-and-array" {
        // The SDK sends any value. By Stripe's documentation a payment's metadata are a map.
        expected.form.retain(|(field, _)| field != "metadata");
    }
    let ours: BTreeMap<_, _> = request.headers.iter().cloned().collect();
    let content_type = ours.get("content-type").map_or("", String::as_str);
    assert_eq!(
        decoded(request.method.as_str(), &request.url, content_type, &request.body),
        expected,
        "{name}"
    );
    assert_eq!(ours, headers, "{name}");
}

/// Renders a request, and compares it with a recording of that name.
pub(super) fn assert_rendered(name: &str, operation: &str, key: Option<&str>, payload: &Value) {
    let provider = provider(name.split('-').next().unwrap());
    let faults = provider.operations[&operation.parse().unwrap()]
        .payload
        .check(payload.as_object().unwrap());
    assert_eq!(faults, Vec::<String>::new(), "{name}");
    let mut request = request_under(&provider, operation, payload, key).unwrap();
    if provider.default_account().unwrap().adapter.build_token_request(request.timeout).is_some() {
        request =
            AccessToken::new("A21AA_fake", None).unwrap().authorise(&request, request.timeout);
    }
    assert_recorded(name, &request);
}

#[test]
fn requests_equal_those_of_the_providers_own_sdks() {
    let address =
        json!({"street1": "417", "city": "SF", "state": "CA", "zip": "94104", "country": "US"});
    let table = [
        (
            "stripe-create-payment-intent",
            "charge",
            Some("cmd-123"),
            json!({
                "amount": 1099, "currency": "eur", "payment_method": "pm_card_visa", "confirm": true,
                "automatic_payment_methods": {"enabled": true, "allow_redirects": "never"},
                "metadata": {"order_id": "A-1"},
                "payment_method_types": ["card", "sepa_debit"], "expand": ["latest_charge"]
            }),
        ),
        (
            "stripe-empty-and-array",
            "charge",
            Some("ac37347e-40ee-3979-4dfe-05f1afacc84a"),
            json!({
                "amount": 1, "currency": "eur", "description": "", "metadata": "",
                "transfer_data": {"destination": "acct_1", "amount": 3},
                "shipping": {"name": "Ünï & co", "address": {"line1": "a+b", "city": "x"}}
            }),
        ),
        (
            "stripe-create-refund",
            "refund",
            Some("cmd-124"),
            json!({"payment_intent": "pi_1", "amount": 500, "reason": "requested_by_customer", "metadata": {"order_id": "A-1"}}),
        ),
        (
            "stripe-retrieve-payment-intent",
            "retrieve",
            None,
            json!({"payment_intent": "pi_1", "expand": ["latest_charge"]}),
        ),
        (
            "twilio-send-sms",
            "send_sms",
            None,
            json!({
                "to": "+15558675310", "from": "+15017122661", "body": "Hi ü & +1",
                "status_callback": "https://h.test/cb?cid=c1",
                "media_urls": ["https://a.test/1.png", "https://a.test/2.png"]
            }),
        ),
        ("twilio-fetch-sms", "fetch", None, json!({"sid": "SM00000000000000000000000000000000"})),
        (
            "easypost-create-shipment",
            "create_shipment",
            None,
            json!({
                "to_address": {
                    "name": "Dr", "street1": "179 N Harbor", "city": "Redondo", "state": "CA", "zip": "90277",
                    "country": "US"
                },
                "from_address": address, "parcel": {"length": 20.2, "weight": 65.9}, "reference": "order-1"
            }),
        ),
    ];
    for (name, operation, key, payload) in table {
        assert_rendered(name, operation, key, &payload);
    }
    let recordings = std::fs::read_dir(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .join("tests/fixtures/provider-requests"),
    );
    assert_eq!(recordings.unwrap().count(), 11, "every recording is compared");
}

#[test]
fn every_catalog_file_asks_only_for_its_secrets() {
    for name in catalog::names() {
        let errors = parse(&format!("use = \"{name}\"")).map(|_| ()).unwrap_err();
        assert!(
            errors.iter().all(|error| error.to_string().contains("under [secrets]")),
            "{}",
            lines(&errors)
        );
        assert_eq!(provider(name).name.as_str(), name);
    }
}

#[test]
fn a_file_goes_over_the_catalogs_key_by_key() {
    let text = "use = \"stripe\"\nname = \"stripe-eu\"\nheaders = { X-More = \"1\" }\nsecrets = { api_key = \"sk_eu_1\" }\n\
                [operations.charge]\ntimeout = \"45s\"\nbody = { description = \"fixed\", amount = \"{{ none }}\" }\n";
    let provider = parse(text).map_err(|errors| lines(&errors)).unwrap();
    let request =
        request_under(&provider, "charge", &json!({"amount": 1, "currency": "eur"}), Some("k"))
            .unwrap();
    let form = pairs(&request.body);
    assert!(form.contains(&("description".to_owned(), "fixed".to_owned())), "{form:?}");
    assert!(form.iter().all(|(name, _)| name != "amount"), "{form:?}");
    let names: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["authorization", "content-type", "idempotency-key", "stripe-version", "x-more"]
    );
    assert_eq!(request.timeout.as_secs(), 45);
    assert_eq!(provider.name.as_str(), "stripe-eu");
    assert!(provider.operations.contains_key(&"refund".parse().unwrap()));
}

#[test]
fn no_payload_can_write_what_ferryd_knows_its_commands_by() {
    let charge = json!({"amount": 1099, "currency": "eur"});
    let payment = json!({"amount": 1099, "currency": "eur", "payment_method": {"type": "scheme"}});
    let mail = json!({"from": {"email": "a@x.test"}, "personalizations": [{"to": [{"email": "b@x.test"}]}], "subject": "s", "content": [{"type": "text/plain", "value": "hi"}]});
    for (name, operation, payload, field, key) in [
        ("stripe", "charge", &charge, "metadata", "ferryd_command_id"),
        ("stripe", "charge", &charge, "metadata", "ferry_token"),
        ("adyen", "charge", &payment, "metadata", "ferry_token"),
        ("sendgrid", "send_mail", &mail, "custom_args", "ferry_token"),
    ] {
        let operation = &provider(name).operations[&operation.parse().unwrap()];
        let faults = |value: Value| {
            let mut payload = payload.as_object().unwrap().clone();
            payload.insert(field.to_owned(), value);
            operation.payload.check(&payload)
        };
        assert_eq!(faults(json!({"order": "7"})), Vec::<String>::new(), "{name}");
        assert!(faults(json!({"order": "7", key: "order-1"}))[0].contains(field), "{name} {key}");
    }
}

/// The value of a field of the form or body in a first request.
fn sent(name: &str, operation: &str, payload: &Value, token: &str) -> Value {
    let command = super::fixture::command(operation, payload);
    let call = super::CallContext {
        command: &command,
        key: None,
        generation: 0,
        attempt: 1,
        provider_reference: None,
        webhook_url: None,
        command_token: token,
        in_doubt: false,
    };
    let request = provider(name).default_account().unwrap().adapter.build_request(&call).unwrap();
    let request = request.into_http().unwrap();
    serde_json::from_slice(&request.body).unwrap_or_else(|_| json!(pairs(&request.body)))
}

#[test]
fn what_is_sent_bears_its_token_beside_the_id_where_there_is_one_and_is_as_before_where_there_is_none()
 {
    let charge = json!({"amount": 1, "currency": "eur", "metadata": {"order": "7"}});
    let form = sent("stripe", "charge", &charge, "T");
    for pair in [
        ["metadata[order]", "7"],
        ["metadata[ferryd_command_id]", "c1"],
        ["metadata[ferry_token]", "T"],
    ] {
        assert!(form.as_array().unwrap().contains(&json!(pair)), "{form}");
    }
    let before = sent("stripe", "charge", &charge, "");
    assert!(!before.to_string().contains("ferry_token"), "{before}");
    let none = json!({"amount": 1, "currency": "eur", "metadata": ""});
    assert_eq!(sent("stripe", "charge", &none, "T"), sent("stripe", "charge", &none, ""));

    let payment = |more: Value| {
        let mut payload =
            json!({"amount": 1, "currency": "eur", "payment_method": {"type": "scheme"}});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        payload
    };
    let full: serde_json::Map<_, _> = (0..20).map(|n| (format!("k{n}"), json!("v"))).collect();
    for (more, token, metadata) in [
        (json!({}), "T", json!({"ferry_token": "T"})),
        (json!({"metadata": {"a": "b"}}), "T", json!({"a": "b", "ferry_token": "T"})),
        // The reference comes from the payload, so there is no id to prove.
        (json!({"metadata": {"a": "b"}, "reference": "order-7"}), "T", json!({"a": "b"})),
        (json!({"metadata": full.clone()}), "T", json!(full)),
        (json!({"metadata": {"a": "b"}}), "", json!({"a": "b"})),
        (json!({}), "", json!(null)),
    ] {
        assert_eq!(
            sent("adyen", "charge", &payment(more.clone()), token)["metadata"],
            metadata,
            "{more} {token:?}"
        );
    }
}

#[test]
fn a_charge_carries_its_command_in_the_metadata() {
    let payload = json!({"amount": 1, "currency": "EUR", "metadata": {"order": "7"}});
    let request = request_under(&provider("stripe"), "charge", &payload, None).unwrap();
    let form = pairs(&request.body);
    for (name, value) in
        [("metadata[ferryd_command_id]", "c1"), ("metadata[order]", "7"), ("currency", "eur")]
    {
        assert!(form.contains(&(name.to_owned(), value.to_owned())), "{form:?}");
    }
}

#[test]
fn what_the_catalog_marks_as_sensitive_is_found() {
    let sms = json!({"to": "+15558675310", "from": "+1", "body": "your code is 123"});
    let operation = &provider("twilio").operations[&"send_sms".parse().unwrap()];
    assert_eq!(
        operation.payload.sensitive_values(sms.as_object().unwrap()),
        ["+15558675310", "your code is 123"]
    );
}
