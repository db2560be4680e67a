//! Tests the answers to single calls, through the router.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt as _;

use super::counts::WebhookTotals;
use super::fake::{FakeSite, SinkBehaviour, settings};
use super::router;
use super::sink::SinkError;
use crate::config::WebhooksConfig;

const SIGNED: (&str, &str) = ("x-signature", "good");

/// The answer to a call.
pub(super) struct EndpointAnswer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl EndpointAnswer {
    fn kind(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(body["status"], self.status);
        body["type"].as_str().unwrap().trim_start_matches("urn:ferryd:problem:").to_owned()
    }
}

impl FakeSite {
    fn new() -> Self {
        Self::with(settings())
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> EndpointAnswer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = router(self.endpoint.clone())
            .oneshot(request.body(body.into()).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        assert_eq!(parts.headers["cache-control"], "no-store");
        EndpointAnswer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: to_bytes(body, 1 << 20).await.unwrap(),
        }
    }

    async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> EndpointAnswer {
        self.send("POST", path, headers, body).await
    }

    fn kept(&self) -> usize {
        self.queues.kept.lock().unwrap().len()
    }
}

#[tokio::test]
async fn a_call_is_kept_as_it_came_under_the_address_that_the_provider_called() {
    let site = FakeSite::new();
    let headers = [SIGNED, ("host", "10.0.0.1:8421"), ("x-twice", "one"), ("x-twice", "two")];
    let body: &[u8] = b"{ \"a\":\xff1 }";
    for path in ["/webhooks/acme?a=%2F+b&&c=%zz", "/webhooks/acme/default?a=%2F+b&&c=%zz"] {
        let answer = site.post(path, &headers, body).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        let webhook = site.queues.kept.lock().unwrap().pop().unwrap();
        assert_eq!((webhook.provider.as_str(), webhook.account.as_str()), ("acme", "default"));
        assert_eq!(webhook.id.get_version_num(), 7);
        let call = webhook.call;
        assert_eq!((call.method.as_str(), &call.body[..]), ("POST", body));
        assert_eq!(call.url.as_str(), format!("https://hooks.example.com/ferry{path}"));
        let twice: Vec<_> = call
            .headers
            .iter()
            .filter(|(name, _)| name == "x-twice")
            .map(|(_, value)| value)
            .collect();
        assert_eq!(twice, ["one", "two"]);
    }
}

#[tokio::test]
async fn every_path_that_leads_nowhere_is_answered_alike() {
    let site = FakeSite::new();
    let mut answers = BTreeSet::new();
    for path in [
        "/webhooks/none",
        "/webhooks/mute",
        "/webhooks/mute/eu",
        "/webhooks/acme/",
        "/webhooks/",
        "/",
        "/livez",
    ] {
        for method in ["POST", "GET", "PUT"] {
            let answer = site.send(method, path, &[SIGNED], "{}").await;
            assert_eq!(
                (answer.status, answer.kind().as_str()),
                (404, "not-found"),
                "{method} {path}"
            );
            answers.insert(answer.body);
        }
    }
    assert_eq!((answers.len(), site.kept()), (1, 0));
    assert_eq!(
        site.endpoint.counts().now(),
        WebhookTotals { nowhere: 21, ..WebhookTotals::default() }
    );
}

#[tokio::test]
async fn forged_unsigned_and_stale_calls_get_one_and_the_same_answer() {
    let site = FakeSite::new();
    let mut answers = BTreeSet::new();
    for headers in [&[] as &[_], &[("x-signature", "bad")], &[("x-signature", "stale")]] {
        let answer = site.post("/webhooks/acme", headers, "{}").await;
        assert_eq!((answer.status, answer.kind().as_str()), (401, "unverified"));
        assert!(answer.headers.contains_key("www-authenticate"));
        answers.insert((answer.body, format!("{:?}", answer.headers)));
    }
    assert_eq!((answers.len(), site.kept()), (1, 0));
    assert_eq!(
        site.endpoint.counts().now(),
        WebhookTotals { unverified: 3, ..WebhookTotals::default() }
    );
}

#[tokio::test]
async fn a_challenge_is_answered_and_not_kept_and_only_a_handshake_needs_no_signature() {
    let site = FakeSite::new();
    for method in ["GET", "POST"] {
        let answer =
            site.send(method, "/webhooks/acme?challenge=a%20b", &[SIGNED], Body::empty()).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"a b"[..]));
        assert_eq!(
            (&answer.headers["content-type"], &answer.headers["x-content-type-options"]),
            (&"text/plain".parse().unwrap(), &"nosniff".parse().unwrap())
        );
    }
    assert_eq!(
        site.send("GET", "/webhooks/acme?challenge=a", &[], Body::empty()).await.status,
        200
    );
    assert_eq!(
        site.send("POST", "/webhooks/acme?challenge=a", &[], Body::empty()).await.status,
        401
    );
    assert_eq!(site.send("GET", "/webhooks/acme", &[], Body::empty()).await.status, 401);
    let answer = site.send("GET", "/webhooks/acme", &[SIGNED], Body::empty()).await;
    assert_eq!((answer.status, answer.headers["allow"].to_str().unwrap()), (405, "POST"));
    assert_eq!(site.kept(), 0);
    let counted = site.endpoint.counts().now();
    assert_eq!((counted.challenged, counted.unverified, counted.unreadable), (3, 2, 1));
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_before_it_is_verified() {
    let site = FakeSite::with(WebhooksConfig { max_body_size: 1024, ..settings() });
    for method in ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = site.send(method, "/webhooks/acme", &[SIGNED], "{}").await;
        assert_eq!(
            (answer.status, answer.headers["allow"].to_str().unwrap()),
            (405, "GET, POST"),
            "{method}"
        );
    }
    let multipart = ("content-type", "multipart/form-data; boundary=x");
    for headers in [multipart, ("content-encoding", "gzip")] {
        let answer = site.post("/webhooks/acme", &[headers], "{}").await;
        assert_eq!((answer.status, answer.kind().as_str()), (415, "unsupported-media-type"));
    }
    let announced = site.post("/webhooks/acme", &[("content-length", "1025")], "").await;
    let too_large = site.post("/webhooks/acme", &[], vec![b' '; 1025]).await;
    for answer in [announced, too_large] {
        assert_eq!((answer.status, answer.kind().as_str()), (413, "too-large"));
        assert_eq!(answer.headers["connection"], "close");
    }
    assert_eq!(site.post("/webhooks/acme", &[SIGNED], vec![b' '; 1024]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_refused_in_time() {
    let site = FakeSite::new();
    let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = site.post("/webhooks/acme", &[SIGNED], body).await;
    assert_eq!((answer.status, answer.kind().as_str()), (408, "request-timeout"));
}

#[tokio::test]
async fn what_could_not_be_kept_is_to_be_called_again() {
    let site = FakeSite::new();
    for (why, status, kind) in [
        (SinkError::BrokerAway, 503, "broker-away"),
        (SinkError::Blocked, 503, "not-confirmed"),
        (SinkError::NotInTime, 503, "not-confirmed"),
        (SinkError::Busy, 503, "busy"),
        (SinkError::Stopping, 503, "stopping"),
        (SinkError::Failed, 500, "internal"),
    ] {
        site.queues.behaviour.send_replace(SinkBehaviour::Refuse(why));
        let answer = site.post("/webhooks/acme", &[SIGNED], "{}").await;
        assert_eq!((answer.status, answer.kind().as_str()), (status, kind), "{why:?}");
        assert_eq!(answer.headers.contains_key("retry-after"), status == 503, "{why:?}");
    }
    site.queues.behaviour.send_replace(SinkBehaviour::Panic);
    assert_eq!(site.post("/webhooks/acme", &[SIGNED], "{}").await.status, 500);
    site.queues.behaviour.send_replace(SinkBehaviour::Confirm);
    assert_eq!(site.post("/webhooks/acme", &[SIGNED], "{}").await.status, 200);
    assert_eq!(
        site.endpoint.counts().now(),
        WebhookTotals { kept: 1, not_kept: 6, ..WebhookTotals::default() }
    );
}

#[tokio::test]
async fn no_answer_is_given_before_the_call_is_kept() {
    let site = FakeSite::new();
    site.queues.behaviour.send_replace(SinkBehaviour::Hang);
    let answer = site.post("/webhooks/acme", &[SIGNED], "{}");
    let mut answer = std::pin::pin!(answer);
    assert!(tokio::time::timeout(Duration::from_millis(100), answer.as_mut()).await.is_err());
    site.queues.behaviour.send_replace(SinkBehaviour::Confirm);
    assert_eq!(answer.await.status, StatusCode::OK);
    assert_eq!(site.kept(), 1);
}

#[tokio::test]
async fn nothing_new_is_taken_once_ferryd_stops() {
    let site = FakeSite::new();
    site.stop.cancel();
    let answer = site.post("/webhooks/acme", &[SIGNED], "{}").await;
    assert_eq!((answer.status, answer.kind().as_str(), site.kept()), (503, "stopping", 0));
    assert_eq!(answer.headers["connection"], "close");
}
