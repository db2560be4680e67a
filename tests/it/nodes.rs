//! Tests several addresses of one broker: where one can't be reached, ferryd goes on with the next.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::daemon::{DaemonFolder, RunningDaemon};
use crate::harness::tcp_proxy::TcpProxy;
use crate::rig::{SOON, TestRig, charge, word};

/// Makes a rig whose daemon reaches its virtual host by two addresses: those of two proxies.
async fn rig() -> (TestRig, [TcpProxy; 2]) {
    let rig = TestRig::new("").await;
    let ways = [TcpProxy::to(rig.vhost.address()), TcpProxy::to(rig.vhost.address())];
    let uris = ways.each_ref().map(|way| rig.vhost.uri_at(way.address())).join(",");
    (rig.env("FERRYD_AMQP__URI", "").env("FERRYD_AMQP__URIS", &uris), ways)
}

/// Lists the address of each session so far.
fn connected(daemon: &RunningDaemon) -> Vec<String> {
    let lines = daemon.logs(|line| line["message"] == "connected");
    lines.iter().map(|line| word(line, "broker").to_owned()).collect()
}

/// Lists the databases of the ledger's index.
fn indexes(rig: &TestRig) -> Vec<String> {
    let files = std::fs::read_dir(rig.setup.path().join("state")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".sqlite3")).collect()
}

/// Runs ferryd to its end. Returns its exit code and all its output.
async fn run(setup: &DaemonFolder, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = setup.command(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code(), printed.concat())
}

#[tokio::test]
async fn a_daemon_goes_on_with_the_next_address_at_once_and_keeps_its_index() {
    let (rig, ways) = rig().await;
    let daemon = rig.start().await;
    assert_eq!(word(&rig.carry(&charge("first", json!({}))).await, "data.state"), "completed");
    for turn in 0..3 {
        let used = connected(&daemon).pop().unwrap();
        let broken = ways.iter().find(|way| used.contains(&way.address().to_string())).unwrap();
        let sessions = connected(&daemon).len();
        broken.refuse().await;
        let connected_again =
            daemon.wait_for_logs(sessions + 1, SOON, |line| line["message"] == "connected").await;
        assert_ne!(word(connected_again.last().unwrap(), "broker"), used);
        let event = rig.carry(&charge(&format!("turn-{turn}"), json!({}))).await;
        assert_eq!(word(&event, "data.state"), "completed");
        broken.resume();
    }
    let read = indexes(&rig);
    assert_eq!(read.len(), 1, "{read:?}");
    assert_eq!(
        daemon.logs(|line| line["message"] == "reading the ledger from its beginning").len(),
        0
    );
    rig.end(&daemon).await;
    // The first address alone names the index, which stays the same without the others.
    let first = rig.vhost.uri_at(ways[0].address());
    let rig = rig.env("FERRYD_AMQP__URIS", "").env("FERRYD_AMQP__URI", &first);
    let daemon = rig.start().await;
    assert_eq!(indexes(&rig), read);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn every_address_is_tried_before_there_is_a_pause_and_each_failure_names_its_own() {
    let (rig, ways) = rig().await;
    for way in &ways {
        way.refuse().await;
    }
    let daemon = rig.setup.start();
    let failed = |line: &Value| line["message"] == "failed to connect to the broker; trying again";
    let failures = daemon.wait_for_logs(4, SOON, failed).await;
    let pauses: Vec<_> =
        failures[..4].iter().map(|line| line["pause_ms"].as_u64().unwrap() > 0).collect();
    assert_eq!(pauses, [false, true, false, true], "{failures:?}");
    let [first, second] = [0, 1].map(|place: usize| word(&failures[place], "error").to_owned());
    let at = |way: &TcpProxy| format!("connect to amqp://{}/", way.address());
    let names = |error: &str, way: &TcpProxy| error.contains(&at(way));
    assert!(ways.iter().all(|way| names(&first, way) != names(&second, way)), "{first}\n{second}");
    ways[1].resume();
    daemon.wait_ready().await;
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn the_command_line_goes_on_with_the_next_address_and_names_all_where_none_can_be_reached() {
    let (rig, ways) = rig().await;
    ways[0].refuse().await;
    let (code, printed) = run(&rig.setup, &["topology", "apply"]).await;
    assert_eq!(code, Some(0), "{printed}");
    let (_, printed) = run(&rig.setup, &["check", "--connect", "--json"]).await;
    let report: Value = serde_json::from_str(&printed).unwrap();
    let ways_reached: Vec<_> =
        (0..2).map(|place| report["reached"][place]["error"].is_null()).collect();
    assert_eq!(ways_reached, [false, true], "{printed}");
    ways[1].refuse().await;
    let began = Instant::now();
    let (code, printed) = run(&rig.setup, &["topology", "apply"]).await;
    assert_eq!(code, Some(4), "{printed}");
    for way in &ways {
        assert!(printed.contains(&format!("connect to amqp://{}/", way.address())), "{printed}");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "a refused connection was waited for");
}
