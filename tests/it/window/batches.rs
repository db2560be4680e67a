//! Tests of the batches in which deliveries are fetched beyond those that the broker pushes.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ferryd_broker::consumer::{StoppedConsumer, consume};
use ferryd_broker::delivery_acks::HeldDelivery;
use ferryd_broker::delivery_handler::DeliveryHandler;
use ferryd_broker::delivery_window::{DeliveryPermit, DeliveryWindow};
use futures_util::future::join_all;
use rand::RngExt as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{LARGE, QUEUE, SMALL, WindowBench};
use crate::harness::broker::persistent;
use crate::harness::wait::eventually;
use crate::rig::SOON;

/// The longest time for which a delivery is held.
const HELD_MS: u64 = 25;

/// Acks each delivery after a random time, from a task of its own.
#[derive(Default, Clone)]
struct RandomAcker(Arc<Mutex<AckedDeliveries>>);

#[derive(Default)]
struct AckedDeliveries {
    numbers: HashSet<u32>,
    redelivered: usize,
    /// The bytes and the number of the deliveries that are held.
    held: (usize, usize),
    most: (usize, usize),
}

impl DeliveryHandler for RandomAcker {
    fn take_delivery(&self, delivery: HeldDelivery, place: DeliveryPermit) {
        let size = delivery.data.len();
        {
            let mut acked = self.0.lock().unwrap();
            acked.numbers.insert(u32::from_be_bytes(delivery.data[..4].try_into().unwrap()));
            acked.redelivered += usize::from(delivery.redelivered);
            acked.held = (acked.held.0 + size, acked.held.1 + 1);
            acked.most = (acked.most.0.max(acked.held.0), acked.most.1.max(acked.held.1));
        }
        let taker = self.clone();
        tokio::spawn(async move {
            let pause = rand::rng().random_range(0..HELD_MS);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            {
                let mut acked = taker.0.lock().unwrap();
                acked.held = (acked.held.0 - size, acked.held.1 - 1);
            }
            delivery.acker.ack().await;
            drop(place);
        });
    }

    fn queue_attached(&self) {}
}

impl RandomAcker {
    async fn took(&self, count: usize) {
        let taken = async || (self.0.lock().unwrap().numbers.len() == count).then_some(());
        eventually(10 * SOON, &format!("{count} deliveries"), taken).await;
    }
}

impl WindowBench {
    fn ack_randomly(
        &self,
        window: &DeliveryWindow,
    ) -> (RandomAcker, CancellationToken, JoinHandle<Option<StoppedConsumer>>) {
        let (taker, pause) = (RandomAcker::default(), self.stop.child_token());
        let handler = Arc::new(taker.clone());
        let consuming =
            consume(self.link.clone(), QUEUE.into(), window.clone(), handler, pause.clone());
        (taker, pause, tokio::spawn(consuming))
    }

    /// Publishes numbered messages of these sizes.
    async fn publish_numbered(&self, first: u32, sizes: &[usize]) {
        let publish = async |(number, size): (u32, usize)| {
            let mut body = vec![b'x'; size];
            body[..4].copy_from_slice(&number.to_be_bytes());
            self.broker.publish("", QUEUE, &body, persistent()).await;
        };
        join_all((first..).zip(sizes.iter().copied()).map(publish)).await;
    }

    /// Returns the number of consumers that the queue knows, those that are cancelled among them.
    async fn consumers(&self) -> u32 {
        let counted = self
            .vhost
            .eval_queue(
                QUEUE,
                "{ok, {_, State}, _} = ra:local_query(Pid, fun(S) -> S end),
                 maps:get(num_consumers, rabbit_fifo:overview(State))",
            )
            .await;
        counted.trim().parse().unwrap()
    }

    async fn has_consumers(&self, most: u32) {
        let few = async || (self.consumers().await <= most).then_some(());
        eventually(SOON, &format!("at most {most} consumers are left"), few).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_of_any_size_in_any_order_are_held_within_the_bound_and_never_come_again() {
    let bench = WindowBench::new().await;
    let window = DeliveryWindow::of_bytes(100, LARGE, 4 * LARGE, 16 * LARGE);
    let (taker, pause, consuming) = bench.ack_randomly(&window);
    let mut published = 0;
    for large in [0.0, 1.0, 0.5, 0.05, 0.9] {
        let sizes: Vec<usize> = (0..400)
            .map(|_| {
                let small = rand::rng().random_range(4..LARGE / 8);
                if rand::rng().random_bool(large) { LARGE } else { small }
            })
            .collect();
        bench.publish_numbered(published, &sizes).await;
        published += 400;
    }
    taker.took(published as usize).await;
    pause.cancel();
    let stopped = consuming.await.unwrap().unwrap();
    timeout(SOON, stopped.close()).await.unwrap();
    bench.left(0).await;
    let acked = taker.0.lock().unwrap();
    let (bytes, number) = acked.most;
    assert!(bytes <= 20 * LARGE && number <= 100, "{bytes} bytes of {number} messages");
    assert!(bytes > 10 * LARGE, "the room is used: {bytes} bytes");
    assert_eq!(acked.redelivered, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_batches_lose_nothing_and_leave_no_consumer_behind() {
    let bench = WindowBench::new().await;
    let window = DeliveryWindow::of_bytes(300, LARGE, 2 * LARGE, 32 * LARGE);
    bench.publish_numbered(0, &vec![SMALL; 10_000]).await;
    let (taker, pause, consuming) = bench.ack_randomly(&window);
    taker.took(10_000).await;
    bench.left(0).await;
    {
        let acked = taker.0.lock().unwrap();
        assert_eq!(acked.redelivered, 0);
        assert!(acked.most.1 > 100, "{:?}", acked.most);
    }
    // The consumer that is pushed to, and the one that is open for the next batch.
    bench.has_consumers(2).await;
    pause.cancel();
    timeout(SOON, consuming.await.unwrap().unwrap().close()).await.unwrap();
    bench.has_consumers(0).await;
}

/// The broker gives a delivery back that is under way to a consumer when it is cancelled, and
/// counts it: nothing may be under way when a batch is complete, and what has arrived when
/// consuming is stopped is taken.
#[tokio::test]
async fn a_batch_that_is_not_complete_ends_with_the_consumer_and_keeps_what_it_has() {
    let bench = WindowBench::new().await;
    let window = DeliveryWindow::of_bytes(60, LARGE, 2 * LARGE, 20 * LARGE);
    for _ in 0..5 {
        let (taker, pause, consuming) = bench.consume(&window);
        bench.publish(7, SMALL).await;
        taker.holds(7).await;
        pause.cancel();
        let stopped = consuming.await.unwrap().unwrap();
        bench.publish(10, SMALL).await;
        bench.left(10).await;
        taker.release(7).await;
        timeout(SOON, stopped.close()).await.unwrap();
        bench.has_consumers(0).await;

        let (taker, pause, consuming) = bench.consume(&window);
        taker.release_all(10).await;
        assert_eq!(taker.redelivered(), 0);
        pause.cancel();
        timeout(SOON, consuming.await.unwrap().unwrap().close()).await.unwrap();
    }
    bench.left(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_where_consuming_is_stopped_and_begun_again_all_the_time() {
    let bench = WindowBench::new().await;
    let window = DeliveryWindow::of_bytes(100, LARGE, 2 * LARGE, 20 * LARGE);
    bench.publish_numbered(0, &vec![SMALL; 6_000]).await;
    let mut numbers = HashSet::new();
    for _ in 0..30 {
        let (taker, pause, consuming) = bench.ack_randomly(&window);
        let while_ms = rand::rng().random_range(20..120);
        tokio::time::sleep(Duration::from_millis(while_ms)).await;
        pause.cancel();
        if let Some(stopped) = consuming.await.unwrap() {
            timeout(SOON, stopped.close()).await.unwrap();
        }
        numbers.extend(taker.0.lock().unwrap().numbers.drain());
    }
    // A fast machine has taken all of them by now. A consumer that has nothing to take may be
    // stopped before it begins.
    bench.publish_numbered(6_000, &[SMALL; 100]).await;
    let (taker, pause, consuming) = bench.ack_randomly(&window);
    taker.took(6_100 - numbers.len()).await;
    pause.cancel();
    timeout(SOON, consuming.await.unwrap().unwrap().close()).await.unwrap();
    bench.left(0).await;
    bench.has_consumers(0).await;
}

#[tokio::test]
async fn batches_come_again_after_the_session_is_lost_and_room_is_kept_for_what_is_held() {
    let bench = WindowBench::new().await;
    let window = DeliveryWindow::of_bytes(60, LARGE, 2 * LARGE, 8 * LARGE);
    bench.publish(9, LARGE).await;
    let (taker, pause, consuming) = bench.consume(&window);
    // The batch of eight has seven.
    taker.holds(9).await;
    bench
        .vhost
        .eval_queue(QUEUE, "[exit(element(1, C), kill) || C <- rabbit_amqqueue:consumers(Q)]")
        .await;
    // Those that are pushed come again, and one beyond: what is held of the lost session leaves
    // room for one more.
    taker.holds(12).await;
    bench.left(6).await;
    // The old ones are released first.
    taker.release(9).await;
    taker.holds(9).await;
    bench.left(0).await;
    assert_eq!(taker.redelivered(), 9);
    let (bytes, _) = taker.most();
    assert!(bytes <= (8 + 2 + 2) * LARGE, "{bytes}");
    taker.release(9).await;
    pause.cancel();
    timeout(SOON, consuming.await.unwrap().unwrap().close()).await.unwrap();
    bench.left(0).await;
    bench.has_consumers(0).await;
}

#[tokio::test]
async fn a_message_for_an_empty_queue_comes_at_once_though_all_that_are_pushed_are_held() {
    let bench = WindowBench::new().await;
    let window = DeliveryWindow::of_bytes(60, LARGE, 2 * LARGE, 20 * LARGE);
    bench.publish(3, SMALL).await;
    let (taker, pause, consuming) = bench.consume(&window);
    taker.holds(3).await;
    let begin = Instant::now();
    for held in 4..=40 {
        bench.publish(1, SMALL).await;
        taker.holds(held).await;
    }
    let each = begin.elapsed() / 37;
    assert!(each < Duration::from_millis(60), "{each:?}");
    taker.release(40).await;
    pause.cancel();
    timeout(SOON, consuming.await.unwrap().unwrap().close()).await.unwrap();
}
