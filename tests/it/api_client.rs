//! A client of the HTTP API of a running daemon.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::rig::{SOON, word};

/// A client that speaks HTTP.
pub(crate) struct TestClient {
    pub(crate) address: SocketAddr,
    headers: String,
}

pub(crate) struct ClientAnswer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Value,
}

impl TestClient {
    /// Makes a client on the daemon's host, which reads the token there.
    pub(crate) async fn of(daemon: &RunningDaemon) -> Self {
        let line = daemon
            .wait_for_log(SOON, |line| line["message"] == "the token of this host is in a file")
            .await;
        let token = std::fs::read_to_string(word(&line, "file")).unwrap();
        Self::without_token(daemon).await.with("authorization", &format!("Bearer {}", token.trim()))
    }

    /// Makes a client without a token.
    pub(crate) async fn without_token(daemon: &RunningDaemon) -> Self {
        let line = daemon.wait_for_log(SOON, |line| line["message"] == "the API listens").await;
        Self { address: word(&line, "address").parse().unwrap(), headers: String::new() }
    }

    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        Self { address: self.address, headers: format!("{}{name}: {value}\r\n", self.headers) }
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> ClientAnswer {
        self.try_ask(method, path, body).await.unwrap()
    }

    /// Sends a request and reads the answer; `None` where the connection ends before the answer
    /// does.
    pub(crate) async fn try_ask(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Option<ClientAnswer> {
        let mut tcp = TcpStream::connect(self.address).await.ok()?;
        let Self { address, headers } = self;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n{headers}\r\n{body}"
        );
        tcp.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        timeout(SOON, tcp.read_to_string(&mut answer)).await.unwrap().ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        };
        let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
        Some(ClientAnswer { status, headers: lines.filter_map(header).collect(), body })
    }

    pub(crate) async fn get(&self, path: &str) -> ClientAnswer {
        self.ask("GET", path, "").await
    }

    pub(crate) async fn post(&self, command: &Value) -> ClientAnswer {
        self.ask("POST", "/v1/commands", &command.to_string()).await
    }

    pub(crate) async fn wait_ready(&self) {
        eventually(SOON, "ferryd is ready", async || {
            (self.get("/readyz").await.status == 200).then_some(())
        })
        .await;
    }
}
