//! Instances of the ledger in this process, on a broker of the test's choice, and records to append.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ferryd_broker::broker::Broker;
use ferryd_broker::connection::AmqpSettings;
use ferryd_broker::topology::{Names, Topology};
use ferryd_domain::command::{Command, Envelope, Identity};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::{Event, Happening, Moment, Trace};
use ferryd_domain::ledger::case::Case;
use ferryd_domain::ledger::effects::RecordedEffects;
use ferryd_domain::ledger::record::{By, Fact, Finished, Guard, Opening, Record, RecordId, Settled, Started, Step};
use ferryd_domain::outcome::Success;
use ferryd_ledger::index::Index;
use ferryd_ledger::{Health, Ledger, LedgerSettings, Ruled};
use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::rig::SOON;

/// An instance of the ledger. Dropping ends it; [`stop`](Self::stop) waits for the end.
pub(super) struct Instance {
    pub(super) ledger: Ledger,
    pub(super) stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Instance {
    /// Starts an instance, and waits until it has caught up.
    pub(super) async fn start(uri: &str, dir: &Path) -> Self {
        Self::start_within(uri, dir, SOON).await
    }

    /// Starts an instance with this patience, where there are many records to read.
    pub(super) async fn start_within(uri: &str, dir: &Path, patience: Duration) -> Self {
        let instance = Self::begin(uri, dir, LedgerSettings::default());
        let mut health = instance.ledger.health();
        let caught_up = health.wait_for(|health| *health == Health::CaughtUp);
        assert!(tokio::time::timeout(patience, caught_up).await.is_ok(), "not caught up within {patience:?}");
        instance
    }

    /// Starts an instance without waiting.
    pub(super) fn begin(uri: &str, dir: &Path, settings: LedgerSettings) -> Self {
        let names = Names::new("ferry".parse().unwrap());
        let stop = CancellationToken::new();
        let index = Index::open(dir, uri).unwrap();
        let topology = Topology::new(&names, [], [], &[]);
        let (broker, link) = Broker::start(amqp(uri), topology, stop.clone());
        let (ledger, mut tasks) = Ledger::start(broker, &names, index, settings, stop.clone());
        tasks.push(link);
        Self { ledger, stop, tasks }
    }

    /// Waits until the instance has read every record.
    pub(super) async fn caught_up(&self) {
        self.healthy(Health::CaughtUp).await;
    }

    /// Waits for this health.
    pub(super) async fn healthy(&self, wanted: Health) {
        let mut health = self.ledger.health();
        let judged = tokio::time::timeout(SOON, health.wait_for(|health| *health == wanted)).await;
        assert!(judged.is_ok(), "not {wanted:?} but {:?}", *self.ledger.health().borrow());
    }

    /// Appends a record and returns what it came to.
    pub(super) async fn append(&self, record: Record) -> Ruled {
        tokio::time::timeout(SOON, self.ledger.append(record)).await.unwrap().unwrap()
    }

    /// Returns the number of records that the instance has read.
    pub(super) fn records(&self) -> u64 {
        self.ledger.progress().records
    }

    /// Returns the recorded state of a command.
    pub(super) fn case(&self, id: &str) -> Option<Arc<Case>> {
        self.ledger.case(&id.parse().unwrap())
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

pub(super) fn identity(id: &str) -> Identity {
    let body = json!({ "id": id, "type": "payment", "provider": "acme", "operation": "charge", "reference": id });
    let provider = "acme".parse().unwrap();
    Command::decode(body.to_string().as_bytes(), Envelope::default()).unwrap().identity(&provider)
}

fn record(id: &str, fact: Fact) -> Record {
    Record { at: Timestamp::now(), command: id.parse::<CommandId>().unwrap(), fact }
}

const FIRST: Step = Step::call(0, 1);

/// Builds the record that begins the first call of a command without a key.
pub(crate) fn started(id: &str) -> Record {
    let opening = Opening { identity: identity(id), content: "c0ffee".repeat(10), asked: None, publisher: None };
    let started = Started {
        step: FIRST,
        opening: Some(opening),
        fresh: true,
        redelivered: false,
        waited_out: None,
        recorded: false,
        guard: Guard::Claim(45_000),
        unknown: false,
        key: None,
        digest: "d16e57".repeat(10),
        token: None,
        money: None,
        first_sent: None,
    };
    record(id, Fact::Started(Box::new(started)))
}

/// Builds the record by which the first call of a command completes it.
pub(super) fn completed(id: &str) -> Record {
    let moment = Moment { generation: 0, attempt: 1, at: Timestamp::now() };
    let success = Success {
        result: Some(json!({ "id": format!("ch_{id}"), "status": "succeeded", "amount": 1099 })),
        provider_reference: Some(format!("ch_{id}")),
        warnings: Vec::new(),
        http_status: Some(200),
    };
    let event = Event::new(identity(id), moment, Happening::Completed(success), Trace::default());
    let finished = Finished {
        query: None,
        step: FIRST,
        opening: None,
        fresh: true,
        call: None,
        unknown: false,
        absent: false,
        kept: None,
        by: By::Holder,
        effects: RecordedEffects { event, told: true, carried: None },
    };
    record(id, Fact::Finished(Box::new(finished)))
}

/// Builds the record that the effects of a decision are published.
pub(super) fn settled(id: &str, finished: RecordId) -> Record {
    record(id, Fact::Settled(Settled { finished }))
}
