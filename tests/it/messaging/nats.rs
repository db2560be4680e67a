//! Tests commands whose provider is reached by messages to streams of its own NATS server.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::nats_server::{NatsServer, USER};
use crate::harness::tcp_proxy::TcpProxy;
use crate::rig::{SOON, TestRig, call_records, word};

const STREAM: &str = "ORDERS";

/// A daemon with the provider `warehouse`, and the NATS server of that provider behind a proxy.
pub(super) struct NatsRig {
    pub(super) rig: TestRig,
    pub(super) server: NatsServer,
    way: TcpProxy,
}

impl NatsRig {
    /// Starts server and rig, with a stream.
    pub(super) async fn new() -> Self {
        let nats = Self::without_stream().await;
        nats.listen().await;
        nats
    }

    async fn without_stream() -> Self {
        let server = NatsServer::start().await;
        let way = TcpProxy::to(server.address());
        let states = "[events]\nstates = [\"pending\", \"waiting\", \"completed\", \"failed\"]";
        let rig = TestRig::new(states).await.file("warehouse", &file(way.address(), USER));
        Self { rig, server, way }
    }

    async fn listen(&self) {
        self.server.stream(STREAM, "orders.>", &Value::Null).await;
    }

    /// The ids of the messages that the provider has.
    pub(super) async fn ids(&self) -> Vec<String> {
        self.server.ids(STREAM).await
    }

    /// Blocks the way to the server once a connection stands, publishes a command, and returns its
    /// first event: the message was handed over, and no acknowledgement came.
    async fn publish_in_doubt(&self, make: fn(&str) -> Value) -> Value {
        let event = self.rig.carry(&make("before")).await;
        assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
        self.way.pause();
        self.rig.publish(&make("c1")).await;
        self.rig.events.first(SOON, |event| event["subject"] == "c1").await
    }
}

/// The provider file. `ship` may be repeated under its id, and `alert` may not.
fn file(address: SocketAddr, password: &str) -> String {
    format!(
        r#"
name = "warehouse"
type = "shipping"
protocol = "nats"
base_url = "nats://{address}"
allow_insecure_loopback = true
auth = {{ scheme = "basic", username = "{USER}", password = "{{{{ secrets.password }}}}" }}
secrets = {{ password = "{password}" }}
connect_timeout = "2s"
timeout = "4s"
retry = {{ schedule = ["1s", "1s", "1s", "1s", "1s", "1s"], jitter = false }}

[operations.ship]
message = {{ subject = "orders.{{{{ payload.region }}}}", headers = {{ Tenant = "{{{{ metadata.tenant }}}}" }}, deduplicates = "2m" }}
body = {{ order = "{{{{ command.reference }}}}", items = "{{{{ payload.items }}}}" }}
response = {{ result = {{ order = "{{{{ command.reference }}}}" }} }}

[operations.alert]
message = {{ subject = "orders.alerts" }}
body = {{ text = "{{{{ payload.text }}}}" }}
"#
    )
}

#[tokio::test]
async fn a_command_is_stored_with_its_id_and_headers_and_completed_by_the_acknowledgement() {
    let nats = NatsRig::new().await;
    let daemon = nats.rig.start().await;
    let event = nats.rig.carry(&super::commands::ship("s1")).await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    assert_eq!(event["data"]["result"], json!({"order": "order-7"}));
    let stored = nats.server.stored(STREAM).await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].subject, "orders.north");
    for (name, value) in
        [("Nats-Msg-Id", "s1"), ("Tenant", "eu-1"), ("Content-Type", "application/json")]
    {
        assert_eq!(stored[0].header(name), Some(value), "{:?}", stored[0]);
    }
    let body: Value = serde_json::from_str(&stored[0].body).unwrap();
    assert_eq!(body, json!({"order": "order-7", "items": [1, 2]}));
    let calls = call_records(&daemon, "s1");
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (&calls[0]["http.request.method"], &calls[0]["sent"]),
        (&json!("PUBLISH"), &json!("yes"))
    );
    let url = calls[0]["url.full"].as_str().unwrap();
    assert!(url.ends_with("?subject=orders.north"), "{url}");
    nats.rig.finish(&daemon).await;
}

/// The server says that nobody listens: it has certainly stored nothing.
#[tokio::test]
async fn a_message_without_a_stream_is_retried_until_one_listens() {
    let nats = NatsRig::without_stream().await;
    let daemon = nats.rig.start().await;
    nats.rig.publish(&super::commands::alert("a1")).await;
    let event = nats.rig.events.state("a1", "pending", SOON).await;
    assert_eq!(word(&event, "data.error.code"), "no_stream", "{event:#}");
    nats.listen().await;
    let event = nats.rig.terminal("a1").await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    assert_eq!(nats.ids().await, ["a1"]);
    nats.rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_message_without_an_acknowledgement_is_repeated_and_stored_once() {
    let nats = NatsRig::new().await;
    let daemon = nats.rig.start().await;
    let event = nats.publish_in_doubt(super::commands::ship).await;
    assert_eq!(word(&event, "data.state"), "pending", "{event:#}");
    assert_eq!(word(&event, "data.error.code"), "timeout", "{event:#}");
    nats.way.resume();
    let event = nats.rig.terminal("c1").await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    assert_eq!(nats.ids().await, ["before", "c1"]);
    nats.rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_message_without_an_acknowledgement_is_not_repeated_unless_the_file_says_so() {
    let nats = NatsRig::new().await;
    let daemon = nats.rig.start().await;
    let event = nats.publish_in_doubt(super::commands::alert).await;
    assert_eq!(word(&event, "data.error.kind"), "unresolved", "{event:#}");
    nats.way.resume();
    nats.rig.dead_letters("warehouse", 1).await;
    assert_eq!(call_records(&daemon, "c1").len(), 1);
    nats.rig.finish(&daemon).await;
}

#[tokio::test]
async fn commands_wait_while_the_server_is_dead_and_are_then_carried_out() {
    let mut nats = NatsRig::new().await;
    let daemon = nats.rig.start().await;
    let event = nats.rig.carry(&super::commands::ship("before")).await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    nats.server.kill9().await;
    for command in [super::commands::ship("s1"), super::commands::alert("a1")] {
        nats.rig.publish(&command).await;
    }
    for id in ["s1", "a1"] {
        let event = nats.rig.events.state(id, "pending", SOON).await;
        assert_eq!(word(&event, "data.error.code"), "connect_failed", "{event:#}");
    }
    nats.server.restart().await;
    for id in ["s1", "a1"] {
        let event = nats.rig.terminal(id).await;
        assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    }
    let mut ids = nats.ids().await;
    ids.sort_unstable();
    assert_eq!(ids, ["a1", "before", "s1"]);
    nats.rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_refused_login_is_named_by_the_command_and_by_check() {
    let server = NatsServer::start().await;
    let rig = TestRig::new("[events]\nstates = [\"pending\", \"completed\", \"failed\"]")
        .await
        .file("warehouse", &file(server.address(), "wrong-s3cret"));
    let mut command = rig.setup.command(&["check", "--connect", "--json"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let tried = report["credentials"].as_array().unwrap();
    let warehouse = tried.iter().find(|one| one["provider"] == "warehouse").unwrap();
    assert_eq!(warehouse["result"], "refused", "{report:#}");
    assert!(!report.to_string().contains("s3cret"));
    let daemon = rig.start().await;
    rig.publish(&super::commands::ship("s1")).await;
    let event = rig.events.state("s1", "pending", SOON).await;
    assert_eq!(word(&event, "data.error.code"), "login_refused", "{event:#}");
    assert!(!daemon.log_text().contains("s3cret"));
    rig.end(&daemon).await;
}
