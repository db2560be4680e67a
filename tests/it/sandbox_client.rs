//! A sandbox and an HTTP client that trusts it, for tests of the sandbox.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use ferryd_domain::http_call::{CallResult, HttpMethod, HttpReply, HttpRequest};
use ferryd_provider::HttpSettings;
use ferryd_sandbox::{CallsSnapshot, Sandbox, SandboxOptions};
use ferryd_transport::http::HttpClient;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A sandbox with a client that trusts it.
pub(crate) struct SandboxClient {
    pub(crate) sandbox: Sandbox,
    pub(crate) http: HttpClient,
    pub(crate) dir: TempDir,
}

impl SandboxClient {
    pub(crate) async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let options = SandboxOptions { bind: loopback(), dir: Some(dir.path().to_owned()) };
        let sandbox = Sandbox::start(options).await.unwrap();
        Self { sandbox, http: trusting(dir.path()), dir }
    }

    pub(crate) fn request(&self, key: &str, body: &Value) -> HttpRequest {
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if !key.is_empty() {
            headers.push(("idempotency-key".to_owned(), key.to_owned()));
        }
        HttpRequest {
            method: HttpMethod::Post,
            url: format!("https://localhost:{}/v1/charges", self.sandbox.addr().port())
                .parse()
                .unwrap(),
            headers,
            input_headers: Vec::new(),
            body: body.to_string().into(),
            timeout: Duration::from_secs(20),
        }
    }

    pub(crate) async fn answer(&self, key: &str, body: Value) -> CallResult {
        self.http.send(&self.request(key, &body)).await
    }

    pub(crate) async fn reply(&self, key: &str, body: Value) -> HttpReply {
        match self.answer(key, body).await {
            CallResult::Reply(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the sandbox's answer to a query under this path.
    pub(crate) async fn get(&self, path: &str, query: &str) -> (u16, Value) {
        let mut request = self.request("", &json!({}));
        request.url.set_path(path);
        request.url.set_query(Some(query).filter(|query| !query.is_empty()));
        let request = HttpRequest { method: HttpMethod::Get, body: Vec::new().into(), ..request };
        let CallResult::Reply(reply) = self.http.send(&request).await else { panic!("no answer") };
        (reply.status, body_of(&reply))
    }

    /// Lists the statuses of a caller's transactions.
    pub(crate) async fn transactions(&self, id: &str) -> Vec<String> {
        let (status, body) = self.get("/sandbox/transactions", &format!("id={id}")).await;
        assert_eq!(status, 200);
        let status = |deed: &Value| deed["status"].as_str().unwrap().to_owned();
        body["data"].as_array().unwrap().iter().map(status).collect()
    }

    pub(crate) async fn transactions_become(&self, id: &str, expected: &[&str]) {
        let start = Instant::now();
        while self.transactions(id).await != expected {
            assert!(start.elapsed() < Duration::from_mins(1), "{id} does not become {expected:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn status(&self, key: &str, body: Value) -> u16 {
        self.reply(key, body).await.status
    }

    /// Returns the code with which a call without an answer ended.
    pub(crate) async fn lost(&self, key: &str, sandbox: Value, timeout: Duration) -> String {
        let request = self.request(key, &json!({ "sandbox": sandbox }));
        match self.http.send(&HttpRequest { timeout, ..request }).await {
            CallResult::Incomplete(failure) => failure.code.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn wait_until(&self, what: &str, condition: impl Fn(&CallsSnapshot) -> bool) {
        let start = Instant::now();
        while !condition(&self.sandbox.calls()) {
            assert!(
                start.elapsed() < Duration::from_mins(1),
                "{what}: {:?}",
                self.sandbox.calls().concurrent
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub(crate) fn trusting(dir: &Path) -> HttpClient {
    let settings = HttpSettings {
        ca_file: Some(dir.join("ca.pem")),
        connect_timeout: Duration::from_mins(1),
        max_response_size: 1 << 20,
    };
    HttpClient::new(&settings).unwrap()
}

pub(crate) fn body_of(reply: &HttpReply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}
