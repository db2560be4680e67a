//! Tests the replicas of queues and streams that were declared while other nodes were missing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::harness::daemon::DaemonFolder;
use crate::harness::node::BrokerNode;
use crate::harness::wait::eventually;
use crate::rig::SOON;

/// Runs a command, which must succeed. Returns its output.
async fn run(mut command: Command) -> String {
    let output = spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn apply(setup: &DaemonFolder) -> Value {
    let report: Value =
        serde_json::from_str(&run(setup.command(&["topology", "apply", "--json"])).await).unwrap();
    report["replicas"].clone()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// Makes a folder with the programs of a node, as they are found on its machine.
fn programs(node: &BrokerNode) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for program in ["rabbitmq-queues", "rabbitmq-streams"] {
        let path = folder.path().join(program);
        std::fs::write(&path, format!("#!/bin/sh\n{} \"$@\"\n", node.tool(program))).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

fn shell(line: &str, programs: &Path) -> Command {
    let mut command = Command::new("sh");
    let path = std::env::var("PATH").unwrap();
    command.args(["-c", line]).env("PATH", format!("{}:{path}", programs.display()));
    command
}

#[tokio::test]
#[ignore = "a cluster takes half a minute; `make test-cluster` runs it"]
async fn what_one_node_declared_alone_gets_its_replicas_by_the_commands_that_apply_prints() {
    let first = BrokerNode::private_with(&["--management"]).await;
    let vhost = first.vhost().await;
    let url = format!("http://127.0.0.1:{}", first.port("management"));
    let setup = DaemonFolder::new(
        &vhost.uri(),
        r##"events.subscribers = [{ queue = "it's $(theirs)", bindings = ["#"] }]"##,
    )
    .provider("acme", "name = \"acme\"\n")
    .env("FERRYD_AMQP__MANAGEMENT_URL", &url);
    let alone = apply(&setup).await;
    assert_eq!(
        (alone["nodes"].as_array().unwrap().len(), alone["lacking"].as_array().unwrap().len()),
        (1, 0),
        "{alone}"
    );
    // The node that leads a queue reports it, so the plugin has to run on all nodes.
    let joining = ["--management"];
    let (second, third) = (first.joined_with(&joining).await, first.joined_with(&joining).await);
    let report = apply(&setup).await;
    let lacking: Vec<_> =
        report["lacking"].as_array().unwrap().iter().map(|queue| queue["name"].as_str()).collect();
    for name in ["ferry.commands.acme", "ferry.ledger", "ferry.calls", "it's $(theirs)"] {
        assert!(lacking.contains(&Some(name)), "{name}: {report:#}");
    }
    let programs = programs(&first);
    for command in texts(&report["commands"]) {
        run(shell(command, programs.path())).await;
    }
    // The broker updates its report on a queue every few seconds. RabbitMQ 3.10 reports nothing
    // more about a stream whose leader has changed.
    let streams = ["ferry.calls", "ferry.ledger"];
    let whole = async || {
        let report = apply(&setup).await;
        let is_whole = texts(&report["unknown"]).iter().all(|name| streams.contains(name));
        (is_whole && report["lacking"].as_array().unwrap().is_empty()).then_some(())
    };
    eventually(SOON, "nothing is lacking", whole).await;
    for node in [&first, &second, &third] {
        for stream in streams {
            // A replica is added before it runs.
            let has_replica = async || vhost.has_replica(node, stream).await.then_some(());
            eventually(SOON, &format!("{stream} has a replica on every node"), has_replica).await;
        }
    }
    // A user without the tag gets an error that names it.
    let stranger = vhost.user("stranger").await;
    let setup = setup.env("FERRYD_AMQP__URI", &stranger);
    let mut refused = setup.command(&["topology", "apply"]);
    let output = spawn_blocking(move || refused.output()).await.unwrap().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{error}");
    assert!(
        error.contains("amqp.management_url: http://127.0.0.1")
            && error.contains("the tag `monitoring`"),
        "{error}"
    );
}
