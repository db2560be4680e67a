//! Tests messages that the broker refuses by an exception: each is found among its neighbours,
//! dead-lettered, and stops nothing.

use std::sync::Arc;
use std::time::Duration;

use ferryd_broker::broker::BrokerHandle;
use ferryd_broker::connection::AmqpSettings;
use ferryd_broker::message::OutgoingMessage;
use ferryd_broker::quarantine::{PublishQuarantine, QuarantinedPublish};
use ferryd_broker::refused_message::{RefusedBody, RefusedMessage};
use ferryd_broker::topology::{Topology, TopologyNames};
use futures_util::future::join_all;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::destinations::await_unacked;
use crate::harness::broker::{QueuedMessage, persistent};
use crate::harness::node::BrokerNode;
use crate::rig::{SOON, TestRig, and, charge, dead, word};

fn settings(uri: &str) -> AmqpSettings {
    AmqpSettings {
        nodes: uri.parse::<lapin::uri::AMQPUri>().unwrap().into(),
        user: None,
        ca_file: None,
        client_cert: None,
        connect_timeout: Duration::from_secs(10),
        publish_timeout: Duration::from_secs(10),
        max_unconfirmed: 100,
    }
}

/// Opens a link to the broker like the daemon's, until it is dropped.
fn link(uri: &str) -> (BrokerHandle, tokio_util::sync::DropGuard) {
    let names = TopologyNames::new("ferry".parse().unwrap());
    let topology = Topology::new(&names, [&"acme".parse().unwrap()], [], &[]);
    let stop = CancellationToken::new();
    let (broker, _) = BrokerHandle::start(settings(uri), topology, stop.clone());
    (broker, stop.drop_guard())
}

/// Builds a message for the queue of commands, which no daemon consumes here.
fn waiting(id: &str, properties: BasicProperties) -> OutgoingMessage {
    let body = id.as_bytes().to_vec();
    OutgoingMessage {
        exchange: "ferry.redeliver".into(),
        routing_key: "back.acme".into(),
        properties,
        body,
    }
}

/// Builds a header of ferryd's own that makes the frame too large.
fn too_large() -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(
        "ferry-history".into(),
        AMQPValue::LongString(LongString::from("x".repeat(140_000))),
    );
    persistent().with_headers(headers)
}

fn refused(message: &QueuedMessage) -> RefusedMessage {
    RefusedMessage::read(&message.properties, &message.body).unwrap()
}

/// Returns the bodies in the queue of commands, each once.
async fn bodies(rig: &TestRig) -> std::collections::BTreeSet<String> {
    let messages = rig.broker.peek("ferry.commands.acme").await;
    messages.into_iter().map(|message| String::from_utf8(message.body).unwrap()).collect()
}

#[tokio::test]
async fn a_message_that_names_another_user_is_found_among_those_that_were_under_way_with_it() {
    let rig = TestRig::new("").await;
    rig.declare().await;
    let all: Vec<_> = (0..60).map(|number| format!("m-{number}")).collect();
    let another = persistent().with_user_id("somebody".into());
    // Twice, as by a daemon that was started again.
    for start in 1..=2 {
        let (broker, _running) = link(&rig.vhost.uri());
        let publishing = all.iter().enumerate().map(async |(number, id)| {
            let properties = if number == 30 { another.clone() } else { persistent() };
            broker.publish(&waiting(id, properties)).await.unwrap();
        });
        tokio::time::timeout(SOON, join_all(publishing)).await.unwrap();
        let letters = rig.dead_letters("acme", start).await;
        let kept = refused(letters.last().unwrap());
        assert_eq!((kept.code, kept.body()), (Some(406), b"m-30".to_vec()));
        assert_eq!(kept.properties().user_id().as_ref().map(ShortString::as_str), Some("somebody"));
        assert_eq!(
            (kept.exchange.as_str(), kept.routing_key.as_str()),
            ("ferry.redeliver", "back.acme")
        );
        let expected = all.iter().filter(|id| *id != "m-30").cloned().collect();
        assert_eq!(bodies(&rig).await, expected, "every other message is there");
    }
}

#[tokio::test]
async fn a_header_frame_that_is_too_large_is_not_sent_and_its_message_is_kept() {
    let rig = TestRig::new("").await;
    rig.declare().await;
    let (broker, _running) = link(&rig.vhost.uri());
    let session = broker.session().await.unwrap().number;
    broker.publish(&waiting("large", too_large())).await.unwrap();
    broker.publish(&waiting("small", persistent())).await.unwrap();
    assert_eq!(
        broker.session().await.unwrap().number,
        session,
        "nothing was sent that the broker refuses"
    );
    let kept = refused(&rig.dead_letters("acme", 1).await[0]);
    assert_eq!((kept.code, kept.properties()), (Some(501), too_large()));
    assert_eq!(bodies(&rig).await, ["small".to_owned()].into());
}

#[tokio::test]
async fn a_message_that_ends_the_connection_on_which_it_is_alone_is_refused_and_those_that_wait_are_confirmed()
 {
    let rig = TestRig::new("").await;
    rig.declare().await;
    let quarantine = PublishQuarantine::new(Arc::new(settings(&rig.vhost.uri())));
    let messages =
        [waiting("a", persistent()), waiting("large", too_large()), waiting("b", persistent())];
    let published =
        join_all(messages.iter().map(|message| quarantine.publish_alone(message))).await;
    let [
        QuarantinedPublish::Confirmed,
        QuarantinedPublish::Refused(cause),
        QuarantinedPublish::Confirmed,
    ] = &published[..]
    else {
        panic!("{published:?}")
    };
    assert_eq!(cause.code, Some(501), "{cause:?}");
    assert_eq!(bodies(&rig).await, ["a", "b"].map(str::to_owned).into());
    // A missing exchange is no fault of a message.
    let lost = OutgoingMessage { exchange: "ferry.nowhere".into(), ..messages[0].clone() };
    let published = quarantine.publish_alone(&lost).await;
    assert!(matches!(published, QuarantinedPublish::Undecided(_)), "{published:?}");
}

#[tokio::test]
async fn a_command_that_the_broker_takes_and_does_not_take_back_ends_and_harms_no_other() {
    let node = BrokerNode::private().await;
    let rig = TestRig::on(&node, "", &[("acme", crate::rig::SandboxFile::default())]).await;
    rig.declare().await;
    let retried = json!({"status": 429, "fail_times": 1});
    let ids: Vec<_> = (0..20).map(|number| format!("small-{number}")).collect();
    for id in &ids {
        rig.publish(&charge(id, retried.clone())).await;
    }
    rig.publish(&and(charge("large", retried.clone()), json!({"x_filler": "x".repeat(20_000)})))
        .await;
    node.limit_message_size(12_000).await;
    let daemon = rig.start().await;
    let event = rig.terminal("large").await;
    let error = (word(&event, "data.error.kind"), word(&event, "data.error.code"));
    assert_eq!(error, ("unavailable", "refused_by_broker"), "{event:#}");
    // Killed before the ack, the daemon would give it up once more, from the record.
    await_unacked(&rig, "ferry.commands.acme", 0).await;
    daemon.kill9();
    let daemon = rig.start().await;
    for id in &ids {
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed");
        assert_eq!(rig.calls(id).acted, 1, "{id}");
    }
    assert_eq!(rig.calls("large").calls, 1);
    // The dead letter is too large as well, with the original body.
    let letters = rig.dead_letters("acme", 1).await;
    let kept = refused(&letters[0]);
    assert!(matches!(kept.body, RefusedBody::Excerpt { bytes, .. } if bytes > 20_000), "{kept:?}");
    let letter =
        QueuedMessage { properties: kept.properties(), body: kept.body(), ..letters[0].clone() };
    assert_eq!(
        (word(&dead(&letter), "command.id"), word(&dead(&letter), "code")),
        ("large", "refused_by_broker")
    );
    rig.finish(&daemon).await;
    let refused =
        daemon.logs(|line| line["message"] == "the broker refuses a message that was alone");
    assert_eq!(refused.len(), 0, "nothing of it is published again: {refused:#?}");
}
