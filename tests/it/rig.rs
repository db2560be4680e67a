//! The environment of most tests of one command's way: a virtual host, the sandbox, the provider
//! files that lead to it, and a subscriber that receives every event.

#![expect(clippy::needless_pass_by_value, reason = "`json!(…)` reads best as it is")]

use std::time::Duration;

use ferryd_domain::retry::Rung;
use ferryd_sandbox::{CallCounts, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::harness::broker::{QueuedMessage, TestBroker};
use crate::harness::daemon::{DaemonFolder, RunningDaemon};
use crate::harness::events::EventRecorder;
use crate::harness::node::BrokerNode;
use crate::harness::vhost::TestVhost;
use crate::harness::wait::eventually;

/// A time that exceeds any step of these tests on a busy machine.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// The secret of the sandbox's provider files, which must never be shown.
pub(crate) const SECRET: &str = "sk-sandbox-51Hq8";

/// The way from a core application to the sandbox and back, but for the daemon.
pub(crate) struct TestRig {
    pub(crate) broker: TestBroker,
    pub(crate) events: EventRecorder,
    pub(crate) sandbox: Sandbox,
    pub(crate) setup: DaemonFolder,
    pub(crate) vhost: TestVhost,
    providers: Vec<String>,
}

/// The parts of a sandbox's provider file beyond the operations that all of them have.
#[derive(Default)]
pub(crate) struct SandboxFile<'a> {
    /// The keys of the provider, one a line.
    pub(crate) keys: &'a str,
    /// The tables of further operations.
    pub(crate) operations: &'a str,
    /// True where connecting and answering may take long.
    pub(crate) unhurried: bool,
}

impl TestRig {
    /// Makes a rig with the provider `acme` of type `payment`, and `config` as the daemon's
    /// configuration.
    pub(crate) async fn new(config: &str) -> Self {
        Self::with(config, &[("acme", SandboxFile::default())]).await
    }

    /// Makes a rig with providers of type `payment` by these names, all of them the same sandbox.
    pub(crate) async fn with(config: &str, providers: &[(&str, SandboxFile<'_>)]) -> Self {
        Self::on(BrokerNode::shared().await, config, providers).await
    }

    /// Makes such a rig on a node of the test's own.
    pub(crate) async fn on(
        node: &BrokerNode,
        config: &str,
        providers: &[(&str, SandboxFile<'_>)],
    ) -> Self {
        let vhost = node.vhost().await;
        let options = SandboxOptions { bind: "127.0.0.1:0".parse().unwrap(), dir: None };
        let sandbox = Sandbox::start(options).await.unwrap();
        let mut setup = DaemonFolder::new(&vhost.uri(), config).file("ca.pem", sandbox.ca_pem());
        for (name, file) in providers {
            setup = setup.provider(name, &provider_file(name, sandbox.addr().port(), file));
        }
        let broker = TestBroker::connect(&vhost.uri()).await;
        let events = broker.events().await;
        let providers = providers.iter().map(|(name, _)| (*name).to_owned()).collect();
        Self { broker, events, sandbox, setup, vhost, providers }
    }

    /// Adds a variable to the daemon's environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.setup = self.setup.env(name, value);
        self
    }

    /// Adds a provider that is not the sandbox.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.setup = self.setup.provider(name, text);
        self.providers.push(name.to_owned());
        self
    }

    /// Adds an endpoint for webhooks, and the secret with which `acme` signs them.
    pub(crate) fn signed_by(self, secret: &str, public_url: &str) -> Self {
        self.changed("acme", "secrets = { ", &format!("secrets = {{ webhook = \"{secret}\", "))
            .env("FERRYD_WEBHOOKS__BIND", "127.0.0.1:0")
            .env("FERRYD_WEBHOOKS__PUBLIC_URL", public_url)
    }

    /// Replaces a text in a provider file.
    pub(crate) fn changed(mut self, name: &str, from: &str, to: &str) -> Self {
        let text =
            std::fs::read_to_string(self.setup.path().join(format!("providers/{name}.toml")))
                .unwrap();
        assert!(text.contains(from), "{from}");
        self.setup = self.setup.provider(name, &text.replace(from, to));
        self
    }

    /// Starts a daemon.
    pub(crate) async fn start(&self) -> RunningDaemon {
        self.setup.start_ready().await
    }

    /// Declares the topology without a daemon, so that commands can wait for one.
    pub(crate) async fn declare(&self) {
        let mut apply = self.setup.command(&["topology", "apply"]);
        let output = tokio::task::spawn_blocking(move || apply.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Publishes a command.
    pub(crate) async fn publish(&self, command: &Value) {
        self.broker.publish_command(command).await;
    }

    /// Publishes a command and waits for the event that ends it.
    pub(crate) async fn carry(&self, command: &Value) -> Value {
        self.publish(command).await;
        self.terminal(command["id"].as_str().unwrap()).await
    }

    /// Waits for the event that ends a command.
    pub(crate) async fn terminal(&self, id: &str) -> Value {
        self.events.terminal(id, SOON).await
    }

    /// Returns the calls that were made for a command.
    pub(crate) fn calls(&self, id: &str) -> CallCounts {
        self.sandbox.calls().ids.get(id).copied().unwrap_or_default()
    }

    /// Returns the number of polls and lookups that the sandbox received about something.
    pub(crate) fn count_queries(&self, about: &str) -> u64 {
        self.sandbox.calls().questions.get(about).copied().unwrap_or_default()
    }

    /// Waits for as many dead letters of a provider.
    pub(crate) async fn dead_letters(&self, provider: &str, count: u32) -> Vec<QueuedMessage> {
        let queue = format!("ferry.dead.{provider}");
        self.broker.await_depth(&queue, count).await;
        self.broker.peek(&queue).await
    }

    /// Waits until the daemon has dropped so many copies of a command, which waited on the ladder
    /// and had nothing to do.
    pub(crate) async fn dropped(&self, daemon: &RunningDaemon, id: &str, copies: usize) {
        let drop = |line: &Value| {
            let message = line["message"].as_str().unwrap_or_default();
            message.starts_with("dropped a copy") && line["command.id"] == id
        };
        daemon.wait_for_logs(copies, SOON, drop).await;
    }

    /// Ends the daemon in good order; messages that wait on the ladder stay there.
    pub(crate) async fn end(&self, daemon: &RunningDaemon) {
        daemon.sigterm();
        assert!(daemon.wait(SOON).await.success());
        for queue in ["poison", "unroutable", "webhooks.dead"] {
            assert_eq!(self.broker.depth(&format!("ferry.{queue}")).await, Some(0), "{queue}");
        }
    }

    /// Waits until the ladder is empty: copies made by a crash come back, and have nothing to do. A
    /// broker that was killed may hold them for minutes.
    pub(crate) async fn await_empty_ladder(&self) {
        for rung in Rung::all() {
            let queue = format!("ferry.retry.{}", rung.name());
            let empty = async || (self.broker.depth(&queue).await == Some(0)).then_some(());
            eventually(Duration::from_mins(4), &format!("{queue} is empty"), empty).await;
        }
    }

    /// Ends the daemon in good order, and checks that no message is left but dead letters.
    pub(crate) async fn finish(&self, daemon: &RunningDaemon) {
        daemon.sigterm();
        assert!(daemon.wait(SOON).await.success());
        let shared = ["poison", "unroutable"].map(str::to_owned).into_iter();
        let rungs = Rung::all().map(|rung| format!("retry.{}", rung.name()));
        let lanes = self.providers.iter().map(|name| format!("commands.{name}"));
        for queue in shared.chain(rungs).chain(lanes) {
            assert_eq!(self.broker.depth(&format!("ferry.{queue}")).await, Some(0), "{queue}");
        }
    }
}

/// Builds a command for `acme` and the operation with an idempotency key; `sandbox` sets the
/// provider's behaviour.
pub(crate) fn charge(id: &str, sandbox: Value) -> Value {
    command("acme", "charge", id, sandbox)
}

/// Builds a command for `acme` and the operation without an idempotency key.
pub(crate) fn send(id: &str, sandbox: Value) -> Value {
    command("acme", "send", id, sandbox)
}

/// Builds a command for any provider of the sandbox.
pub(crate) fn command(provider: &str, operation: &str, id: &str, sandbox: Value) -> Value {
    json!({
        "id": id, "type": "payment", "provider": provider, "operation": operation,
        "payload": { "amount": 1099, "sandbox": sandbox },
    })
}

/// Adds fields to a command.
pub(crate) fn and(mut command: Value, fields: Value) -> Value {
    command.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    command
}

/// Returns the text at a path of an event, such as `data.error.kind`; empty where there is none.
pub(crate) fn word<'a>(event: &'a Value, path: &str) -> &'a str {
    path.split('.')
        .try_fold(event, |value, step| value.get(step))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Returns ferryd's record of a dead letter.
pub(crate) fn dead(message: &QueuedMessage) -> Value {
    let headers = message.properties.headers().as_ref();
    serde_json::from_str(ferryd_broker::message::get_text(headers, "ferry-dead-letter").unwrap())
        .unwrap()
}

fn provider_file(name: &str, port: u16, file: &SandboxFile<'_>) -> String {
    let SandboxFile { keys, operations, unhurried } = file;
    let (connect, whole) = if *unhurried { ("25s", "10m") } else { ("1s", "2s") };
    format!(
        r#"
name = "{name}"
type = "payment"
protocol = "rest"
base_url = "https://localhost:{port}"
ca_file = "../ca.pem"
auth = {{ scheme = "bearer", token = "{{{{ secrets.api_key }}}}" }}
secrets = {{ api_key = "{SECRET}" }}
connect_timeout = "{connect}"
{keys}

[operations.charge]
request = {{ method = "POST", path = "/{name}/charges" }}
idempotency = {{ header = "Idempotency-Key", retention = "24h", in_progress = "status == 409" }}
retry = {{ schedule = ["1s", "1s", "1s"], jitter = false }}
timeout = "{whole}"
[operations.charge.body]
id = "{{{{ command.id }}}}"
amount = "{{{{ payload.amount }}}}"
sandbox = "{{{{ payload.sandbox }}}}"
[operations.charge.payload]
type = "object"
required = ["amount"]
properties = {{ amount = {{ type = "integer", minimum = 1 }} }}
[operations.charge.response]
reference = "{{{{ body.id }}}}"
result = {{ id = "{{{{ body.id }}}}", status = "{{{{ body.status }}}}", amount = "{{{{ body.amount }}}}" }}
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"

[operations.send]
request = {{ method = "POST", path = "/{name}/messages" }}
retry = {{ schedule = ["1s", "1s", "1s"], jitter = false }}
timeout = "{whole}"
[operations.send.body]
id = "{{{{ command.id }}}}"
sandbox = "{{{{ payload.sandbox }}}}"

{operations}

[[classify]]
when = "status == 402 and body.error.code == 'blocked'"
as = "rejected"

[[classify]]
when = "status == 402"
as = "declined"
code = "{{{{ body.error.code }}}}"
"#
    )
}

/// Replaces the values that differ from run to run with `[…]`, each given by its JSON pointer; all
/// must be there.
pub(crate) fn redact(mut value: Value, pointers: &[&str]) -> Value {
    for pointer in pointers {
        *value.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is missing")) =
            json!("[…]");
    }
    value
}

/// Returns the calls of a command, from the daemon's log.
pub(crate) fn call_records(daemon: &RunningDaemon, id: &str) -> Vec<Value> {
    daemon.logs(|line| line["target"] == "ferryd::call" && line["command.id"] == id)
}
