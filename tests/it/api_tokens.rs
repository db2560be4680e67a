//! Tests the tokens of the HTTP API of a running daemon: how the first is made, what each allows,
//! and which name is recorded for a command.

use std::os::unix::fs::PermissionsExt as _;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::api_client::TestClient;
use crate::rig::{SOON, SandboxFile, TestRig, and, charge, command, send, word};

#[tokio::test]
async fn a_command_is_cancelled_by_the_api_with_the_name_of_the_token() {
    let token = "shop-0123456789abcdef";
    let tokens = format!("[[api.tokens]]\nname = 'shop'\nrole = 'operate'\ntoken = '{token}'\n");
    let rig = TestRig::new(&tokens).await.env("FERRYD_LOG", "debug");
    let daemon = rig.start().await;
    let anybody = TestClient::without_token(&daemon).await;
    anybody.wait_ready().await;
    let client = anybody.with("authorization", &format!("Bearer {token}"));
    let soon = Timestamp::now() + SignedDuration::from_secs(4);
    let command = and(send("early", json!({})), json!({"not_before": soon.to_string()}));
    assert_eq!(anybody.post(&command).await.status, 401);
    assert_eq!(client.post(&command).await.status, 202);
    let cancelled = client.ask("DELETE", "/v1/commands/early?reason=order%20withdrawn", "").await;
    assert_eq!(
        (cancelled.status, word(&cancelled.body, "outcome")),
        (200, "cancelled"),
        "{}",
        cancelled.body
    );
    let event = rig.terminal("early").await;
    assert_eq!(word(&event, "data.error.message"), "cancelled by api:shop: order withdrawn");
    // The API, `status` and `ledger tail` show who submitted the command.
    let story = client.get("/v1/commands/early").await.body;
    let first = &story["timeline"][0];
    assert_eq!(
        (word(first, "reason"), word(first, "detail")),
        ("submitted", "by api:shop"),
        "{story:#}"
    );
    let printed = |arguments: &[&str]| {
        let output = rig.setup.command(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let status = printed(&["status", "early"]);
    assert!(status.contains("submitted") && status.contains("by api:shop"), "{status}");
    let records =
        printed(&["ledger", "tail", "--from", "first", "--command", "early", "--count", "1"]);
    assert!(records.contains("submitted by api:shop"), "{records}");
    assert_eq!(client.ask("DELETE", "/v1/commands/later", "").await.status, 202);
    for (list, expected) in
        [("", "early"), ("?state=pending", ""), ("?cancel_requested=true", "later")]
    {
        let listed = client.get(&format!("/v1/commands{list}")).await.body;
        let ids: Vec<_> =
            listed["commands"].as_array().unwrap().iter().map(|row| word(row, "id")).collect();
        assert_eq!(ids.concat(), expected, "{list}: {listed}");
    }
    let late = client.with("prefer", "wait=30").post(&send("later", json!({}))).await;
    assert_eq!(
        (late.status, word(&late.body, "data.error.kind")),
        (200, "cancelled"),
        "{}",
        late.body
    );
    client.with("prefer", "wait=30").post(&send("done", json!({}))).await;
    let late = client.ask("DELETE", "/v1/commands/done", "").await;
    assert_eq!((late.status, word(&late.body, "reason")), (409, "completed"), "{}", late.body);
    let log = daemon.log_text();
    let answered = daemon.logs(|line| line["message"] == "answered" && line["token"] == "shop");
    assert!(answered.len() >= 4, "{answered:?}");
    assert!(!log.contains(token) && !log.contains("withdrawn\"}"), "a secret is in the log");
}

#[tokio::test]
async fn the_first_start_makes_a_token_and_the_command_line_of_the_host_reads_it() {
    let rig = TestRig::new("").await;
    let token = |rig: &TestRig| rig.setup.command(&["token", "--header"]).output().unwrap();
    assert_eq!(token(&rig).status.code(), Some(3), "there is none yet");
    let daemon = rig.start().await;
    let anybody = TestClient::without_token(&daemon).await;
    anybody.wait_ready().await;
    assert_eq!(anybody.get("/livez").await.status, 200);
    for (method, path) in
        [("POST", "/v1/commands"), ("GET", "/v1/commands"), ("GET", "/openapi.json")]
    {
        assert_eq!(anybody.ask(method, path, "").await.status, 401, "{method} {path}");
    }
    let line =
        daemon.wait_for_log(SOON, |line| line["message"] == "refused requests to the API").await;
    assert_eq!(
        (word(&line, "reason"), line["client.address"].as_str().unwrap_or_default()),
        ("it has no token", "127.0.0.1"),
        "{line}"
    );
    let header = String::from_utf8(token(&rig).stdout).unwrap();
    let (name, value) = header.trim().split_once(": ").unwrap();
    let client = anybody.with(name, value);
    assert_eq!(client.post(&charge("order-1", json!({}))).await.status, 202);
    assert_eq!(word(&rig.terminal("order-1").await, "data.state"), "completed");
    let file = rig.setup.path().join("state/api-token");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(
        !daemon.log_text().contains(value.split_once(' ').unwrap().1),
        "the token is in the log"
    );
    // The next start, and another instance beside it, use the same token.
    let other = rig.start().await;
    let there = TestClient::without_token(&other).await.with(name, value);
    there.wait_ready().await;
    assert_eq!(there.get("/v1/commands/order-1").await.status, 200);
}

#[tokio::test]
async fn a_token_is_good_for_the_commands_in_its_scope() {
    let config = "[routes]\npayment = 'brave'\n[[api.tokens]]\nname = 'shop'\nrole = 'operate'\n\
                  token = 'shop-0123456789abcdef'\nread = { providers = ['acme'] }\n\
                  operate = { accounts = ['acme/default'] }\n";
    let rig = TestRig::with(
        config,
        &[("acme", SandboxFile::default()), ("brave", SandboxFile::default())],
    )
    .await;
    let daemon = rig.start().await;
    let host = TestClient::of(&daemon).await.with("prefer", "wait=30");
    host.wait_ready().await;
    let shop = TestClient::without_token(&daemon)
        .await
        .with("authorization", "Bearer shop-0123456789abcdef");
    assert_eq!(host.post(&command("brave", "charge", "hidden", json!({}))).await.status, 200);
    assert_eq!(shop.with("prefer", "wait=30").post(&charge("mine", json!({}))).await.status, 200);
    // The route of a command without a provider decides the provider.
    for (id, provider) in [("foreign", "brave"), ("routed", "any")] {
        let answer = shop.post(&command(provider, "charge", id, json!({}))).await;
        assert_eq!(
            (answer.status, word(&answer.body, "type")),
            (403, "urn:ferryd:problem:forbidden"),
            "{id}"
        );
        assert_eq!(host.get(&format!("/v1/commands/{id}")).await.status, 404);
        assert_eq!(rig.calls(id).calls, 0);
    }
    for (method, path) in [("GET", ""), ("GET", "/calls"), ("DELETE", "")] {
        for id in ["hidden", "unheard-of"] {
            let answer = shop.ask(method, &format!("/v1/commands/{id}{path}"), "").await;
            assert_eq!(
                (answer.status, word(&answer.body, "type")),
                (404, "urn:ferryd:problem:unknown-command")
            );
        }
    }
    for (client, expected) in [(&shop, "mine"), (&host, "mine hidden")] {
        let listed = client.get("/v1/commands").await.body;
        let ids: Vec<_> =
            listed["commands"].as_array().unwrap().iter().map(|row| word(row, "id")).collect();
        assert_eq!(ids.join(" "), expected, "{listed}");
    }
    let log = daemon
        .logs(|line| line["message"] == "refused requests to the API" && line["token"] == "shop");
    assert!(!log.is_empty());
}

#[tokio::test]
async fn a_token_file_that_others_can_read_ends_the_daemon_before_it_connects_or_listens() {
    let rig = TestRig::new("").await;
    let file = rig.setup.path().join("state/api-token");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let daemon = rig.setup.start();
    assert_eq!(daemon.wait(SOON).await.code(), Some(3));
    let log = daemon.log_text();
    assert!(
        log.contains(&format!("the token file {}", file.display())) && log.contains("mode 0644"),
        "{log}"
    );
    assert!(
        !log.contains("listens") && !log.contains("connected") && !log.contains("0123456789"),
        "{log}"
    );
}
