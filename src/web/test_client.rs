//! The API through its router, and a client of it, for tests.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::ApiState;
use super::access::TokenRegistry;
use super::fake_service::FakeCommandService;
use super::host_token::HostToken;
use super::problem::MEDIA_TYPE;
use super::route::ApiRoute;
use super::routes::router;
use crate::config::{ApiToken, EnvironmentVariables, TokenRole};
use ferryd_domain::command_scope::CommandScope;
use ferryd_provider::Provider;
use ferryd_provider::registry::ProviderRegistry;

pub(super) const OPERATOR: &str = "operator-0123456789";
pub(super) const READER: &str = "reader-0123456789ab";
pub(super) const ERASER: &str = "eraser-0123456789ab";
pub(super) const HOST: &str = "host-0123456789abcdef0123456789ab";

pub(super) const COMMAND: &str = r#"{"id":"order-1","type":"payment","provider":"stripe","operation":"charge","payload":{"amount":1,"currency":"eur"}}"#;

const PROVIDER: &str = r#"
name = "stripe"
type = "payment"
protocol = "rest"
base_url = "https://api.example.com"
publishers = ["till", { user = "warehouse", ids = ["wh-"] }]
[operations.charge]
request = { method = "POST", path = "/v1/charges" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
payload = { type = "object", required = ["amount"], properties = { amount = { type = "integer" }, currency = { type = "string" } } }
"#;

fn registry() -> ProviderRegistry {
    let defaults = crate::config::Config::from_parts(None, &EnvironmentVariables::new())
        .unwrap()
        .provider_defaults();
    ProviderRegistry::new(
        [Provider::parse(PROVIDER, "stripe.toml", &defaults).unwrap()],
        std::collections::BTreeMap::new(),
    )
}

/// The token of operators whose scope is the only account of `stripe`, and another provider.
pub(super) const NEIGHBOUR: &str = "neighbour-0123456789";
/// An operator who publishes for the AMQP user `warehouse`, to whom ids are bound.
pub(super) const WAREHOUSE: &str = "warehouse-0123456789";
pub(super) const STRANGER: &str = "stranger-01234567890";
/// The token of a stranger with the role `erase`.
pub(super) const STRANGE_ERASER: &str = "strange-eraser-01234567890";

/// Returns the AMQP user for whom a token publishes.
fn publisher_of(token: &str) -> Option<String> {
    (token == WAREHOUSE).then(|| "warehouse".to_owned())
}

/// Returns the scope of a neighbour, or of a stranger.
pub(super) fn scope_of(token: &str) -> CommandScope {
    let text = if token == NEIGHBOUR {
        r#"{"accounts":["stripe/default"]}"#
    } else {
        r#"{"providers":["twilio"]}"#
    };
    serde_json::from_str(text).unwrap()
}

pub(super) fn tokens() -> TokenRegistry {
    let token = |name: &str, role, token: &str| {
        let scope = [NEIGHBOUR, STRANGER, STRANGE_ERASER].contains(&token).then(|| scope_of(token));
        ApiToken {
            name: name.parse().unwrap(),
            role,
            token: token.into(),
            read: scope.clone(),
            operate: scope,
            publisher: publisher_of(token),
        }
    };
    let configured = [
        token("shop", TokenRole::Operate, OPERATOR),
        token("graph", TokenRole::Read, READER),
        token("privacy", TokenRole::Erase, ERASER),
        token("neighbour", TokenRole::Operate, NEIGHBOUR),
        token("stranger", TokenRole::Operate, STRANGER),
        token("strange_eraser", TokenRole::Erase, STRANGE_ERASER),
        token("warehouse", TokenRole::Operate, WAREHOUSE),
    ];
    TokenRegistry::new(&configured, &HostToken::without_file(HOST))
}

/// The API, the fake commands behind it, and its stop token.
pub(super) struct TestApi {
    router: Router,
    pub fake: Arc<FakeCommandService>,
    pub stop: CancellationToken,
}

pub(super) struct ApiAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl ApiAnswer {
    /// Returns status and kind of a problem.
    pub fn problem(&self) -> (u16, &str) {
        assert_eq!(self.headers["content-type"], MEDIA_TYPE, "{}", self.body);
        let kind = self.body["type"].as_str().unwrap().strip_prefix("urn:ferryd:problem:").unwrap();
        assert_eq!(self.body["status"], self.status.as_u16());
        (self.status.as_u16(), kind)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl TestApi {
    pub fn new() -> Self {
        let (fake, stop) = (Arc::new(FakeCommandService::new()), CancellationToken::new());
        let api = ApiState::new(
            Arc::clone(&fake) as Arc<_>,
            Arc::new(registry()),
            tokens(),
            stop.clone(),
        );
        Self { router: router(api), fake, stop }
    }

    pub async fn send(&self, request: Request<Body>) -> ApiAnswer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        assert_eq!(parts.headers["cache-control"], "no-store");
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        let body =
            if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        ApiAnswer { status: parts.status, headers: parts.headers, body }
    }

    /// Sends a request as an operator.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> ApiAnswer {
        let authorization = bearer(OPERATOR);
        let headers = [&[("authorization", authorization.as_str())], headers].concat();
        self.send(request(method, path, &headers, body)).await
    }

    pub async fn get(&self, path: &str) -> ApiAnswer {
        self.ask(Method::GET, path, &[], "").await
    }

    pub async fn post(&self, body: &str, headers: &[(&str, &str)]) -> ApiAnswer {
        let json = [("content-type", "application/json")];
        self.ask(Method::POST, "/v1/commands", &[&json, headers].concat(), body).await
    }
}

pub(super) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

pub(super) fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

/// Returns a path of a route, with the id of a command that exists.
pub(super) fn path_of(route: ApiRoute) -> String {
    route.path().replace("{id}", "order-1")
}
