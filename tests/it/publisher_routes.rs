//! Tests that a publisher reaches no provider by a route, a copy of a message or a changed route
//! that its topic permission or the configuration does not lead to.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray};
use serde_json::{Value, json};

use crate::harness::broker::{TestBroker, persistent};
use crate::harness::node::BrokerNode;
use crate::operator::recorded::ferryd_json;
use crate::publishers::{COMMANDS, called, published_id, refused_id, text, with_header};
use crate::rig::{SOON, SandboxFile, TestRig, command, dead, word};

/// Builds properties that make the broker copy a message to another routing key.
fn copied(header: &str, key: &str) -> BasicProperties {
    let mut keys = FieldArray::default();
    keys.push(text(key));
    with_header(header, AMQPValue::FieldArray(keys))
}

/// Makes a rig with two providers of one type, and the route of that type.
async fn routed(provider: &str) -> TestRig {
    let files = [("acme", SandboxFile::default()), ("bravo", SandboxFile::default())];
    TestRig::with(&format!("[routes]\npayment = \"{provider}\""), &files).await
}

fn any(id: &str) -> Value {
    command("any", "charge", id, json!({}))
}

#[tokio::test]
async fn a_publisher_does_not_reach_a_provider_that_its_topic_permission_refuses() {
    const ACME: &str = "payment.acme.charge";
    let rig = routed("bravo").await;
    let daemon = rig.start().await;
    let uri = rig.vhost.publisher("shop", "^payment\\\\.(any|nobody)\\\\.").await;
    let shop = TestBroker::connect(&uri).await;
    let direct = command("acme", "charge", "direct", json!({}));
    let refused =
        shop.try_publish(COMMANDS, ACME, direct.to_string().as_bytes(), persistent()).await;
    assert!(refused.is_err(), "the broker refuses what the routing key itself does not allow");

    let table = [
        ("cc", "payment.any.charge", any("cc"), copied("CC", ACME), "not_routed_here"),
        ("bcc", "payment.any.charge", any("bcc"), copied("BCC", ACME), "not_routed_here"),
        ("short", "payment.any.charge", any("short"), copied("CC", "x.acme"), "not_routed_here"),
        ("long", "payment.any.charge", any("long"), copied("CC", "x.acme.y.z"), "not_routed_here"),
        (
            "named",
            // A routing key that leads nowhere: elsewhere the message would be refused as well, and
            // be dead-lettered there.
            "payment.nobody.charge",
            command("acme", "charge", "named", json!({})),
            copied("CC", ACME),
            "key_mismatch",
        ),
        (
            "other-key",
            "payment.nobody.charge",
            any("other-key"),
            copied("CC", ACME),
            "key_mismatch",
        ),
        (
            "other-operation",
            "payment.nobody.send",
            any("other-operation"),
            copied("CC", ACME),
            "key_mismatch",
        ),
        (
            "no-operation",
            "payment.any.refund",
            command("any", "refund", "no-operation", json!({})),
            copied("CC", ACME),
            "not_routed_here",
        ),
    ];
    // Before RabbitMQ 4.0.3 the broker lets these through.
    let lets_through = BrokerNode::shared().await.version().await < [4, 0, 3];
    for (id, key, command, properties, _) in &table {
        let shop = TestBroker::connect(&uri).await;
        let published = shop
            .try_publish(COMMANDS, key, command.to_string().as_bytes(), properties.clone())
            .await;
        assert_eq!(published.is_ok(), lets_through, "{id}: {published:?}");
    }
    if lets_through {
        let letters: Vec<Value> = rig.dead_letters("acme", 8).await.iter().map(dead).collect();
        for (id, _, _, _, code) in &table {
            let letter = letters.iter().find(|letter| published_id(letter) == *id).unwrap();
            assert_eq!(
                (word(letter, "kind"), word(letter, "code")),
                ("invalid", *code),
                "{letter:#}"
            );
            assert_eq!(letter["unknown"], false, "{letter:#}");
        }
        let letter =
            letters.iter().find(|letter| word(letter, "code") == "not_routed_here").unwrap();
        assert!(word(letter, "message").contains("leads to `bravo`"), "{letter:#}");
    }
    assert_eq!(called(&rig, "acme"), 0);
    // Where the route leads, a command for any provider is carried out as before.
    assert_eq!(word(&rig.carry(&any("routed")).await, "data.command.provider"), "bravo");
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_command_whose_route_was_changed_while_it_waited_is_kept_and_replayed_where_the_route_leads()
 {
    let mut rig = routed("acme").await;
    rig.declare().await;
    rig.publish(&any("waited")).await;
    rig.broker.await_depth("ferry.commands.acme", 1).await;
    rig.setup = rig.setup.file("ferryd.toml", "[routes]\npayment = \"bravo\"");
    let daemon = rig.start().await;
    let event = rig.terminal("waited").await;
    assert_eq!(
        (word(&event, "data.error.kind"), word(&event, "data.error.code")),
        ("invalid", "not_routed_here")
    );
    let refused = refused_id(&rig, "waited", 1).await;
    assert_eq!(ferryd_json(&rig, &["dead-letters", "replay", &refused]).await["done"], 1);
    let end = rig.events.first(SOON, |event| word(event, "data.state") == "completed").await;
    assert_eq!(
        (word(&end, "subject"), word(&end, "data.command.provider")),
        ("waited", "bravo"),
        "{end:#}"
    );
    assert_eq!((called(&rig, "acme"), called(&rig, "bravo")), (0, 1));
    rig.broker.await_depth("ferry.dead.acme", 0).await;
    rig.finish(&daemon).await;
}
