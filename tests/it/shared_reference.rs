//! Tests calls that can be repeated without harm, and references that several of them share at
//! their provider.

use serde_json::json;

use crate::rig::{SOON, TestRig, and, command, word};
use crate::signed_webhooks::{call, ends, notice_body, signed_rig};

/// The operation `track`: tracking a parcel again returns its existing tracker.
const TRACK: &str = r#"
[operations.track]
request = { method = "POST", path = "/acme/pay" }
repeatable = true
retry = { schedule = ["1s"], jitter = false }
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
[operations.track.response]
reference = "{{ payload.parcel }}"
accepted = "body.status == 'processing'"
"#;

#[tokio::test]
async fn a_call_ends_every_command_that_waits_for_what_they_share() {
    let rig = signed_rig(TRACK).await;
    let daemon = rig.start().await;
    let follow = async |rig: &TestRig, id: &str, parcel: &str| {
        let track = command("acme", "track", id, json!({"accepted": true}));
        rig.publish(&and(
            track,
            json!({"payload": {"sandbox": {"accepted": true}, "parcel": parcel}}),
        ))
        .await;
        rig.events.state(id, "waiting", SOON).await;
    };
    for (id, parcel) in
        [("first", "trk_1"), ("second", "trk_1"), ("third", "trk_1"), ("other", "trk_2")]
    {
        follow(&rig, id, parcel).await;
    }
    let delivered = |event: &str| notice_body(event, "charge.succeeded", json!({"about": "trk_1"}));
    assert_eq!(call(&daemon, &delivered("evt-1")).await, Some(200));
    for id in ["first", "second", "third"] {
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed", "{id}");
    }
    // A command that joins later is ended by the next call, which changes nothing about those
    // before it.
    follow(&rig, "late", "trk_1").await;
    assert_eq!(call(&daemon, &delivered("evt-2")).await, Some(200));
    assert_eq!(word(&rig.terminal("late").await, "data.state"), "completed");
    rig.end(&daemon).await;
    rig.events.catch_up().await;
    for id in ["first", "second", "third", "late"] {
        assert_eq!(ends(&rig, id), [format!("{id}/0/1/completed")]);
    }
    assert_eq!(ends(&rig, "other"), [""; 0], "another parcel is still on its way");
}

#[tokio::test]
async fn a_repeatable_call_without_an_answer_is_made_again_and_leaves_no_doubt() {
    let rig = signed_rig(TRACK).await;
    let daemon = rig.start().await;
    rig.publish(&command("acme", "track", "lost", json!({"act_then_fail": true}))).await;
    let end = rig.terminal("lost").await;
    assert_eq!(word(&end, "data.error.kind"), "unavailable", "{end}");
    assert_eq!(rig.calls("lost").calls, 2, "{end}");
    rig.end(&daemon).await;
}
