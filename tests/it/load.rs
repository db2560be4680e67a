//! A load of commands of every sort, and what has to be true of it whatever died meanwhile.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::broker::Broker;
use crate::rig::{Rig, charge, send, word};

/// What becomes of a command where nothing dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// Completes at once, at an operation with an idempotency key.
    Charge,
    /// Completes at its second call, under the same key.
    ChargeAgain,
    /// The provider's business "no".
    Declined,
    /// Completes at once, at an operation without a key.
    Send,
    /// Is refused once, and certainly not acted upon; completes at its second call.
    SendAgain,
}

/// One round of a load.
const ROUND: [Sort; 10] = [
    Sort::Charge,
    Sort::Send,
    Sort::ChargeAgain,
    Sort::Send,
    Sort::Charge,
    Sort::SendAgain,
    Sort::Declined,
    Sort::Charge,
    Sort::Send,
    Sort::Charge,
];

/// Commands for `acme`.
pub(crate) struct Load {
    items: Vec<(Sort, Value)>,
}

impl Load {
    /// So many rounds of ten commands, whose calls take `latency` each.
    pub(crate) fn new(name: &str, rounds: usize, latency: &str) -> Self {
        let sorts = ROUND.iter().cycle().take(rounds * ROUND.len());
        let item = |(number, sort): (usize, &Sort)| (*sort, sort.command(&format!("{name}-{number}"), latency));
        Self { items: sorts.enumerate().map(item).collect() }
    }

    /// Publishes everything at once. What the broker did not confirm, because it died, is no part of the load any more:
    /// it may be carried or not.
    pub(crate) async fn publish(&mut self, broker: &Broker) {
        let commands: Vec<_> = self.items.iter().map(|(_, command)| command.clone()).collect();
        let confirmed: BTreeSet<_> = broker.publish_commands(&commands).await.into_iter().collect();
        self.items.retain(|(_, command)| confirmed.contains(word(command, "id")));
    }

    /// How many commands there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Waits until every command has ended.
    pub(crate) async fn await_ends(&self, rig: &Rig) {
        for (_, command) in &self.items {
            rig.terminal(word(command, "id")).await;
        }
        rig.events.catch_up().await;
    }

    /// Waits until every command has ended, and holds what came of it and what the provider saw against what is promised.
    /// Returns those that ended as `unresolved`.
    pub(crate) async fn verify(&self, rig: &Rig) -> Vec<String> {
        self.await_ends(rig).await;
        let unresolved =
            self.items.iter().filter(|(sort, command)| sort.verify(rig, word(command, "id")) == Unresolved);
        let unresolved: Vec<_> = unresolved.map(|(_, command)| word(command, "id").to_owned()).collect();
        // Within a generation the provider sees one key, which is the command's id.
        let keys = rig.sandbox.calls().keys;
        let foreign: Vec<_> = keys.keys().filter(|key| rig.calls(key).calls == 0).collect();
        assert!(foreign.is_empty(), "keys that are no command's id: {foreign:?}");
        unresolved
    }
}

/// How one command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    AsPlanned,
    Unresolved,
}
use Verdict::{AsPlanned, Unresolved};

impl Sort {
    fn command(self, id: &str, latency: &str) -> Value {
        match self {
            Self::Charge => charge(id, json!({"latency": latency})),
            Self::ChargeAgain => charge(id, json!({"latency": latency, "fail_times": 1})),
            Self::Declined => charge(id, json!({"latency": latency, "decline": "card_declined"})),
            Self::Send => send(id, json!({"latency": latency})),
            Self::SendAgain => send(id, json!({"latency": latency, "fail_times": 1, "status": 429})),
        }
    }

    fn verify(self, rig: &Rig, id: &str) -> Verdict {
        let (events, calls) = (rig.events.of(id), rig.calls(id));
        // A late event, which a crash can bring about, is told by its lower sequence.
        let sequence = |event: &&Value| event["data"]["sequence"].as_u64();
        let last = events.iter().max_by_key(sequence).unwrap();
        let told = format!("{self:?} {id}: {calls:?}\n{events:#?}");
        assert!(calls.acted <= 1, "acted twice: {told}");
        assert!(self != Self::Send || calls.calls <= 1, "called twice without a key: {told}");
        let keyless = matches!(self, Self::Send | Self::SendAgain);
        if !keyless {
            let key = rig.sandbox.calls().keys.get(id).copied();
            assert_eq!(key, Some(calls), "not every call had the one key: {told}");
        }
        match (word(last, "data.state"), word(last, "data.error.kind")) {
            ("completed", _) if self != Self::Declined => {
                assert_eq!(calls.acted, 1, "completed without an act: {told}");
                AsPlanned
            }
            ("failed", "declined") if self == Self::Declined => AsPlanned,
            ("failed", "unresolved") if keyless => Unresolved,
            _ => panic!("ended otherwise: {told}"),
        }
    }
}
