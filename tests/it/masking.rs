//! Tests that no output of ferryd shows secrets or card numbers.

mod echoing_bank;
mod hidden_text;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::{Value, json};
use tokio::time::timeout;

use self::echoing_bank::{ACCESS_TOKEN, EchoingBank, PASSWORD, PROVIDERS, REFUSING, credentials};
use self::hidden_text::{HiddenText, TextExit};
use crate::api_client::TestClient;
use crate::harness::broker::{QueuedMessage, persistent};
use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::hostile::terminal::RunningCommand;
use crate::rig::{SECRET, SOON, TestRig, and, command, dead, word};
use crate::signed_webhooks::{SECRET as WEBHOOK_SECRET, TOKEN_KEY, TOKEN_KEYS, call_at};

/// A sensitive value of payloads.
const IBAN: &str = "DE02120300000000202051";

/// The queue in which a publisher waits for answers.
const REPLIES: &str = "shop.replies";

/// The answers of the provider, by the beginnings of the ids of commands.
const ANSWERS: [&str; 5] = ["completed", "declined", "rejected", "unknown", "retried"];

/// The kinds of webhooks about commands that the provider has accepted.
const NOTICES: [&str; 2] = ["completed", "declined"];

#[tokio::test]
async fn what_is_wrong_with_a_command_quotes_neither_secret_nor_card() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let wrong = and(
        command("acme", "charge", "wrong", json!({})),
        json!({"payload": format!("4111 1111 1111 1111 {SECRET}")}),
    );
    let event = rig.carry(&wrong).await;
    assert_eq!(word(&event, "data.error.kind"), "invalid");
    assert!(word(&event, "data.error.message").contains("*** ***"), "{event:#}");
    let letter = dead(&rig.dead_letters("acme", 1).await.remove(0));
    assert_eq!(letter["message"], event["data"]["error"]["message"]);
    rig.finish(&daemon).await;
    assert!(!daemon.log_text().contains(SECRET));
}

/// Makes a rig at which every provider is the echoing bank.
async fn echoing_rig(bank: &EchoingBank) -> TestRig {
    let mut rig = TestRig::with("[log]\nmax_body_size = '64KiB'\n", &[]).await;
    for (name, auth) in PROVIDERS.into_iter().chain([REFUSING]) {
        rig = rig.file(name, &bank.provider_file(name, auth));
    }
    let channel = rig.broker.channel().await;
    channel
        .queue_declare(REPLIES.into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await
        .unwrap();
    rig.env("FERRYD_LOG", "debug")
        .env("FERRYD_WEBHOOKS__BIND", "127.0.0.1:0")
        .env("FERRYD_WEBHOOKS__PUBLIC_URL", "https://hooks.example.com")
        .env(TOKEN_KEYS, TOKEN_KEY)
}

/// Publishes a command whose publisher waits for an answer.
async fn publish(rig: &TestRig, provider: &str, id: &str) {
    let mut payment = command(provider, "pay", id, json!({}));
    // A notice is masked without the values of its command's payload.
    payment["payload"] = if id.starts_with("waiting") { json!({}) } else { json!({"iban": IBAN}) };
    let asking = persistent().with_reply_to(REPLIES.into()).with_correlation_id(id.into());
    let key = format!("payment.{provider}.pay");
    rig.broker.publish("ferry.commands", &key, payment.to_string().as_bytes(), asking).await;
}

/// Lists the ids of all commands of a provider.
fn ids_of(provider: &str) -> Vec<String> {
    let answered = ANSWERS.map(|answer| format!("{answer}-{provider}"));
    answered
        .into_iter()
        .chain(NOTICES.map(|notice| format!("waiting-{notice}-{provider}")))
        .collect()
}

/// Carries every command as far as the provider allows.
async fn carry_all(rig: &TestRig, daemon: &RunningDaemon, bank: &EchoingBank) {
    for (provider, _) in PROVIDERS {
        for id in ids_of(provider) {
            publish(rig, provider, &id).await;
        }
    }
    for (provider, _) in PROVIDERS {
        for notice in NOTICES {
            let id = format!("waiting-{notice}-{provider}");
            rig.events.state(&id, "waiting", SOON).await;
            for kind in ["progress", notice] {
                call_back(daemon, bank, provider, &id, kind).await;
            }
            assert_eq!(
                word(&rig.terminal(&id).await, "data.state") == "completed",
                notice == "completed"
            );
        }
        for id in ids_of(provider).iter().filter(|id| !id.starts_with("retried")) {
            rig.terminal(id).await;
        }
    }
    publish(rig, REFUSING.0, "refused").await;
    let retried = u32::try_from(PROVIDERS.len() + 1).unwrap();
    rig.broker.await_depth("ferry.retry.1h", retried).await;
}

/// Makes a webhook about a command, and repeats it until it is accepted, as providers do.
async fn call_back(
    daemon: &RunningDaemon,
    bank: &EchoingBank,
    provider: &str,
    id: &str,
    kind: &str,
) {
    let request = bank.request_of(id);
    let target = format!("{provider}?ferry={}", request.webhook_token());
    let notice = request.notice(&format!("{kind}-{id}"), kind);
    eventually(SOON, "the webhook is taken", async || {
        let status = timeout(SOON, call_at(daemon, &target, WEBHOOK_SECRET, &notice)).await;
        let status = status.unwrap_or_else(|_| panic!("a webhook is not answered: {kind} of {id}"));
        assert!(matches!(status, Some(200 | 503)), "{status:?}");
        (status == Some(200)).then_some(())
    })
    .await;
}

/// Returns the output of a command.
async fn print(rig: &TestRig, form: &str, leaf: &str, arguments: &[&str]) -> TextExit {
    let texts = RunningCommand::start(rig, form, leaf, arguments).wait_for_end(leaf).await;
    assert!(!texts[0].is_empty(), "{leaf} {arguments:?}: {}", texts[1]);
    TextExit::new(format!("`ferryd {leaf}` {arguments:?} for {form}"), &texts.concat())
}

/// Splits the commands into those printed for people, whose output has the same content in other
/// words, and those for programs.
fn printed_ids(ids: &[String]) -> [(&'static str, Vec<String>); 2] {
    [("people", ids_of(PROVIDERS[0].0)), ("programs", ids.to_vec())]
}

/// Returns the output of the command line about commands.
async fn printed(rig: &TestRig, ids: &[String]) -> Vec<TextExit> {
    let mut exits = Vec::new();
    for (form, ids) in printed_ids(ids) {
        for id in &ids {
            exits.push(print(rig, form, "status", &[id]).await);
            exits.push(print(rig, form, "calls", &[id]).await);
        }
        for list in ["commands", "dead-letters list", "dead-letters groups", "provider list"] {
            exits.push(print(rig, form, list, &[]).await);
        }
    }
    exits
}

/// Returns the output of the command line about raw records.
async fn printed_records(rig: &TestRig, ids: &[String]) -> Vec<TextExit> {
    let mut exits = Vec::new();
    for (form, ids_of_form) in printed_ids(ids) {
        for id in
            ids_of_form.iter().filter(|id| id.starts_with("rejected") || id.starts_with("unknown"))
        {
            exits.push(print(rig, form, "dead-letters show", &[id]).await);
        }
        exits.push(tail(rig, form, ids).await);
    }
    exits
}

/// Returns the output of `ferryd ledger tail`, up to the decision on every command.
async fn tail(rig: &TestRig, form: &str, ids: &[String]) -> TextExit {
    let running = RunningCommand::start(rig, form, "ledger tail", &["--from", "first"]);
    eventually(SOON, "every decision is printed", async || {
        let [out, _] = running.printed();
        let is_decided = |id: &String| {
            out.lines().any(|line| line.contains("finished") && line.contains(id.as_str()))
        };
        ids.iter().all(is_decided).then_some(())
    })
    .await;
    running.interrupt();
    TextExit::new(
        format!("`ferryd ledger tail` for {form}"),
        &running.wait_for_end("ledger tail").await.concat(),
    )
}

/// Returns the answers of the API.
async fn answered(daemon: &RunningDaemon, ids: &[String]) -> Vec<TextExit> {
    let client = TestClient::of(daemon).await;
    let lists =
        ["commands", "dead-letters", "dead-letters/groups"].map(|list| format!("/v1/{list}"));
    let each =
        ids.iter().flat_map(|id| ["", "/calls"].map(|what| format!("/v1/commands/{id}{what}")));
    let mut exits = Vec::new();
    for path in lists.into_iter().chain(each) {
        let answer = timeout(SOON, client.get(&path))
            .await
            .unwrap_or_else(|_| panic!("{path} is not answered"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        exits.push(TextExit::new(format!("GET {path}"), &answer.body.to_string()));
    }
    exits
}

/// Returns the messages of a queue: headers and, where they are ferryd's own, bodies.
async fn messages_in(rig: &TestRig, queue: &str, has_own_bodies: bool) -> Vec<TextExit> {
    let messages = rig.broker.peek(queue).await;
    assert!(!messages.is_empty(), "{queue} is empty");
    let shown = |QueuedMessage { properties, body, .. }: &QueuedMessage| {
        let body =
            if has_own_bodies { String::from_utf8_lossy(body).into_owned() } else { String::new() };
        TextExit::new(format!("a message of {queue}"), &format!("{properties:?} {body}"))
    };
    messages.iter().map(shown).collect()
}

/// Returns the bytes of every file of the index.
fn index_files(rig: &TestRig) -> Vec<TextExit> {
    let files = std::fs::read_dir(rig.setup.path().join("state"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let shown = |path: std::path::PathBuf| {
        TextExit::new(
            path.display().to_string(),
            &String::from_utf8_lossy(&std::fs::read(&path).unwrap()),
        )
    };
    files.filter(|path| path.is_file()).map(shown).collect()
}

/// Fails where one of the hidden texts is seen.
fn assert_hidden(hidden: &[&HiddenText], exits: &[TextExit]) {
    let faults_of = |exit| hidden.iter().filter_map(move |text| text.find_in(exit));
    let faults: Vec<_> = exits.iter().flat_map(faults_of).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Lists every text that must not be seen anywhere.
fn secrets_of(bank: &EchoingBank, ids: &[String]) -> Vec<HiddenText> {
    let [basic, of_client] = credentials();
    let named = [
        ("the password", PASSWORD),
        ("the credentials", &basic),
        ("the client's credentials", &of_client),
        ("the access token", ACCESS_TOKEN),
        ("the secret of webhooks", WEBHOOK_SECRET),
    ];
    let webhook_token = |id: &String| {
        HiddenText::secret(
            &format!("the webhook token of {id}"),
            &bank.request_of(id).webhook_token(),
        )
    };
    named
        .into_iter()
        .map(|(name, text)| HiddenText::secret(name, text))
        .chain(ids.iter().map(webhook_token))
        .collect()
}

#[tokio::test]
async fn no_exit_of_the_daemon_shows_what_a_provider_quotes_of_its_calls() {
    let bank = EchoingBank::start().await;
    let rig = echoing_rig(&bank).await;
    let daemon = rig.start().await;
    carry_all(&rig, &daemon, &bank).await;
    let mut ids: Vec<_> = PROVIDERS.iter().flat_map(|(provider, _)| ids_of(provider)).collect();
    let (hidden, values) = (secrets_of(&bank, &ids), [HiddenText::value("the IBAN", IBAN)]);
    let token = |id: &String| {
        HiddenText::secret(&format!("the token beside {id}"), &bank.request_of(id).command_token())
    };
    let proofs: Vec<_> = ids.iter().map(token).collect();
    let [secrets, but_proofs, all]: [Vec<_>; 3] = [
        hidden.iter().collect(),
        hidden.iter().chain(&values).collect(),
        hidden.iter().chain(&values).chain(&proofs).collect(),
    ];
    ids.push("refused".to_owned());

    rig.events.catch_up().await;
    let events: Vec<Value> = rig.events.all();
    assert!(
        events.iter().filter(|event| event["type"] == "ferry.webhook.received").count() >= 12,
        "{events:#?}"
    );
    let exits: Vec<_> =
        events.iter().map(|event| TextExit::new("an event", &event.to_string())).collect();
    assert_hidden(&all, &exits);
    assert_hidden(&all, &messages_in(&rig, REPLIES, true).await);
    assert_hidden(&all, &answered(&daemon, &ids).await);
    assert_hidden(&all, &printed(&rig, &ids).await);
    // The token beside an id stands in the ledger, in dead letters and in waiting messages: ferryd
    // needs it there.
    assert_hidden(&but_proofs, &printed_records(&rig, &ids).await);
    for (provider, _) in PROVIDERS {
        let queue = format!("ferry.dead.{provider}");
        assert_hidden(&but_proofs, &messages_in(&rig, &queue, false).await);
        // The bodies are the publisher's.
        assert_hidden(&secrets, &messages_in(&rig, &queue, true).await);
    }
    assert_hidden(&but_proofs, &messages_in(&rig, "ferry.retry.1h", false).await);
    assert_hidden(&but_proofs, &index_files(&rig));
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    assert_hidden(&all, &[TextExit::new("the log", &daemon.log_text())]);
}
