//! Tests webhooks to a running daemon: put into the broker's queue, or refused.

mod calls;
mod outages;

use std::collections::HashMap;
use std::net::SocketAddr;

use ferryd_broker::webhook_message::{WebhookMessage, read_webhook};
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::broker::TestBroker;
use crate::harness::daemon::RunningDaemon;
use crate::rig::{SOON, TestRig, word};

/// The provider's queue, which ferryd consumes.
const OWN: &str = "ferry.webhooks.acme";
/// A queue that receives copies of the messages for [`OWN`].
const QUEUE: &str = "test.webhooks";
const PATH: &str = "/webhooks/acme";
const GOOD: &str = "x-signature: good\r\n";

impl TestRig {
    /// Adds an endpoint for calls of `acme`, and a queue with copies of the accepted ones.
    async fn called_back(self) -> Self {
        let rig = self
            .env("FERRYD_FAKE_WEBHOOKS", "acme")
            .env("FERRYD_WEBHOOKS__BIND", "127.0.0.1:0")
            .env("FERRYD_WEBHOOKS__PUBLIC_URL", "https://hooks.example.com");
        rig.declare().await;
        let channel = rig.broker.channel().await;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        channel
            .queue_declare(QUEUE.into(), QueueDeclareOptions::durable(), arguments)
            .await
            .unwrap();
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        channel
            .queue_bind(QUEUE.into(), "ferry.webhooks".into(), "acme.*".into(), options, arguments)
            .await
            .unwrap();
        rig
    }

    /// Returns every webhook in the queue; they stay there.
    async fn webhooks(&self) -> Vec<WebhookMessage> {
        read_all(&self.broker).await
    }
}

async fn read_all(broker: &TestBroker) -> Vec<WebhookMessage> {
    let messages = broker.peek(QUEUE).await;
    messages
        .into_iter()
        .map(|message| read_webhook(&message.properties, message.body.into()).unwrap())
        .collect()
}

/// The answer to a call.
#[derive(Debug)]
struct WebhookAnswer {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl WebhookAnswer {
    fn kind(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        word(&body, "type").trim_start_matches("urn:ferryd:problem:").to_owned()
    }
}

/// Returns the address of a daemon's endpoint.
async fn endpoint(daemon: &RunningDaemon) -> SocketAddr {
    let line = daemon
        .wait_for_log(SOON, |line| line["message"] == "the endpoint for webhooks listens")
        .await;
    word(&line, "address").parse().unwrap()
}

fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: hooks\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Sends a request and reads its answer; `None` where the connection ends before.
async fn round_trip(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
) -> Option<WebhookAnswer> {
    stream.write_all(request).await.ok()?;
    stream.flush().await.ok()?;
    let mut answer = Vec::new();
    let head_ends =
        |answer: &[u8]| answer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
    let head = loop {
        if let Some(end) = head_ends(&answer) {
            break end;
        }
        if timeout(SOON, stream.read_buf(&mut answer)).await.unwrap().unwrap_or(0) == 0 {
            return None;
        }
    };
    let mut body = answer.split_off(head);
    let text = String::from_utf8(answer).unwrap();
    let mut lines = text.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| {
        line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()))
    };
    let headers: HashMap<_, _> = lines.filter_map(header).collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        if timeout(SOON, stream.read_buf(&mut body)).await.unwrap().unwrap_or(0) == 0 {
            return None;
        }
    }
    Some(WebhookAnswer { status, headers, body })
}

/// Makes one call over a connection of its own.
async fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> WebhookAnswer {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    round_trip(&mut tcp, &request(method, path, headers, body)).await.unwrap()
}

/// Makes a signed call of the provider's.
async fn post(address: SocketAddr, body: &str) -> WebhookAnswer {
    call(address, "POST", PATH, GOOD, body.as_bytes()).await
}
