//! Tests which fresh commands are carried out and which are refused, by the broker's properties and
//! ferryd's own headers.

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, LongString};
use serde_json::{Value, json};

use super::*;
use crate::config::{Config, EnvironmentVariables};
use crate::pipeline::command_message::CommandMessage;
use ferryd_broker::headers::{ContinuationKind, MessageState, add_own_headers};
use ferryd_broker::topology::TopologyNames;

/// Two providers of one type: `bank` with the accounts `default`, which every user may use, and
/// `till`.
fn registry(routes: &[(&str, &str)]) -> ProviderRegistry {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("accounts")).unwrap();
    let till = "publishers = [\"shop\", { user = \"warehouse\", ids = [\"wh-\", \"stock.\"] }]";
    for (name, text) in [("default", ""), ("till", till)] {
        std::fs::write(folder.path().join(format!("accounts/{name}.toml")), text).unwrap();
    }
    let defaults =
        Config::from_parts(None, &EnvironmentVariables::new()).unwrap().provider_defaults();
    let providers = ["bank", "post"].map(|name| {
        let accounts = if name == "bank" { "accounts_dir = \"accounts\"" } else { "" };
        let text = format!(
            "name = \"{name}\"\ntype = \"payment\"\nprotocol = \"rest\"\nbase_url = \"https://api.example.com\"\n{accounts}\n\
             [operations.pay]\nrequest = {{ method = \"POST\", path = \"/\" }}"
        );
        let file = folder.path().join(format!("{name}.toml")).display().to_string();
        Provider::parse(&text, &file, &defaults).unwrap_or_else(|errors| panic!("{errors:?}"))
    });
    let routes = routes.iter().map(|(kind, name)| (kind.parse().unwrap(), name.parse().unwrap()));
    ProviderRegistry::new(providers, routes.collect())
}

/// A command that `bank` finds in its queue.
struct PublishedMessage<'a> {
    exchange: &'a str,
    key: &'a str,
    user: Option<&'a str>,
    headers: FieldTable,
    fields: Value,
}

impl Default for PublishedMessage<'_> {
    fn default() -> Self {
        let (exchange, key, fields) = ("ferry.commands", "payment.bank.pay", json!({}));
        Self { exchange, key, user: None, headers: FieldTable::default(), fields }
    }
}

/// Reads a message as the lane of `bank` does. Returns the code under which it is refused, and
/// whether it still has to be checked.
fn read(registry: &ProviderRegistry, published: PublishedMessage<'_>) -> (Option<String>, bool) {
    let PublishedMessage { exchange, key, user, headers, fields } = published;
    let mut body =
        json!({ "id": "order-1", "type": "payment", "provider": "bank", "operation": "pay" });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let mut delivery =
        Delivery::mock(1, exchange.into(), key.into(), false, body.to_string().into_bytes());
    let properties = BasicProperties::default().with_headers(headers);
    delivery.properties = match user {
        Some(user) => properties.with_user_id(user.into()),
        None => properties,
    };
    let rules = PublisherRules::new(registry, Some("ferryd".to_owned()));
    let names = TopologyNames::new("ferry".parse().unwrap());
    let bank = registry.get(&"bank".parse().unwrap()).unwrap();
    match CommandMessage::read(&delivery, bank, &names, &rules, Timestamp::UNIX_EPOCH) {
        Ok(command) => (None, command.message.state.unchecked),
        Err(refusal) => {
            assert_eq!(refusal.kind, ferryd_domain::lifecycle::FailureKind::Invalid);
            (refusal.failure.code, refusal.message.state.unchecked)
        }
    }
}

#[test]
fn an_account_with_publishers_takes_commands_of_them_alone_and_under_their_ids() {
    let registry = registry(&[]);
    let (unknown, not_allowed, id) =
        (Some("publisher_unknown"), Some("publisher_not_allowed"), Some("id_not_allowed"));
    for (account, user, command, code) in [
        ("default", None, "order-1", None),
        ("default", Some("stranger"), "order-1", None),
        ("default", Some("stranger"), "wh-1", id),
        ("default", Some("shop"), "stock.1", id),
        ("default", None, "wh-1", id),
        ("default", Some("warehouse"), "wh-1", None),
        ("default", Some("warehouse"), "order-1", None),
        ("till", None, "order-1", unknown),
        ("till", Some(""), "order-1", not_allowed),
        ("till", Some("stranger"), "order-1", not_allowed),
        ("till", Some("Shop"), "order-1", not_allowed),
        ("till", Some("shop"), "order-1", None),
        ("till", Some("shop"), "wh-1", id),
        ("till", Some("warehouse"), "wh-1", None),
        ("till", Some("warehouse"), "stock.1", None),
        ("till", Some("warehouse"), "order-1", id),
        // ferryd itself: its messages were authorised elsewhere.
        ("till", Some("ferryd"), "order-1", None),
        ("till", Some("ferryd"), "wh-1", None),
    ] {
        let fields = json!({ "id": command, "account": account });
        let found =
            read(&registry, PublishedMessage { user, fields, ..PublishedMessage::default() });
        assert_eq!(
            found,
            (code.map(str::to_owned), code.is_some()),
            "{account} {user:?} {command}"
        );
    }
}

#[test]
fn a_publisher_that_may_not_use_an_account_learns_nothing_of_its_operations() {
    let fields = json!({ "account": "till", "operation": "no_such" });
    let key = "payment.bank.no_such";
    let found = read(
        &registry(&[]),
        PublishedMessage { user: Some("stranger"), key, fields, ..PublishedMessage::default() },
    );
    assert_eq!(found.0.as_deref(), Some("publisher_not_allowed"));
}

#[test]
fn a_fresh_command_for_any_provider_is_carried_out_where_the_route_leads_alone() {
    let any = || json!({ "provider": "any" });
    for (routes, exchange, key, fields, code) in [
        (&[("payment", "bank")][..], "ferry.commands", "payment.any.pay", any(), None),
        (
            &[("payment", "post")],
            "ferry.commands",
            "payment.any.pay",
            any(),
            Some("not_routed_here"),
        ),
        (
            &[("payment", "post")],
            "ferry.commands",
            "payment.any.pay",
            json!({ "provider": null }),
            Some("not_routed_here"),
        ),
        (
            &[("shipping", "bank")],
            "ferry.commands",
            "payment.any.pay",
            any(),
            Some("not_routed_here"),
        ),
        (&[], "ferry.commands", "payment.any.pay", any(), Some("not_routed_here")),
        // Published to the queue itself.
        (&[("payment", "post")], "", "payment.any.pay", any(), Some("not_routed_here")),
        // The body names the provider; the routing key that the publisher was allowed does not.
        (
            &[("payment", "post")],
            "ferry.commands",
            "payment.any.pay",
            json!({}),
            Some("key_mismatch"),
        ),
        (
            &[("payment", "post")],
            "ferry.commands",
            "payment.post.pay",
            json!({}),
            Some("key_mismatch"),
        ),
        (&[("payment", "post")], "ferry.commands", "payment.post.pay", any(), Some("key_mismatch")),
        (&[("payment", "post")], "ferry.commands", "payment.bank.pay", json!({}), None),
    ] {
        let text = format!("{routes:?} {key} {fields}");
        let found = read(
            &registry(routes),
            PublishedMessage { exchange, key, fields, ..PublishedMessage::default() },
        );
        assert_eq!(found, (code.map(str::to_owned), code.is_some()), "{text}");
    }
}

#[test]
fn the_refusal_says_where_the_route_leads() {
    let registry = registry(&[("payment", "post")]);
    let rules = PublisherRules::new(&registry, None);
    let failure = rules.check_route(&command(), &"bank".parse().unwrap()).unwrap_err();
    assert!(
        failure.message.contains("the route of type `payment` leads to `post`"),
        "{}",
        failure.message
    );
    assert_eq!(rules.check_route(&command(), &"post".parse().unwrap()), Ok(()));
}

fn command() -> Command {
    let body = json!({ "id": "order-1", "type": "payment", "operation": "pay" }).to_string();
    Command::decode(body.as_bytes(), ferryd_domain::command::CommandEnvelope::default()).unwrap()
}

/// Headers of a continuation.
fn own(publisher: Option<&str>, unchecked: bool) -> FieldTable {
    let publisher = publisher.map(str::to_owned);
    let state = MessageState { publisher, unchecked, ..MessageState::fresh(Timestamp::UNIX_EPOCH) };
    add_own_headers(BasicProperties::default(), &state.headers(ContinuationKind::Park))
        .headers()
        .clone()
        .unwrap()
}

#[test]
fn what_ferryd_sent_on_is_checked_where_it_was_not_before() {
    let registry = registry(&[("payment", "post")]);
    for (publisher, unchecked, fields, code) in [
        (None, false, json!({ "account": "till" }), None),
        (Some("stranger"), false, json!({ "account": "till" }), None),
        (Some("shop"), true, json!({ "account": "till" }), None),
        (Some("stranger"), true, json!({ "account": "till" }), Some("publisher_not_allowed")),
        (None, true, json!({ "account": "till" }), Some("publisher_unknown")),
        (None, false, json!({ "provider": "any" }), None),
        (None, true, json!({ "provider": "any" }), Some("not_routed_here")),
    ] {
        let text = format!("{publisher:?} {unchecked} {fields}");
        let (exchange, key, headers) = ("ferry.redeliver", "back.bank", own(publisher, unchecked));
        let found = read(
            &registry,
            PublishedMessage { exchange, key, headers, fields, ..PublishedMessage::default() },
        );
        assert_eq!(found, (code.map(str::to_owned), code.is_some()), "{text}");
    }
}

#[test]
fn a_publisher_is_no_other_user_and_no_command_is_checked_by_its_own_headers() {
    let registry = registry(&[("payment", "post")]);
    let fields = || json!({ "account": "till" });
    for (user, code) in [(None, "publisher_unknown"), (Some("stranger"), "publisher_not_allowed")] {
        for exchange in ["ferry.commands", "", "amq.topic"] {
            let forged = PublishedMessage {
                exchange,
                user,
                headers: own(Some("shop"), false),
                fields: fields(),
                ..PublishedMessage::default()
            };
            assert_eq!(
                read(&registry, forged),
                (Some(code.to_owned()), true),
                "{user:?} {exchange}"
            );
        }
        // A message out of the queue of poison, where the broker says that it was published to the
        // exchange of commands.
        let mut headers = own(Some("shop"), false);
        headers.insert(
            "x-first-death-exchange".into(),
            AMQPValue::LongString(LongString::from("ferry.commands")),
        );
        let forged = PublishedMessage {
            exchange: "ferry.poison",
            user,
            headers,
            fields: fields(),
            ..PublishedMessage::default()
        };
        assert_eq!(read(&registry, forged), (Some(code.to_owned()), true), "{user:?}");
    }
}
