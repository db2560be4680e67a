//! Giving commands up for good.

use ferryd_domain::dead_letter::DeadLetter;
use serde_json::json;

use super::job_bench::{DEAD, letter, publish_dead_commands, publish_dead_letters, rig};
use super::recorded::{ferryd, ferryd_json};
use super::replay::ids_in;

const BY: [&str; 4] = ["--by", "ann", "--reason", "cancelled"];

#[tokio::test]
async fn a_discarded_command_ends_with_a_final_event_that_says_who_and_why() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let drop = DeadLetter { generation: 1, attempt: 3, ..letter("drop") };
    publish_dead_letters(&rig, &[letter("keep-1"), drop, letter("keep-2")], &json!({})).await;
    assert_eq!(
        ferryd_json(&rig, &[&["dead-letters", "discard", "drop"], &BY[..]].concat()).await["done"],
        1
    );
    let event = rig.terminal("drop").await;
    assert_eq!(event["id"], "drop/1/4/failed");
    let data = &event["data"];
    assert_eq!(data["final"], true);
    assert_eq!(data["error"]["kind"], "discarded");
    assert_eq!(data["error"]["dead_lettered"], false);
    assert_eq!(data["error"]["message"], "discarded by ann via api:host: cancelled");
    assert_eq!(
        data["error"]["details"],
        json!({ "by": "ann via api:host", "reason": "cancelled" })
    );
    rig.broker.await_depth(DEAD, 2).await;
    assert_eq!(ids_in(&rig, DEAD).await, ["keep-1", "keep-2"]);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn nothing_is_discarded_by_accident_or_in_a_dry_run() {
    let rig = rig().await;
    let daemon = rig.start().await;
    publish_dead_commands(&rig, &["a".to_owned()], &json!({})).await;
    for arguments in [
        &["dead-letters", "discard", "--by", "ann", "--reason", "r"][..],
        &["dead-letters", "discard", "--all", "--by", "ann"],
        &["dead-letters", "discard", "--all", "--by", "", "--reason", "r"],
        &["dead-letters", "discard", "--all", "--reason", "r"],
    ] {
        assert_eq!(ferryd(&rig, arguments).await.code, Some(2), "{arguments:?}");
    }
    let dry =
        ferryd(&rig, &[&["dead-letters", "discard", "--all", "--dry-run"], &BY[..]].concat()).await;
    assert_eq!(dry.code, Some(0), "{dry:?}");
    assert!(dry.out.contains("done            1, a dry run: nothing is changed"), "{dry:?}");
    let none = ferryd(&rig, &[&["dead-letters", "discard", "b"], &BY[..]].concat()).await;
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.out.contains("no dead letter  1 of those that were named"), "{none:?}");
    rig.broker.await_depth(DEAD, 1).await;
    rig.finish(&daemon).await;
}
