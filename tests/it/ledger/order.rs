//! Tests that every instance comes to the same rulings.

use std::collections::HashMap;

use ferryd_broker::error::BrokerError;
use ferryd_domain::ledger::record::RecordId;
use ferryd_domain::ledger::ruling::Ruling;
use ferryd_domain::lifecycle::LifecycleState;
use futures_util::future::join_all;

use super::ledger_instance::{LedgerInstance, completed, settled, started};
use crate::harness::node::BrokerNode;

#[tokio::test]
async fn the_story_of_a_command_is_ruled_in_its_order() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let dir = tempfile::tempdir().unwrap();
    let one = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    assert!(one.case("c-1").is_none());
    let start = one.append(started("c-1")).await;
    assert!(matches!(start.ruling, Ruling::Counts(_)), "{start:?}");
    let again = one.append(started("c-1")).await;
    assert_eq!(again.ruling, Ruling::Claimed { claim: start.id, ttl_ms: 45_000 });
    let end = one.append(completed("c-1")).await;
    assert!(matches!(end.ruling, Ruling::Counts(_)), "{end:?}");
    assert!(start.id.number < again.id.number && again.id.number < end.id.number);
    assert!(one.case("c-1").unwrap().unsettled_decision().is_some());
    one.ledger.append_unawaited(settled("c-1", end.id));
    one.ledger.wait_for_barrier().await.unwrap();
    let case = one.case("c-1").unwrap();
    assert_eq!((case.state(), case.unsettled_decision()), (LifecycleState::Completed, None));
    one.ledger.flush().await;
    assert_eq!(
        one.ledger.index().command_state(&"c-1".parse().unwrap()).unwrap().as_ref(),
        Some(case.as_ref())
    );
    one.stop().await;
}

#[tokio::test]
async fn of_two_instances_that_start_the_same_step_one_counts_and_both_know_which() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let dir = tempfile::tempdir().unwrap();
    let instances = [
        LedgerInstance::start(&vhost.uri(), dir.path()).await,
        LedgerInstance::start(&vhost.uri(), dir.path()).await,
    ];
    let ids: Vec<_> = (0..200).map(|number| format!("raced-{number}")).collect();
    let race = |id: String| {
        let instances = &instances;
        async move {
            let both = instances.iter().map(|instance| instance.append(started(&id)));
            (id.clone(), join_all(both).await)
        }
    };
    let races: HashMap<_, _> = join_all(ids.into_iter().map(race)).await.into_iter().collect();
    let mut won = [0, 0];
    for (id, ruled) in &races {
        let winner =
            ruled.iter().position(|ruled| matches!(ruled.ruling, Ruling::Counts(_))).unwrap();
        let claim = Ruling::Claimed { claim: ruled[winner].id, ttl_ms: 45_000 };
        assert_eq!(ruled[1 - winner].ruling, claim, "{id}");
        won[winner] += 1;
    }
    assert_eq!(won[0] + won[1], 200);
    for instance in &instances {
        instance.ledger.wait_for_barrier().await.unwrap();
    }
    for id in races.keys() {
        assert_eq!(instances[0].case(id), instances[1].case(id));
    }
    let [one, two] = instances;
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn after_a_barrier_everything_is_known_that_another_instance_has_recorded() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let dir = tempfile::tempdir().unwrap();
    let one = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    let two = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    for number in 0..100 {
        let id = format!("recorded-{number}");
        one.append(started(&id)).await;
        two.ledger.wait_for_barrier().await.unwrap();
        assert!(two.case(&id).is_some(), "{id}");
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn stopping_ends_waiting() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let dir = tempfile::tempdir().unwrap();
    let one = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    let (ledger, stop) = (one.ledger.clone(), one.stop.clone());
    let waiting = tokio::spawn(async move {
        loop {
            match ledger.append(started("stopped")).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    });
    one.append(started("first")).await;
    stop.cancel();
    assert!(matches!(waiting.await.unwrap(), BrokerError::Stopping));
    assert!(matches!(one.ledger.wait_for_barrier().await, Err(BrokerError::Stopping)));
    one.stop().await;
}

#[tokio::test]
async fn an_instance_that_starts_again_goes_on_where_its_index_ends() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let dir = tempfile::tempdir().unwrap();
    let one = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    let mut known: Vec<(String, RecordId)> = Vec::new();
    for number in 0..50 {
        let id = format!("before-{number}");
        known.push((id.clone(), one.append(started(&id)).await.id));
    }
    one.stop().await;
    let again = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    let records = again.records();
    assert!(records <= 2, "{records} records were read once more");
    for (id, claim) in known {
        assert_eq!(
            again.append(started(&id)).await.ruling,
            Ruling::Claimed { claim, ttl_ms: 45_000 }
        );
    }
    again.stop().await;
}
