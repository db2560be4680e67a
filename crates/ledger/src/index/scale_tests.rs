//! Measures the index at a million commands:
//! `cargo test --release --lib -- --ignored --nocapture a_million_commands`.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tempfile::TempDir;
use uuid::Uuid;

use super::fixture::{SampleCommand, changes, seconds};
use super::*;
use crate::command_filter::CommandFilter;
use ferryd_domain::lifecycle::{FailureKind, LifecycleState};

const COMMANDS: u32 = 1_000_000;
const BATCH: usize = 2_000;

/// Returns the command with this number, one a second, and its final state.
fn lived(n: u32) -> (SampleCommand, CommandState) {
    let id = Uuid::from_u128(u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
    let mut sample = SampleCommand::new(&format!("shop.{id}"), i64::from(n));
    let identity = &mut sample.identity;
    // The last provider was removed long ago.
    let provider = if n < 20_000 {
        "old"
    } else {
        ["stripe", "adyen", "acme-ship", "acme-sms"][n as usize % 4]
    };
    identity.provider = Some(provider.parse().unwrap());
    identity.operation = Some(["charge", "refund", "capture"][n as usize % 3].parse().unwrap());
    identity.account = Some(format!("shop-{}", n % 20).parse().unwrap());
    identity.reference = Some(format!("order-{}", n / 3));
    let state = match n % 100 {
        _ if n > COMMANDS - 2_000 => sample.opened(),
        0..=1 => sample.failed(
            FailureKind::Declined,
            ["card_declined", "expired_card"][n as usize % 2],
            402,
        ),
        2 => sample.failed(
            FailureKind::Rejected,
            ["no_such_card", "bad_amount", "forbidden"][n as usize % 3],
            400,
        ),
        3 => sample.failed(FailureKind::Unavailable, "timeout", 503),
        4 if n % 1_000 == 4 => sample.waiting(),
        _ => sample.completed(),
    };
    (sample, state)
}

fn save(index: &LedgerIndex, states: &[(SampleCommand, CommandState)], offset: u64) {
    let states = states.iter().map(|(sample, state)| (sample, state.clone()));
    index.save(&changes(states, offset), seconds(0)).unwrap();
}

fn percentile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

/// Prints the slowest and the median of some runs.
fn measure<T>(what: &str, most: Duration, mut run: impl FnMut() -> T) {
    let times: Vec<_> = (0..7)
        .map(|_| {
            let clock = Instant::now();
            run();
            clock.elapsed()
        })
        .collect();
    let median = percentile(times.clone(), 50);
    println!("{what:<58} median {median:>10.1?}  slowest {:>10.1?}", percentile(times, 100));
    assert!(median < most, "{what}: {median:?}");
}

#[test]
#[ignore = "takes minutes"]
fn a_million_commands() {
    let dir = TempDir::new().unwrap();
    let index = LedgerIndex::open(dir.path(), "key").unwrap();
    let began = Instant::now();
    let (mut saving, mut slowest, mut last) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for batch in 0..COMMANDS as usize / BATCH {
        let states: Vec<_> = (batch * BATCH..(batch + 1) * BATCH)
            .map(|n| lived(u32::try_from(n).unwrap()))
            .collect();
        let clock = Instant::now();
        save(&index, &states, 1);
        let took = clock.elapsed();
        (saving, slowest) = (saving + took, slowest.max(took));
        if batch * BATCH >= COMMANDS as usize * 9 / 10 {
            last += took;
        }
    }
    let rate = |commands: u32, took: Duration| f64::from(commands) / took.as_secs_f64();
    println!("made in {:.1?}", began.elapsed());
    println!(
        "new commands saved: {:.0}/s, the last 100,000 {:.0}/s, slowest transaction of {BATCH} {slowest:.1?}",
        rate(COMMANDS, saving),
        rate(COMMANDS / 10, last)
    );
    update(&index);
    println!("{} MB on disk", std::fs::metadata(index.path()).unwrap().len() >> 20);
    look_up(&index);
    lists(&index);
    forget(&index);
    let clock = Instant::now();
    drop(index);
    println!("closed in {:.1?}", clock.elapsed());
    let clock = Instant::now();
    let index = LedgerIndex::open(dir.path(), "key").unwrap();
    println!("opened in {:.1?}", clock.elapsed());
    drop(index);
}

/// Ends commands: recent ones, as is usual, and any.
fn update(index: &LedgerIndex) {
    for (what, step) in [("recent", 1), ("any", 613)] {
        let mut took = Duration::ZERO;
        for batch in 0..10 {
            let one = |n: usize| {
                let n =
                    COMMANDS - 1 - u32::try_from((batch * BATCH + n) * step).unwrap() % COMMANDS;
                let (sample, _) = lived(n);
                let state = if n.is_multiple_of(2) { sample.completed() } else { sample.waiting() };
                (sample, state)
            };
            let states: Vec<_> = (0..BATCH).map(one).collect();
            let clock = Instant::now();
            save(index, &states, 2);
            took += clock.elapsed();
        }
        println!("{what} commands changed: {:.0}/s", f64::from(10 * 2_000) / took.as_secs_f64());
    }
}

fn look_up(index: &LedgerIndex) {
    for (what, step) in [("any", 7_919), ("recent", 1)] {
        let ids: Vec<_> =
            (0..20_000).map(|n| lived(COMMANDS - 1 - n * step % COMMANDS).0.id()).collect();
        let times = ids.iter().map(|id| {
            let clock = Instant::now();
            assert!(index.command_state(id).unwrap().is_some());
            clock.elapsed()
        });
        let times: Vec<_> = times.collect();
        let (median, late) = (percentile(times.clone(), 50), percentile(times, 99));
        println!("{what} command by id: median {median:.1?}, p99 {late:.1?}");
    }
    let unknown = "unknown".parse().unwrap();
    measure("unknown command by id", Duration::from_millis(5), || {
        index.command_state(&unknown).unwrap()
    });
}

fn lists(index: &LedgerIndex) {
    let any = CommandFilter::default;
    let name = |text: &str| Some(text.parse().unwrap());
    let id = lived(777_777).0.id();
    let (old, middle, new) =
        (seconds(1_000), seconds(500_000), seconds(i64::from(COMMANDS) - 3_000));
    let filters = [
        ("all", any()),
        ("one id", CommandFilter { ids: vec![id], ..any() }),
        ("reference", CommandFilter { reference: Some("order-70000".into()), ..any() }),
        ("completed", CommandFilter { state: Some(LifecycleState::Completed), ..any() }),
        ("pending (2,000)", CommandFilter { state: Some(LifecycleState::Pending), ..any() }),
        ("provider (245,000)", CommandFilter { provider: name("stripe"), ..any() }),
        ("provider removed long ago (20,000)", CommandFilter { provider: name("old"), ..any() }),
        ("its dead letters", CommandFilter { provider: name("old"), dead: true, ..any() }),
        ("unknown provider", CommandFilter { provider: name("none"), ..any() }),
        (
            "account and operation",
            CommandFilter { account: name("shop-7"), operation: name("refund"), ..any() },
        ),
        ("code (10,000)", CommandFilter { code: Some("card_declined".into()), ..any() }),
        ("http status", CommandFilter { http_status: Some(402), ..any() }),
        ("dead letters (20,000)", CommandFilter { dead: true, ..any() }),
        (
            "dead letters older than most",
            CommandFilter { dead: true, older_than: Some(old), ..any() },
        ),
        (
            "dead letters newer than any",
            CommandFilter { dead: true, newer_than: Some(seconds(9_000_000)), ..any() },
        ),
        ("all of the last 50 minutes", CommandFilter { newer_than: Some(new), ..any() }),
        ("all newer than any", CommandFilter { newer_than: Some(seconds(9_000_000)), ..any() }),
        ("all of the older half", CommandFilter { older_than: Some(middle), ..any() }),
        ("all older than most", CommandFilter { older_than: Some(old), ..any() }),
        (
            "completed, older than any",
            CommandFilter {
                state: Some(LifecycleState::Completed),
                older_than: Some(seconds(0)),
                ..any()
            },
        ),
    ];
    for (what, filter) in &filters {
        for limit in [50, MAX_PAGE] {
            let rows = index.list(filter, None, limit).unwrap().rows.len();
            let what = format!("list {what}: {rows} rows");
            measure(&what, Duration::from_millis(200), || index.list(filter, None, limit).unwrap());
        }
    }
    let far = index
        .list(&CommandFilter { older_than: Some(old), ..any() }, None, 1)
        .unwrap()
        .next
        .unwrap();
    measure("list all, far back", Duration::from_millis(100), || {
        index.list(&any(), Some(&far), 50).unwrap()
    });
    measure("groups of all dead letters", Duration::from_millis(100), || {
        index.groups(&any()).unwrap()
    });
    measure("counts", Duration::from_millis(5), || index.counts().unwrap());
}

fn forget(index: &LedgerIndex) {
    let older_than = seconds(10_000);
    let (mut times, mut sum) = (Vec::new(), 0);
    loop {
        let clock = Instant::now();
        let some = index.prune_commands(older_than).unwrap();
        times.push(clock.elapsed());
        sum += some;
        if some == 0 {
            break;
        }
    }
    let none = times.pop().unwrap();
    println!(
        "forgot {sum} in {} goes, slowest {:.1?}; finding nothing left took {none:.1?}",
        times.len(),
        percentile(times, 100)
    );
    measure("forget, with nothing to forget", Duration::from_millis(200), || {
        index.prune_commands(older_than - SignedDuration::from_hours(1)).unwrap()
    });
}
