//! A virtual host with ferryd's topology, dead letters to put there, and ferryd's command line.

use std::process::{Output, Stdio};
use std::time::Duration;

use ferryd::operator::OperatorContext;
use ferryd_broker::connection::AmqpSettings;
use ferryd_broker::declare::declare;
use ferryd_broker::headers::DEAD;
use ferryd_broker::message::put_text;
use ferryd_broker::topology::{Topology, TopologyNames};
use ferryd_domain::command::{Command, CommandEnvelope};
use ferryd_domain::dead_letter::{DeadLetter, DeadLetterOrigin};
use ferryd_domain::event::{Event, EventKind, EventMoment, TraceContext};
use ferryd_domain::lifecycle::FailureKind;
use ferryd_domain::outcome::Failure;
use ferryd_domain::progress::GenerationProgress;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use serde_json::json;

use crate::harness::broker::{TestBroker, persistent};
use crate::harness::daemon::DaemonFolder;
use crate::harness::node::BrokerNode;
use crate::harness::vhost::TestVhost;

/// Broker and folder in which the commands of a test work.
pub(super) struct OperatorBench {
    pub(super) broker: TestBroker,
    pub(super) operator: OperatorContext,
    pub(super) setup: DaemonFolder,
    pub(super) vhost: TestVhost,
}

impl OperatorBench {
    /// With the topology of the providers `stripe` and `twilio`.
    pub(super) async fn new() -> Self {
        let bench = Self::bare().await;
        let providers = ["stripe", "twilio"].map(|name| name.parse().unwrap());
        let topology = Topology::new(&bench.operator.names, &providers, [], &[]);
        let connection = bench.operator.amqp.connect("test").await.unwrap();
        declare(&connection, &topology).await.unwrap();
        bench
    }

    /// Makes an empty virtual host. No ledger knows the dead letters that a test puts there.
    pub(super) async fn bare() -> Self {
        let vhost = BrokerNode::shared().await.vhost().await;
        let provider = |name: &str| format!("name = \"{name}\"\n");
        let setup = DaemonFolder::new(&vhost.uri(), "")
            .provider("stripe", &provider("stripe"))
            .provider("twilio", &provider("twilio"));
        let operator = OperatorContext {
            amqp: settings(&vhost.uri()),
            names: TopologyNames::new("ferry".parse().unwrap()),
        };
        Self { broker: TestBroker::connect(&vhost.uri()).await, operator, setup, vhost }
    }

    /// Puts dead letters into their queues, in this order.
    pub(super) async fn publish_dead_letters(&self, letters: impl IntoIterator<Item = DeadLetter>) {
        let channel = self.broker.channel().await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let mut confirms = Vec::new();
        for letter in letters {
            let provider = letter.command.provider.as_ref().map_or("unknown", |name| name.as_str());
            let (body, options) = (body(&letter), BasicPublishOptions::default());
            let publishing = channel.basic_publish(
                "ferry.dead".into(),
                provider.into(),
                options,
                body.as_bytes(),
                dead_lettered(&letter),
            );
            confirms.push(publishing.await.unwrap());
        }
        for confirm in confirms {
            assert!(confirm.await.unwrap().is_ack());
        }
    }

    /// Takes everything out of a queue, in its order.
    pub(super) async fn drain(&self, queue: &str) -> Vec<Delivery> {
        let depth = self.broker.depth(queue).await.unwrap() as usize;
        let channel = self.broker.channel().await;
        channel.basic_qos(1000, BasicQosOptions::default()).await.unwrap();
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let mut consumer =
            channel.basic_consume(queue.into(), "drain".into(), options, arguments).await.unwrap();
        let mut deliveries = Vec::with_capacity(depth);
        while deliveries.len() < depth {
            let next = tokio::time::timeout(Duration::from_secs(20), consumer.next()).await;
            let delivery = next.unwrap().unwrap().unwrap();
            delivery.ack(BasicAckOptions::default()).await.unwrap();
            deliveries.push(delivery);
        }
        // What came after is given back.
        channel.close(200, "done".into()).await.unwrap();
        deliveries
    }

    /// The ids of the commands in a queue, which is empty then.
    pub(super) async fn ids(&self, queue: &str) -> Vec<String> {
        self.drain(queue).await.iter().map(id).collect()
    }

    /// Runs ferryd to its end.
    pub(super) async fn ferryd(&self, arguments: &[&str]) -> CommandResult {
        self.ferryd_reading(arguments, "").await
    }

    /// Runs ferryd to its end with a standard input.
    pub(super) async fn ferryd_reading(&self, arguments: &[&str], input: &str) -> CommandResult {
        let mut command = self.setup.command(arguments);
        let input = input.to_owned();
        let run = tokio::task::spawn_blocking(move || {
            let child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let mut child = child.unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        });
        CommandResult::from(run.await.unwrap())
    }

    /// Publishes an event as the daemon would.
    pub(super) async fn publish_event(&self, event: &Event) {
        let body = serde_json::to_vec(event).unwrap();
        self.broker.publish("ferry.events", &event.routing_key(), &body, persistent()).await;
    }
}

/// Output of a command, and its exit code.
#[derive(Debug)]
pub(crate) struct CommandResult {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for CommandResult {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl CommandResult {
    /// Parses the standard output as JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The properties of a dead letter.
pub(super) fn dead_lettered(letter: &DeadLetter) -> BasicProperties {
    let mut headers = FieldTable::default();
    put_text(&mut headers, DEAD, &serde_json::to_string(letter).unwrap());
    put_text(&mut headers, "tenant", "eu-1");
    persistent().with_headers(headers).with_correlation_id("c-1".into())
}

/// The broker at `uri`.
pub(super) fn settings(uri: &str) -> AmqpSettings {
    AmqpSettings {
        nodes: uri.parse::<lapin::uri::AMQPUri>().unwrap().into(),
        user: None,
        ca_file: None,
        client_cert: None,
        connect_timeout: Duration::from_secs(10),
        publish_timeout: Duration::from_secs(10),
        max_unconfirmed: 100,
    }
}

/// Makes a dead letter of a charge that stripe did not answer, given up an hour ago.
pub(super) fn letter(id: &str) -> DeadLetter {
    letter_of(id, "payment", "stripe", "charge", FailureKind::Unavailable)
}

/// A dead letter, given up an hour ago.
pub(super) fn letter_of(
    id: &str,
    kind: &str,
    provider: &str,
    operation: &str,
    why: FailureKind,
) -> DeadLetter {
    let provider = provider.parse().unwrap();
    let body =
        json!({ "id": id, "type": kind, "provider": provider, "operation": operation }).to_string();
    let identity =
        Command::decode(body.as_bytes(), CommandEnvelope::default()).unwrap().identity(&provider);
    let at = Timestamp::now() - Duration::from_hours(1);
    let routing_key = Some(format!("{kind}.{provider}.{operation}"));
    let place =
        DeadLetterOrigin { routing_key, host: "h".to_owned(), version: "0.1.0".to_owned(), at };
    DeadLetter::new(
        &identity,
        why,
        Failure::new("timeout", "no answer"),
        &GenerationProgress::first_generation(at),
        place,
    )
}

/// The body of the command that a dead letter is about.
pub(super) fn body(letter: &DeadLetter) -> String {
    let command = &letter.command;
    json!({
        "id": command.id, "type": command.r#type, "provider": command.provider, "operation": command.operation,
        "payload": { "amount": 1099 },
    })
    .to_string()
}

/// The id of the command in a message.
pub(super) fn id(delivery: &Delivery) -> String {
    let body: serde_json::Value = serde_json::from_slice(&delivery.data).unwrap();
    body["id"].as_str().unwrap().to_owned()
}

/// The event of something that happened to a command.
pub(super) fn event(letter: &DeadLetter, generation: u32, kind: EventKind) -> Event {
    let moment = EventMoment { generation, attempt: 1, at: Timestamp::now() };
    Event::new(letter.command.clone(), moment, kind, TraceContext::default())
}

/// `prefix-0`, `prefix-1`, and so on.
pub(super) fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number}")).collect()
}
