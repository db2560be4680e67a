//! Tests the calls of `ferryd webhook send`: they are accepted like a provider's, with one notice
//! or with many.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::harness::daemon::RunningDaemon;
use crate::rig::{SOON, SandboxFile, TestRig, charge, word};
use crate::signed_webhooks::{TOKEN_KEY, TOKEN_KEYS, token_of};

const SECRET: &str = "whsec-acme-0123456789";

const KEYS: &str = r#"
[webhook]
each = "{{ body.items }}"
event = "{{ body.type }}"
id = "{{ body.id }}"
command = "{{ body.command }}"
token = "{{ body.token }}"
reference = "{{ body.about }}"
[webhook.verify]
algorithm = "hmac_sha256"
keys = [{ secret = "{{ secrets.webhook }}" }]
signature = { header = "x-signature", encoding = "hex" }
signed = "{{ url }}{{ body }}"
[[webhook.on]]
when = "body.type == 'paid'"
as = "completed"
result = { paid = "{{ body.amount }}" }
[[webhook.on]]
when = "body.type == 'refused'"
as = "declined"
code = "{{ body.code }}"
[[webhook.examples]]
name = "paid"
query = { from = "example" }
body = { items = [{ id = "n-1", type = "paid", command = "nobody", amount = 1099 }] }
expect = [{ as = "completed" }]
"#;

async fn rig() -> TestRig {
    let rig =
        TestRig::with("", &[("acme", SandboxFile { operations: KEYS, ..SandboxFile::default() })])
            .await;
    rig.signed_by(SECRET, "https://hooks.example.com/ferry").env(TOKEN_KEYS, TOKEN_KEY)
}

/// Sends a body to a daemon by the command line.
async fn send(rig: &TestRig, daemon: &RunningDaemon, body: &str, more: &[&str]) -> Output {
    let file = rig.setup.path().join("body");
    fs::write(&file, body).unwrap();
    send_this(rig, daemon, &[&[file.to_str().unwrap()], more].concat()).await
}

async fn send_this(rig: &TestRig, daemon: &RunningDaemon, more: &[&str]) -> Output {
    let line = daemon
        .wait_for_log(SOON, |line| line["message"] == "the endpoint for webhooks listens")
        .await;
    let to = format!("http://{}", word(&line, "address"));
    let arguments = [&["webhook", "send", "acme", "--to", &to], more].concat();
    let mut command = rig.setup.command(&arguments);
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Waits for the event about a notice.
async fn received(rig: &TestRig, id: &str) -> Value {
    let id = format!("webhook/acme/default/{id}");
    rig.events.first(SOON, |event| event["id"] == id).await
}

#[tokio::test]
async fn all_notices_of_a_batch_are_published_and_end_their_commands() {
    let rig = rig().await;
    let daemon = rig.start().await;
    for id in ["paid", "refused", "open"] {
        rig.publish(&charge(id, json!({"accepted": true}))).await;
    }
    let paid = rig.events.state("paid", "waiting", SOON).await;
    for id in ["refused", "open"] {
        rig.events.state(id, "waiting", SOON).await;
    }
    let batch = json!({"items": [
        {"id": "n-1", "type": "paid", "about": word(&paid, "data.provider_reference"), "amount": 1099},
        {"id": "n-2", "type": "refused", "command": "refused", "token": token_of("default", "refused"), "code": "no_funds"},
        {"id": "n-3", "type": "seen", "command": "open", "token": token_of("default", "open")},
        {"id": "n-4", "type": "disputed", "about": "sb_99"},
    ]});
    let output = send(&rig, &daemon, &batch.to_string(), &["--query", "from=test", "--json"]).await;
    assert!(output.status.success(), "{}", printed(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["status"], &report["taken"]), (&json!(200), &json!(true)));
    assert_eq!(report["called"], "https://hooks.example.com/ferry/webhooks/acme?from=test");
    assert!(word(&report, "sent_to").ends_with("/webhooks/acme?from=test"), "{report:#}");
    assert_eq!(report["notices"].as_array().map(Vec::len), Some(4), "{report:#}");
    assert_eq!(report["notices"][1]["command"], "refused");

    let end = rig.terminal("paid").await;
    assert_eq!(
        (word(&end, "data.state"), &end["data"]["result"]["paid"]),
        ("completed", &json!(1099))
    );
    let end = rig.terminal("refused").await;
    assert_eq!(
        (word(&end, "data.error.kind"), word(&end, "data.error.code")),
        ("declined", "no_funds")
    );
    for (id, event, subject) in [
        ("n-1", "paid", "paid"),
        ("n-2", "refused", "refused"),
        ("n-3", "seen", "open"),
        ("n-4", "disputed", ""),
    ] {
        let received_event = received(&rig, id).await;
        assert_eq!(
            (word(&received_event, "data.event"), word(&received_event, "subject")),
            (event, subject)
        );
        assert_eq!(word(&received_event, "data.body.id"), id, "the body is the notice alone");
    }
    rig.end(&daemon).await;
    rig.events.catch_up().await;
    let ends = rig.events.of("open").iter().filter(|event| event["data"]["final"] == true).count();
    assert_eq!(ends, 0, "what decides nothing ends nothing");
}

#[tokio::test]
async fn an_example_of_the_providers_file_is_sent_with_values_of_ones_own() {
    let rig = rig().await;
    let daemon = rig.start().await;
    rig.publish(&charge("order-5", json!({"accepted": true}))).await;
    rig.events.state("order-5", "waiting", SOON).await;
    let token = format!("items.0.token={}", token_of("default", "order-5"));
    let set = [
        &[
            "--example",
            "paid",
            "--set",
            "items.0.command=order-5",
            "--set",
            "items.0.amount=7",
            "--set",
        ],
        &[token.as_str()][..],
    ]
    .concat();
    let output = send_this(&rig, &daemon, &set).await;
    assert!(output.status.success(), "{}", printed(&output));
    assert!(printed(&output).contains("/webhooks/acme?from=example"), "{}", printed(&output));
    assert_eq!(rig.terminal("order-5").await["data"]["result"]["paid"], 7);
    let output = send_this(&rig, &daemon, &["--example", "lost"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        printed(&output).contains("no example 'lost' of a webhook: 'paid'"),
        "{}",
        printed(&output)
    );
    rig.end(&daemon).await;
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_is_dead_lettered_whole_and_nothing_of_it_is_published() {
    let rig = rig().await;
    let daemon = rig.start().await;
    rig.publish(&charge("open", json!({"accepted": true}))).await;
    rig.events.state("open", "waiting", SOON).await;
    let no_list = json!({"items": {"id": "n-1", "type": "paid", "command": "open"}});
    let output = send(&rig, &daemon, &no_list.to_string(), &[]).await;
    assert!(
        output.status.success(),
        "it is the provider's own, so it is kept: {}",
        printed(&output)
    );
    assert!(
        printed(&output).contains(
            "none can be read, so the webhook is dead-lettered: webhook.each: is no list"
        )
    );
    rig.broker.await_depth("ferry.webhooks.dead", 1).await;
    let dead = rig.broker.peek("ferry.webhooks.dead").await;
    assert!(String::from_utf8_lossy(&dead[0].body).contains("n-1"), "its body is kept");
    let good = json!({"items": [{"id": "n-2", "type": "paid", "command": "open", "token": token_of("default", "open")}]});
    assert!(send(&rig, &daemon, &good.to_string(), &[]).await.status.success());
    assert_eq!(word(&rig.terminal("open").await, "data.state"), "completed");
    received(&rig, "n-2").await;
    rig.events.catch_up().await;
    assert!(rig.events.all().iter().all(|event| event["id"] != "webhook/acme/default/n-1"));
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    assert_eq!(rig.broker.depth("ferry.webhooks.dead").await, Some(1));
}

#[tokio::test]
async fn the_answer_to_a_sent_webhook_is_shown_with_what_to_do() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let body = json!({"items": [{"id": "n-1", "type": "paid", "command": "c1", "about": "sb_9"}]})
        .to_string();
    let taken = send(&rig, &daemon, &body, &[]).await;
    assert!(taken.status.success(), "{}", printed(&taken));
    for line in
        ["notice    paid means completed, command c1, reference sb_9", "answer    200: taken"]
    {
        assert!(printed(&taken).contains(line), "{}", printed(&taken));
    }
    // The daemon has another secret by now than the file.
    let rig = rig.changed("acme", SECRET, "whsec-another-0123456789");
    let refused = send(&rig, &daemon, &body, &[]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        printed(&refused).contains("answer    401: verification failed"),
        "{}",
        printed(&refused)
    );
    let media = send(&rig, &daemon, &body, &["--content-type", "image/png", "--json"]).await;
    let report: Value = serde_json::from_slice(&media.stdout).unwrap();
    assert_eq!(
        (media.status.code(), &report["status"], &report["taken"]),
        (Some(1), &json!(415), &json!(false))
    );
    rig.end(&daemon).await;
    let gone = send(&rig, &daemon, &body, &[]).await;
    assert_eq!(gone.status.code(), Some(1));
    for words in ["the call was not sent", "is `ferryd run` up"] {
        assert!(printed(&gone).contains(words), "{}", printed(&gone));
    }
    assert!(
        !printed(&taken).contains(SECRET)
            && !printed(&refused).contains("whsec-another-0123456789")
    );
}

#[tokio::test]
async fn notices_that_name_no_command_are_about_the_one_whose_webhook_url_was_called() {
    let rig = rig().await;
    let daemon = rig.start().await;
    for id in ["named", "called"] {
        rig.publish(&charge(id, json!({"accepted": true}))).await;
        rig.events.state(id, "waiting", SOON).await;
    }
    let batch = json!({"items": [
        {"id": "n-1", "type": "refused", "command": "named", "token": token_of("default", "named"), "code": "no_funds"},
        {"id": "n-2", "type": "paid", "amount": 1099},
    ]});
    let output = send(
        &rig,
        &daemon,
        &batch.to_string(),
        &["--command", "called", "--query", "from=test", "--json"],
    )
    .await;
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", printed(&output)));
    assert!(word(&report, "called").contains("/webhooks/acme?from=test&ferry="), "{report:#}");
    assert_eq!(
        (&report["notices"][0]["command"], &report["notices"][1]["command"]),
        (&json!("named"), &json!("called"))
    );
    assert_eq!(word(&rig.terminal("named").await, "data.error.kind"), "declined");
    assert_eq!(rig.terminal("called").await["data"]["result"]["paid"], 1099);
    rig.end(&daemon).await;
}
