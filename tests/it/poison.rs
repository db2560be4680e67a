//! Tests messages that break their handlers: each is given up, and the daemon goes on.

#[cfg(feature = "failpoints")]
use std::os::unix::process::ExitStatusExt as _;

use lapin::options::{BasicGetOptions, BasicRejectOptions};
use serde_json::json;

#[cfg(feature = "failpoints")]
use crate::rig::SOON;
use crate::rig::{TestRig, charge, dead, send, word};

/// One more than the delivery limit of a provider's queue.
const TOO_OFTEN: usize = 51;

#[tokio::test]
async fn a_message_that_was_delivered_too_often_ends_as_poison() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    rig.finish(&daemon).await;
    for (operation, keyed) in [("charge", true), ("send", false)] {
        let command = if keyed { charge(operation, json!({})) } else { send(operation, json!({})) };
        rig.publish(&command).await;
        rig.broker.await_depth("ferry.commands.acme", 1).await;
        let channel = rig.broker.channel().await;
        for _ in 0..TOO_OFTEN {
            let got = channel
                .basic_get("ferry.commands.acme".into(), BasicGetOptions::default())
                .await
                .unwrap();
            // From RabbitMQ 4.3 on, a nack with requeue does not count.
            got.unwrap().delivery.acker.reject(BasicRejectOptions { requeue: true }).await.unwrap();
        }
        rig.broker.await_depth("ferry.commands.acme", 0).await;
    }
    let daemon = rig.start().await;
    for id in ["charge", "send"] {
        let event = rig.terminal(id).await;
        assert_eq!(
            (word(&event, "data.error.kind"), word(&event, "data.error.code")),
            ("poison", "delivery_limit")
        );
        assert_eq!(event["data"]["final"], false);
    }
    for message in rig.dead_letters("acme", 2).await {
        let letter = dead(&message);
        // A process that took it so often may have sent the request; the ledger knows that none
        // did.
        assert_eq!(
            (word(&letter, "kind"), &letter["unknown"]),
            ("poison", &json!(false)),
            "{letter:#}"
        );
        assert_eq!(word(&letter, "key"), "");
    }
    assert_eq!(rig.sandbox.calls().total, 0);
    rig.finish(&daemon).await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_command_at_which_every_ferryd_dies_ends_as_poison() {
    const DEATHS: u32 = 3;
    let rig = TestRig::new("").await;
    rig.declare().await;
    rig.vhost.limit_deliveries("ferry.commands.acme", DEATHS - 1).await;
    rig.publish(&send("deadly", json!({}))).await;
    for death in 1..=DEATHS {
        let status = rig.setup.start_armed("decoded=kill").wait(SOON).await;
        assert_eq!(status.signal(), Some(9), "death {death}: the command did not come again");
    }
    rig.broker.await_depth("ferry.commands.acme", 0).await;
    let daemon = rig.start().await;
    let event = rig.terminal("deadly").await;
    assert_eq!(
        (word(&event, "data.error.kind"), word(&event, "data.error.code")),
        ("poison", "delivery_limit")
    );
    assert_eq!(dead(&rig.dead_letters("acme", 1).await[0])["unknown"], false);
    assert_eq!(word(&rig.carry(&send("next", json!({}))).await, "data.state"), "completed");
    assert_eq!((rig.calls("deadly").calls, rig.calls("next").calls), (0, 1));
    rig.finish(&daemon).await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_panic_before_anything_was_sent_ends_one_command_as_poison_and_the_daemon_lives() {
    for place in ["decoded", "admitted"] {
        let rig = TestRig::new("").await.env("FERRYD_FAILPOINT", &format!("{place}=panic"));
        let daemon = rig.start().await;
        let event = rig.carry(&send("breaking", json!({}))).await;
        assert_eq!(
            (word(&event, "data.error.kind"), word(&event, "data.error.code")),
            ("poison", "panic"),
            "{place}"
        );
        let letter = dead(&rig.dead_letters("acme", 1).await[0]);
        assert_eq!(
            (word(&letter, "kind"), &letter["unknown"]),
            ("poison", &json!(false)),
            "{letter:#}"
        );
        assert_eq!(word(&rig.carry(&send("next", json!({}))).await, "data.state"), "completed");
        assert_eq!((rig.calls("breaking").calls, rig.calls("next").calls), (0, 1));
        rig.finish(&daemon).await;
        let panics = daemon.logs(|line| line["message"] == "panicked" && line["level"] == "ERROR");
        assert_eq!(panics.len(), 1, "{}", daemon.log_text());
        assert_eq!(word(&panics[0], "reason"), format!("failpoint {place}"), "{panics:?}");
    }
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_panic_after_sending_leaves_the_outcome_unknown_and_the_daemon_lives() {
    for (place, command, kind, calls) in [
        ("interpreting", send("breaking", json!({})), "unresolved", 1),
        ("decided", send("breaking", json!({})), "unresolved", 1),
        ("rendered", send("breaking", json!({})), "unresolved", 0),
        // Called again under its key.
        ("interpreting", charge("breaking", json!({})), "completed", 2),
    ] {
        let rig = TestRig::new("").await.env("FERRYD_FAILPOINT", &format!("{place}=panic"));
        let daemon = rig.start().await;
        let event = rig.carry(&command).await;
        assert_eq!(
            event["data"]["error"]["kind"].as_str().unwrap_or("completed"),
            kind,
            "{place}: {event:#}"
        );
        let seen = rig.calls("breaking");
        assert_eq!((seen.calls, seen.acted), (calls, calls.min(1)), "{place}");
        assert_eq!(word(&rig.carry(&send("next", json!({}))).await, "data.state"), "completed");
        rig.finish(&daemon).await;
    }
}
