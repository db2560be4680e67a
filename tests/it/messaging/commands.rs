//! Tests commands whose provider is reached by messages to its own broker.

use std::net::SocketAddr;

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};

use crate::harness::broker::{QueuedMessage, TestBroker};
use crate::harness::node::BrokerNode;
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::vhost::TestVhost;
use crate::rig::{SOON, TestRig, call_records, word};

/// The queue of the provider's broker.
const QUEUE: &str = "orders";
const EXCHANGE: &str = "shop";

/// A daemon with the provider `warehouse`, and the broker of that provider behind a proxy.
pub(super) struct MessagingRig {
    pub(super) rig: TestRig,
    pub(super) receiver: TestBroker,
    pub(super) way: TcpProxy,
    /// The virtual host of the provider, deleted with the rig.
    pub(super) vhost: TestVhost,
}

impl MessagingRig {
    pub(super) async fn new() -> Self {
        let vhost = BrokerNode::shared().await.vhost().await;
        let receiver = TestBroker::connect(&vhost.uri()).await;
        let channel = receiver.channel().await;
        let (durable, none) = (true, FieldTable::default);
        let options = ExchangeDeclareOptions { durable, ..ExchangeDeclareOptions::default() };
        channel
            .exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, options, none())
            .await
            .unwrap();
        let options = QueueDeclareOptions { durable, ..QueueDeclareOptions::default() };
        channel.queue_declare(QUEUE.into(), options, none()).await.unwrap();
        let way = TcpProxy::to(vhost.address());
        let rig = TestRig::new(
            "[events]\nstates = [\"pending\", \"waiting\", \"completed\", \"failed\"]",
        )
        .await
        .file("warehouse", &file(way.address(), vhost.name()));
        let messaging = Self { rig, receiver, way, vhost };
        messaging.bind().await;
        messaging
    }

    /// Changes the password in the provider file.
    fn with_password(self, password: &str) -> Self {
        let to = format!("password = \"{password}\"");
        Self { rig: self.rig.changed("warehouse", "password = \"ferry\"", &to), ..self }
    }

    async fn bind(&self) {
        let channel = self.receiver.channel().await;
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        channel
            .queue_bind(QUEUE.into(), EXCHANGE.into(), "order.*".into(), options, none)
            .await
            .unwrap();
    }

    async fn unbind(&self) {
        let channel = self.receiver.channel().await;
        channel
            .queue_unbind(QUEUE.into(), EXCHANGE.into(), "order.*".into(), FieldTable::default())
            .await
            .unwrap();
    }

    /// The messages that the provider has.
    pub(super) async fn received(&self) -> Vec<QueuedMessage> {
        self.receiver.peek(QUEUE).await
    }

    /// The ids of the messages that the provider has.
    pub(super) async fn received_ids(&self) -> Vec<String> {
        let id = |message: &QueuedMessage| message.properties.message_id().clone().unwrap();
        self.received().await.iter().map(|message| id(message).to_string()).collect()
    }
}

/// The provider file. `ship` may be repeated under its id, `alert` may not, and `order` is answered
/// later.
fn file(address: SocketAddr, vhost: &str) -> String {
    format!(
        r#"
name = "warehouse"
type = "shipping"
protocol = "amqp"
base_url = "amqp://{address}/{vhost}"
allow_insecure_loopback = true
auth = {{ scheme = "basic", username = "ferry", password = "{{{{ secrets.password }}}}" }}
secrets = {{ password = "ferry" }}
connect_timeout = "2s"
timeout = "4s"
retry = {{ schedule = ["1s", "1s", "1s", "1s", "1s", "1s"], jitter = false }}

[operations.ship]
message = {{ exchange = "{EXCHANGE}", routing_key = "order.{{{{ payload.region }}}}", headers = {{ Tenant = "{{{{ metadata.tenant }}}}" }}, deduplicates = "1h" }}
body = {{ order = "{{{{ command.reference }}}}", items = "{{{{ payload.items }}}}" }}
response = {{ result = {{ order = "{{{{ command.reference }}}}" }} }}

[operations.alert]
message = {{ routing_key = "{QUEUE}" }}
body = {{ text = "{{{{ payload.text }}}}" }}

[operations.order]
message = {{ exchange = "{EXCHANGE}", routing_key = "order.new", deduplicates = "1h" }}
response = {{ accepted = "true" }}
"#
    )
}

pub(super) fn ship(id: &str) -> Value {
    json!({
        "id": id, "type": "shipping", "provider": "warehouse", "operation": "ship",
        "reference": "order-7", "metadata": { "tenant": "eu-1" },
        "payload": { "region": "north", "items": [1, 2] },
    })
}

pub(super) fn alert(id: &str) -> Value {
    json!({
        "id": id, "type": "shipping", "provider": "warehouse", "operation": "alert",
        "payload": { "text": "the ferry is late" },
    })
}

#[tokio::test]
async fn a_command_is_published_and_completed_by_the_confirm() {
    let messaging = MessagingRig::new().await;
    let daemon = messaging.rig.start().await;
    let event = messaging.rig.carry(&ship("s1")).await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    assert_eq!(event["data"]["result"], json!({"order": "order-7"}));
    let received = messaging.received().await;
    assert_eq!(received.len(), 1);
    let QueuedMessage { exchange, routing_key, properties, .. } = &received[0];
    assert_eq!((exchange.as_str(), routing_key.as_str()), (EXCHANGE, "order.north"));
    assert_eq!(received[0].json(), json!({"order": "order-7", "items": [1, 2]}));
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "s1");
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/json");
    assert_eq!(*properties.delivery_mode(), Some(2));
    let tenant = properties.headers().as_ref().unwrap().inner().get("Tenant").unwrap().clone();
    assert_eq!(tenant.as_long_string().unwrap().to_string(), "eu-1");
    let calls = call_records(&daemon, "s1");
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0]["http.request.method"], "PUBLISH");
    assert_eq!(calls[0]["sent"], "yes");
    let url = calls[0]["url.full"].as_str().unwrap();
    assert!(url.ends_with("?exchange=shop&routing_key=order.north"), "{url}");
    messaging.rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_command_whose_answer_comes_later_waits_for_it() {
    let messaging = MessagingRig::new().await;
    let daemon = messaging.rig.start().await;
    let order = json!({"id": "o1", "type": "shipping", "provider": "warehouse", "operation": "order", "payload": {}});
    messaging.rig.publish(&order).await;
    let event = messaging.rig.events.state("o1", "waiting", SOON).await;
    assert_eq!(word(&event, "data.waiting_for"), "provider");
    assert_eq!(messaging.received_ids().await, ["o1"]);
    messaging.rig.end(&daemon).await;
}

/// The broker returns what no queue is bound for: it has certainly taken nothing.
#[tokio::test]
async fn an_unroutable_message_is_retried_until_a_queue_is_bound() {
    let messaging = MessagingRig::new().await;
    messaging.unbind().await;
    let daemon = messaging.rig.start().await;
    messaging.rig.publish(&ship("s1")).await;
    let event = messaging.rig.events.state("s1", "pending", SOON).await;
    assert_eq!(word(&event, "data.error.code"), "unroutable", "{event:#}");
    messaging.bind().await;
    let event = messaging.rig.terminal("s1").await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    assert!(event["data"]["attempt"].as_u64().unwrap() > 1);
    assert_eq!(messaging.received_ids().await, ["s1"]);
    messaging.rig.finish(&daemon).await;
}

/// Blocks the way to the provider's broker once a connection and a free channel stand, publishes a
/// command, and returns its first event: the message was handed over, and no confirm came.
async fn publish_in_doubt(messaging: &MessagingRig, make: fn(&str) -> Value) -> Value {
    let event = messaging.rig.carry(&make("before")).await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    messaging.way.pause();
    messaging.rig.publish(&make("c1")).await;
    messaging.rig.events.first(SOON, |event| event["subject"] == "c1").await
}

#[tokio::test]
async fn a_message_without_a_confirm_is_repeated_under_its_id_where_the_receiver_drops_repeats() {
    let messaging = MessagingRig::new().await;
    let daemon = messaging.rig.start().await;
    let event = publish_in_doubt(&messaging, ship).await;
    assert_eq!(word(&event, "data.state"), "pending", "{event:#}");
    assert_eq!(word(&event, "data.error.code"), "timeout", "{event:#}");
    messaging.way.resume();
    let event = messaging.rig.terminal("c1").await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    let ids = messaging.received_ids().await;
    assert!(ids.len() > 1 && ids[1..].iter().all(|id| id == "c1"), "{ids:?}");
    messaging.rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_message_without_a_confirm_is_not_repeated_where_the_receiver_would_act_twice() {
    let messaging = MessagingRig::new().await;
    let daemon = messaging.rig.start().await;
    let event = publish_in_doubt(&messaging, alert).await;
    assert_eq!(word(&event, "data.error.kind"), "unresolved", "{event:#}");
    messaging.way.resume();
    messaging.rig.dead_letters("warehouse", 1).await;
    let ids = messaging.received_ids().await;
    assert!(ids.iter().filter(|id| *id == "c1").count() <= 1, "{ids:?}");
    messaging.rig.finish(&daemon).await;
}

#[tokio::test]
async fn commands_wait_while_the_providers_broker_is_away_and_are_then_carried_out() {
    let messaging = MessagingRig::new().await;
    messaging.way.refuse().await;
    let daemon = messaging.rig.start().await;
    for command in [ship("s1"), alert("a1")] {
        messaging.rig.publish(&command).await;
    }
    for id in ["s1", "a1"] {
        let event = messaging.rig.events.state(id, "pending", SOON).await;
        assert_eq!(word(&event, "data.error.code"), "connect_failed", "{event:#}");
    }
    messaging.way.resume();
    for id in ["s1", "a1"] {
        let event = messaging.rig.terminal(id).await;
        assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    }
    let mut ids = messaging.received_ids().await;
    ids.sort_unstable();
    assert_eq!(ids, ["a1", "s1"]);
    messaging.rig.finish(&daemon).await;
}

/// Runs `ferryd check --connect`, and returns its exit code and what it printed.
async fn check_connect(messaging: &MessagingRig) -> (i32, Value) {
    let mut check = messaging.rig.setup.command(&["check", "--connect", "--json"]);
    let output = tokio::task::spawn_blocking(move || check.output()).await.unwrap().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{printed}"));
    (output.status.code().unwrap(), report)
}

#[tokio::test]
async fn the_login_at_the_providers_broker_is_tried_by_check() {
    let messaging = MessagingRig::new().await;
    let of_warehouse = |report: &Value| {
        let tried = report["credentials"].as_array().unwrap().clone();
        tried.into_iter().find(|tried| tried["provider"] == "warehouse").unwrap()
    };
    let (code, report) = check_connect(&messaging).await;
    assert_eq!((code, of_warehouse(&report)["result"].as_str()), (0, Some("accepted")));

    messaging.way.refuse().await;
    let (code, report) = check_connect(&messaging).await;
    assert_eq!(of_warehouse(&report)["result"], "unreachable", "{report:#}");
    assert_ne!(code, 0);
    messaging.way.resume();

    let messaging = messaging.with_password("of another");
    let (code, report) = check_connect(&messaging).await;
    assert_eq!(of_warehouse(&report)["code"], "login_refused", "{report:#}");
    assert_ne!(code, 0);
    assert!(!report.to_string().contains("of another"), "{report:#}");
}
