//! Giving commands up for good.

use ferryd::domain::dead_letter::DeadLetter;

use super::bench::{Bench, letter};
use std::time::Duration;

#[tokio::test]
async fn a_discarded_command_ends_with_a_final_event_that_says_who_and_why() {
    let bench = Bench::new().await;
    let events = bench.broker.events().await;
    bench.bury([letter("keep-1"), DeadLetter { generation: 1, attempt: 3, ..letter("drop") }, letter("keep-2")]).await;
    let arguments = ["dead", "discard", "drop", "--by", "ann", "--reason", "cancelled", "--json"];
    let ended = bench.ferryd(&arguments).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.json()["done"], 1);
    let event = events.terminal("drop", Duration::from_secs(20)).await;
    assert_eq!(event["id"], "drop/1/4/failed");
    let data = &event["data"];
    assert_eq!(data["final"], true);
    assert_eq!(data["error"]["kind"], "discarded");
    assert_eq!(data["error"]["dead_lettered"], false);
    assert_eq!(data["error"]["message"], "discarded by ann: cancelled");
    assert_eq!(data["error"]["details"], serde_json::json!({ "by": "ann", "reason": "cancelled" }));
    assert_eq!(bench.ids("ferry.dead.stripe").await, ["keep-1", "keep-2"]);
}

#[tokio::test]
async fn nothing_is_discarded_by_accident_or_in_a_dry_run() {
    let bench = Bench::new().await;
    bench.bury([letter("a")]).await;
    for arguments in [
        &["dead", "discard", "--by", "ann", "--reason", "r"][..],
        &["dead", "discard", "--all", "--by", "ann"],
        &["dead", "discard", "--all", "--by", "", "--reason", "r"],
        &["dead", "discard", "--all", "--reason", "r"],
    ] {
        assert_eq!(bench.ferryd(arguments).await.code, Some(2), "{arguments:?}");
    }
    let dry = bench.ferryd(&["dead", "discard", "--all", "--dry-run", "--by", "ann", "--reason", "r"]).await;
    assert_eq!(dry.code, Some(0), "{dry:?}");
    assert!(dry.out.starts_with("1 would be discarded, 0 refused"), "{dry:?}");
    let none = bench.ferryd(&["dead", "discard", "b", "--by", "ann", "--reason", "r"]).await;
    assert_eq!(none.code, Some(1), "{none:?}");
    assert_eq!(bench.ids("ferry.dead.stripe").await, ["a"]);
}
