//! A load of commands of every sort, and the guarantees that hold for it whichever process died
//! meanwhile.

use std::collections::BTreeSet;

use ferryd_sandbox::CallsSnapshot;
use serde_json::{Value, json};

use crate::harness::broker::TestBroker;
use crate::rig::{SandboxFile, TestRig, command, word};

/// The behaviour of a command's call where no process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoadSort {
    /// Completes at once, at an operation with an idempotency key.
    Pay,
    /// Completes at its second call, under the same key.
    PayAgain,
    /// The provider declines for a business reason.
    Declined,
    /// Completes at once, at an operation without a key.
    Notify,
    /// The provider refuses once, and has certainly not acted; the second call completes the
    /// command.
    NotifyAgain,
}

/// One round of a load.
const ROUND: [LoadSort; 10] = [
    LoadSort::Pay,
    LoadSort::Notify,
    LoadSort::PayAgain,
    LoadSort::Notify,
    LoadSort::Pay,
    LoadSort::NotifyAgain,
    LoadSort::Declined,
    LoadSort::Pay,
    LoadSort::Notify,
    LoadSort::Pay,
];

/// Two operations, one with an idempotency key and one without, with time enough on a busy machine.
const OPERATIONS: &str = r#"
[operations.pay]
request = { method = "POST", path = "/acme/pay" }
idempotency = { header = "Idempotency-Key", retention = "24h", in_progress = "status == 409" }
retry = { schedule = ["1s", "1s", "1s", "1s", "1s", "1s"], jitter = false }
timeout = "40s"
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }

[operations.notify]
request = { method = "POST", path = "/acme/notify" }
retry = { schedule = ["1s", "1s", "1s"], jitter = false }
timeout = "4s"
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
"#;

/// Returns the provider file that a load needs, with further keys of the provider.
pub(crate) fn file(keys: &str) -> [(&str, SandboxFile<'_>); 1] {
    [("acme", SandboxFile { keys, operations: OPERATIONS, ..SandboxFile::default() })]
}

/// Commands for `acme`.
pub(crate) struct CommandLoad {
    items: Vec<(LoadSort, Value)>,
}

impl CommandLoad {
    /// Makes so many rounds of ten commands, whose calls take `latency` each.
    pub(crate) fn new(name: &str, rounds: usize, latency: &str) -> Self {
        let sorts = ROUND.iter().cycle().take(rounds * ROUND.len());
        let item = |(number, sort): (usize, &LoadSort)| {
            (*sort, sort.command(&format!("{name}-{number}"), latency))
        };
        Self { items: sorts.enumerate().map(item).collect() }
    }

    /// Publishes everything at once. A command that the broker did not confirm, because it died, is
    /// no longer part of the load: it may be carried out or not.
    pub(crate) async fn publish(&mut self, broker: &TestBroker) {
        let commands: Vec<_> = self.items.iter().map(|(_, command)| command.clone()).collect();
        let confirmed: BTreeSet<_> = broker.publish_commands(&commands).await.into_iter().collect();
        self.items.retain(|(_, command)| confirmed.contains(word(command, "id")));
    }

    /// Returns the number of commands.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Lists the commands of the operation without a key for which the provider has been called.
    #[cfg(feature = "failpoints")]
    pub(crate) fn called_without_key(&self, calls: &CallsSnapshot) -> Vec<String> {
        let keyless = self
            .items
            .iter()
            .filter(|(sort, _)| matches!(sort, LoadSort::Notify | LoadSort::NotifyAgain));
        let ids = keyless.map(|(_, command)| word(command, "id").to_owned());
        ids.filter(|id| calls.ids.contains_key(id)).collect()
    }

    /// Waits until every command has ended.
    pub(crate) async fn await_ends(&self, rig: &TestRig) {
        for (_, command) in &self.items {
            rig.terminal(word(command, "id")).await;
        }
        rig.events.catch_up().await;
    }

    /// Waits until every command has ended, and compares its end and its calls with the guarantees.
    /// Returns the ids of the commands that ended as `unresolved`.
    pub(crate) async fn verify(&self, rig: &TestRig) -> Vec<String> {
        self.await_ends(rig).await;
        let counted = rig.sandbox.calls();
        // Within a generation the provider sees one key, which is the command's id.
        let foreign: Vec<_> =
            counted.keys.keys().filter(|key| !counted.ids.contains_key(*key)).collect();
        assert!(foreign.is_empty(), "keys that are no command's id: {foreign:?}");
        let ids = self.items.iter().map(|(sort, command)| (sort, word(command, "id")));
        let unresolved =
            ids.filter(|(sort, id)| sort.verify(&rig.events.of(id), &counted, id) == Unresolved);
        unresolved.map(|(_, id)| id.to_owned()).collect()
    }
}

/// Builds a command for the operation with an idempotency key.
pub(crate) fn pay(id: &str, sandbox: Value) -> Value {
    command("acme", "pay", id, sandbox)
}

/// Builds a command for the operation without one.
pub(crate) fn notify(id: &str, sandbox: Value) -> Value {
    command("acme", "notify", id, sandbox)
}

/// The end of one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoadEnd {
    AsPlanned,
    Unresolved,
}
use LoadEnd::{AsPlanned, Unresolved};

impl LoadSort {
    fn command(self, id: &str, latency: &str) -> Value {
        match self {
            Self::Pay => pay(id, json!({"latency": latency})),
            Self::PayAgain => pay(id, json!({"latency": latency, "fail_times": 1})),
            Self::Declined => pay(id, json!({"latency": latency, "decline": "card_declined"})),
            Self::Notify => notify(id, json!({"latency": latency})),
            Self::NotifyAgain => {
                notify(id, json!({"latency": latency, "fail_times": 1, "status": 429}))
            }
        }
    }

    fn verify(self, events: &[Value], counted: &CallsSnapshot, id: &str) -> LoadEnd {
        let calls = counted.ids.get(id).copied().unwrap_or_default();
        // A late event, which a crash can cause, has a lower sequence.
        let sequence = |event: &&Value| event["data"]["sequence"].as_u64();
        let last = events.iter().max_by_key(sequence).unwrap();
        let details = format!("{self:?} {id}: {calls:?}\n{events:#?}");
        assert!(calls.acted <= 1, "acted twice: {details}");
        assert!(self != Self::Notify || calls.calls <= 1, "called twice without a key: {details}");
        let keyless = matches!(self, Self::Notify | Self::NotifyAgain);
        if !keyless {
            let key = counted.keys.get(id).copied();
            assert_eq!(key, Some(calls), "not every call had the one key: {details}");
        }
        match (word(last, "data.state"), word(last, "data.error.kind")) {
            ("completed", _) if self != Self::Declined => {
                assert_eq!(calls.acted, 1, "completed without an act: {details}");
                AsPlanned
            }
            ("failed", "declined") if self == Self::Declined => AsPlanned,
            ("failed", "unresolved") if keyless => Unresolved,
            _ => panic!("ended otherwise: {details}"),
        }
    }
}
