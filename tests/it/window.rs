//! Tests that the deliveries held of a queue are bounded in number and in bytes, and that no
//! channel is left behind.

mod batches;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferryd_broker::broker::BrokerHandle;
use ferryd_broker::connection::AmqpSettings;
use ferryd_broker::consumer::{StoppedConsumer, consume};
use ferryd_broker::delivery_acks::HeldDelivery;
use ferryd_broker::delivery_handler::DeliveryHandler;
use ferryd_broker::delivery_window::{DeliveryPermit, DeliveryWindow};
use ferryd_broker::stream::{BrokerStream, StreamPosition};
use ferryd_broker::topology::{Topology, TopologyNames};
use futures_util::future::join_all;
use rand::RngExt as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::harness::broker::{TestBroker, persistent};
use crate::harness::node::BrokerNode;
use crate::harness::vhost::TestVhost;
use crate::harness::wait::eventually;
use crate::rig::SOON;

const QUEUE: &str = "ferry.commands.acme";
const LARGE: usize = 64 << 10;
const SMALL: usize = 100;
/// The deliveries that are acked at the same time, and the longest time until one is.
const ACKED: u16 = 4_000;
const ACKED_WITHIN_MS: u64 = 30;

/// The link of a daemon, and a queue.
struct WindowBench {
    vhost: TestVhost,
    broker: TestBroker,
    link: BrokerHandle,
    stop: CancellationToken,
}

impl WindowBench {
    async fn new() -> Self {
        let vhost = BrokerNode::shared().await.vhost().await;
        let settings = AmqpSettings {
            nodes: vhost.uri().parse::<lapin::uri::AMQPUri>().unwrap().into(),
            user: None,
            ca_file: None,
            client_cert: None,
            connect_timeout: Duration::from_secs(10),
            publish_timeout: Duration::from_secs(10),
            max_unconfirmed: 200,
        };
        let stop = CancellationToken::new();
        let names = TopologyNames::new("ferry".parse().unwrap());
        let topology = Topology::new(&names, [&"acme".parse().unwrap()], [], &[]);
        let (link, _) = BrokerHandle::start(settings, topology, stop.clone());
        link.session().await.unwrap();
        let broker = TestBroker::connect(&vhost.uri()).await;
        Self { vhost, broker, link, stop }
    }

    async fn publish(&self, count: usize, size: usize) {
        let body = vec![b'x'; size];
        join_all((0..count).map(|_| self.broker.publish("", QUEUE, &body, persistent()))).await;
    }

    fn consume(
        &self,
        window: &DeliveryWindow,
    ) -> (Arc<DeliveryTaker>, CancellationToken, JoinHandle<Option<StoppedConsumer>>) {
        let (taker, pause) = (Arc::<DeliveryTaker>::default(), self.stop.child_token());
        let consuming =
            consume(self.link.clone(), QUEUE.into(), window.clone(), taker.clone(), pause.clone());
        (taker, pause, tokio::spawn(consuming))
    }

    /// Waits until so many messages are left in the queue and nowhere else.
    async fn left(&self, count: u32) {
        self.broker.await_depth(QUEUE, count).await;
    }
}

/// Takes deliveries, and holds them until a test acks them.
#[derive(Default)]
struct DeliveryTaker(Mutex<HeldDeliveries>);

#[derive(Default)]
struct HeldDeliveries {
    deliveries: Vec<(HeldDelivery, DeliveryPermit)>,
    /// The deliveries that came again.
    redelivered: usize,
    /// The most bytes and deliveries at one time.
    most: (usize, usize),
}

impl DeliveryTaker {
    async fn holds(&self, count: usize) {
        let holding = async || (self.0.lock().unwrap().deliveries.len() == count).then_some(());
        eventually(SOON, &format!("{count} deliveries are held"), holding).await;
    }

    /// Acks the oldest deliveries.
    async fn release(&self, count: usize) {
        let oldest: Vec<_> = self.0.lock().unwrap().deliveries.drain(..count).collect();
        for (delivery, place) in oldest {
            delivery.acker.ack().await;
            drop(place);
        }
    }

    /// Acks every delivery that comes until so many were acked.
    async fn release_all(&self, count: usize) {
        let mut left = count;
        while left > 0 {
            let some = async || {
                let held = self.0.lock().unwrap().deliveries.len();
                (held > 0).then_some(held)
            };
            let held = eventually(SOON, "more comes", some).await;
            self.release(held).await;
            left -= held;
        }
    }

    /// Acks all deliveries in any order, each from a task of its own.
    async fn release_in_any_order(&self) {
        let held = std::mem::take(&mut self.0.lock().unwrap().deliveries);
        let acking = held.into_iter().map(|(delivery, place)| {
            tokio::spawn(async move {
                let pause = rand::rng().random_range(0..ACKED_WITHIN_MS);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                delivery.acker.ack().await;
                drop(place);
            })
        });
        // Spawned before the first is awaited.
        let acking: Vec<_> = acking.collect();
        join_all(acking).await.into_iter().for_each(Result::unwrap);
    }

    fn redelivered(&self) -> usize {
        self.0.lock().unwrap().redelivered
    }

    fn most(&self) -> (usize, usize) {
        self.0.lock().unwrap().most
    }
}

impl DeliveryHandler for DeliveryTaker {
    fn take_delivery(&self, delivery: HeldDelivery, place: DeliveryPermit) {
        let mut held = self.0.lock().unwrap();
        held.redelivered += usize::from(delivery.redelivered);
        held.deliveries.push((delivery, place));
        let bytes = held.deliveries.iter().map(|(delivery, _)| delivery.data.len()).sum::<usize>();
        held.most = (held.most.0.max(bytes), held.most.1.max(held.deliveries.len()));
    }

    fn queue_attached(&self) {}
}

#[tokio::test]
async fn large_messages_are_held_up_to_the_bytes_and_small_ones_up_to_the_number() {
    let bench = WindowBench::new().await;
    let window = DeliveryWindow::of_bytes(60, LARGE, 10 * LARGE, 5 * LARGE);
    bench.publish(100, LARGE).await;
    let (taker, pause, consuming) = bench.consume(&window);
    taker.holds(15).await;
    bench.left(85).await;
    for left in (80..85).rev() {
        taker.release(1).await;
        bench.left(left).await;
    }
    taker.release_all(95).await;
    assert_eq!(taker.most(), (15 * LARGE, 15));

    bench.publish(100, SMALL).await;
    taker.holds(60).await;
    bench.left(40).await;
    // All small ones are done at once, and large ones come in their place.
    bench.publish(100, LARGE).await;
    taker.release_all(200).await;
    let (bytes, number) = taker.most();
    assert!(bytes <= 15 * LARGE + 60 * SMALL && number == 60, "{bytes} {number}");
    pause.cancel();
    consuming.await.unwrap().unwrap().close().await;
    bench.left(0).await;
}

/// The broker closes a channel on which a delivery is acked that another ack has covered, and
/// delivers again whatever else was not acked on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deliveries_that_are_acked_at_the_same_time_in_any_order_never_come_again() {
    let bench = WindowBench::new().await;
    let (taker, pause, consuming) = bench.consume(&DeliveryWindow::of_number(ACKED));
    for _ in 0..6 {
        bench.publish(ACKED.into(), SMALL).await;
        taker.holds(ACKED.into()).await;
        taker.release_in_any_order().await;
    }
    pause.cancel();
    let stopped = consuming.await.unwrap().unwrap();
    assert_eq!(taker.redelivered(), 0);
    timeout(SOON, stopped.close()).await.unwrap();
    bench.left(0).await;
}

#[tokio::test]
async fn a_pause_keeps_its_channel_until_what_is_held_is_acked_and_no_longer() {
    let bench = WindowBench::new().await;
    let window = DeliveryWindow::of_bytes(8, LARGE, 2 * LARGE, 6 * LARGE);
    let before = bench.vhost.channels().await;
    for _ in 0..10 {
        bench.publish(5, SMALL).await;
        let (taker, pause, consuming) = bench.consume(&window);
        taker.holds(5).await;
        pause.cancel();
        let stopped = consuming.await.unwrap().unwrap();
        let mut closing = std::pin::pin!(stopped.close());
        assert!(timeout(Duration::from_millis(20), &mut closing).await.is_err());
        taker.release(5).await;
        closing.await;
    }
    let closed = async || (bench.vhost.channels().await <= before).then_some(());
    eventually(SOON, "no channel is left", closed).await;
    bench.left(0).await;
}

#[tokio::test]
async fn readers_of_a_stream_leave_no_channel_behind() {
    let bench = WindowBench::new().await;
    let before = bench.vhost.channels().await;
    let stream =
        BrokerStream::new(bench.link.clone(), "ferry.ledger".into(), StreamPosition::First);
    for place in [
        StreamPosition::First,
        StreamPosition::Last,
        StreamPosition::Next,
        StreamPosition::Offset(1_000),
    ]
    .into_iter()
    .cycle()
    .take(20)
    {
        let mut reader = stream.new_reader(place);
        reader.attach().await.unwrap();
        reader.reposition(StreamPosition::Next);
        reader.attach().await.unwrap();
    }
    let closed = async || (bench.vhost.channels().await <= before).then_some(());
    eventually(SOON, "no channel is left", closed).await;
}
