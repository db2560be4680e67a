//! The command line as a client of the daemon's API: where it finds the daemon, with which token,
//! and what it says where that does not help.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::json;
use tokio::net::TcpStream;

use super::operator_bench::CommandResult;
use super::recorded::{ferryd, ferryd_json};
use crate::harness::daemon::RunningDaemon;
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::wait::eventually;
use crate::rig::{SOON, TestRig, charge, word};
use crate::tls_server::{CertificateAuthority, TlsServer};

const READER: &str = "reader-0123456789abcdef";

fn address_file(rig: &TestRig) -> PathBuf {
    rig.setup.path().join("state/api-token.address")
}

async fn address(daemon: &RunningDaemon) -> String {
    let line = daemon.wait_for_log(SOON, |line| line["message"] == "the API listens").await;
    word(&line, "address").to_owned()
}

/// Runs ferryd to its end, with these variables besides.
pub(super) async fn ferryd_with(
    rig: &TestRig,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> CommandResult {
    let mut command = rig.setup.command(arguments);
    command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    CommandResult::from(run.await.unwrap())
}

#[tokio::test]
async fn where_no_daemon_runs_it_is_said_so_with_what_to_do() {
    let rig = TestRig::new("").await;
    let never = ferryd(&rig, &["status", "paid"]).await;
    assert!(
        never.code == Some(4) && never.err.contains("no ferryd runs on this host"),
        "{never:?}"
    );
    let daemon = rig.start().await;
    rig.carry(&charge("paid", json!({}))).await;
    assert_eq!(ferryd_json(&rig, &["status", "paid"]).await["state"], "completed");
    assert_eq!(address_file(&rig).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // One that was killed leaves its file behind.
    daemon.kill9();
    let killed = ferryd(&rig, &["status", "paid"]).await;
    assert!(
        killed.code == Some(4) && killed.err.contains("no ferryd answers at http://127.0.0.1:"),
        "{killed:?}"
    );
    let daemon = rig.start().await;
    assert_eq!(ferryd_json(&rig, &["status", "paid"]).await["state"], "completed");
    rig.finish(&daemon).await;
    assert!(!address_file(&rig).exists());
    let ended = ferryd(&rig, &["status", "paid"]).await;
    assert!(
        ended.code == Some(4) && ended.err.contains("no ferryd runs on this host"),
        "{ended:?}"
    );
    for output in [never, killed, ended] {
        let remedy = "start one with `ferryd run`, or name another with --url; `ferryd dead-letters list --queues`";
        assert!(output.err.contains(remedy) && output.out.is_empty(), "{output:?}");
    }
}

#[tokio::test]
async fn of_two_daemons_on_a_host_the_one_that_lives_is_called() {
    let rig = TestRig::new("").await;
    let named =
        || std::fs::read_to_string(address_file(&rig)).unwrap_or_default().trim().to_owned();
    let first = rig.start().await;
    let second = rig.start().await;
    assert_eq!(named(), address(&first).await);
    first.kill9();
    let other = address(&second).await;
    eventually(SOON, "the file names the one that lives", async || {
        (named() == other).then_some(())
    })
    .await;
    assert_eq!(ferryd(&rig, &["status", "nobody"]).await.code, Some(1));
}

#[tokio::test]
async fn a_token_that_is_wrong_or_not_good_for_it_is_named() {
    let rig = TestRig::new(&format!(
        "[[api.tokens]]\nname = 'graph'\nrole = 'read'\ntoken = '{READER}'\n"
    ))
    .await;
    let daemon = rig.start().await;
    rig.carry(&charge("paid", json!({}))).await;
    let reader = ferryd_with(&rig, &[("FERRYD_TOKEN", READER)], &["status", "paid"]).await;
    assert_eq!((reader.code, reader.err.as_str()), (Some(0), ""), "{reader:?}");
    let reading = ferryd_with(&rig, &[("FERRYD_TOKEN", READER)], &["cancel", "paid"]).await;
    let expected = "the token `graph` has the role read; this needs one with the role operate";
    assert!(
        reading.code == Some(1) && reading.err.contains(expected) && reading.out.is_empty(),
        "{reading:?}"
    );
    let wrong =
        ferryd_with(&rig, &[("FERRYD_TOKEN", "wrong-0123456789abcdef")], &["status", "paid"]).await;
    assert!(
        wrong.code == Some(1) && wrong.err.contains("does not know the token in FERRYD_TOKEN"),
        "{wrong:?}"
    );
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_daemon_elsewhere_is_called_over_tls_without_the_configuration() {
    let rig = TestRig::new(&format!(
        "[[api.tokens]]\nname = 'graph'\nrole = 'read'\ntoken = '{READER}'\n"
    ))
    .await;
    let daemon = rig.start().await;
    rig.carry(&charge("paid", json!({}))).await;
    let target: SocketAddr = address(&daemon).await.parse().unwrap();
    let authority = CertificateAuthority::new();
    let proxy = TlsServer::start(authority.issue("localhost"), move |mut stream| async move {
        let mut tcp = TcpStream::connect(target).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut tcp).await;
    })
    .await;
    let url = format!("https://localhost:{}", proxy.address.port());
    let authorities = authority.file().to_str().unwrap().to_owned();
    let trusting =
        [("FERRYD_TOKEN", READER), ("SSL_CERT_FILE", &authorities), ("FERRYD_URL", &url)];
    let nowhere = ["--config", "/nowhere/ferryd.toml"];
    let status = ferryd_with(&rig, &trusting, &["status", "paid", "--json"]).await;
    assert_eq!(
        (status.code, &status.json()["state"]),
        (Some(0), &json!("completed")),
        "{status:?}"
    );
    let mut bare = std::process::Command::new(env!("CARGO_BIN_EXE_ferryd"));
    bare.args(["status", "paid"]).args(nowhere).env_clear().envs(trusting);
    let status = tokio::task::spawn_blocking(move || bare.output().unwrap()).await.unwrap();
    assert!(status.status.success(), "{status:?}");
    let suspicious =
        ferryd_with(&rig, &[("FERRYD_TOKEN", READER)], &["status", "paid", "--url", &url]).await;
    assert!(suspicious.code == Some(4) && suspicious.err.contains("certificate"), "{suspicious:?}");
}

#[tokio::test]
async fn a_daemon_that_still_reads_the_ledger_is_waited_for() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    rig.carry(&charge("paid", json!({}))).await;
    rig.finish(&daemon).await;
    let way = TcpProxy::to(rig.vhost.address());
    way.refuse().await;
    let uri = rig.vhost.uri_at(way.address());
    let rig = rig.env("FERRYD_AMQP__URI", &uri);
    let daemon = rig.setup.start();
    eventually(SOON, "it listens", async || address_file(&rig).exists().then_some(())).await;
    let asking = ferryd(&rig, &["status", "paid", "--json"]);
    let resuming = async {
        daemon
            .wait_for_log(SOON, |line| {
                line["message"].as_str().unwrap_or_default().contains("failed to connect")
            })
            .await;
        way.resume();
    };
    let (status, ()) = tokio::join!(asking, resuming);
    assert_eq!(
        (status.code, &status.json()["state"]),
        (Some(0), &json!("completed")),
        "{status:?}"
    );
}
