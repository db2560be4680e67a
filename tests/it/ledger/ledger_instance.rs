//! Instances of the ledger in this process, on a broker of the test's choice, and records to
//! append.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ferryd_broker::broker::BrokerHandle;
use ferryd_broker::connection::AmqpSettings;
use ferryd_broker::topology::{Topology, TopologyNames};
use ferryd_domain::command::{Command, CommandEnvelope, EncodedIdentity};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::{Event, EventKind, EventMoment, TraceContext};
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::effects::RecordedEffects;
use ferryd_domain::ledger::record::{
    CallGuard, CommandIdentity, DecidedBy, FinishedRecord, Record, RecordBody, RecordId,
    SettledRecord, StartedRecord, Step,
};
use ferryd_domain::outcome::Success;
use ferryd_ledger::index::LedgerIndex;
use ferryd_ledger::{Ledger, LedgerHealth, LedgerSettings, RuledRecord};
use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::rig::SOON;

/// An instance of the ledger. Dropping ends it; [`stop`](Self::stop) waits for the end.
pub(super) struct LedgerInstance {
    pub(super) ledger: Ledger,
    pub(super) stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl LedgerInstance {
    /// Starts an instance, and waits until it has caught up.
    pub(super) async fn start(uri: &str, dir: &Path) -> Self {
        Self::start_within(uri, dir, SOON).await
    }

    /// Starts an instance with this patience, where there are many records to read.
    pub(super) async fn start_within(uri: &str, dir: &Path, patience: Duration) -> Self {
        let instance = Self::begin(uri, dir, LedgerSettings::default());
        let mut health = instance.ledger.health();
        let caught_up = health.wait_for(|health| *health == LedgerHealth::CaughtUp);
        assert!(
            tokio::time::timeout(patience, caught_up).await.is_ok(),
            "not caught up within {patience:?}"
        );
        instance
    }

    /// Starts an instance without waiting.
    pub(super) fn begin(uri: &str, dir: &Path, settings: LedgerSettings) -> Self {
        let names = TopologyNames::new("ferry".parse().unwrap());
        let stop = CancellationToken::new();
        let index = LedgerIndex::open(dir, uri).unwrap();
        let topology = Topology::new(&names, [], [], &[]);
        let (broker, link) = BrokerHandle::start(amqp(uri), topology, stop.clone());
        let (ledger, mut tasks) = Ledger::start(broker, &names, index, settings, stop.clone());
        tasks.push(link);
        Self { ledger, stop, tasks }
    }

    /// Waits until the instance has read every record.
    pub(super) async fn caught_up(&self) {
        self.healthy(LedgerHealth::CaughtUp).await;
    }

    /// Waits for this health.
    pub(super) async fn healthy(&self, wanted: LedgerHealth) {
        let mut health = self.ledger.health();
        let judged = tokio::time::timeout(SOON, health.wait_for(|health| *health == wanted)).await;
        assert!(judged.is_ok(), "not {wanted:?} but {:?}", *self.ledger.health().borrow());
    }

    /// Appends a record and returns what it came to.
    pub(super) async fn append(&self, record: Record) -> RuledRecord {
        tokio::time::timeout(SOON, self.ledger.append(record)).await.unwrap().unwrap()
    }

    /// Returns the number of records that the instance has read.
    pub(super) fn records(&self) -> u64 {
        self.ledger.progress().records
    }

    /// Returns the recorded state of a command.
    pub(super) fn case(&self, id: &str) -> Option<Arc<CommandState>> {
        self.ledger.command_state(&id.parse().unwrap())
    }

    /// Ends the instance, which releases its index.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// Returns settings under which every failure is noticed soon.
pub(super) fn impatient() -> LedgerSettings {
    LedgerSettings {
        read_back: Duration::from_secs(1),
        lagging_after: Duration::from_secs(2),
        heartbeat: Duration::from_millis(500),
        ..LedgerSettings::default()
    }
}

fn amqp(uri: &str) -> AmqpSettings {
    AmqpSettings {
        nodes: uri.parse::<lapin::uri::AMQPUri>().unwrap().into(),
        user: None,
        ca_file: None,
        client_cert: None,
        connect_timeout: Duration::from_secs(10),
        publish_timeout: Duration::from_secs(10),
        max_unconfirmed: 1000,
    }
}

pub(super) fn identity(id: &str) -> EncodedIdentity {
    let body = json!({ "id": id, "type": "payment", "provider": "acme", "operation": "charge", "reference": id });
    let provider = "acme".parse().unwrap();
    Command::decode(body.to_string().as_bytes(), CommandEnvelope::default())
        .unwrap()
        .identity(&provider)
}

fn record(id: &str, fact: RecordBody) -> Record {
    Record { at: Timestamp::now(), command: id.parse::<CommandId>().unwrap(), fact }
}

const FIRST: Step = Step::call(0, 1);

/// Builds the record that begins the first call of a command without a key.
pub(crate) fn started(id: &str) -> Record {
    let identity = CommandIdentity {
        command: identity(id),
        content_digest: "c0ffee".repeat(10),
        reply_target: None,
        publisher: None,
    };
    let started = StartedRecord {
        step: FIRST,
        identity: Some(identity),
        fresh: true,
        redelivered: false,
        expired_claim: None,
        recorded: false,
        guard: CallGuard::Claim(45_000),
        unknown: false,
        key: None,
        request_digest: "d16e57".repeat(10),
        token: String::new(),
        money: None,
        first_sent: None,
    };
    record(id, RecordBody::Started(Box::new(started)))
}

/// Builds the record by which the first call of a command completes it.
pub(super) fn completed(id: &str) -> Record {
    let moment = EventMoment { generation: 0, attempt: 1, at: Timestamp::now() };
    let success = Success {
        result: Some(json!({ "id": format!("ch_{id}"), "status": "succeeded", "amount": 1099 })),
        provider_reference: Some(format!("ch_{id}")),
        warnings: Vec::new(),
        http_status: Some(200),
    };
    let event =
        Event::new(identity(id), moment, EventKind::Completed(success), TraceContext::default());
    let finished = FinishedRecord {
        query: None,
        step: FIRST,
        identity: None,
        fresh: true,
        call: None,
        unknown: false,
        not_found: false,
        retained_message: None,
        decided_by: DecidedBy::Holder,
        effects: RecordedEffects { event: event.into(), publish_event: true, message: None },
    };
    record(id, RecordBody::Finished(Box::new(finished)))
}

/// Builds the record that the effects of a decision are published.
pub(super) fn settled(id: &str, finished: RecordId) -> Record {
    record(id, RecordBody::Settled(SettledRecord { finished }))
}
