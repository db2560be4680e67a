//! Following events.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use ferryd_domain::event::EventKind;
use ferryd_domain::lifecycle::FailureKind;
use ferryd_domain::outcome::{Failure, Success};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::operator_bench::{OperatorBench, event, letter, letter_of};
use crate::harness::daemon::DaemonFolder;
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(20);

/// `ferryd events` as it runs; killed when dropped.
struct FollowingProcess {
    child: Child,
    out: UnboundedReceiver<String>,
    err: UnboundedReceiver<String>,
}

impl FollowingProcess {
    fn start(setup: &DaemonFolder, arguments: &[&str]) -> Self {
        let mut command = setup.command(&[&["events"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    async fn line(&mut self) -> String {
        tokio::time::timeout(PATIENCE, self.out.recv()).await.unwrap().unwrap()
    }

    async fn notice(&mut self) -> String {
        tokio::time::timeout(PATIENCE, self.err.recv()).await.unwrap().unwrap()
    }

    async fn code(&mut self) -> Option<i32> {
        eventually(PATIENCE, "it ends", async || self.child.try_wait().unwrap()).await.code()
    }
}

impl Drop for FollowingProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stream: impl std::io::Read + Send + 'static) -> UnboundedReceiver<String> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Publishes `marker` until it is seen: only then is the subscription there.
async fn subscribed(bench: &OperatorBench, following: &mut FollowingProcess, marker: &str) {
    let marker = event(&letter(marker), 0, EventKind::Processing);
    eventually(PATIENCE, "the subscription is there", async || {
        bench.publish_event(&marker).await;
        following.out.try_recv().ok()
    })
    .await;
    while tokio::time::timeout(Duration::from_millis(300), following.out.recv()).await.is_ok() {}
}

#[tokio::test]
async fn events_are_lines_for_people_and_json_for_machines() {
    let bench = OperatorBench::new().await;
    let mut people = FollowingProcess::start(&bench.setup, &["--binding", "payment.#"]);
    let mut machines = FollowingProcess::start(&bench.setup, &["--json"]);
    subscribed(&bench, &mut people, "marker").await;
    subscribed(&bench, &mut machines, "marker").await;
    while people.out.try_recv().is_ok() {}

    let sms = letter_of("sms-1", "notification", "twilio", "send_sms", FailureKind::Invalid);
    bench.publish_event(&event(&sms, 0, EventKind::Completed(Success::default()))).await;
    let failure = Failure::new("timeout", "no \u{1b}[31manswer");
    let failed = event(&letter("order-1"), 2, EventKind::Failed(FailureKind::Unavailable, failure));
    bench.publish_event(&failed).await;

    let line = people.line().await;
    let parts = [
        "order-1",
        "failed",
        "stripe.charge",
        "g2#1",
        "unavailable timeout: no \\u{1b}[31manswer (dead-lettered)",
    ];
    for part in parts {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(machines.line().await.contains("sms-1"));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&machines.line().await).unwrap(),
        serde_json::to_value(&failed).unwrap()
    );

    kill(Pid::from_raw(people.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(people.code().await, Some(0));
}

#[tokio::test]
async fn following_ends_after_a_count_or_with_a_command() {
    let bench = OperatorBench::new().await;
    for (end, code) in [
        (EventKind::Completed(Success::default()), Some(0)),
        (EventKind::Failed(FailureKind::Declined, Failure::new("c", "m")), Some(1)),
    ] {
        let mut following = FollowingProcess::start(&bench.setup, &["--until-terminal", "order-1"]);
        subscribed(&bench, &mut following, "marker").await;
        bench.publish_event(&event(&letter("order-2"), 0, end.clone())).await;
        bench.publish_event(&event(&letter("order-1"), 0, EventKind::Processing)).await;
        bench.publish_event(&event(&letter("order-1"), 0, end)).await;
        assert_eq!(following.code().await, code);
    }
    let mut following = FollowingProcess::start(&bench.setup, &["--count", "1"]);
    eventually(PATIENCE, "it ends after one event", async || {
        bench.publish_event(&event(&letter("order-1"), 0, EventKind::Processing)).await;
        following.child.try_wait().unwrap()
    })
    .await;
    assert_eq!(following.out.recv().await.iter().count(), 1);
    assert_eq!(following.out.recv().await, None);
}

#[tokio::test]
async fn following_goes_on_after_the_broker_was_lost_and_says_what_may_be_missing() {
    let bench = OperatorBench::new().await;
    let proxy = TcpProxy::to(bench.vhost.address());
    let setup = DaemonFolder::new(&bench.vhost.uri_at(proxy.address()), "");
    let mut following = FollowingProcess::start(&setup, &[]);
    subscribed(&bench, &mut following, "before").await;
    assert_eq!(following.notice().await, "ferryd: following #");
    proxy.cut().await;
    let warning = following.notice().await;
    assert!(warning.contains("lost the broker") && warning.contains("missed"), "{warning}");
    subscribed(&bench, &mut following, "after").await;
}
