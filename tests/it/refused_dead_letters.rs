//! Tests what operators see of refused messages, and what becomes of their dead letters.

use std::fs;

use serde_json::json;

use crate::api_client::TestClient;
use crate::operator::recorded::{ferryd, ferryd_json};
use crate::refusals::{PERSON, end, ids, of_mars, refusal, settled};
use crate::rig::{SOON, TestRig, charge, word};

/// Adds an account to the provider, beside its existing one.
fn add_account(rig: &TestRig) {
    let providers = rig.setup.path().join("providers");
    let accounts = providers.join("accounts/acme");
    fs::create_dir_all(&accounts).unwrap();
    fs::write(accounts.join("default.toml"), "").unwrap();
    fs::write(accounts.join("mars.toml"), "secrets = { api_key = \"sk-mars\" }").unwrap();
    let path = providers.join("acme.toml");
    let text = fs::read_to_string(&path).unwrap();
    let key = "connect_timeout = ";
    assert!(text.contains(key));
    fs::write(&path, text.replace(key, &format!("accounts_dir = \"accounts/acme\"\n{key}")))
        .unwrap();
}

#[tokio::test]
async fn an_id_under_which_only_messages_were_refused_says_so() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    rig.publish(&of_mars("mistaken")).await;
    let refused = word(&refusal(&rig, "mistaken").await, "id").to_owned();
    let status = ferryd(&rig, &["status", "mistaken"]).await;
    assert!(status.code == Some(1) && status.err.contains(&refused), "{status:?}");
    let status = ferryd_json(&rig, &["status", &refused]).await;
    assert_eq!(
        (word(&status, "id"), word(&status, "kind"), &status["dead"]),
        (&*refused, "invalid", &json!(true))
    );
    assert_eq!(
        ferryd_json(&rig, &["dead-letters", "show", &refused]).await[0]["record"]["code"],
        "unknown_account"
    );
    // Nothing waits for the message, and its publisher is notified that it is given up for good.
    let done =
        ferryd_json(&rig, &[&["dead-letters", "discard", &refused], &PERSON[..]].concat()).await;
    assert_eq!(done["done"], 1, "{done}");
    let event = rig.events.first(SOON, |event| word(event, "data.error.kind") == "discarded").await;
    assert_eq!(
        (word(&event, "id"), word(&event, "subject")),
        (&*format!("{refused}/discarded"), "mistaken")
    );
    assert_eq!((&event["data"]["sequence"], &event["data"]["final"]), (&json!(0), &json!(true)));
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_refused_message_is_replayed_as_the_command_that_it_is_by_then() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    for id in ["late", "other"] {
        rig.publish(&of_mars(id)).await;
    }
    let first = word(&refusal(&rig, "late").await, "id").to_owned();
    let other = word(&refusal(&rig, "other").await, "id").to_owned();
    rig.publish(&charge("other", json!({}))).await;
    rig.events.state("other", "completed", SOON).await;
    rig.dead_letters("acme", 2).await;

    // The message is as invalid as before, and is dead-lettered as a message of its own.
    assert_eq!(ferryd_json(&rig, &["dead-letters", "replay", &first]).await["done"], 1);
    let again = rig
        .events
        .first(SOON, |event| event["subject"] == "late" && word(event, "id") != first)
        .await;
    let second = word(&again, "id").to_owned();
    assert!(second.starts_with("late/refused/"), "{again:#}");
    rig.dead_letters("acme", 2).await;
    let status = ferryd_json(&rig, &["status", &first]).await;
    assert_eq!((word(&status, "code"), &status["dead"]), ("replayed", &json!(false)), "{status:#}");

    // The account exists by now.
    end(&daemon).await;
    add_account(&rig);
    let daemon = rig.start().await;
    assert_eq!(ferryd_json(&rig, &["dead-letters", "replay", &second]).await["done"], 1);
    let event = rig.events.state("late", "completed", SOON).await;
    assert_eq!(
        (word(&event, "id"), word(&event, "data.command.account")),
        ("late/0/1/completed", "mars")
    );
    assert_eq!(rig.calls("late").calls, 1);
    let status = ferryd_json(&rig, &["status", "late"]).await;
    assert_eq!(
        (word(&status, "state"), &status["generation"]),
        ("completed", &json!(0)),
        "{status:#}"
    );

    // Another command has the id: nothing is sent, and the message stays.
    let refused = ferryd(&rig, &["dead-letters", "replay", &other]).await;
    assert!(refused.code == Some(1) && refused.out.contains("another content"), "{refused:?}");
    assert_eq!(ids(&ferryd_json(&rig, &["dead-letters", "list"]).await), [other.as_str()]);
    rig.dead_letters("acme", 1).await;
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn the_status_of_an_id_that_was_only_refused_shows_what_was_refused() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    rig.publish(&of_mars("order-1")).await;
    let event = refusal(&rig, "order-1").await;
    let refused = word(&event, "id");
    settled(&rig, refused).await;
    for arguments in [
        &["dead-letters", "show", "order-1"][..],
        &["dead-letters", "show", "order-1", "--message"],
    ] {
        let shown = ferryd_json(&rig, arguments).await;
        let record = &shown[0]["record"];
        assert_eq!(
            (shown.as_array().unwrap().len(), word(record, "command.id")),
            (1, refused),
            "{shown:#}"
        );
        assert_eq!(
            (word(record, "code"), &record["message"]),
            ("unknown_account", &event["data"]["error"]["message"])
        );
        let text = ferryd(&rig, arguments).await;
        assert_eq!(text.code, Some(0), "{text:?}");
        for part in [refused, "unknown_account", "mars", word(record, "dead_lettered_at")] {
            assert!(text.out.contains(part), "{part}: {}", text.out);
        }
    }
    let text = ferryd(&rig, &["dead-letters", "show", "order-1"]).await.out;
    assert!(text.contains("refused under the id `order-1`, which it does not claim"), "{text}");
    let client = TestClient::of(&daemon).await;
    client.wait_ready().await;
    let answer = client.get("/v1/commands/order-1").await;
    assert_eq!(
        (answer.status, answer.body["refused"].as_array().unwrap().len()),
        (404, 1),
        "{}",
        answer.body
    );
    let note = &answer.body["refused"][0];
    assert_eq!((word(note, "id"), word(note, "code")), (refused, "unknown_account"), "{note:#}");
    assert_eq!(ferryd(&rig, &["dead-letters", "show", "order-10"]).await.code, Some(1));
    // A command that is carried out under the id changes neither.
    rig.publish(&charge("order-1", json!({}))).await;
    rig.events.state("order-1", "completed", SOON).await;
    assert_eq!(
        ids(&json!([ferryd_json(&rig, &["dead-letters", "show", "order-1"]).await[0]["record"]])),
        [refused]
    );
    rig.finish(&daemon).await;
}
