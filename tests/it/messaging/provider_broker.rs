//! A real broker that stands for a provider's, and messages for it.

use std::net::SocketAddr;
use std::time::Duration;

use ferryd_domain::message_call::MessageResult;
use ferryd_domain::message_call::{MessageAddress, MessageRequest};
use ferryd_domain::outcome::Failure;
use ferryd_transport::amqp::{AmqpLinkSettings, AmqpPublisher};
use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::harness::broker::{QueuedMessage, TestBroker};
use crate::harness::node::BrokerNode;
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::vhost::TestVhost;
use crate::harness::wait::eventually;
use crate::rig::SOON;

pub(super) const QUEUE: &str = "orders";
pub(super) const EXCHANGE: &str = "shop";

/// A time in which a broker that answers does so.
pub(super) const PATIENT: Duration = Duration::from_secs(30);

/// A provider's broker with a queue `orders`, to which the exchange `shop` leads for `order.*`.
pub(super) struct ProviderBroker {
    pub(super) vhost: TestVhost,
    pub(super) broker: TestBroker,
}

impl ProviderBroker {
    pub(super) async fn new() -> Self {
        Self::on(BrokerNode::shared().await).await
    }

    pub(super) async fn on(node: &BrokerNode) -> Self {
        let vhost = node.vhost().await;
        let broker = TestBroker::connect(&vhost.uri()).await;
        declare(&broker).await;
        Self { vhost, broker }
    }

    pub(super) fn settings(&self) -> AmqpLinkSettings {
        settings(self.vhost.address(), self.vhost.name())
    }

    pub(super) fn publisher(&self) -> AmqpPublisher {
        AmqpPublisher::new(&self.settings()).unwrap()
    }

    /// Returns a publisher that goes by way of a proxy.
    pub(super) fn publisher_by(&self, way: &TcpProxy) -> AmqpPublisher {
        AmqpPublisher::new(&settings(way.address(), self.vhost.name())).unwrap()
    }

    /// Returns the number of connections to the virtual host, but for that of the test itself.
    pub(super) async fn links(&self) -> usize {
        let open = r"length([1 || [{vhost, V}] <- rabbit_networking:connection_info_all([vhost]), V =:= VHost])";
        self.vhost.eval(open).await.trim().parse::<usize>().unwrap() - 1
    }

    /// Returns the ids of the messages in the queue, in their order.
    pub(super) async fn ids(&self) -> Vec<String> {
        let messages = self.broker.peek(QUEUE).await;
        let id =
            |message: &QueuedMessage| message.properties.message_id().as_ref().unwrap().to_string();
        messages.iter().map(id).collect()
    }

    /// Closes all connections of links, as an operator does.
    pub(super) async fn close_links(&self) {
        self.vhost
            .eval(
                r#"Named = fun(P) -> [{client_properties, C}] = rabbit_reader:info(P, [client_properties]),
                               lists:keymember(<<"connection_name">>, 1, C) end,
                   [rabbit_networking:close_connection(P, "closed by a test")
                    || P <- rabbit_networking:local_connections(),
                       [{vhost, VHost}] =:= rabbit_reader:info(P, [vhost]), Named(P)]"#,
            )
            .await;
        eventually(SOON, "the links are closed", async || (self.links().await == 0).then_some(()))
            .await;
    }
}

async fn declare(broker: &TestBroker) {
    let channel = broker.channel().await;
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(QUEUE.into(), QueueDeclareOptions::durable(), quorum).await.unwrap();
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel
        .exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, FieldTable::default())
        .await
        .unwrap();
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind(QUEUE.into(), EXCHANGE.into(), "order.*".into(), options, none)
        .await
        .unwrap();
}

pub(super) fn settings(address: SocketAddr, vhost: &str) -> AmqpLinkSettings {
    AmqpLinkSettings {
        server: format!("amqp://{address}/{vhost}").parse().unwrap(),
        username: "ferry".to_owned(),
        password: "ferry".to_owned().into(),
        ca_file: None,
        client_cert: None,
        connect_timeout: Duration::from_secs(10),
        max_in_flight: 8,
    }
}

pub(super) fn message(id: &str) -> MessageRequest {
    MessageRequest {
        server: "amqp://127.0.0.1/other".parse().unwrap(),
        address: to(EXCHANGE, "order.paid"),
        message_id: id.to_owned(),
        content_type: Some("application/json"),
        headers: vec![("tenant".to_owned(), "acme".to_owned())],
        body: format!(r#"{{"id":"{id}"}}"#).into_bytes().into(),
        timeout: PATIENT,
    }
}

pub(super) fn to(exchange: &str, key: &str) -> MessageAddress {
    MessageAddress::Amqp { exchange: exchange.to_owned(), routing_key: key.to_owned() }
}

/// Returns the failure of a message of which the broker has taken nothing.
pub(super) fn not_sent(result: MessageResult) -> Failure {
    match result {
        MessageResult::NotSent(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// Returns the failure of a message in doubt.
pub(super) fn in_doubt(result: MessageResult) -> Failure {
    match result {
        MessageResult::Incomplete(failure) => failure,
        other => panic!("{other:?}"),
    }
}

pub(super) fn code(failure: &Failure) -> &str {
    failure.code.as_deref().unwrap_or_default()
}
