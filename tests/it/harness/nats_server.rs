//! A NATS server of a test's own, with JetStream, and what its streams hold.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::wait::eventually;

/// Starts the server, and kills it when the input ends: the kernel closes that pipe at any end of
/// the test process.
const KEEPER: &str = r#"nats-server -c "$0" </dev/null >"$0.log" 2>&1 & server=$!
echo started; cat >/dev/null; kill -9 $server; wait $server"#;

/// The time in which a server starts.
const START: Duration = Duration::from_secs(30);

/// The user of tests, which is also its password.
pub(crate) const USER: &str = "ferry";

/// A user without permission to publish orders, which is also its password.
pub(crate) const LIMITED: &str = "limited";

/// A server. It is killed when this value is dropped or the test process ends.
pub(crate) struct NatsServer {
    dir: TempDir,
    address: SocketAddr,
    keeper: Option<Child>,
}

/// A message of a stream.
#[derive(Debug)]
pub(crate) struct StoredMessage {
    pub(crate) subject: String,
    /// The headers as they went over the wire.
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl StoredMessage {
    /// Returns a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    }
}

impl NatsServer {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts a server with further lines of its configuration.
    pub(crate) async fn start_with(config: &str) -> Self {
        Self::start_in(tempdir(), config).await
    }

    /// Starts a server whose certificate an authority vouches for.
    pub(crate) async fn start_trusted_with(config: &str, ca_file: &Path) -> Self {
        let dir = tempdir();
        std::fs::copy(ca_file, dir.path().join("ca.pem")).unwrap();
        Self::start_in(dir, config).await
    }

    async fn start_in(dir: TempDir, config: &str) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let store = dir.path().join("store").display().to_string();
        let text = format!(
            "listen: \"{address}\"\njetstream {{ store_dir: \"{store}\" }}\n\
             authorization {{ users: [\n\
             {{ user: {USER}, password: {USER} }}\n\
             {{ user: {LIMITED}, password: {LIMITED}, permissions: {{ publish: other, subscribe: \"_INBOX.>\" }} }}\n\
             ] }}\n{config}\n"
        );
        std::fs::write(dir.path().join("nats.conf"), text).unwrap();
        let mut server = Self { dir, address, keeper: None };
        server.restart().await;
        server
    }

    /// Returns the address where clients connect. It outlives restarts.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills the server without warning. Its files stay.
    pub(crate) async fn kill9(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            spawn_blocking(move || keeper.wait().unwrap()).await.unwrap();
        }
    }

    /// Starts the server again after [`NatsServer::kill9`], and waits until JetStream answers.
    pub(crate) async fn restart(&mut self) {
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER])
            .arg(self.dir.path().join("nats.conf"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal goes to the whole process group of the tests: the keeper ends
            // after it.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.keeper = Some(keeper);
        let ready = async || {
            let client = self.connect().await?;
            ask(&client, "INFO", &Value::Null).await.filter(|answer| answer["error"].is_null())
        };
        let log = self.dir.path().join("nats.conf.log");
        let what = format!(
            "nats-server answers (is it installed? run: sudo tests/nats-server install); log {}",
            log.display()
        );
        eventually(START, &what, ready).await;
    }

    async fn connect(&self) -> Option<Client> {
        let login = ConnectOptions::with_user_and_password(USER.to_owned(), USER.to_owned());
        let ca = self.dir.path().join("ca.pem");
        let login = if ca.exists() { login.add_root_certificates(ca) } else { login };
        login.connect(format!("nats://localhost:{}", self.address.port())).await.ok()
    }

    async fn api(&self, call: &str, body: &Value) -> Value {
        let client = self.connect().await.unwrap();
        ask(&client, call, body).await.unwrap()
    }

    /// Makes a stream that listens on a subject and knows repeats for two minutes, with further
    /// fields of its settings.
    pub(crate) async fn stream(&self, name: &str, subject: &str, more: &Value) {
        let mut settings = json!({
            "name": name, "subjects": [subject], "storage": "file", "retention": "limits",
            "num_replicas": 1, "max_msgs": -1, "max_bytes": -1, "duplicate_window": 120_000_000_000_u64,
        });
        settings.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let answer = self.api(&format!("STREAM.CREATE.{name}"), &settings).await;
        assert!(answer["error"].is_null(), "{answer}");
    }

    /// Returns the messages of a stream, in their order.
    pub(crate) async fn stored(&self, stream: &str) -> Vec<StoredMessage> {
        let info = self.api(&format!("STREAM.INFO.{stream}"), &Value::Null).await;
        let count = info["state"]["last_seq"].as_u64().unwrap();
        let decoded = |message: &Value, field: &str| {
            let bytes = STANDARD.decode(message[field].as_str().unwrap_or_default()).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let mut messages = Vec::new();
        for number in 1..=count {
            let answer =
                self.api(&format!("STREAM.MSG.GET.{stream}"), &json!({"seq": number})).await;
            let message = &answer["message"];
            messages.push(StoredMessage {
                subject: message["subject"].as_str().unwrap().to_owned(),
                headers: decoded(message, "hdrs"),
                body: decoded(message, "data"),
            });
        }
        messages
    }

    /// Returns the ids of the messages of a stream, in their order.
    pub(crate) async fn ids(&self, stream: &str) -> Vec<String> {
        let stored = self.stored(stream).await;
        stored.iter().map(|message| message.header("Nats-Msg-Id").unwrap().to_owned()).collect()
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ended = keeper.wait();
        }
    }
}

fn tempdir() -> TempDir {
    tempfile::Builder::new().prefix("ferryd-nats-").tempdir().unwrap()
}

async fn ask(client: &Client, call: &str, body: &Value) -> Option<Value> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = client.request(format!("$JS.API.{call}"), body.into()).await.ok()?;
    serde_json::from_slice(&answer.payload).ok()
}
