//! Tests indexes and streams that are lost, damaged or replaced.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ferryd_broker::error::BrokerError;
use ferryd_domain::ledger::record::RecordBody;
use ferryd_domain::ledger::ruling::Ruling;
use ferryd_ledger::LedgerHealth;
use futures_util::future::{join, join_all};
use tempfile::TempDir;

use super::ledger_instance::{LedgerInstance, completed, impatient, started};
use crate::harness::broker::TestBroker;
use crate::harness::node::BrokerNode;
use crate::harness::vhost::TestVhost;
use crate::harness::wait::eventually;
use crate::rig::SOON;

const COMMANDS: usize = 300;

/// Makes a stream with commands in it, and the index of an instance that has ended.
async fn left() -> (TestVhost, TempDir) {
    let vhost = BrokerNode::shared().await.vhost().await;
    let dir = tempfile::tempdir().unwrap();
    let one = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    for number in 0..COMMANDS {
        one.append(started(&format!("c-{number}"))).await;
    }
    one.stop().await;
    (vhost, dir)
}

async fn knows_everything_after(change: impl FnOnce(&Path)) {
    let (vhost, dir) = left().await;
    change(dir.path());
    let again = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    assert!(again.records() > COMMANDS as u64, "{} records were read", again.records());
    for number in 0..COMMANDS {
        assert!(again.case(&format!("c-{number}")).is_some(), "{number}");
    }
    again.stop().await;
}

fn databases(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "sqlite3")).collect();
    assert!(!found.is_empty());
    found
}

#[tokio::test]
async fn a_deleted_index_is_made_anew() {
    knows_everything_after(|dir| {
        fs::remove_dir_all(dir).unwrap();
        fs::create_dir(dir).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_corrupt_index_is_made_anew() {
    knows_everything_after(|dir| {
        for path in databases(dir) {
            let mut bytes = fs::read(&path).unwrap();
            let from = 4096.min(bytes.len());
            bytes[from..].fill(0xa5);
            fs::write(&path, bytes).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn an_index_of_another_stream_is_made_anew() {
    let (vhost, dir) = left().await;
    let broker = TestBroker::connect(&vhost.uri()).await;
    broker.delete_queue("ferry.ledger").await;
    let fresh = tempfile::tempdir().unwrap();
    let other = LedgerInstance::start(&vhost.uri(), fresh.path()).await;
    for number in 0..2 * COMMANDS {
        other.append(started(&format!("other-{number}"))).await;
    }
    let again = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    assert!(again.case("c-1").is_none());
    assert!(again.case("other-1").is_some());
    again.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn an_index_that_is_ahead_of_the_stream_is_made_anew() {
    let (vhost, dir) = left().await;
    TestBroker::connect(&vhost.uri()).await.delete_queue("ferry.ledger").await;
    let again = LedgerInstance::begin(&vhost.uri(), dir.path(), impatient());
    again.caught_up().await;
    assert!(again.case("c-1").is_none());
    assert!(matches!(again.append(started("c-1")).await.ruling, Ruling::Counts(_)));
    again.stop().await;
}

#[tokio::test]
async fn a_stream_that_is_deleted_under_a_running_instance_loses_no_record_that_is_waited_for() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let dir = tempfile::tempdir().unwrap();
    let one = LedgerInstance::begin(&vhost.uri(), dir.path(), impatient());
    one.caught_up().await;
    one.append(started("gone")).await;
    TestBroker::connect(&vhost.uri()).await.delete_queue("ferry.ledger").await;
    // The broker confirms it, and has nowhere to put it.
    let ruled = one.append(started("kept")).await;
    assert!(matches!(ruled.ruling, Ruling::Counts(_)), "{ruled:?}");
    let kept = async || (one.case("kept").is_some() && one.case("gone").is_none()).then_some(());
    eventually(SOON, "the new stream is all that is known", kept).await;
    one.healthy(LedgerHealth::CaughtUp).await;
    one.stop().await;
}

#[tokio::test]
async fn what_the_broker_confirms_and_drops_is_written_again_while_another_instance_writes() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let dir = tempfile::tempdir().unwrap();
    let one = LedgerInstance::begin(&vhost.uri(), dir.path(), impatient());
    one.caught_up().await;
    one.append(started("before")).await;
    vhost.drop_writes("ferry.ledger").await;
    let two = LedgerInstance::begin(&vhost.uri(), dir.path(), impatient());
    two.caught_up().await;
    // The stream is never silent.
    let others = async {
        let mut written = 0;
        loop {
            two.append(started(&format!("other-{written}"))).await;
            written += 1;
        }
    };
    let ruled = tokio::select! {
        ruled = one.append(started("dropped")) => ruled,
        () = others => unreachable!(),
    };
    assert!(matches!(ruled.ruling, Ruling::Counts(_)), "{ruled:?}");
    let next = one.append(completed("dropped")).await;
    assert!(matches!(next.ruling, Ruling::Counts(_)), "{next:?}");
    one.healthy(LedgerHealth::CaughtUp).await;
    two.ledger.wait_for_barrier().await.unwrap();
    assert_eq!(one.case("dropped").unwrap().history.len(), 2, "each record counts once");
    assert_eq!(one.case("dropped"), two.case("dropped"));
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn an_index_that_breaks_under_a_running_instance_is_made_anew() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let dir = tempfile::tempdir().unwrap();
    let one = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    for number in 0..COMMANDS {
        one.append(started(&format!("c-{number}"))).await;
    }
    one.ledger.flush().await;
    for path in databases(dir.path()) {
        for file in [path.clone(), PathBuf::from(format!("{}-wal", path.display()))] {
            let length = fs::metadata(&file).unwrap().len();
            fs::write(&file, vec![0xa5; usize::try_from(length).unwrap()]).unwrap();
        }
    }
    let mut number = 0;
    let intact = async || {
        number += 1;
        one.append(completed(&format!("c-{}", number % COMMANDS))).await;
        tokio::time::timeout(Duration::from_secs(5), one.ledger.flush()).await.ok()?;
        let counted = one.ledger.index().counts().ok()?;
        (counted.states.values().sum::<u64>() >= COMMANDS as u64).then_some(())
    };
    eventually(SOON, "the index is whole again", intact).await;
    assert!(one.case("c-299").is_some());
    one.stop().await;
}

#[tokio::test]
async fn a_record_that_the_broker_refuses_is_kept_and_those_written_with_it_count() {
    let node = BrokerNode::private().await;
    let vhost = node.vhost().await;
    node.limit_message_size(12_000).await;
    let dir = tempfile::tempdir().unwrap();
    let one = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    one.append(started("large")).await;
    let mut large = completed("large");
    if let RecordBody::Finished(finished) = &mut large.fact {
        // Incompressible text.
        let noise: String = (0..800).map(|_| uuid::Uuid::new_v4().to_string()).collect();
        let event = &finished.effects.event;
        finished.effects.event =
            event.with_changes(|event| event.data.result = Some(serde_json::json!(noise)));
    }
    let ids: Vec<_> = (0..40).map(|number| format!("c-{number}")).collect();
    let appending = join_all(ids.iter().map(async |id| one.append(started(id)).await.ruling));
    let (refused, ruled) =
        tokio::time::timeout(SOON, join(one.ledger.append(large), appending)).await.unwrap();
    assert!(matches!(refused, Err(BrokerError::Refused { .. })), "{refused:?}");
    assert!(ruled.iter().all(|ruling| matches!(ruling, Ruling::Counts(_))), "{ruled:?}");
    assert!(one.case("large").is_some_and(|case| case.ending.is_none()));
    TestBroker::connect(&vhost.uri()).await.await_depth("ferry.dead.other", 1).await;
    // Another instance reads past the missing number.
    one.stop().await;
    let dir = tempfile::tempdir().unwrap();
    let another = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    assert!(ids.iter().all(|id| another.case(id).is_some()));
    another.append(started("later")).await;
    another.stop().await;
}
