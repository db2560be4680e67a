//! Endpoints and calls for the tests of this module.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use crate::fixture::{lines, parse};
use crate::{WebhookReceiver, catalog};
use ferryd_domain::webhook::RawWebhook;

/// A fragment of docs/WEBHOOKS.md.
pub(super) fn fragment(name: &str) -> String {
    let document = fs::read_to_string(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("docs/WEBHOOKS.md"),
    )
    .unwrap();
    let fence = format!("```toml webhook {name}\n");
    let (_, rest) =
        document.split_once(&fence).unwrap_or_else(|| panic!("{name} is not in docs/WEBHOOKS.md"));
    rest.split("```").next().unwrap().to_owned()
}

/// The names of all fragments of docs/WEBHOOKS.md.
pub(super) fn fragments() -> Vec<String> {
    let document = fs::read_to_string(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("docs/WEBHOOKS.md"),
    )
    .unwrap();
    document
        .lines()
        .filter_map(|line| line.strip_prefix("```toml webhook "))
        .map(str::to_owned)
        .collect()
}

/// The endpoint of a `[webhook]` table in a file with this secret, which may be as short as those
/// of published examples.
pub(super) fn endpoint_of(tables: &str, secret: &str) -> Arc<dyn WebhookReceiver> {
    let tables = tables.replace("[webhook.verify]\n", "[webhook.verify]\nshort_keys = true\n");
    let file = format!(
        "name = \"x\"\ntype = \"payment\"\nprotocol = \"rest\"\nbase_url = \"https://api.example.com\"\n\
         secrets = {{ webhook = {secret:?}, webhook_old = \"old-secret\", verify_token = \"word-of-mine\" }}\n\
         [operations.act]\nrequest = {{ method = \"GET\", path = \"/\" }}\n{tables}"
    );
    parse(&file)
        .unwrap_or_else(|errors| panic!("{file}\n{}", lines(&errors)))
        .default_account()
        .unwrap()
        .webhook
        .clone()
        .unwrap()
}

/// The endpoint of a catalog provider or of a fragment of docs/WEBHOOKS.md.
pub(super) fn endpoint(name: &str, secret: &str) -> Arc<dyn WebhookReceiver> {
    if catalog::source(name).is_none() {
        return endpoint_of(&fragment(name), secret);
    }
    let secrets = format!(
        "{{ api_key = \"k\", bot_token = \"k\", account_sid = \"AC1\", webhook = {secret:?}, auth_token = {secret:?} }}"
    );
    let file = format!(
        "use = {name:?}\nsecrets = {secrets}\nwebhook = {{ verify = {{ short_keys = true }} }}\n"
    );
    parse(&file)
        .unwrap_or_else(|errors| panic!("{}", lines(&errors)))
        .default_account()
        .unwrap()
        .webhook
        .clone()
        .unwrap()
}

/// A `POST` with these headers and this body.
pub(super) fn call(url: &str, headers: &[(&str, &str)], body: &[u8]) -> RawWebhook {
    RawWebhook {
        method: "POST".to_owned(),
        url: url.parse().unwrap(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.to_lowercase(), (*value).to_owned()))
            .collect(),
        body: body.to_vec().into(),
        certificate: None,
    }
}

/// A time in seconds since 1970.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}
