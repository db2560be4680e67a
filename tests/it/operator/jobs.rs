//! Jobs on dead letters, run by daemons and started over their API.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::time::Duration;

use ferryd_domain::command::EchoedIdentity;
use ferryd_domain::dead_letter::DeadLetter;
use ferryd_domain::lifecycle::FailureKind;
use ferryd_domain::name::Name;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::operator_bench::{CommandResult, dead_lettered, letter_of, numbered};
use super::recorded::ferryd;
use crate::api_client::TestClient;
use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::rig::{SOON, SandboxFile, TestRig, charge, command};

pub(super) const DEAD: &str = "ferry.dead.acme";

/// A rig whose jobs are taken over soon, and look again soon for what they miss.
pub(super) async fn rig() -> TestRig {
    TestRig::new("").await.env("FERRYD_JOB_SILENCE", "3").env("FERRYD_JOB_ROUND_PAUSE", "1")
}

pub(super) fn letter(id: &str) -> DeadLetter {
    letter_of(id, "payment", "acme", "charge", FailureKind::Unavailable)
}

/// Puts dead letters of commands into their queue that the ledger does not know.
pub(super) async fn bury(rig: &TestRig, ids: &[String], sandbox: &Value) {
    let letters: Vec<_> = ids.iter().map(|id| letter(id)).collect();
    bury_letters(rig, &letters, sandbox).await;
}

/// The same, of these dead letters, in their order.
pub(super) async fn bury_letters(rig: &TestRig, letters: &[DeadLetter], sandbox: &Value) {
    let channel = rig.broker.channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let mut confirms = Vec::new();
    for letter in letters {
        let (body, options) = (body_of(letter, sandbox), BasicPublishOptions::default());
        let provider = letter.command.provider.as_ref().map_or("unknown", |name| name.as_str());
        let (call, properties) = ("ferry.dead".into(), dead_lettered(letter));
        let publishing =
            channel.basic_publish(call, provider.into(), options, body.as_bytes(), properties);
        confirms.push(publishing.await.unwrap());
    }
    for confirm in confirms {
        assert!(confirm.await.unwrap().is_ack());
    }
}

/// The body of the command that a dead letter is about.
pub(super) fn body_of(letter: &DeadLetter, sandbox: &Value) -> String {
    let EchoedIdentity { id, provider, operation, .. } = &letter.command;
    let word = |name: &Option<Name>| name.as_ref().unwrap().to_string();
    command(&word(provider), &word(operation), id.as_str(), sandbox.clone()).to_string()
}

/// Starts a job, and returns its path.
async fn start(client: &TestClient, order: &Value) -> String {
    let answer = client.ask("POST", "/v1/jobs", &order.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    format!("/v1/jobs/{}", answer.body["id"].as_str().unwrap())
}

async fn until(
    client: &TestClient,
    path: &str,
    what: &str,
    is_so: impl Fn(&Value) -> bool,
) -> Value {
    eventually(SOON, what, async || Some(client.get(path).await.body).filter(&is_so)).await
}

/// Waits for the end of a job, and returns what is known of it then.
async fn end(client: &TestClient, path: &str) -> Value {
    until(client, path, "the job ends", |job| job["phase"] == "ended").await
}

fn reason(job: &Value) -> &str {
    job["end"]["reason"].as_str().unwrap()
}

fn runs(daemon: &RunningDaemon) -> usize {
    daemon.logs(|line| line["message"] == "running a job").len()
}

#[tokio::test]
async fn a_job_whose_instance_is_killed_is_taken_over_and_does_everything_once() {
    let rig = rig().await;
    let daemons = [rig.start().await, rig.start().await];
    let clients = [TestClient::of(&daemons[0]).await, TestClient::of(&daemons[1]).await];
    let ids = numbered("order", 400);
    bury(&rig, &ids, &json!({})).await;
    let path = start(&clients[0], &json!({ "action": "replay", "all": true, "rate": 100 })).await;
    until(&clients[1], &path, "some are replayed", |job| job["done"].as_u64() > Some(60)).await;
    let owner = usize::from(runs(&daemons[1]) > 0);
    assert_eq!((runs(&daemons[owner]), runs(&daemons[1 - owner])), (1, 0), "one instance runs it");
    daemons[owner].kill9();
    let job = end(&clients[1 - owner], &path).await;
    assert_eq!(
        (reason(&job), &job["done"], &job["term"]),
        ("finished", &json!(400), &json!(2)),
        "{job}"
    );
    assert_eq!((&job["closed"], rig.broker.depth(DEAD).await), (&Value::Null, Some(0)));
    for id in &ids {
        assert_eq!(rig.terminal(id).await["data"]["state"], "completed", "{id}");
        assert_eq!(rig.calls(id).acted, 1, "{id} is done once");
    }
    let job =
        until(&clients[1 - owner], &path, "all have ended", |job| job["completed"] == 400).await;
    assert_eq!(job["failed_again"], 0);
}

#[tokio::test]
async fn a_discard_that_dies_behind_its_record_is_finished_by_the_next_owner() {
    let rig = rig().await;
    let armed = rig.setup.start_armed("stated=kill:20");
    armed.wait_ready().await;
    let client = TestClient::of(&armed).await;
    let ids = numbered("order", 50);
    bury(&rig, &ids, &json!({})).await;
    // Slow enough for the answer to whoever starts it to come before the daemon dies.
    let order =
        json!({ "action": "discard", "all": true, "reason": "withdrawn", "by": "ann", "rate": 10 });
    let path = start(&client, &order).await;
    armed.wait(SOON).await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    let job = end(&client, &path).await;
    assert_eq!((reason(&job), &job["done"]), ("finished", &json!(50)), "{job}");
    assert_eq!(rig.broker.depth(DEAD).await, Some(0));
    for id in &ids {
        let event = rig.terminal(id).await;
        assert_eq!(event["data"]["error"]["kind"], "discarded", "{id}");
        assert_eq!(
            event["data"]["error"]["details"],
            json!({ "by": "ann via api:host", "reason": "withdrawn" })
        );
    }
}

#[tokio::test]
async fn a_job_pauses_goes_on_and_stops_when_it_is_asked_to() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    bury(&rig, &numbered("order", 600), &json!({})).await;
    let order = json!({ "action": "discard", "all": true, "reason": "test", "rate": 50 });
    let path = start(&client, &order).await;
    until(&client, &path, "some are discarded", |job| job["done"].as_u64() > Some(10)).await;
    let ask = async |what: &str| client.ask("POST", &format!("{path}/{what}"), "").await.body;
    assert_eq!(ask("pause").await["phase"], "paused");
    assert_eq!(ask("pause").await["phase"], "paused", "asked for again, it changes nothing");
    // What it held is back in the queue once it has finished what was under way.
    let all_back = async || {
        let done = u32::try_from(client.get(&path).await.body["done"].as_u64()?).ok()?;
        (rig.broker.depth(DEAD).await? + done == 600).then_some(done)
    };
    let done = eventually(SOON, "the rest is back", all_back).await;
    assert!(done < 600);
    assert_eq!(ask("resume").await["paused"], Value::Null);
    until(&client, &path, "it goes on", |job| job["done"].as_u64() > Some(u64::from(done) + 10))
        .await;
    ask("stop").await;
    let job = end(&client, &path).await;
    assert_eq!(
        (reason(&job), &job["end"]["detail"]),
        ("stopped", &json!("stopped by api:host")),
        "{job}"
    );
    eventually(SOON, "the rest is back", all_back).await;
    assert_eq!(ask("resume").await["phase"], "ended", "what has ended does not go on");
}

#[tokio::test]
async fn what_another_reader_holds_is_looked_for_again_and_then_named() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    for id in ["held", "free"] {
        let event = rig.carry(&charge(id, json!({ "status": 402, "error_code": "blocked" }))).await;
        assert_eq!(event["data"]["error"]["kind"], "rejected");
    }
    rig.broker.await_depth(DEAD, 2).await;
    let holder = rig.broker.channel().await;
    holder.basic_qos(1, BasicQosOptions::default()).await.unwrap();
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut held =
        holder.basic_consume(DEAD.into(), "holder".into(), options, arguments).await.unwrap();
    held.next().await.unwrap().unwrap();
    let order = json!({ "action": "discard", "filter": { "provider": "acme" }, "reason": "test" });
    let path = start(&client, &order).await;
    let job = end(&client, &path).await;
    assert_eq!((reason(&job), &job["done"]), ("incomplete", &json!(1)), "{job}");
    let progress = &job["progress"];
    assert_eq!((&progress["total"], &progress["not_found"]), (&json!(2), &json!(1)));
    assert_eq!((&progress["missing"], &progress["rounds"]), (&json!(["held"]), &json!(4)), "{job}");

    let path = start(&client, &order).await;
    until(&client, &path, "it misses one", |job| job["progress"]["not_found"] == 1).await;
    holder.close(200, "done".into()).await.unwrap();
    let job = end(&client, &path).await;
    assert_eq!(
        (reason(&job), &job["done"], &job["progress"]["not_found"]),
        ("finished", &json!(1), &json!(0)),
        "{job}"
    );
}

#[tokio::test]
async fn what_cannot_be_replayed_stays_and_is_named_with_the_reason() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    let removed = letter_of("removed", "payment", "gone", "charge", FailureKind::Unavailable);
    let acted = DeadLetter { unknown: true, ..letter("acted") };
    bury_letters(&rig, &[removed, acted], &json!({})).await;
    let path = start(&client, &json!({ "action": "replay", "all": true })).await;
    let job = end(&client, &path).await;
    assert_eq!(
        (reason(&job), &job["done"], &job["progress"]["refused"]),
        ("finished", &json!(0), &json!(2)),
        "{job}"
    );
    let refusals = job["progress"]["refusals"].as_array().unwrap();
    for (id, queue, part) in [
        ("removed", "ferry.dead.other", "provider `gone` is not configured"),
        ("acted", DEAD, "use --force-new-key"),
    ] {
        let refusal = refusals.iter().find(|refusal| refusal["id"] == id).unwrap();
        assert_eq!(refusal["queue"], queue);
        assert!(refusal["reason"].as_str().unwrap().contains(part), "{refusal}");
    }
}

#[tokio::test]
async fn a_canary_that_fails_again_ends_the_job_and_the_rest_is_untouched() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    bury(&rig, &numbered("bad", 5), &json!({ "status": 402, "error_code": "blocked" })).await;
    let order = json!({ "action": "replay", "all": true, "replay": { "canary_s": 60 } });
    let path = start(&client, &order).await;
    let job = end(&client, &path).await;
    assert_eq!((reason(&job), &job["done"]), ("canary_failed", &json!(1)), "{job}");
    assert!(
        job["end"]["detail"]
            .as_str()
            .unwrap()
            .starts_with("the first one, `bad-0`, failed again (rejected)")
    );
    rig.broker.await_depth(DEAD, 5).await;

    let rig_ids = numbered("good", 5);
    bury(&rig, &rig_ids, &json!({})).await;
    let filter = json!({ "ids": rig_ids });
    let order = json!({ "action": "replay", "filter": filter, "replay": { "canary_s": 60 } });
    let path = start(&client, &order).await;
    let job = end(&client, &path).await;
    assert_eq!((reason(&job), &job["done"]), ("finished", &json!(5)), "{job}");
    assert_eq!(job["progress"]["canary"]["passed"], true);
}

#[tokio::test]
async fn a_job_ends_by_itself_where_too_many_fail_again() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    bury(&rig, &numbered("bad", 200), &json!({ "status": 402, "error_code": "blocked" })).await;
    let order =
        json!({ "action": "replay", "all": true, "rate": 20, "replay": { "stop_at": "3" } });
    let path = start(&client, &order).await;
    let job = end(&client, &path).await;
    assert_eq!(reason(&job), "failed_again", "{job}");
    let done = job["done"].as_u64().unwrap();
    assert!((4..200).contains(&done), "{job}");
    assert!(job["end"]["detail"].as_str().unwrap().contains("failed again, more than 3"), "{job}");
    rig.broker.await_depth(DEAD, 200).await;
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_says_what_would_be_done() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    bury(&rig, &numbered("order", 20), &json!({})).await;
    for order in [
        json!({ "action": "replay", "all": true, "dry_run": true }),
        json!({ "action": "discard", "filter": { "operation": "charge" }, "reason": "x", "dry_run": true }),
    ] {
        let path = start(&client, &order).await;
        let job = end(&client, &path).await;
        assert_eq!(
            (reason(&job), &job["done"], &job["recorded"]),
            ("finished", &json!(20), &json!(0)),
            "{job}"
        );
    }
    rig.broker.await_depth(DEAD, 20).await;
    assert_eq!(rig.calls("order-1").calls, 0);
}

#[tokio::test]
async fn many_commands_are_resolved_at_once_by_their_ids() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    let ids = numbered("order", 10);
    bury(&rig, &ids, &json!({})).await;
    let resolution =
        json!({ "as": "completed", "reference": "by-hand", "result": { "seen": true } });
    let filter = json!({ "ids": ids[..4] });
    let order = json!({ "action": "resolve", "filter": filter, "resolution": resolution, "reason": "in the dashboard" });
    let path = start(&client, &order).await;
    let job = end(&client, &path).await;
    assert_eq!((reason(&job), &job["done"]), ("finished", &json!(4)), "{job}");
    assert_eq!(
        job["spec"]["result"],
        Value::Null,
        "the result is in the records of the commands alone"
    );
    for id in &ids[..4] {
        let event = rig.terminal(id).await;
        assert_eq!(
            (&event["data"]["state"], &event["data"]["provider_reference"]),
            (&json!("completed"), &json!("by-hand"))
        );
    }
    rig.broker.await_depth(DEAD, 6).await;
}

#[tokio::test]
async fn a_token_with_a_scope_starts_and_sees_jobs_within_it() {
    let config = r#"
[[api.tokens]]
name = "narrow"
token = "narrow-token-0123456789abcdef0123456789"
role = "operate"
operate = { providers = ["bank"] }
read = { providers = ["bank"] }
"#;
    let rig = TestRig::with(
        config,
        &[("acme", SandboxFile::default()), ("bank", SandboxFile::default())],
    )
    .await;
    let daemon = rig.start().await;
    let host = TestClient::of(&daemon).await;
    let narrow = TestClient::without_token(&daemon).await;
    let narrow = narrow.with("authorization", "Bearer narrow-token-0123456789abcdef0123456789");
    bury(&rig, &numbered("order", 3), &json!({})).await;
    bury_letters(
        &rig,
        &[letter_of("within", "payment", "bank", "charge", FailureKind::Unavailable)],
        &json!({}),
    )
    .await;
    let order = json!({ "action": "discard", "all": true, "reason": "test" });
    let path = start(&narrow, &order).await;
    let job = end(&narrow, &path).await;
    assert_eq!(
        (reason(&job), &job["done"]),
        ("finished", &json!(1)),
        "nothing of another provider: {job}"
    );
    assert_eq!(rig.terminal("within").await["data"]["error"]["kind"], "discarded");
    rig.broker.await_depth(DEAD, 3).await;
    assert_eq!(job["spec"]["actor"]["by"], "api:narrow");
    let other = start(&host, &order).await;
    end(&host, &other).await;
    assert_eq!(narrow.get(&other).await.status, 404);
    assert_eq!(narrow.ask("POST", &format!("{other}/stop"), "").await.status, 404);
    let listed = |body: &Value| {
        let jobs = body["jobs"].as_array().unwrap().iter();
        jobs.map(|job| format!("/v1/jobs/{}", job["id"].as_str().unwrap())).collect::<BTreeSet<_>>()
    };
    assert_eq!(listed(&narrow.get("/v1/jobs").await.body), [path.clone()].into());
    let first = host.get("/v1/jobs?limit=1").await.body;
    let next = host.get(&format!("/v1/jobs?cursor={}", first["next"].as_str().unwrap())).await.body;
    assert_eq!(
        (listed(&first), listed(&next), &next["next"]),
        ([other].into(), [path].into(), &Value::Null)
    );
}

#[tokio::test]
async fn whoever_may_operate_what_a_job_covers_sees_it_and_nobody_else_but_who_may_see_that() {
    let token = |name: &str, role: &str, operate: &str, read: &str| {
        format!(
            "[[api.tokens]]\nname = '{name}'\ntoken = '{name}-token-0123456789abcdef'\nrole = '{role}'\n\
             operate = {{ providers = ['{operate}'] }}\nread = {{ providers = ['{read}'] }}\n"
        )
    };
    let config = [
        token("split", "operate", "bank", "acme"),
        token("other", "operate", "acme", "acme"),
    ]
    .concat()
        + "[[api.tokens]]\nname = 'graph'\ntoken = 'graph-token-0123456789abcdef'\nrole = 'read'\n\
           read = { providers = ['bank'] }\n";
    let rig = TestRig::with(
        &config,
        &[("acme", SandboxFile::default()), ("bank", SandboxFile::default())],
    )
    .await;
    let daemon = rig.start().await;
    let (bare, host) = (TestClient::without_token(&daemon).await, TestClient::of(&daemon).await);
    let [split, other, graph] = ["split", "other", "graph"]
        .map(|name| bare.with("authorization", &format!("Bearer {name}-token-0123456789abcdef")));
    split.wait_ready().await;
    let order = |filter: Value| json!({ "action": "discard", "filter": filter, "reason": "test", "rate": 0.01 });
    let all = json!({ "action": "discard", "all": true, "reason": "test" });
    let of_split = start(&split, &all).await;
    let of_bank = start(&host, &order(json!({ "provider": "bank" }))).await;
    let of_everything = start(&host, &order(json!({ "operation": "charge" }))).await;
    for (path, seen) in [(&of_split, true), (&of_bank, true), (&of_everything, false)] {
        for (client, sees) in [(&split, seen), (&other, false), (&graph, seen), (&host, true)] {
            assert_eq!(client.get(path).await.status, if sees { 200 } else { 404 }, "{path}");
            let listed = client
                .get("/v1/jobs")
                .await
                .body
                .to_string()
                .contains(path.rsplit('/').next().unwrap());
            assert_eq!(listed, sees, "{path}");
        }
        let stop = async |client: &TestClient| {
            client.ask("POST", &format!("{path}/stop"), "").await.status
        };
        assert_eq!((stop(&other).await, stop(&graph).await), (404, 403), "{path}");
        assert_eq!(stop(&split).await, if seen { 200 } else { 404 }, "{path}");
    }
}

#[tokio::test]
async fn an_order_that_says_too_little_is_refused() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    for (order, part) in [
        (json!({ "action": "replay" }), "say which in `filter`, or `all`"),
        (json!({ "action": "replay", "all": true, "filter": { "ids": ["a"] } }), "not both"),
        (json!({ "action": "discard", "all": true }), "say why in `reason`"),
        (json!({ "action": "resolve", "all": true, "reason": "x" }), "state their outcome"),
        (
            json!({ "action": "replay", "all": true, "replay": { "force_new_key": true } }),
            "say why in `reason`",
        ),
        (json!({ "action": "lookup", "all": true, "replay": {} }), "for the action `replay` alone"),
        (json!({ "action": "replay", "filter": { "provder": "acme" } }), "unknown field `provder`"),
        (json!({ "action": "replay", "all": true, "rate": 0 }), "is no rate"),
    ] {
        let answer = client.ask("POST", "/v1/jobs", &order.to_string()).await;
        assert_eq!(answer.status, 400, "{order}");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{order}: {detail}");
    }
    assert_eq!(client.get("/v1/jobs").await.body["jobs"], json!([]));
}

/// Runs `ferryd jobs` to its end.
async fn jobs(rig: &TestRig, arguments: &[&str]) -> CommandResult {
    ferryd(rig, &[&["jobs"], arguments].concat()).await
}

#[tokio::test]
async fn the_command_line_lists_shows_pauses_and_stops_jobs() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    assert_eq!(jobs(&rig, &["list"]).await.out, "no jobs\n");
    bury(&rig, &numbered("order", 500), &json!({})).await;
    let order = json!({ "action": "discard", "all": true, "reason": "test", "rate": 20 });
    let path = start(&client, &order).await;
    let id = path.rsplit('/').next().unwrap();
    let paused = jobs(&rig, &["pause", id, "--reason", "lunch"]).await;
    assert_eq!((paused.code, paused.out), (Some(0), format!("{id} paused\n")));
    let shown = jobs(&rig, &["show", id, "--json"]).await.json();
    assert_eq!(shown["paused"], json!({ "by": "api:host", "reason": "lunch" }));
    assert_eq!(jobs(&rig, &["resume", id]).await.code, Some(0));
    let listed = jobs(&rig, &["list"]).await;
    assert!(listed.out.contains(id) && listed.out.contains("discard"), "{listed:?}");
    assert_eq!(jobs(&rig, &["stop", id]).await.code, Some(0));
    let followed = jobs(&rig, &["follow", id]).await;
    assert_eq!(followed.code, Some(1), "{followed:?}");
    assert!(
        followed.out.contains("ended: stopped") && followed.out.contains("stopped by api:host"),
        "{followed:?}"
    );
}

/// Starts a command that follows a job, and waits until it listens to signals: one that comes
/// before ends it as it ends any other.
pub(super) async fn start_following(rig: &TestRig, arguments: &[&str]) -> Child {
    let mut command = rig.setup.command(arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let listens = async || {
        let status = std::fs::read_to_string(&status).ok()?;
        let caught =
            status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim().to_owned();
        // Signal 1, SIGHUP, is the lowest bit.
        (u64::from_str_radix(&caught, 16).ok()? & 1 == 1).then_some(())
    };
    eventually(SOON, "it listens to signals", listens).await;
    child
}

/// Sends a signal to a command, and waits for its end.
pub(super) async fn interrupt(child: Child, signal: Signal) -> CommandResult {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    CommandResult::from(
        tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap(),
    )
}

#[tokio::test]
async fn whoever_follows_a_job_and_is_interrupted_leaves_it_or_stops_it() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    bury(&rig, &numbered("order", 500), &json!({})).await;
    let order = json!({ "action": "discard", "all": true, "reason": "test", "rate": 20 });
    let path = start(&client, &order).await;
    let id = path.rsplit('/').next().unwrap();
    let follow = async |arguments: &[&str], signal: Signal| {
        let child = start_following(&rig, &[&["jobs", "follow", id], arguments].concat()).await;
        interrupt(child, signal).await
    };
    for signal in [Signal::SIGINT, Signal::SIGHUP] {
        let left = follow(&[], signal).await;
        assert_eq!(left.code, Some(1), "{left:?}");
        assert!(
            left.err.contains(&format!("`ferryd jobs follow {id}` comes back to it")),
            "{left:?}"
        );
        assert_eq!(client.get(&path).await.body["end"], Value::Null, "the job goes on");
    }
    let stopped = follow(&["--stop", "--json"], Signal::SIGINT).await;
    assert_eq!((stopped.code, reason(&stopped.json())), (Some(1), "stopped"), "{stopped:?}");
}

/// Measures jobs on many dead letters: run with `--release`, `--ignored` and `--nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_jobs() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    let count: usize =
        std::env::var("LETTERS").ok().and_then(|text| text.parse().ok()).unwrap_or(5_000);
    let took = async |order: Value| {
        let began = std::time::Instant::now();
        let path = start(&client, &order).await;
        let patience = Duration::from_mins(10);
        let ended =
            async || Some(client.get(&path).await.body).filter(|job| job["phase"] == "ended");
        let job = eventually(patience, "it ends", ended).await;
        let (took, done) = (began.elapsed(), job["done"].as_u64().unwrap());
        println!("{}: {done} in {took:?}", job["spec"]["action"]);
    };
    let ids = numbered("order", count);
    bury(&rig, &ids, &json!({})).await;
    let last = ids.last().unwrap();
    took(json!({ "action": "replay", "filter": { "ids": [last] }, "dry_run": true })).await;
    took(json!({ "action": "replay", "filter": { "ids": [last] } })).await;
    took(json!({ "action": "discard", "all": true, "reason": "measured" })).await;
    bury(&rig, &numbered("again", count), &json!({})).await;
    took(json!({ "action": "replay", "all": true })).await;
}
