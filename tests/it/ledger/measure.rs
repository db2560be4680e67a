//! Measures the speed of the ledger: `cargo test --release --test it -- --ignored --nocapture
//! ledger::measure`.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::ledger_instance::{LedgerInstance, completed, settled, started};
use crate::harness::node::BrokerNode;

const COMMANDS: usize = 1_000_000;
const APPENDERS: usize = 256;

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

/// Returns the peak and the present memory of this process, in MiB.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
    };
    (of("VmHWM:"), of("VmRSS:"))
}

/// Returns the processor time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for seconds"]
async fn latency_of_one_record_on_an_idle_machine() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let dir = tempfile::tempdir().unwrap();
    let one = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    for pause in [Duration::ZERO, Duration::from_millis(10)] {
        let (begun, used) = (Instant::now(), cpu());
        let mut ages = Vec::new();
        for number in 0..2_000 {
            ages.push(one.append(started(&format!("{}-{number}", pause.as_millis()))).await.age);
            tokio::time::sleep(pause).await;
        }
        let (took, used) = (begun.elapsed(), cpu().saturating_sub(used));
        ages.sort_unstable();
        let [p50, p99, most] = [50, 99, 100].map(|percent| percentile(&ages, percent));
        eprintln!(
            "pause {pause:?}: append to ruling p50 {p50:?} p99 {p99:?} max {most:?}; {used:?} CPU in {took:?}"
        );
    }
    one.stop().await;
}

/// Carries commands of three records each, by so many appenders at a time.
async fn carry(one: &LedgerInstance, commands: usize, note: bool) -> Duration {
    let begun = Instant::now();
    let mut running = FuturesUnordered::new();
    for number in 0..commands {
        if running.len() >= APPENDERS {
            running.next().await;
        }
        let ledger = one.ledger.clone();
        running.push(tokio::spawn(async move {
            let id = format!("shop.order-{number}.charge");
            ledger.append(started(&id)).await.unwrap();
            let end = ledger.append(completed(&id)).await.unwrap();
            if note {
                ledger.append_unawaited(settled(&id, end.id));
            }
        }));
    }
    while running.next().await.is_some() {}
    begun.elapsed()
}

fn print(what: &str, records: usize, took: Duration, used: Duration) {
    let counted = f64::from(u32::try_from(records).unwrap());
    let (rate, each) = (counted / took.as_secs_f64(), used.as_secs_f64() * 1e6 / counted);
    let (peak, now) = memory();
    eprintln!(
        "{what}: {records} records in {took:.1?}, {rate:.0}/s, {each:.1} µs CPU each; {now} MiB now, {peak} MiB peak"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for seconds"]
async fn throughput_of_many_appenders() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let dir = tempfile::tempdir().unwrap();
    let one = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    let commands = 50_000;
    let used = cpu();
    let took = carry(&one, commands, true).await;
    print("append, 256 at a time", commands * 3, took, cpu().saturating_sub(used));
    let begun = Instant::now();
    one.ledger.flush().await;
    eprintln!("flushed after {:?} more", begun.elapsed());
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for minutes"]
async fn rebuilding_a_million_commands() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let dir = tempfile::tempdir().unwrap();
    let commands =
        std::env::var("COMMANDS").ok().and_then(|text| text.parse().ok()).unwrap_or(COMMANDS);
    let one = LedgerInstance::start(&vhost.uri(), dir.path()).await;
    let used = cpu();
    let took = carry(&one, commands, true).await;
    print("written", commands * 3, took, cpu().saturating_sub(used));
    one.stop().await;
    // The peak from now on (proc(5), clear_refs).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let fresh = tempfile::tempdir().unwrap();
    let (begun, used) = (Instant::now(), cpu());
    let again =
        LedgerInstance::start_within(&vhost.uri(), fresh.path(), Duration::from_mins(20)).await;
    print(
        "rebuilt",
        usize::try_from(again.records()).unwrap(),
        begun.elapsed(),
        cpu().saturating_sub(used),
    );
    again.ledger.flush().await;
    print(
        "and saved",
        usize::try_from(again.records()).unwrap(),
        begun.elapsed(),
        cpu().saturating_sub(used),
    );
    let sizes = std::fs::read_dir(fresh.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len());
    eprintln!("the index has {} MiB", sizes.sum::<u64>() >> 20);
    again.stop().await;
    let begun = Instant::now();
    let warm = LedgerInstance::start(&vhost.uri(), fresh.path()).await;
    eprintln!("started again in {:?}, {} records read", begun.elapsed(), warm.records());
    warm.stop().await;
}
