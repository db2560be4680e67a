//! Erasing commands by the API: the files of the index hold nothing of them any more, and no other
//! token or state allows it.

use serde_json::{Value, json};

use super::erase::{check_duplicates, lies_in, of_jane, saved, secret};
use super::recorded::ferryd;
use crate::api_client::{ClientAnswer, TestClient};
use crate::copies::{ask, with_replies};
use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::rig::{SOON, SandboxFile, TestRig, and, charge, send, word};

/// Tokens of each role.
const TOKENS: &str = "[[api.tokens]]\nname = 'privacy'\nrole = 'erase'\ntoken = 'privacy-0123456789abcdef'\n\
                      [[api.tokens]]\nname = 'shop'\nrole = 'operate'\ntoken = 'shop-0123456789abcdef'\n\
                      [[api.tokens]]\nname = 'board'\nrole = 'read'\ntoken = 'board-0123456789abcdef'\n\
                      [[api.tokens]]\nname = 'elsewhere'\nrole = 'erase'\ntoken = 'elsewhere-0123456789abcdef'\n\
                      read = { providers = ['brave'] }\n";

/// Reason for the erasure: encoded for a query, and plain.
const REASON: [&str; 2] = ["request%204711", "request 4711"];

/// With a provider besides that one of the tokens is good for.
async fn rig_with_tokens() -> TestRig {
    let rig = TestRig::with(
        TOKENS,
        &[("acme", SandboxFile::default()), ("brave", SandboxFile::default())],
    )
    .await;
    with_replies(rig).await.env("FERRYD_LOG", "debug")
}

/// A client with the token of this name.
pub(super) async fn client(daemon: &RunningDaemon, name: &str) -> TestClient {
    let anybody = TestClient::without_token(daemon).await;
    anybody.wait_ready().await;
    anybody.with("authorization", &format!("Bearer {name}-0123456789abcdef"))
}

/// Asks for an erasure.
pub(super) async fn erase(client: &TestClient, id: &str) -> ClientAnswer {
    client.ask("POST", &format!("/v1/commands/{id}/erase?reason={}", REASON[0]), "").await
}

/// Erases a command as soon as its end is known to be published.
pub(super) async fn erase_eventually(client: &TestClient, id: &str) -> ClientAnswer {
    eventually(SOON, "it is erased", async || {
        let answer = erase(client, id).await;
        let waits =
            answer.status == 409 && word(&answer.body, "detail").contains("try again in a minute");
        assert!(waits || answer.status == 200, "{id}: {}", answer.body);
        (!waits).then_some(answer)
    })
    .await
}

fn kind(answer: &ClientAnswer) -> (u16, &str) {
    (answer.status, word(&answer.body, "type").trim_start_matches("urn:ferryd:problem:"))
}

/// Fails where an erased command still shows anything of a person.
async fn assert_erased(client: &TestClient, id: &str) {
    let story = client.get(&format!("/v1/commands/{id}")).await;
    assert_eq!((story.status, word(&story.body, "state")), (200, "completed"), "{}", story.body);
    assert_eq!(
        story.body["removal"]["erased"]["actor"],
        json!({"by": "api:privacy", "reason": REASON[1]})
    );
    assert!(!story.body.to_string().contains("jane"), "{}", story.body);
    let calls = client.get(&format!("/v1/commands/{id}/calls")).await;
    assert_eq!((calls.status, &calls.body["calls"]), (200, &json!([])));
    let listed = client.get("/v1/commands").await.body;
    let row = listed["commands"].as_array().unwrap().iter().find(|row| row["id"] == id).unwrap();
    assert!(!row.to_string().contains("jane"), "{row}");
}

#[tokio::test]
async fn only_a_token_with_the_role_erases_and_only_what_has_ended() {
    let rig = rig_with_tokens().await;
    let folder = rig.setup.path().join("state");
    let daemon = rig.start().await;
    let privacy = client(&daemon, "privacy").await;
    rig.carry(&of_jane("paid", charge("paid", json!({})))).await;
    rig.carry(&of_jane("dead", send("dead", json!({"status": 500})))).await;
    let early = and(charge("early", json!({})), json!({"not_before": "2126-01-01T00:00:00Z"}));
    rig.publish(&of_jane("early", early)).await;
    for id in ["paid", "dead", "early"] {
        saved(&folder, id).await;
    }

    let host = TestClient::of(&daemon).await;
    for (refused, name) in [
        (&client(&daemon, "shop").await, "shop"),
        (&client(&daemon, "board").await, "board"),
        (&host, "host"),
    ] {
        assert_eq!(kind(&erase(refused, "paid").await), (403, "forbidden"), "{name}");
    }
    assert_eq!(erase(&TestClient::without_token(&daemon).await, "paid").await.status, 401);
    let many = host.ask("POST", &format!("/v1/erasures?ids=paid&reason={}", REASON[0]), "").await;
    assert_eq!(kind(&many), (403, "forbidden"));
    let by_host =
        ferryd(&rig, &["erase", "--id", "paid", "--by", "ann", "--reason", REASON[1]]).await;
    let expected = "the token `host` has the role operate; this needs one with the role erase: configure one in `api.tokens`, \
                with `role = \"erase\"`, and give it in FERRYD_TOKEN";
    assert!(
        by_host.code == Some(1) && by_host.err.contains(expected) && by_host.out.is_empty(),
        "{by_host:?}"
    );
    let elsewhere = client(&daemon, "elsewhere").await;
    assert_eq!(kind(&erase(&elsewhere, "paid").await), (404, "unknown-command"));
    assert_eq!(kind(&erase(&privacy, "nobody").await), (404, "unknown-command"));
    for (path, problem) in [
        ("paid/erase", (400, "invalid-request")),
        ("no%20id/erase?reason=x", (400, "invalid-request")),
    ] {
        assert_eq!(
            kind(&privacy.ask("POST", &format!("/v1/commands/{path}"), "").await),
            problem,
            "{path}"
        );
    }
    assert_eq!(privacy.ask("GET", "/v1/commands/paid/erase?reason=x", "").await.status, 405);
    for (id, advice) in
        [("dead", "`ferryd dead-letters discard dead`"), ("early", "`ferryd cancel early`")]
    {
        let answer = erase(&privacy, id).await;
        assert_eq!(kind(&answer), (409, "not-erasable"), "{id}");
        assert!(word(&answer.body, "detail").contains(advice), "{}", answer.body);
    }
    for id in ["paid", "dead", "early"] {
        assert!(lies_in(&folder, &secret(id)), "{id} was erased");
    }

    let erased = erase_eventually(&privacy, "paid").await;
    assert_eq!(erased.body, json!({"id": "paid", "already_erased": false}));
    assert!(!lies_in(&folder, &secret("paid")));
    assert_erased(&privacy, "paid").await;
    assert_eq!(erase(&privacy, "paid").await.body, json!({"id": "paid", "already_erased": true}));

    let by = ["--by", "ann", "--reason", "request 4711"];
    assert_eq!(
        ferryd(&rig, &[&["dead-letters", "discard", "dead"], &by[..]].concat()).await.code,
        Some(0)
    );
    assert_eq!(ferryd(&rig, &["cancel", "early", "--by", "ann"]).await.code, Some(0));
    for id in ["dead", "early"] {
        assert_eq!(erase_eventually(&privacy, id).await.body["already_erased"], json!(false));
        assert!(!lies_in(&folder, &secret(id)), "{id}");
    }
    assert!(!lies_in(&folder, "jane"));
    rig.end(&daemon).await;
    let log = daemon.log_text();
    assert!(
        !log.contains(REASON[0]) && !log.contains("privacy-0123456789abcdef"),
        "a query or a token is in the log"
    );
}

#[tokio::test]
async fn what_was_erased_by_the_api_stays_out_of_an_index_that_is_made_anew() {
    let rig = rig_with_tokens().await;
    let folder = rig.setup.path().join("state");
    let daemon = rig.start().await;
    let command: Value = of_jane("paid", charge("paid", json!({})));
    ask(&rig, &command, 1).await;
    rig.terminal("paid").await;
    rig.carry(&of_jane("other", charge("other", json!({})))).await;
    saved(&folder, "paid").await;
    erase_eventually(&client(&daemon, "privacy").await, "paid").await;
    daemon.kill9();
    std::fs::remove_dir_all(&folder).unwrap();
    let daemon = rig.start().await;
    let privacy = client(&daemon, "privacy").await;
    // What is not erased shows that the whole stream was read.
    saved(&folder, "other").await;
    assert!(!lies_in(&folder, &secret("paid")));
    assert_erased(&privacy, "paid").await;
    check_duplicates(&rig, &command, 2).await;
    assert_eq!(erase(&privacy, "paid").await.body["already_erased"], json!(true));
    assert!(!lies_in(&folder, &secret("paid")));
    rig.finish(&daemon).await;
    assert!(!lies_in(&folder, &secret("paid")));
}
