//! Tests answer, poll, webhook, deadline and cancel at once, at three instances, some of which are
//! killed: one of them decides.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::api_client::TestClient;
use crate::harness::daemon::RunningDaemon;
use crate::rig::{SOON, TestRig, command, word};
use crate::signed_webhooks::{call, notice_body, signed_rig};

/// An accepted operation, with a deadline close to the polls and webhooks.
const OPERATION: &str = r#"
[operations.NAME]
request = { method = "POST", path = "/acme/NAME" }
retry = { schedule = ["1s", "1s", "1s"], jitter = false }
timeout = "2s"
deadline = "3s"
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
[operations.NAME.poll]
request = { method = "GET", path = "/sandbox/transactions/{{ provider_reference }}" }
interval = "1s"
max_interval = "1s"
[operations.NAME.lookup]
request = { method = "GET", path = "/sandbox/transactions", query = { id = "{{ command.id }}" } }
after = "2s"
found = "body.data | length == 1"
item = "{{ body.data[0] }}"
not_found = "body.data | length == 0"
[operations.NAME.response]
reference = "{{ body.id }}"
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"
"#;

/// The key that makes the operation repeatable.
const KEY: &str = r#"
[operations.NAME.idempotency]
header = "Idempotency-Key"
retention = "24h"
in_progress = "status == 409"
"#;

/// Returns the operations `pay` with a key, and `notify` without.
fn operations() -> String {
    [OPERATION, KEY].concat().replace("NAME", "pay") + &OPERATION.replace("NAME", "notify")
}

/// The events in the life of one command, and their times.
struct CommandFate {
    id: String,
    operation: &'static str,
    /// The milliseconds for which the provider works before it accepts.
    latency: u64,
    /// The milliseconds from the acceptance until the action is done.
    finish: u64,
    /// The milliseconds after which the provider makes a webhook, if it makes one.
    webhook: Option<u64>,
    /// The milliseconds after which the command is cancelled, if it is.
    cancel: Option<u64>,
}

impl CommandFate {
    /// Draws delays that are close enough for the events to race.
    fn draw(number: usize, chance: &mut StdRng) -> Self {
        let operation = if chance.random_bool(0.5) { "pay" } else { "notify" };
        Self {
            id: format!("race-{number}"),
            operation,
            latency: chance.random_range(0..600),
            finish: chance.random_range(500..5_000),
            webhook: chance.random_bool(0.7).then(|| chance.random_range(0..4_500)),
            cancel: chance.random_bool(0.3).then(|| chance.random_range(0..1_000)),
        }
    }

    async fn run(&self, rig: &TestRig, daemons: &[RunningDaemon]) {
        let behaviour = json!({
            "latency": format!("{}ms", self.latency), "accepted": true, "finish_after": format!("{}ms", self.finish)
        });
        rig.publish(&command("acme", self.operation, &self.id, behaviour)).await;
        let calling_back = async {
            let Some(after) = self.webhook else { return };
            sleep(Duration::from_millis(after)).await;
            // A provider calls back only about what it has done.
            while rig.calls(&self.id).acted == 0 {
                sleep(Duration::from_millis(100)).await;
                if rig.events.of(&self.id).iter().any(|event| event["data"]["final"] == true) {
                    return;
                }
            }
            let body = notice_body(
                &format!("evt-{}", self.id),
                "charge.succeeded",
                json!({"command": self.id}),
            );
            // The provider repeats the call until it is accepted, and then calls once more.
            let mut taken = 0;
            for daemon in daemons.iter().cycle().take(300) {
                taken += usize::from(call(daemon, &body).await == Some(200));
                if taken == 2 {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
            panic!("nobody takes the call about {}", self.id);
        };
        let cancelling = async {
            let Some(after) = self.cancel else { return };
            sleep(Duration::from_millis(after)).await;
            let path = format!("/v1/commands/{}?by=race", self.id);
            // The canceller repeats its request until a daemon answers.
            for daemon in daemons.iter().cycle().take(300) {
                let cancelled = TestClient::of(daemon).await.try_ask("DELETE", &path, "").await;
                if cancelled.is_some_and(|answer| answer.status < 500) {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
            panic!("nobody cancels {}", self.id);
        };
        tokio::join!(calling_back, cancelling);
    }
}

/// Counts the commands by failure kind or state, and checks that each final event is unique.
async fn settled(rig: &TestRig, fates: &[CommandFate]) -> BTreeMap<String, usize> {
    let mut ends = BTreeMap::new();
    for CommandFate { id, webhook, .. } in fates {
        // Without a webhook a person may have to decide in the end: `unresolved`.
        let ends_so = |event: &Value| {
            event["data"]["final"] == true || webhook.is_none() && is_unresolved(event)
        };
        let end =
            rig.events.first(SOON * 2, |event| event["subject"] == **id && ends_so(event)).await;
        let kind = [word(&end, "data.error.kind"), word(&end, "data.state")]
            .into_iter()
            .find(|word| !word.is_empty());
        *ends.entry(kind.unwrap().to_owned()).or_insert(0) += 1;
    }
    rig.events.catch_up().await;
    for CommandFate { id, .. } in fates {
        let events = rig.events.of(id);
        let last_words: BTreeSet<_> = events
            .iter()
            .filter(|event| event["data"]["final"] == true)
            .map(|event| word(event, "id"))
            .collect();
        assert!(last_words.len() <= 1, "{id}: {events:#?}");
        assert!(
            !events.iter().any(|event| event["type"] == "ferry.command.conflict"),
            "{id}: {events:#?}"
        );
        let acted = rig.calls(id).acted;
        let possible = match last_words.first() {
            Some(end) if end.ends_with("/completed") => acted == 1,
            Some(_) => acted == 0,
            None => acted <= 1,
        };
        assert!(possible, "{id}: the provider acted {acted} times: {events:#?}");
    }
    ends
}

fn is_unresolved(event: &Value) -> bool {
    word(event, "data.error.kind") == "unresolved"
}

async fn race(seed: u64, killing: bool) {
    let rig = signed_rig(&operations()).await;
    let mut chance = StdRng::seed_from_u64(seed);
    let mut daemons = Vec::new();
    for _ in 0..3 {
        daemons.push(rig.start().await);
    }
    let fates: Vec<_> = (0..120).map(|number| CommandFate::draw(number, &mut chance)).collect();
    let running = join_all(fates.iter().map(|fate| fate.run(&rig, &daemons)));
    let killer = async {
        for daemon in daemons.iter().take(2).filter(|_| killing) {
            sleep(Duration::from_millis(1_500)).await;
            daemon.kill9();
        }
    };
    tokio::join!(running, killer);
    let ends = settled(&rig, &fates).await;
    assert!(ends.get("completed").copied().unwrap_or_default() > 60, "{ends:?}");
    for daemon in daemons.iter().skip(if killing { 2 } else { 0 }) {
        daemon.sigterm();
        assert!(daemon.wait(SOON).await.success());
    }
    // Some commands were unresolved before they were completed.
    assert!(rig.events.all().iter().any(is_unresolved), "no deadline has come first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_answer_poll_webhook_deadline_and_cancel_one_decides() {
    race(7, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_answer_poll_webhook_deadline_and_cancel_one_decides_though_instances_are_killed() {
    race(11, true).await;
}
