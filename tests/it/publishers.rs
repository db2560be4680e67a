//! Tests which publishers' commands are carried out, by topic permissions, the property `user_id`
//! and ferryd's own lists of publishers.

use jiff::{SignedDuration, Timestamp};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};
use serde_json::{Value, json};

use crate::api_client::TestClient;
use crate::harness::broker::{TestBroker, persistent};
use crate::harness::wait::eventually;
use crate::operator::recorded::{ferryd, ferryd_json};
use crate::poisoned::poison;
use crate::rig::{SOON, SandboxFile, TestRig, and, command, dead, word};

pub(crate) const COMMANDS: &str = "ferry.commands";

pub(crate) fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

pub(crate) fn with_header(name: &str, value: AMQPValue) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(name.into(), value);
    persistent().with_headers(headers)
}

/// Returns the id that the publisher of a dead letter wrote.
pub(crate) fn published_id(letter: &Value) -> &str {
    word(letter, "command.id").split('/').next().unwrap()
}

/// Waits for the dead letter of a refused message. Returns the id by which operators know the
/// message.
pub(crate) async fn refused_id(rig: &TestRig, id: &str, count: u32) -> String {
    let letters = rig.dead_letters("acme", count).await;
    let letters: Vec<Value> = letters.iter().map(dead).collect();
    word(letters.iter().find(|letter| published_id(letter) == id).unwrap(), "command.id").to_owned()
}

/// Returns the number of calls to a provider.
pub(crate) fn called(rig: &TestRig, provider: &str) -> u64 {
    rig.sandbox.calls().paths.get(&format!("/{provider}/charges")).copied().unwrap_or_default()
}

/// Makes a rig whose provider `acme` has an account that every user may use, and `till`, of which
/// the users `shop` and `warehouse` are the publishers; `warehouse` under ids of its own.
async fn listed() -> TestRig {
    let rig = TestRig::with(
        "",
        &[("acme", SandboxFile { keys: "accounts_dir = \"accounts\"", ..SandboxFile::default() })],
    )
    .await;
    let [shop, warehouse] = ["shop", "warehouse"].map(|name| rig.vhost.user_name(name));
    let till =
        format!("publishers = [\"{shop}\", {{ user = \"{warehouse}\", ids = [\"wh-\"] }}]\n");
    let mut rig = rig;
    rig.setup = rig
        .setup
        .file("providers/accounts/default.toml", "")
        .file("providers/accounts/till.toml", &till);
    rig
}

/// Builds a command for the account with publishers.
fn till(id: &str, sandbox: Value) -> Value {
    and(command("acme", "charge", id, sandbox), json!({ "account": "till" }))
}

/// A user who publishes payments at `acme`.
struct TestPublisher {
    broker: TestBroker,
    user: String,
}

impl TestPublisher {
    async fn new(rig: &TestRig, name: &str) -> Self {
        let uri = rig.vhost.publisher(name, "^payment\\\\.acme\\\\.").await;
        Self { broker: TestBroker::connect(&uri).await, user: rig.vhost.user_name(name) }
    }

    async fn publish(&self, command: &Value, properties: BasicProperties) {
        let key = format!("payment.acme.{}", word(command, "operation"));
        self.broker.publish(COMMANDS, &key, command.to_string().as_bytes(), properties).await;
    }

    /// Publishes a command with the user's name in the property `user_id`.
    async fn publish_named(&self, command: &Value) {
        self.publish(command, persistent().with_user_id(self.user.as_str().into())).await;
    }
}

#[tokio::test]
async fn an_account_with_publishers_takes_commands_of_no_other_user() {
    let rig = listed().await;
    let daemon = rig.start().await;
    let [shop, warehouse, stranger] = [
        TestPublisher::new(&rig, "shop").await,
        TestPublisher::new(&rig, "warehouse").await,
        TestPublisher::new(&rig, "stranger").await,
    ];
    let plain = |id: &str| command("acme", "charge", id, json!({}));
    let forged = with_header("ferry-publisher", text(&shop.user));
    let named =
        |publisher: &TestPublisher| persistent().with_user_id(publisher.user.as_str().into());
    let forged_and_named = named(&stranger).with_headers(forged.headers().clone().unwrap());
    for (publisher, command, properties, code) in [
        (&shop, till("listed", json!({})), named(&shop), ""),
        (&warehouse, till("wh-listed", json!({})), named(&warehouse), ""),
        (&stranger, plain("open"), named(&stranger), ""),
        (&stranger, plain("open-unnamed"), persistent(), ""),
        (&shop, till("unnamed", json!({})), persistent(), "publisher_unknown"),
        (&stranger, till("unlisted", json!({})), named(&stranger), "publisher_not_allowed"),
        (&stranger, till("forged", json!({})), forged, "publisher_unknown"),
        (&stranger, till("forged-too", json!({})), forged_and_named, "publisher_not_allowed"),
        (&warehouse, till("not-its-id", json!({})), named(&warehouse), "id_not_allowed"),
        (&shop, till("wh-of-another", json!({})), named(&shop), "id_not_allowed"),
        // Ids are one space: an id that is bound is refused at every account.
        (&stranger, plain("wh-of-another-too"), named(&stranger), "id_not_allowed"),
    ] {
        publisher.publish(&command, properties).await;
        let id = word(&command, "id");
        let event = rig.terminal(id).await;
        assert_eq!(word(&event, "data.error.code"), code, "{event:#}");
        assert_eq!(
            word(&event, "data.error.kind"),
            if code.is_empty() { "" } else { "invalid" },
            "{event:#}"
        );
        assert_eq!(rig.calls(id).calls, u64::from(code.is_empty()), "{id}");
    }
    // The broker accepts no other user's name.
    let as_shop =
        stranger.broker.try_publish(COMMANDS, "payment.acme.charge", b"{}", named(&shop)).await;
    assert!(as_shop.is_err(), "{as_shop:?}");
    assert_eq!(word(&ferryd_json(&rig, &["status", "listed"]).await, "publisher"), shop.user);
    let refused = refused_id(&rig, "unlisted", 7).await;
    let shown = ferryd_json(&rig, &["dead-letters", "show", &refused]).await;
    assert_eq!(word(&shown[0], "record.publisher"), stranger.user, "{shown:#}");
    assert!(ferryd(&rig, &["dead-letters", "show", &refused]).await.out.contains(&stranger.user));
    rig.finish(&daemon).await;
}

/// A publisher who knows another publisher's command can neither end it nor learn of it by sending
/// the same.
#[tokio::test]
async fn a_refused_copy_of_anothers_command_changes_nothing_about_it() {
    let rig = listed().await;
    let daemon = rig.start().await;
    let [shop, stranger] =
        [TestPublisher::new(&rig, "shop").await, TestPublisher::new(&rig, "stranger").await];
    // One command waits for its time, the other has ended.
    let waits = and(
        till("waits", json!({})),
        json!({ "not_before": (Timestamp::now() + SignedDuration::from_secs(8)).to_string() }),
    );
    shop.publish_named(&waits).await;
    eventually(SOON, "it waits", async || {
        (ferryd(&rig, &["status", "waits"]).await.code == Some(0)).then_some(())
    })
    .await;
    shop.publish_named(&till("ended", json!({}))).await;
    assert_eq!(word(&rig.terminal("ended").await, "data.state"), "completed");
    for command in [waits, till("ended", json!({}))] {
        stranger.publish_named(&command).await;
    }
    for letter in rig.dead_letters("acme", 2).await.iter().map(dead) {
        assert_eq!(
            (word(&letter, "kind"), word(&letter, "code")),
            ("invalid", "publisher_not_allowed"),
            "{letter:#}"
        );
        assert_eq!(
            (&letter["unknown"], word(&letter, "publisher")),
            (&json!(false), stranger.user.as_str()),
            "{letter:#}"
        );
    }
    let completed =
        |event: &Value| event["subject"] == "waits" && word(event, "data.state") == "completed";
    rig.events.first(SOON, completed).await;
    assert_eq!((rig.calls("waits").calls, rig.calls("ended").calls), (1, 1));
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn what_ferryd_publishes_itself_was_authorised_before() {
    let rig = listed().await;
    let daemon = rig.start().await;
    let body = till("wh-by-hand", json!({})).to_string();
    let path = rig.setup.path().join("command.json");
    std::fs::write(&path, body).unwrap();
    let published = ferryd(&rig, &["publish", "--file", path.to_str().unwrap(), "--wait"]).await;
    assert_eq!(published.code, Some(0), "{published:?}");
    let client = TestClient::of(&daemon).await;
    client.wait_ready().await;
    let answer = client.with("prefer", "wait=30").post(&till("by-the-api", json!({}))).await;
    assert_eq!(
        (answer.status, word(&answer.body, "data.state")),
        (200, "completed"),
        "{}",
        answer.body
    );
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn the_api_takes_a_bound_id_only_by_a_token_of_its_publisher_and_by_one_without_bounds() {
    let mut rig = listed().await;
    let warehouse = rig.vhost.user_name("warehouse");
    let token = |name: &str, rest: &str| {
        format!(
            "[[api.tokens]]\nname = '{name}'\nrole = 'operate'\ntoken = '{name}-0123456789abcdef'\n{rest}\n"
        )
    };
    let scope = "read = { providers = ['acme'] }\noperate = { providers = ['acme'] }";
    let config =
        token("shop", scope) + &token("stock", &format!("publisher = '{warehouse}'\n{scope}"));
    rig.setup = rig.setup.file("ferryd.toml", &config);
    let daemon = rig.start().await;
    let host = TestClient::of(&daemon).await.with("prefer", "wait=30");
    host.wait_ready().await;
    let nobody = TestClient::without_token(&daemon).await.with("prefer", "wait=30");
    let [shop, stock] = ["shop", "stock"]
        .map(|name| nobody.with("authorization", &format!("Bearer {name}-0123456789abcdef")));
    let plain = |id: &str| command("acme", "charge", id, json!({}));
    for (client, command, status) in [
        (&shop, plain("wh-1"), 403),
        (&shop, till("wh-1", json!({})), 403),
        (&shop, till("order-1", json!({})), 200),
        (&stock, plain("wh-2"), 200),
        (&stock, till("wh-3", json!({})), 200),
        (&stock, till("order-2", json!({})), 403),
        (&stock, plain("order-3"), 200),
        (&host, plain("wh-4"), 200),
    ] {
        let answer = client.post(&command).await;
        assert_eq!(answer.status, status, "{command} {}", answer.body);
        let id = word(&command, "id");
        assert_eq!(rig.calls(id).calls, u64::from(status == 200), "{id}");
    }
    // A command that the API refused has taken no id.
    let warehouse = TestPublisher::new(&rig, "warehouse").await;
    warehouse.publish_named(&till("wh-1", json!({}))).await;
    assert_eq!(word(&rig.terminal("wh-1").await, "data.state"), "completed");
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_listed_publishers_command_goes_on_after_a_restart_although_its_messages_name_no_user() {
    let rig = listed().await.changed("acme", "[\"1s\", \"1s\", \"1s\"]", "[\"5s\"]");
    let daemon = rig.start().await;
    let shop = TestPublisher::new(&rig, "shop").await;
    shop.publish_named(&till("goes-on", json!({ "status": 429, "fail_times": 1 }))).await;
    rig.broker.await_depth("ferry.retry.5s", 1).await;
    let waiting = rig.broker.peek("ferry.retry.5s").await.remove(0).properties;
    assert_eq!(waiting.user_id(), &None);
    assert_eq!(
        ferryd_broker::message::get_text(waiting.headers().as_ref(), "ferry-publisher"),
        Some(shop.user.as_str())
    );
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    let daemon = rig.start().await;
    let event = rig.terminal("goes-on").await;
    assert_eq!(
        (word(&event, "data.state"), &event["data"]["attempt"]),
        ("completed", &json!(2)),
        "{event:#}"
    );
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_refused_command_is_carried_out_by_its_replay_only_once_its_publisher_may() {
    let mut rig = listed().await;
    let daemon = rig.start().await;
    let [shop, stranger] =
        [TestPublisher::new(&rig, "shop").await, TestPublisher::new(&rig, "stranger").await];
    stranger.publish_named(&till("refused", json!({}))).await;
    assert_eq!(word(&rig.terminal("refused").await, "data.error.code"), "publisher_not_allowed");
    let first = refused_id(&rig, "refused", 1).await;
    assert_eq!(ferryd_json(&rig, &["dead-letters", "replay", &first]).await["done"], 1);
    // The message is another dead letter then.
    let again = async || {
        let letters = rig.broker.peek("ferry.dead.acme").await;
        letters
            .iter()
            .map(|letter| word(&dead(letter), "command.id").to_owned())
            .find(|id| *id != first)
    };
    let second = eventually(SOON, "it is refused again", again).await;
    assert_eq!(called(&rig, "acme"), 0);
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());

    let both = format!("publishers = [\"{}\", \"{}\"]\n", shop.user, stranger.user);
    rig.setup = rig.setup.file("providers/accounts/till.toml", &both);
    let daemon = rig.start().await;
    assert_eq!(ferryd_json(&rig, &["dead-letters", "replay", &second]).await["done"], 1);
    let completed =
        |event: &Value| event["subject"] == "refused" && word(event, "data.state") == "completed";
    rig.events.first(SOON, completed).await;
    assert_eq!(rig.calls("refused").calls, 1);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_command_that_was_never_checked_is_checked_by_whichever_way_it_comes() {
    let rig = listed().await;
    rig.declare().await;
    let [shop, stranger] =
        [TestPublisher::new(&rig, "shop").await, TestPublisher::new(&rig, "stranger").await];
    // Delivered too often, and then replayed.
    shop.publish_named(&till("poison-listed", json!({}))).await;
    stranger.publish_named(&till("poison-unlisted", json!({}))).await;
    poison(&rig.broker, "ferry.commands.acme", 2, "ferry.poison").await;
    // Sent on, because their queue was missing.
    rig.broker.delete_queue("ferry.commands.acme").await;
    shop.publish_named(&till("unrouted-listed", json!({}))).await;
    stranger.publish_named(&till("unrouted-unlisted", json!({}))).await;
    rig.broker.await_depth("ferry.unroutable", 2).await;
    let daemon = rig.start().await;
    assert_eq!(word(&rig.terminal("unrouted-listed").await, "data.state"), "completed");
    assert_eq!(
        word(&rig.terminal("unrouted-unlisted").await, "data.error.code"),
        "publisher_not_allowed"
    );
    // The message would have been refused whenever it was taken up.
    assert_eq!(
        word(&rig.terminal("poison-unlisted").await, "data.error.code"),
        "publisher_not_allowed"
    );
    assert_eq!(word(&rig.terminal("poison-listed").await, "data.error.kind"), "poison");
    let replayed = async || {
        (ferryd(&rig, &["dead-letters", "replay", "poison-listed"]).await.code == Some(0))
            .then_some(())
    };
    eventually(SOON, "its dead letter is replayed", replayed).await;
    let completed = |event: &Value| {
        event["subject"] == "poison-listed" && word(event, "data.state") == "completed"
    };
    rig.events.first(SOON, completed).await;
    assert_eq!((rig.calls("poison-unlisted").calls, rig.calls("unrouted-unlisted").calls), (0, 0));
    rig.finish(&daemon).await;
}
