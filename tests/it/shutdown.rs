//! Tests that the daemon ends in good order when it is requested to.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::harness::broker::persistent;
use crate::harness::daemon::{DaemonFolder, RunningDaemon};
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::wait::eventually;
use crate::load::{file, notify, pay};
use crate::rig::{SOON, TestRig, word};

/// Memory for two commands of 400,000 bytes at the same time, and prefetch for all.
const NARROW: &str = "max_in_flight = 16\nmax_bytes_in_flight = '1MiB'";

async fn provider_works(rig: &TestRig, calls: u64) {
    let working = async || (rig.sandbox.calls().concurrent >= calls).then_some(());
    eventually(SOON, "the provider works", working).await;
}

/// Makes a command so large that it takes much of the memory for commands in flight.
fn large(mut command: Value) -> Value {
    command["metadata"] = json!({"filler": "x".repeat(400_000)});
    command
}

async fn wait_until_stop_requested(daemon: &RunningDaemon) {
    daemon.wait_for_log(SOON, |line| line["message"] == "stop requested").await;
}

#[tokio::test]
async fn what_is_in_flight_is_finished_and_what_is_not_started_is_given_back() {
    let rig = TestRig::with("", &file(NARROW)).await;
    let daemon = rig.start().await;
    let ids: Vec<_> = (0..8).map(|number| format!("c{number}")).collect();
    for (id, make) in ids.iter().zip([notify, pay].into_iter().cycle()) {
        rig.publish(&large(make(id, json!({"latency": "1s"})))).await;
    }
    provider_works(&rig, 2).await;
    // The daemon holds all of them: none is ready for another consumer.
    rig.broker.await_depth("ferry.commands.acme", 0).await;
    daemon.sigterm();
    assert_eq!(daemon.wait(SOON).await.code(), Some(0));
    rig.events.catch_up().await;
    let (done, left): (Vec<_>, Vec<_>) = ids.iter().partition(|id| !rig.events.of(id).is_empty());
    assert_eq!((done.len(), left.len()), (2, 6));
    assert_eq!(rig.sandbox.calls().total, 2, "the rest was not begun");
    rig.broker.await_depth("ferry.commands.acme", 6).await;

    let successor = rig.start().await;
    for id in &ids {
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed", "{id}");
        assert_eq!(rig.calls(id).calls, 1, "{id}");
    }
    rig.finish(&successor).await;
}

#[tokio::test]
async fn calls_that_outlast_the_grace_are_left_to_the_broker_with_a_warning() {
    let rig = TestRig::with("[shutdown]\ngrace_period = \"1s\"", &file("")).await;
    let daemon = rig.start().await;
    for command in
        [notify("notified", json!({"latency": "5s"})), pay("paid", json!({"latency": "5s"}))]
    {
        rig.publish(&command).await;
    }
    provider_works(&rig, 2).await;
    let start = Instant::now();
    daemon.sigterm();
    assert_eq!(daemon.wait(SOON).await.code(), Some(0));
    assert!(start.elapsed() >= Duration::from_secs(1), "the grace period was not given");
    assert!(rig.events.all().is_empty());
    let warned = |line: &Value| line["level"] == "WARN" && line["in_flight"] == 2;
    assert_eq!(daemon.logs(warned).len(), 1, "{}", daemon.log_text());

    let successor = rig.start().await;
    assert_eq!(word(&rig.terminal("paid").await, "data.state"), "completed");
    assert_eq!(rig.calls("paid").acted, 1);
    assert_eq!(word(&rig.terminal("notified").await, "data.error.kind"), "unresolved");
    assert_eq!(rig.calls("notified").calls, 1);
    rig.finish(&successor).await;
}

#[tokio::test]
async fn a_hangup_drains_the_daemon_however_often_it_comes() {
    let rig = TestRig::with("", &file("")).await;
    let daemon = rig.start().await;
    rig.publish(&notify("held", json!({"latency": "3s"}))).await;
    provider_works(&rig, 1).await;
    kill(daemon.pid(), Signal::SIGHUP).unwrap();
    wait_until_stop_requested(&daemon).await;
    let ended = async || {
        let status = daemon.exit_status();
        if status.is_none() {
            kill(daemon.pid(), Signal::SIGHUP).unwrap();
        }
        status
    };
    assert_eq!(eventually(SOON, "ferryd ends", ended).await.code(), Some(0));
    assert_eq!(word(&rig.terminal("held").await, "data.state"), "completed");
    assert_eq!(daemon.logs(|line| line["message"] == "stopped").len(), 1, "{}", daemon.log_text());
    rig.broker.await_depth("ferry.commands.acme", 0).await;
}

#[tokio::test]
async fn a_second_signal_ends_the_daemon_at_once() {
    for (first, second) in [
        (Signal::SIGTERM, Signal::SIGTERM),
        (Signal::SIGINT, Signal::SIGTERM),
        (Signal::SIGHUP, Signal::SIGINT),
    ] {
        let rig = TestRig::with("", &file("")).await;
        let daemon = rig.start().await;
        rig.publish(&pay("held", json!({"latency": "20s"}))).await;
        provider_works(&rig, 1).await;
        kill(daemon.pid(), first).unwrap();
        wait_until_stop_requested(&daemon).await;
        // Signals that follow closely count as one, so this one is repeated until it counts.
        let ended = async || {
            let status = daemon.exit_status();
            if status.is_none() {
                kill(daemon.pid(), second).unwrap();
            }
            status
        };
        let status = eventually(Duration::from_secs(10), "ferryd ends", ended).await;
        assert_eq!(status.code(), Some(130));
    }
}

#[tokio::test]
async fn a_daemon_ends_while_the_broker_cannot_be_reached() {
    let rig = TestRig::with("[shutdown]\ngrace_period = \"2s\"", &file("")).await;
    let proxy = TcpProxy::to(rig.vhost.address());
    let uri = rig.vhost.uri_at(proxy.address());
    let rig = rig.env("FERRYD_AMQP__URI", &uri);
    let (idle, busy) = (rig.start().await, rig.start().await);
    proxy.refuse().await;
    idle.wait_for_log(SOON, |line| {
        line["message"] == "failed to connect to the broker; trying again"
    })
    .await;
    idle.sigterm();
    assert_eq!(idle.wait(Duration::from_secs(10)).await.code(), Some(0));

    proxy.resume();
    busy.wait_for_logs(2, SOON, |line| line["message"] == "connected").await;
    rig.publish(&pay("held", json!({"latency": "1s"}))).await;
    provider_works(&rig, 1).await;
    proxy.refuse().await;
    busy.sigterm();
    assert_eq!(busy.wait(Duration::from_secs(15)).await.code(), Some(0));
    proxy.resume();
    let successor = rig.start().await;
    assert_eq!(word(&rig.terminal("held").await, "data.state"), "completed");
    assert_eq!(rig.calls("held").acted, 1);
    rig.finish(&successor).await;
}

#[tokio::test]
async fn a_stalled_broker_does_not_keep_a_daemon_from_ending() {
    let rig = TestRig::with("[shutdown]\ngrace_period = \"2s\"", &file("")).await;
    let proxy = TcpProxy::to(rig.vhost.address());
    let uri = rig.vhost.uri_at(proxy.address());
    let rig = rig.env("FERRYD_AMQP__URI", &uri);
    let daemon = rig.start().await;
    proxy.pause();
    daemon.sigterm();
    assert_eq!(daemon.wait(Duration::from_secs(15)).await.code(), Some(0));
}

#[tokio::test]
async fn a_bad_configuration_ends_the_daemon_before_it_connects() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("amqp://{}/%2f", listener.local_addr().unwrap());
    let good = "name = \"acme\"\ntype = \"payment\"\nprotocol = \"rest\"\nbase_url = \"https://localhost\"\n\
                [operations.find]\nrequest = { method = \"GET\", path = \"/\" }\n";
    for (what, setup) in [
        ("an unknown key", DaemonFolder::new(&uri, "speed = 9").provider("acme", good)),
        (
            "a wrong value",
            DaemonFolder::new(&uri, "[shutdown]\ngrace_period = \"soon\"").provider("acme", good),
        ),
        (
            "a wrong provider",
            DaemonFolder::new(&uri, "").provider("acme", &good.replace("https", "http")),
        ),
        ("no provider", DaemonFolder::new(&uri, "")),
    ] {
        let daemon = setup.start();
        assert_eq!(daemon.wait(SOON).await.code(), Some(3), "{what}: {}", daemon.log_text());
        let connected = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await;
        assert!(connected.is_err(), "connected in spite of {what}");
    }
}

#[tokio::test]
async fn a_daemon_that_is_given_poison_while_it_ends_still_ends() {
    let rig = TestRig::with("", &file("")).await;
    let daemon = rig.start().await;
    for number in 0..20 {
        let broken = format!("{{{number}");
        rig.broker
            .publish("ferry.commands", "payment.acme.pay", broken.as_bytes(), persistent())
            .await;
    }
    daemon.sigterm();
    assert_eq!(daemon.wait(SOON).await.code(), Some(0));
    let successor = rig.start().await;
    rig.dead_letters("acme", 20).await;
    rig.finish(&successor).await;
}
