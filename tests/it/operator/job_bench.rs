//! Dead letters to run jobs on, and jobs that are started and followed over the API.

use ferryd_domain::command::EchoedIdentity;
use ferryd_domain::dead_letter::DeadLetter;
use ferryd_domain::lifecycle::FailureKind;
use ferryd_domain::name::Name;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use serde_json::Value;

use super::operator_bench::{dead_lettered, letter_of};
use crate::api_client::TestClient;
use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::rig::{SOON, TestRig, command};

pub(super) const DEAD: &str = "ferry.dead.acme";

/// A rig whose jobs are taken over soon, and look again soon for what they miss.
pub(super) async fn rig() -> TestRig {
    TestRig::new("").await.env("FERRYD_JOB_SILENCE", "3").env("FERRYD_JOB_ROUND_PAUSE", "1")
}

pub(super) fn letter(id: &str) -> DeadLetter {
    letter_of(id, "payment", "acme", "charge", FailureKind::Unavailable)
}

/// Puts dead letters of commands into their queue that the ledger does not know.
pub(super) async fn publish_dead_commands(rig: &TestRig, ids: &[String], sandbox: &Value) {
    let letters: Vec<_> = ids.iter().map(|id| letter(id)).collect();
    publish_dead_letters(rig, &letters, sandbox).await;
}

/// Puts these dead letters into their queue, in their order.
pub(super) async fn publish_dead_letters(rig: &TestRig, letters: &[DeadLetter], sandbox: &Value) {
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
    let EchoedIdentity { id, provider, operation, .. } = &*letter.command;
    let word = |name: &Option<Name>| name.as_ref().unwrap().to_string();
    command(&word(provider), &word(operation), id.as_str(), sandbox.clone()).to_string()
}

/// Starts a job, and returns its path.
pub(super) async fn start(client: &TestClient, order: &Value) -> String {
    let answer = client.ask("POST", "/v1/jobs", &order.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    format!("/v1/jobs/{}", answer.body["id"].as_str().unwrap())
}

pub(super) async fn until(
    client: &TestClient,
    path: &str,
    what: &str,
    is_so: impl Fn(&Value) -> bool,
) -> Value {
    eventually(SOON, what, async || Some(client.get(path).await.body).filter(&is_so)).await
}

/// Waits for the end of a job, and returns what is known of it then.
pub(super) async fn end(client: &TestClient, path: &str) -> Value {
    until(client, path, "the job ends", |job| job["phase"] == "ended").await
}

pub(super) fn reason(job: &Value) -> &str {
    job["end"]["reason"].as_str().unwrap()
}

pub(super) fn runs(daemon: &RunningDaemon) -> usize {
    daemon.logs(|line| line["message"] == "running a job").len()
}
