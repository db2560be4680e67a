//! A rig whose provider signs its webhooks, and the webhooks that tests send to it.

#![expect(clippy::needless_pass_by_value, reason = "`json!(…)` reads best as it is")]

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ferryd_domain::echo_token;
use ferryd_domain::webhook_token::{TokenKey, TokenScope};
use jiff::Timestamp;
use ring::hmac;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::daemon::RunningDaemon;
use crate::harness::node::BrokerNode;
use crate::rig::{SOON, SandboxFile, TestRig, word};

/// The secret with which `acme` signs.
pub(crate) const SECRET: &str = "whsec-acme-0123456789";

/// The key that ferryd signs tokens with.
pub(crate) const TOKEN_KEY: &str = "0123456789abcdef0123456789abcdef";

/// The variable that configures the key.
pub(crate) const TOKEN_KEYS: &str = "FERRYD_WEBHOOKS__SIGNING_KEYS";

pub(crate) const KEYS: &str = r#"
[webhook]
event = "{{ body.type }}"
id = "{{ body.id }}"
command = "{{ body.command }}"
token = "{{ body.token }}"
reference = "{{ body.about }}"
[webhook.verify]
algorithm = "hmac_sha256"
keys = [{ secret = "{{ secrets.webhook }}" }]
signature = { header = "x-signature", encoding = "hex" }
signed = "{{ body }}"
[[webhook.on]]
when = "body.type == 'charge.succeeded'"
as = "completed"
result = { id = "{{ body.about }}", paid = "{{ body.amount }}" }
[[webhook.on]]
when = "body.type == 'charge.failed'"
as = "declined"
code = "{{ body.code }}"
[[webhook.on]]
when = "body.type == 'charge.lost'"
as = "failed"
code = "{{ body.code }}"
message = "lost on the way"
[[webhook.on]]
when = "body.type == 'charge.moved'"
as = "progress"
result = { at = "{{ body.at }}" }
"#;

/// Makes a rig with an endpoint for signed calls of `acme`, and with these operations in addition.
pub(crate) async fn signed_rig(operations: &str) -> TestRig {
    rig_on(BrokerNode::shared().await, operations).await
}

pub(crate) async fn rig_on(node: &BrokerNode, operations: &str) -> TestRig {
    let operations = format!("{operations}\n{KEYS}");
    let rig = TestRig::on(
        node,
        "",
        &[("acme", SandboxFile { operations: &operations, ..SandboxFile::default() })],
    )
    .await;
    rig.signed_by(SECRET, "https://hooks.example.com").env(TOKEN_KEYS, TOKEN_KEY)
}

/// Calls `acme`'s endpoint, signed. Returns the status, or `None` without an answer.
pub(crate) async fn call(daemon: &RunningDaemon, body: &Value) -> Option<u16> {
    call_at(daemon, "acme", SECRET, body).await
}

/// Calls an endpoint, signed with a secret.
pub(crate) async fn call_at(
    daemon: &RunningDaemon,
    endpoint: &str,
    secret: &str,
    body: &Value,
) -> Option<u16> {
    let line = daemon
        .wait_for_log(SOON, |line| line["message"] == "the endpoint for webhooks listens")
        .await;
    let address: SocketAddr = word(&line, "address").parse().unwrap();
    let body = body.to_string();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body.as_bytes());
    let signature = hex::encode(tag);
    let head = format!(
        "POST /webhooks/{endpoint} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         x-signature: {signature}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut tcp = TcpStream::connect(address).await.ok()?;
    tcp.write_all((head + &body).as_bytes()).await.ok()?;
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// Makes the token that ferryd sends beside the id of a command of `acme` whose first call is made
/// today.
pub(crate) fn token_of(account: &str, id: &str) -> String {
    let (provider, account) = ("acme".parse().unwrap(), account.parse().unwrap());
    let scope = TokenScope { provider: &provider, account: &account };
    echo_token::make_token(
        &TokenKey::new(TOKEN_KEY),
        scope,
        &id.parse().unwrap(),
        0,
        Timestamp::now(),
    )
}

/// Builds the body of a call, with the token of the command that it names.
pub(crate) fn notice_body(id: &str, kind: &str, more: Value) -> Value {
    account_notice_body("default", id, kind, more)
}

/// Builds the body of a call about a command of an account.
pub(crate) fn account_notice_body(account: &str, id: &str, kind: &str, more: Value) -> Value {
    let mut body = bare_notice_body(id, kind, more);
    if let Some(command) = body["command"].as_str().map(str::to_owned) {
        body["token"] = json!(token_of(account, &command));
    }
    body
}

/// Builds the body of a call without a token.
pub(crate) fn bare_notice_body(id: &str, kind: &str, more: Value) -> Value {
    let mut body = json!({"id": id, "type": kind});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// Lists the distinct ids of the events that end a command.
pub(crate) fn ends(rig: &TestRig, command: &str) -> Vec<String> {
    let is_end = |event: &&Value| matches!(word(event, "data.state"), "completed" | "failed");
    let ids: BTreeSet<_> = rig
        .events
        .of(command)
        .iter()
        .filter(is_end)
        .map(|event| word(event, "id").to_owned())
        .collect();
    ids.into_iter().collect()
}
