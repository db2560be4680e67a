//! Tests access tokens against real HTTPS servers: one is shared, renewed once it is refused, and
//! never shown.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ferryd::pipeline::lane::{Lane, ProviderLanes};
use ferryd::pipeline::send::{CallExchange, SentCalls};
use ferryd_domain::command::{Command, CommandEnvelope};
use ferryd_domain::http_call::{CallResult, HttpReply};
use ferryd_domain::name::Name;
use ferryd_domain::outbound_request::OutboundRequest;
use ferryd_domain::retry::RetryPolicy;
use ferryd_provider::registry::ProviderDefaults;
use ferryd_provider::{CallContext, Provider};
use futures_util::future::join_all;
use serde_json::json;

use crate::rig::{TestRig, call_records, command, word};
use crate::tls_server::{CertificateAuthority, ServerStream, TlsServer, read_request, write};

const SECRET: &str = "client-secret-9317";

/// The behaviour of the endpoint and the provider. The tokens are `access-token-1`, `-2` and so on.
#[derive(Default)]
struct EndpointScript {
    /// The answer of the token endpoint in place of a token: status, headers, body.
    refusal: Mutex<Option<(u16, &'static str, &'static str)>>,
    /// Further fields of the answer with a token.
    fields: &'static str,
    /// The delay of the token endpoint.
    slow: Duration,
    /// The number of the first token that the provider accepts.
    takes: AtomicUsize,
    granted: AtomicUsize,
    token_requests: AtomicUsize,
    called: AtomicUsize,
}

struct OauthScene {
    script: Arc<EndpointScript>,
    lanes: Arc<ProviderLanes>,
    server: TlsServer,
    authority: CertificateAuthority,
}

impl OauthScene {
    async fn new(script: EndpointScript) -> Self {
        let (script, authority) = (Arc::new(script), CertificateAuthority::new());
        let shared = Arc::clone(&script);
        let serve = move |stream| serve(stream, Arc::clone(&shared));
        let server = TlsServer::start(authority.issue("localhost"), serve).await;
        let file = file(server.address.port(), &authority);
        let retry = RetryPolicy::default();
        let defaults = ProviderDefaults {
            retry,
            max_in_flight: 64,
            max_bytes_in_flight: 1 << 20,
            links: None,
        };
        let provider = Provider::parse(&file, "bank.toml", &defaults)
            .map_err(|faults| faults[0].to_string())
            .unwrap();
        let lanes = Arc::new(ProviderLanes::new(&Arc::new(provider)).unwrap());
        Self { script, lanes, server, authority }
    }

    fn lane(&self) -> &Lane {
        self.lanes.of(&Name::default_account()).unwrap()
    }

    fn request(&self) -> OutboundRequest {
        let body =
            json!({"id": "c1", "type": "payment", "operation": "pay", "payload": {}}).to_string();
        let command = Command::decode(body.as_bytes(), CommandEnvelope::default()).unwrap();
        let call = CallContext {
            command: &command,
            key: None,
            generation: 0,
            attempt: 1,
            provider_reference: None,
            webhook_url: None,
            command_token: "",
            in_doubt: false,
        };
        self.lane().account.adapter.build_request(&call).unwrap()
    }

    /// Returns the statuses of the HTTP calls of a call, and the code of the failure that kept it
    /// from being made.
    async fn call(&self) -> (Vec<u16>, Option<String>) {
        let request = self.request();
        let sent = self.lane().send(&request, |_| true).await;
        (statuses(&sent), sent.last.err().and_then(|none| none.failure.code))
    }

    fn counts(&self) -> [usize; 2] {
        [&self.script.token_requests, &self.script.called].map(|count| count.load(Ordering::SeqCst))
    }
}

fn statuses(sent: &SentCalls<'_>) -> Vec<u16> {
    let status = |exchange: &CallExchange<'_>| match exchange {
        CallExchange::Http(_, CallResult::Reply(HttpReply { status, .. })) => *status,
        _ => 0,
    };
    sent.calls().map(|made| status(&made.exchange)).collect()
}

fn file(port: u16, authority: &CertificateAuthority) -> String {
    format!(
        r#"
name = "bank"
type = "payment"
protocol = "rest"
base_url = "https://localhost:{port}"
ca_file = "{}"
secrets = {{ id = "client-1", secret = "{SECRET}" }}
auth = {{ scheme = "oauth2", grant = "client_credentials", token_url = "/token", client_id = "{{{{ secrets.id }}}}", client_secret = "{{{{ secrets.secret }}}}", client_auth = "body" }}
connect_timeout = "1s"
timeout = "4s"

[operations.pay]
request = {{ method = "POST", path = "/pay" }}
retry = {{ schedule = ["1s", "1s", "1s"], jitter = false }}
body = {{ id = "{{{{ command.id }}}}" }}
response = {{ error = {{ message = "{{{{ body.message }}}}" }} }}
"#,
        authority.file().display()
    )
}

async fn serve(mut stream: ServerStream, script: Arc<EndpointScript>) {
    while let Some(request) = read_request(&mut stream).await {
        let answer = if request.starts_with("POST /token ") {
            script.grant(&request).await
        } else {
            script.pay(&request)
        };
        if !write(&mut stream, &answer).await {
            return;
        }
    }
}

impl EndpointScript {
    async fn grant(&self, request: &str) -> String {
        assert!(
            request.ends_with(&format!("&client_id=client-1&client_secret={SECRET}")),
            "{request}"
        );
        self.token_requests.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.slow).await;
        if let Some((status, headers, body)) = *self.refusal.lock().unwrap() {
            return answer(status, headers, body);
        }
        let number = self.granted.fetch_add(1, Ordering::SeqCst) + 1;
        let fields = self.fields;
        answer(
            200,
            "",
            &format!(r#"{{"access_token":"access-token-{number}","token_type":"Bearer"{fields}}}"#),
        )
    }

    fn pay(&self, request: &str) -> String {
        self.called.fetch_add(1, Ordering::SeqCst);
        let token =
            request.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap();
        let number: usize = token.strip_prefix("access-token-").unwrap().parse().unwrap();
        if number < self.takes.load(Ordering::SeqCst) {
            // Providers quote the values that they refuse.
            return answer(401, "", &format!(r#"{{"message":"{token} is not taken"}}"#));
        }
        answer(200, "", "{}")
    }
}

fn answer(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn many_calls_at_once_get_one_token() {
    let scene = OauthScene::new(EndpointScript {
        slow: Duration::from_millis(200),
        ..EndpointScript::default()
    })
    .await;
    let results = join_all((0..50).map(|_| scene.call())).await;
    let asking = results.iter().filter(|(statuses, _)| statuses == &[200, 200]).count();
    let waiting = results.iter().filter(|(statuses, _)| statuses == &[200]).count();
    assert_eq!((asking, waiting, scene.counts()), (1, 49, [1, 50]));
    assert!(scene.server.connections() > 1);
}

#[tokio::test]
async fn a_token_that_has_ended_is_renewed() {
    let scene = OauthScene::new(EndpointScript {
        fields: r#","expires_in":0"#,
        ..EndpointScript::default()
    })
    .await;
    assert_eq!(scene.call().await, (vec![200, 200], None));
    assert_eq!(scene.call().await, (vec![200, 200], None));
    assert_eq!(scene.counts(), [2, 2]);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_for_all_and_the_call_made_once_more() {
    let scene = OauthScene::new(EndpointScript::default()).await;
    assert_eq!(scene.call().await, (vec![200, 200], None));
    scene.script.takes.store(2, Ordering::SeqCst);
    let results = join_all((0..20).map(|_| scene.call())).await;
    assert!(
        results.iter().all(|(statuses, none)| statuses.last() == Some(&200) && none.is_none()),
        "{results:?}"
    );
    assert_eq!(scene.counts()[0], 2);

    // A new token that is refused as well is not renewed again.
    scene.script.takes.store(9, Ordering::SeqCst);
    assert_eq!(scene.call().await, (vec![401, 200, 401], None));
    assert_eq!(scene.counts()[0], 3);
}

#[tokio::test]
async fn a_new_token_that_is_refused_is_an_answer_like_any_other() {
    let scene =
        OauthScene::new(EndpointScript { takes: 9.into(), ..EndpointScript::default() }).await;
    let request = scene.request();
    let sent = scene.lane().send(&request, |_| true).await;
    assert_eq!((statuses(&sent), scene.counts()), (vec![200, 401], [1, 1]));
    // Providers quote the values that they refuse.
    let CallResult::Reply(reply) = sent.into_answer() else { panic!("no answer") };
    let body = scene.lane().mask().body(None, &reply.body).to_string();
    assert_eq!(body, r#"{"message":"*** is not taken"}"#);
}

#[tokio::test]
async fn a_401_that_the_file_reads_as_something_else_is_not_sent_again() {
    let scene = OauthScene::new(EndpointScript::default()).await;
    assert_eq!(scene.call().await, (vec![200, 200], None));
    scene.script.takes.store(2, Ordering::SeqCst);
    let request = scene.request();
    let sent = scene.lane().send(&request, |_| false).await;
    assert_eq!((statuses(&sent), scene.counts()), (vec![401], [1, 2]));
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let wrong = Some((401, "", r#"{"error":"invalid_client"}"#));
    let busy = Some((503, "retry-after: 30\r\n", "{}"));
    for (refusal, code, pause) in
        [(wrong, "token_refused", false), (busy, "token_unavailable", true)]
    {
        let scene = OauthScene::new(EndpointScript {
            refusal: refusal.into(),
            ..EndpointScript::default()
        })
        .await;
        let request = scene.request();
        let none = scene.lane().send(&request, |_| true).await.last.unwrap_err();
        assert_eq!((none.failure.code.as_deref(), none.retry_after.is_some()), (Some(code), pause));
        assert_eq!(
            (scene.call().await.1.as_deref(), scene.counts()),
            (Some(code), [1, 0]),
            "the endpoint is left alone"
        );
    }
}

#[tokio::test]
async fn a_token_endpoint_that_hangs_takes_no_more_than_the_time_of_the_call() {
    let scene = OauthScene::new(EndpointScript {
        slow: Duration::from_mins(1),
        ..EndpointScript::default()
    })
    .await;
    let begun = Instant::now();
    let results = join_all((0..10).map(|_| scene.call())).await;
    assert!(begun.elapsed() < Duration::from_millis(3900), "{:?}", begun.elapsed());
    for (_, code) in results {
        assert_eq!(code.as_deref(), Some("token_unavailable"));
    }
    assert_eq!(scene.counts()[1], 0);
}

#[tokio::test]
async fn a_command_waits_for_the_token_endpoint_and_nobody_sees_secret_or_token() {
    let scene = OauthScene::new(EndpointScript {
        refusal: Some((503, "", "{}")).into(),
        ..EndpointScript::default()
    })
    .await;
    let text = file(scene.server.address.port(), &scene.authority);
    let rig = TestRig::with("", &[]).await.file("bank", &text).env("FERRYD_LOG", "debug");
    let daemon = rig.start().await;
    let pay = |id: &str| command("bank", "pay", id, json!({}));
    rig.publish(&pay("patient")).await;
    daemon.wait_for_logs(1, crate::rig::SOON, |line| line["code"] == "token_unavailable").await;
    *scene.script.refusal.lock().unwrap() = None;
    let event = rig.terminal("patient").await;
    assert_eq!((word(&event, "data.state"), scene.counts()[1]), ("completed", 1), "{event:#}");

    scene.script.takes.store(9, Ordering::SeqCst);
    let event = rig.carry(&pay("refused")).await;
    assert_eq!(word(&event, "data.error.kind"), "rejected", "{event:#}");
    assert_eq!(word(&event, "data.error.message"), "*** is not taken");
    let records = call_records(&daemon, "refused");
    let calls: Vec<_> = records
        .iter()
        .map(|record| {
            (record["url.full"].as_str().unwrap_or_default(), &record["http.response.status_code"])
        })
        .collect();
    let [token, pay] = ["token", "pay"]
        .map(|path| format!("https://localhost:{}/{path}", scene.server.address.port()));
    let expected =
        [(pay.as_str(), json!(401)), (token.as_str(), json!(200)), (pay.as_str(), json!(401))];
    assert_eq!(calls, expected.each_ref().map(|(url, status)| (*url, status)));
    let mut listing = rig.setup.command(&["calls", "refused", "--json"]);
    let output = tokio::task::spawn_blocking(move || listing.output()).await.unwrap().unwrap();
    let streamed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(streamed.lines().count(), 3, "{streamed}");
    rig.finish(&daemon).await;
    for secret in [SECRET, "access-token-"] {
        assert!(
            !daemon.log_text().contains(secret) && !streamed.contains(secret),
            "{secret} is shown"
        );
    }
}
