//! Contents that are older than they are kept, in a running daemon: they leave the index, and the
//! command stays known.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::{Value, json};

use super::erase::{lies_in, of_jane, saved, secret};
use super::recorded::{ferryd, ferryd_json};
use crate::copies::{answers, ask, with_replies};
use crate::harness::broker::persistent;
use crate::harness::wait::eventually;
use crate::rig::{SOON, TestRig, charge, word};

/// The shortest that is possible: two days more than the operations' deadline of seven.
const CONFIG: &str = "[ledger]\nretention = '9d'\nduplicate_window = '60d'\n";
const RETENTION: SignedDuration = SignedDuration::from_hours(9 * 24);

/// For so long the contents are still kept once they are there: enough for them to be seen on a
/// busy machine.
const LEFT: SignedDuration = SignedDuration::from_secs(20);

/// A command whose records are written by the test.
const OLD: &str = "paid-long-ago";

/// A command that has just ended, from which they are taken.
const NEW: &str = "paid-just-now";

/// Writes the records of a command once more, as another instance would have written them of
/// another command, at another time.
async fn write_records(rig: &TestRig, ended: Timestamp) {
    let tail = ferryd(
        rig,
        &["ledger", "tail", "--from", "first", "--command", NEW, "--count", "3", "--json"],
    )
    .await;
    let records: Vec<Value> =
        tail.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = records.iter().map(|record| word(record, "kind")).collect();
    assert_eq!(kinds, ["started", "finished", "settled"], "{tail:?}");
    let writer = word(&records[0], "id").split_once('.').unwrap().0.to_owned();
    let new_writer = uuid::Uuid::new_v4().to_string();
    for mut record in records {
        let number: i64 = word(&record, "id").split_once('.').unwrap().1.parse().unwrap();
        record["at"] = json!(ended.to_string());
        let fields = record.as_object_mut().unwrap();
        fields.retain(|name, _| name != "id" && name != "offset");
        let line = record.to_string().replace(NEW, OLD).replace(&writer, &new_writer);
        let mut headers = FieldTable::default();
        headers.insert("ferry-first".into(), AMQPValue::LongLongInt(number));
        let properties = persistent()
            .with_message_id(ShortString::from(new_writer.as_str()))
            .with_headers(headers);
        rig.broker.publish("", "ferry.ledger", line.as_bytes(), properties).await;
    }
}

/// Waits until the contents of the old command have left the index, and shows what stays.
async fn assert_aged(rig: &TestRig, folder: &Path) {
    eventually(SOON, "its contents leave the index", async || {
        (!lies_in(folder, &secret(OLD))).then_some(())
    })
    .await;
    let status = ferryd_json(rig, &["status", OLD]).await;
    assert_eq!(
        (&status["removal"], word(&status, "state")),
        (&json!("aged"), "completed"),
        "{status:#}"
    );
    assert!(!status.to_string().contains(&secret(OLD)), "{status:#}");
    assert_eq!(status["reference"], "customer-jane", "by it a person's commands are found");
    assert!(status["event"]["data"].get("result").is_none(), "{status:#}");
}

/// Publishes the old command again, and another under its id.
async fn check_duplicates(rig: &TestRig, call: u32) {
    let command = of_jane(OLD, charge(OLD, json!({})));
    ask(rig, &command, call).await;
    let answer = &answers(rig, usize::try_from(call).unwrap()).await[&format!("call-{call}")];
    assert_eq!(word(answer, "data.state"), "completed");
    assert!(answer["data"].get("result").is_none(), "{answer:#}");
    assert!(answer["data"]["warnings"][0].as_str().unwrap().starts_with("aged"), "{answer:#}");
    let mut other = command.clone();
    other["payload"]["amount"] = json!(call);
    rig.publish(&other).await;
    eventually(SOON, "the conflict is published", async || {
        let of_old = rig.events.of(OLD);
        let conflicts =
            of_old.iter().filter(|event| event["type"] == "ferry.command.conflict").count();
        (conflicts == usize::try_from(call).unwrap()).then_some(())
    })
    .await;
    assert_eq!(rig.calls(OLD).calls, 0, "it was called nine days ago");
}

#[tokio::test]
async fn contents_leave_the_index_of_a_running_daemon_and_a_duplicate_is_still_known() {
    let rig = with_replies(TestRig::new(CONFIG).await).await.env("FERRYD_FORGET_EVERY", "1");
    let folder = rig.setup.path().join("state");
    let daemon = rig.start().await;
    rig.carry(&of_jane(NEW, charge(NEW, json!({})))).await;
    saved(&folder, NEW).await;
    write_records(&rig, Timestamp::now() - RETENTION + LEFT).await;
    saved(&folder, OLD).await;
    let before = ferryd_json(&rig, &["status", OLD]).await;
    assert!(
        before.to_string().contains(&secret(OLD)) && before.get("removal").is_none(),
        "{before:#}"
    );

    assert_aged(&rig, &folder).await;
    assert!(lies_in(&folder, &secret(NEW)), "what is not old is kept");
    check_duplicates(&rig, 1).await;
    assert!(!lies_in(&folder, &secret(OLD)), "a late copy brings nothing back");

    daemon.kill9();
    std::fs::remove_dir_all(&folder).unwrap();
    let daemon = rig.start().await;
    saved(&folder, NEW).await;
    assert_aged(&rig, &folder).await;
    check_duplicates(&rig, 2).await;
    rig.finish(&daemon).await;
    assert!(!lies_in(&folder, &secret(OLD)) && lies_in(&folder, &secret(NEW)));
}
