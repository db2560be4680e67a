//! A RabbitMQ node of the test run's own, managed by the script that people use too:
//! `rabbitmq/node`.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use super::vhost::TestVhost;
use super::wait::eventually;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rabbitmq/node");

/// Waits for the end of the test process, then stops the node and removes its files.
///
/// The test process holds the other end of a pipe: the kernel closes it at any end of the process,
/// also by panic or `kill -9`.
const KEEPER: &str = r#"cat >/dev/null; "$0" stop --dir "$1"; rm -rf "$1""#;

static SHARED: OnceCell<BrokerNode> = OnceCell::const_new();

/// A running node. It ends when this value is dropped or the test process ends.
pub(crate) struct BrokerNode {
    control: NodeControl,
    /// The process that holds the pipe, which dropping closes.
    _keeper: Child,
}

impl BrokerNode {
    /// Returns the node that all tests share, each in its own virtual host. The first caller starts
    /// it.
    pub(crate) async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::private).await
    }

    /// Starts a node for one test: to be killed, stopped, or to run out of memory.
    pub(crate) async fn private() -> Self {
        Self::private_with(&[]).await
    }

    /// Starts a private node with further options of `rabbitmq/node start`, such as `--tls-ca`.
    pub(crate) async fn private_with(options: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("ferryd-node-").tempdir().unwrap().keep();
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, SCRIPT])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal goes to the whole process group of the tests: the keeper must
            // outlive it.
            .process_group(0)
            .spawn()
            .unwrap();
        let node = Self { control: NodeControl { dir }, _keeper: keeper };
        node.control.run_with("start", options).await;
        node
    }

    /// Starts another node, in a cluster with this one.
    pub(crate) async fn joined(&self) -> Self {
        self.joined_with(&[]).await
    }

    /// Starts another node in this cluster, with further options of `rabbitmq/node start`.
    pub(crate) async fn joined_with(&self, options: &[&str]) -> Self {
        Self::private_with(&[&["--join", self.control.dir.to_str().unwrap()], options].concat())
            .await
    }

    /// Stops or resumes the replication of the streams that this node leads to another node. The
    /// replicas there fall behind, and are read as before.
    pub(crate) async fn hold_back(&self, other: &Self, held: bool) {
        let (name, word) = (other.eval("node()").await, if held { "suspend" } else { "resume" });
        let name = name.trim();
        self.eval(&format!(
            r"Is = fun(P) -> {{osiris_replica_reader, init, 1}} =:= proc_lib:translate_initial_call(P) end,
              To = fun(X) -> is_pid(X) andalso node(X) =:= '{name}' end,
              Readers = [P || P <- processes(), Is(P), lists:any(To, tuple_to_list(sys:get_state(P)))],
              true = length(Readers) > 0,
              [ok = sys:{word}(P) || P <- Readers]"
        ))
        .await;
    }

    /// Returns the beginning of a shell's command line that runs a program of RabbitMQ, such as
    /// `rabbitmq-queues`, against the node.
    pub(crate) fn tool(&self, program: &str) -> String {
        format!("'{SCRIPT}' tool --dir '{}' {program}", self.control.dir.display())
    }

    /// Returns the address where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port("amqp")))
    }

    /// Makes a new, empty virtual host.
    pub(crate) async fn vhost(&self) -> TestVhost {
        TestVhost::create(self.control.clone(), self.port("amqp")).await
    }

    /// Returns the URI of the virtual host `/`.
    pub(crate) fn uri(&self) -> String {
        format!("amqp://ferry:ferry@127.0.0.1:{}/%2f", self.port("amqp"))
    }

    /// Returns one of the node's ports: `amqp`, or `amqps` where it was started with `--tls-ca`.
    /// They outlive restarts.
    pub(crate) fn port(&self, name: &str) -> u16 {
        let ports = fs::read_to_string(self.control.dir.join("ports")).unwrap();
        let port = ports.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        port.unwrap().parse().unwrap()
    }

    /// Returns the process id of the node.
    pub(crate) fn pid(&self) -> i32 {
        let file = fs::read_to_string(self.control.dir.join("node.pid")).unwrap();
        file.split(' ').next().unwrap().parse().unwrap()
    }

    /// Makes the queues declared so far survive [`BrokerNode::kill9`].
    ///
    /// RabbitMQ 3.10 writes the names of new quorum queues to disk half a second late. One that is
    /// killed earlier comes back with such a queue empty and without a leader, and every call to it
    /// hangs.
    pub(crate) async fn settle(&self) {
        self.control.eval("[ok = dets:sync(Table) || Table <- dets:all()]").await;
    }

    /// Kills the node without warning, and waits until it is gone. Its files stay.
    pub(crate) async fn kill9(&self) {
        kill(Pid::from_raw(self.pid()), Signal::SIGKILL).unwrap();
        let gone = async || self.control.attempt("status", &[]).await.err();
        eventually(Duration::from_secs(10), "the killed node is gone", gone).await;
    }

    /// Starts the node again, on the same ports, and waits until it serves.
    pub(crate) async fn start(&self) {
        self.control.run("start").await;
    }

    /// Stops the node in good order. Its data stay.
    pub(crate) async fn stop(&self) {
        self.control.run("stop").await;
    }

    /// Evaluates an Erlang expression in the node.
    pub(crate) async fn eval(&self, expression: &str) -> String {
        self.control.eval(expression).await
    }

    /// Returns the version of RabbitMQ, such as `[4, 0, 5]`.
    pub(crate) async fn version(&self) -> [u32; 3] {
        let text = self.eval("rabbit_misc:version()").await;
        let mut numbers = text
            .trim()
            .trim_matches('"')
            .split(['.', '-', '+'])
            .map(|number| number.parse().unwrap());
        std::array::from_fn(|_| numbers.next().unwrap())
    }

    /// Limits the size of messages, in bytes, on channels that are opened from now on.
    pub(crate) async fn limit_message_size(&self, bytes: u32) {
        // A channel of RabbitMQ 3.10 reads the first, and of 4.0 the second.
        let both = "application:set_env(rabbit, Key, Bytes), persistent_term:put(Key, Bytes)";
        self.eval(&format!("Key = max_message_size, Bytes = {bytes}, {both}")).await;
    }

    /// Evaluates an Erlang expression in a node that may be unable to.
    pub(crate) async fn try_eval(&self, expression: &str) -> Result<String, String> {
        self.control.attempt("eval", &[expression]).await
    }

    /// Sets or clears the memory alarm of the node, which then blocks every connection that
    /// publishes.
    pub(crate) async fn set_memory_alarm(&self, on: bool) {
        let limit = if on { "{absolute, 1}" } else { "{absolute, \"1GB\"}" };
        self.control
            .eval(&format!("vm_memory_monitor:set_vm_memory_high_watermark({limit})"))
            .await;
        let raised =
            "lists:keymember({resource_limit, memory, node()}, 1, rabbit_alarm:get_alarms())";
        let answered =
            async || (self.control.eval(raised).await.trim() == on.to_string()).then_some(());
        eventually(Duration::from_secs(20), "the memory alarm changes", answered).await;
    }
}

/// Runs `rabbitmq/node` for one node.
#[derive(Clone)]
pub(super) struct NodeControl {
    dir: PathBuf,
}

impl NodeControl {
    /// Evaluates an Erlang expression in the node.
    pub(super) async fn eval(&self, expression: &str) -> String {
        self.run_with("eval", &[expression]).await
    }

    /// Evaluates an Erlang expression without waiting for it, whether or not the node still runs.
    pub(super) fn eval_detached(&self, expression: &str) {
        let mut command = self.command("eval", &[expression]);
        std::thread::spawn(move || command.output());
    }

    async fn run(&self, word: &str) -> String {
        self.run_with(word, &[]).await
    }

    async fn run_with(&self, word: &str, arguments: &[&str]) -> String {
        self.attempt(word, arguments)
            .await
            .unwrap_or_else(|error| panic!("rabbitmq/node {word}: {error}"))
    }

    async fn attempt(&self, word: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.command(word, arguments);
        let output = spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn command(&self, word: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(Path::new(SCRIPT));
        command.arg(word).arg("--dir").arg(&self.dir).args(arguments).stdin(Stdio::null());
        command
    }
}
