//! Tests that the broker dies, is down, or can't be reached, under a load of records.

use std::collections::HashMap;
use std::time::Duration;

use ferryd_domain::ledger::ruling::Ruling;
use ferryd_ledger::LedgerHealth;
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::ledger_instance::{LedgerInstance, completed, impatient, started};
use crate::harness::node::BrokerNode;
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::wait::eventually;
use crate::rig::SOON;

const APPENDERS: usize = 32;
const LONG: Duration = Duration::from_mins(3);

/// Begins and completes commands one after the other, until stopped. Returns their ids.
async fn load(instance: &LedgerInstance, name: usize, mut stop: mpsc::Receiver<()>) -> Vec<String> {
    let mut done = Vec::new();
    while stop.try_recv() == Err(mpsc::error::TryRecvError::Empty) {
        let id = format!("load-{name}-{}", done.len());
        let start = tokio::time::timeout(LONG, instance.ledger.append(started(&id)))
            .await
            .unwrap()
            .unwrap();
        // A record that was lost or applied twice would be a repeat, or another instance's claim.
        assert!(matches!(start.ruling, Ruling::Counts(_)), "{id}: {start:?}");
        let end = tokio::time::timeout(LONG, instance.ledger.append(completed(&id)))
            .await
            .unwrap()
            .unwrap();
        assert!(matches!(end.ruling, Ruling::Counts(_)), "{id}: {end:?}");
        done.push(id);
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_under_load_loses_and_doubles_no_record() {
    let node = BrokerNode::private().await;
    let vhost = node.vhost().await;
    let dir = tempfile::tempdir().unwrap();
    let one = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    let two = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    one.append(started("settles")).await;
    node.settle().await;
    let (stops, loads): (Vec<_>, Vec<_>) = (0..APPENDERS)
        .map(|name| {
            let (stop, stopped) = mpsc::channel(1);
            (stop, load(if name % 2 == 0 { &one } else { &two }, name, stopped))
        })
        .unzip();
    let killing = async {
        for kill in 0..3 {
            let begun = one.records();
            let working = async || (one.records() > begun + 2_000).then_some(());
            eventually(LONG, "the load goes on", working).await;
            node.kill9().await;
            node.start().await;
            eprintln!("kill {kill}: {} records", one.records());
        }
        let begun = one.records();
        eventually(LONG, "the load goes on", async || {
            (one.records() > begun + 2_000).then_some(())
        })
        .await;
        drop(stops);
    };
    let (done, ()) = tokio::join!(join_all(loads), killing);
    let done: Vec<_> = done.into_iter().flatten().collect();
    one.ledger.wait_for_barrier().await.unwrap();
    two.ledger.wait_for_barrier().await.unwrap();
    // A third instance that reads everything from the beginning comes to the same rulings.
    let fresh = tempfile::tempdir().unwrap();
    let three = LedgerInstance::start(&vhost.uri(), fresh.path()).await;
    three.ledger.wait_for_barrier().await.unwrap();
    let cases: HashMap<_, _> = done.iter().map(|id| (id, one.case(id).unwrap())).collect();
    assert!(cases.len() > 3_000, "{}", cases.len());
    for (id, case) in cases {
        assert_eq!(case.history.len(), 2, "{id}: {case:?}");
        assert_eq!(two.case(id).as_ref(), Some(&case));
        assert_eq!(three.case(id).as_ref(), Some(&case));
    }
    for instance in [one, two, three] {
        instance.stop().await;
    }
}

#[tokio::test]
async fn a_stream_that_cannot_be_reached_is_lagging_until_it_can() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let proxy = TcpProxy::to(vhost.address());
    let dir = tempfile::tempdir().unwrap();
    let one = LedgerInstance::begin(&vhost.uri_at(proxy.address()), dir.path(), impatient());
    one.caught_up().await;
    // No record is appended, and still the outage is noticed.
    proxy.refuse().await;
    one.healthy(LedgerHealth::Lagging).await;
    let waiting = one.append(started("waits"));
    let recovering = async {
        proxy.resume();
        one.caught_up().await;
    };
    let (ruled, ()) = tokio::join!(waiting, recovering);
    assert!(matches!(ruled.ruling, Ruling::Counts(_)), "{ruled:?}");
    proxy.cut().await;
    assert!(matches!(one.append(completed("waits")).await.ruling, Ruling::Counts(_)));
    one.stop().await;
}

#[tokio::test]
#[ignore = "a cluster takes half a minute; `make chaos` runs it"]
async fn a_node_whose_replica_is_behind_is_waited_for_and_the_index_stays() {
    let first = BrokerNode::private().await;
    let (_second, third) = (first.joined().await, first.joined().await);
    let vhost = first.vhost().await;
    let proxy = TcpProxy::to(first.address());
    let dir = tempfile::tempdir().unwrap();
    let one = LedgerInstance::begin(&vhost.uri_at(proxy.address()), dir.path(), impatient());
    one.caught_up().await;
    one.append(started("early")).await;
    let replicated = async || vhost.has_replica(&third, "ferry.ledger").await.then_some(());
    eventually(SOON, "the third node has a replica", replicated).await;
    first.hold_back(&third, true).await;
    for number in 0..50 {
        one.append(started(&format!("late-{number}"))).await;
    }
    one.ledger.flush().await;
    let records = one.records();
    proxy.lead_to(third.address()).await;
    one.healthy(LedgerHealth::Lagging).await;
    // Longer than the ledger takes to suspect the reader several times, and to connect again.
    let end = Instant::now() + Duration::from_secs(15);
    while Instant::now() < end {
        assert!(
            one.case("late-49").is_some() && one.records() >= records,
            "{:?}",
            one.ledger.progress()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    first.hold_back(&third, false).await;
    one.caught_up().await;
    assert!(matches!(one.append(completed("late-49")).await.ruling, Ruling::Counts(_)));
    assert!(one.records() >= records, "the ledger was read anew");
    one.stop().await;
}

#[tokio::test]
async fn a_stalled_link_holds_a_barrier_until_it_moves() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let proxy = TcpProxy::to(vhost.address());
    let dir = tempfile::tempdir().unwrap();
    let one = LedgerInstance::begin(&vhost.uri_at(proxy.address()), dir.path(), impatient());
    one.caught_up().await;
    proxy.pause();
    let early = tokio::time::timeout(Duration::from_secs(3), one.ledger.wait_for_barrier()).await;
    assert!(early.is_err(), "a barrier passed a link that does not move");
    proxy.resume();
    tokio::time::timeout(SOON, one.ledger.wait_for_barrier()).await.unwrap().unwrap();
    one.stop().await;
}
