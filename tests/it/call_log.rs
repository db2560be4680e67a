//! Tests the stream of calls: written, searched, and no obstacle to commands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ferryd_ledger::call_log::{CAPACITY, CallWindow, FoundCalls, PATIENCE, find, spans};
use ferryd_ledger::index::{IndexedCalls, LedgerIndex};
use ferryd_transport::call_log::HttpCall;
use jiff::Timestamp;

use crate::call_writer::{ACME, CallWriter, SOON, STREAM, attempts, call, search, settings, since};
use crate::harness::daemon::DaemonFolder;
use crate::harness::node::BrokerNode;
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::wait::eventually;

#[tokio::test]
async fn a_commands_calls_are_found_by_id_and_time_among_five_thousand_others() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let writer = CallWriter::start(&vhost.uri());
    let start = Timestamp::now();
    let [first, second] =
        [1, 2].map(|attempt| call("order-1", attempt, start, "{\"amount\":1099}"));
    for number in 0..5_000 {
        let body = format!("{{\"note\":\"{}\"}}", "x".repeat(400));
        writer.write(&call(&format!("order-1{number:04}"), 1, start, &body)).await;
        match number {
            1_000 => writer.write(&second).await,
            4_000 => writer.write(&first).await,
            _ => {}
        }
    }
    writer.end().await;

    let began = Instant::now();
    let found = search(&vhost.uri(), "order-1", since(start)).await;
    assert_eq!(found, FoundCalls { calls: vec![first, second], complete: true });
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(
        search(&vhost.uri(), "order-2", since(start)).await,
        FoundCalls { calls: vec![], complete: true }
    );
    let day = Duration::from_hours(24);
    let [yesterday, tomorrow] =
        [start - day, start + day].map(|at| CallWindow { from: at, to: at });
    for window in [yesterday, tomorrow] {
        let found = search(&vhost.uri(), "order-1", window).await;
        assert_eq!(found, FoundCalls { calls: vec![], complete: true }, "{window:?}");
    }

    let setup = DaemonFolder::new(&vhost.uri(), "").provider("acme", ACME);
    let daemon = setup.start_ready().await;
    let ferryd = async |arguments: &[&str]| {
        let mut command = setup.command(arguments);
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
    };
    let shown = ferryd(&["calls", "order-1", "--attempt", "2"]).await;
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains("\n> POST https://a.example/\n"), "{text}");
    assert!(
        text.contains("\n>   \"amount\": 1099\n")
            && text.contains("\n< 201\n")
            && !text.contains("#1 "),
        "{text}"
    );
    let shown = ferryd(&["calls", "order-1", "--json", "--since", "1h"]).await;
    assert_eq!(String::from_utf8(shown.stdout).unwrap().lines().count(), 2);
    for (arguments, expected) in [
        (
            &["calls", "order-2"][..],
            "no calls of command `order-2` are recorded within the last 24h",
        ),
        (
            &["calls", "order-2", "--since", "1h"],
            "no calls of command `order-2` are recorded within the last 1h",
        ),
    ] {
        let none = ferryd(arguments).await;
        let complaint = String::from_utf8(none.stderr).unwrap();
        assert!(none.status.code() == Some(1) && complaint.contains(expected), "{complaint}");
    }
    drop(daemon);
}

/// Waits until the calls of `command` are recorded in so many messages.
async fn noted(index: &LedgerIndex, command: &str, messages: usize) -> IndexedCalls {
    let (id, spans) =
        (command.parse().unwrap(), spans(&[since(Timestamp::now() - Duration::from_hours(1))]));
    eventually(SOON, "the calls are noted", async || {
        index.noted_calls(&id, &spans).unwrap().filter(|noted| noted.offsets.len() == messages)
    })
    .await
}

#[tokio::test]
async fn a_search_reads_the_messages_that_are_noted_and_what_came_after() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let (writer, dir) = (CallWriter::start(&vhost.uri()), tempfile::tempdir().unwrap());
    let index = Arc::new(LedgerIndex::open(dir.path(), "key").unwrap());
    writer.note_offsets(&index);
    let start = Timestamp::now();
    let note = format!("{{\"note\":\"{}\"}}", "x".repeat(400));
    let write = async |from: usize, to: usize| {
        for number in from..to {
            writer.write(&call(&format!("order-{number}"), 1, start, &note)).await;
        }
    };
    write(0, 3_000).await;
    let of_first = noted(&index, "order-1", 1).await;
    noted(&index, "order-2999", 1).await;
    let found = async |command: &str, noted: &IndexedCalls| {
        let id = command.parse().unwrap();
        let found = find::<HttpCall<'static>>(
            &settings(&vhost.uri()),
            STREAM,
            &id,
            &[since(start)],
            Some(noted),
        )
        .await
        .ok()?;
        Some(attempts(&found))
    };
    assert_eq!(found("order-1", &of_first).await.unwrap(), [1]);
    // The search skips a time whose calls are recorded.
    let nowhere = IndexedCalls { offsets: Vec::new(), ..of_first.clone() };
    assert_eq!(found("order-1", &nowhere).await.unwrap(), [0; 0]);

    // Not recorded yet: the stream is read from the checkpoint on.
    let is_found = async |attempts: &[u32], noted: &IndexedCalls| {
        (found("order-1", noted).await? == attempts).then_some(())
    };
    writer.write(&call("order-1", 2, start, "")).await;
    eventually(SOON, "both are found", async || is_found(&[1, 2], &of_first).await).await;
    let both = noted(&index, "order-1", 2).await;
    assert_eq!(found("order-1", &both).await.unwrap(), [1, 2]);

    // The stream is made anew: the recorded offsets of the old one are invalid, and are ignored.
    let broker = crate::harness::broker::TestBroker::connect(&vhost.uri()).await;
    broker.delete_queue(STREAM).await;
    eventually(SOON, "it is declared again", async || broker.depth(STREAM).await).await;
    writer.write(&call("order-1", 3, start, "")).await;
    eventually(SOON, "the new one is found", async || is_found(&[3], &both).await).await;
    let anew = noted(&index, "order-1", 1).await;
    assert_eq!(found("order-1", &anew).await.unwrap(), [3]);
    writer.end().await;
}

/// Measures `ferryd calls` with 300,000 commands: `cargo test --release --test it -- --ignored
/// --nocapture what_calls_take`.
#[tokio::test]
#[ignore = "takes a minute"]
async fn what_calls_take_at_three_hundred_thousand_commands() {
    const COMMANDS: u32 = 300_000;
    let vhost = BrokerNode::shared().await.vhost().await;
    let setup = DaemonFolder::new(&vhost.uri(), "").provider("acme", ACME);
    let daemon = setup.start_ready().await;
    let writer = CallWriter::start(&vhost.uri());
    let note = format!("{{\"note\":\"{}\"}}", "x".repeat(400));
    let id = |number: u32| format!("shop.order-{:08x}.charge", number.wrapping_mul(0x9E37_79B9));
    let began = Instant::now();
    for number in 0..COMMANDS {
        writer.write(&call(&id(number), 1, Timestamp::now(), &note)).await;
    }
    writer.end().await;
    println!("written in {:.1?}", began.elapsed());
    for (what, first) in [("just after", true), ("once all is noted", false)] {
        if !first {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        let mut times = Vec::new();
        for number in [7, 1_000, 77_777, 150_000, 222_222, 299_999, 12_345] {
            let mut command = setup.command(&["calls", &id(number), "--json", "--since", "1h"]);
            let clock = Instant::now();
            let output =
                tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
            times.push(clock.elapsed());
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        times.sort_unstable();
        println!("ferryd calls, {what}: median {:.1?}, slowest {:.1?}", times[3], times[6]);
    }
    let clock = Instant::now();
    assert_eq!(
        attempts(
            &search(&vhost.uri(), &id(77_777), since(Timestamp::now() - Duration::from_hours(1)))
                .await
        ),
        [1]
    );
    println!("the same search by time alone: {:.1?}", clock.elapsed());
    drop(daemon);
}

#[tokio::test]
async fn what_is_written_while_the_broker_is_dead_is_there_once_it_lives_again() {
    let node = BrokerNode::private().await;
    let writer = CallWriter::start(&node.uri());
    let start = Timestamp::now();
    let write = async |attempts: std::ops::Range<u32>| {
        for attempt in attempts {
            writer.write(&call("order-1", attempt, start, "")).await;
        }
    };
    write(1..6).await;
    let uri = node.uri();
    eventually(SOON, "the first are found", async || {
        let found = find::<HttpCall<'static>>(
            &settings(&uri),
            STREAM,
            &"order-1".parse().unwrap(),
            &[since(start)],
            None,
        )
        .await
        .ok()?;
        (attempts(&found) == [1, 2, 3, 4, 5]).then_some(())
    })
    .await;
    node.settle().await;
    node.kill9().await;
    write(6..11).await;
    node.start().await;
    eventually(SOON, "all are found", async || {
        let found = find::<HttpCall<'static>>(
            &settings(&uri),
            STREAM,
            &"order-1".parse().unwrap(),
            &[since(start)],
            None,
        )
        .await
        .ok()?;
        (attempts(&found) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).then_some(())
    })
    .await;
    writer.end().await;
    assert!(search(&uri, "order-1", since(start)).await.complete);
}

#[tokio::test]
async fn a_stalled_broker_holds_a_call_for_a_second_and_takes_no_more_than_the_buffer() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let proxy = TcpProxy::to(vhost.address());
    let writer = CallWriter::start(&vhost.uri_at(proxy.address()));
    let start = Timestamp::now();
    writer.write(&call("order-0", 1, start, "")).await;
    eventually(SOON, "the writer works", async || {
        let found = find::<HttpCall<'static>>(
            &settings(&vhost.uri()),
            STREAM,
            &"order-0".parse().unwrap(),
            &[since(start)],
            None,
        )
        .await
        .ok()?;
        (attempts(&found) == [1]).then_some(())
    })
    .await;

    proxy.pause();
    let body = "x".repeat(100_000);
    let mut written = 0;
    let held = loop {
        let began = Instant::now();
        writer.write(&call(&format!("order-{}", written + 1), 1, start, &body)).await;
        if writer.calls.dropped_calls() > 0 {
            break began.elapsed();
        }
        assert!(
            began.elapsed() < PATIENCE / 2,
            "a call that was taken held its call for {:?}",
            began.elapsed()
        );
        written += 1;
    };
    assert!((PATIENCE..PATIENCE * 3).contains(&held), "{held:?}");
    let room = CAPACITY / body.len();
    assert!((room - 2..=room).contains(&written), "{written} of {room}");
    let many = (0..50).map(|_| async { writer.write(&call("late", 1, start, &body)).await });
    let began = Instant::now();
    futures_util::future::join_all(many).await;
    assert!(began.elapsed() < PATIENCE * 3, "calls wait for each other: {:?}", began.elapsed());
    assert_eq!(writer.calls.dropped_calls(), 51);

    proxy.resume();
    for number in [1, written / 2, written] {
        let id = format!("order-{number}").parse().unwrap();
        eventually(SOON, "what was in the buffer is found", async || {
            let found = find::<HttpCall<'static>>(
                &settings(&vhost.uri()),
                STREAM,
                &id,
                &[since(start)],
                None,
            )
            .await
            .ok()?;
            (attempts(&found) == [1]).then_some(())
        })
        .await;
    }
    writer.write(&call("after", 1, start, "")).await;
    writer.end().await;
    assert_eq!(attempts(&search(&vhost.uri(), "after", since(start)).await), [1]);
    assert_eq!(
        search(&vhost.uri(), "late", since(start)).await,
        FoundCalls { calls: vec![], complete: true }
    );
}

#[tokio::test]
async fn without_a_broker_an_orderly_end_takes_seconds_only() {
    let writer = CallWriter::start("amqp://127.0.0.1:1/%2f");
    writer.write(&call("order-1", 1, Timestamp::now(), "")).await;
    let began = Instant::now();
    writer.end().await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
