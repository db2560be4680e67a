//! Access by tokens.
//!
//! Every route but `/livez` and `/readyz` needs a token. The host has a token of its own in a file,
//! so that any user who may read that file may operate ferryd; other tokens are configured. The
//! origin of a request grants nothing: every process on the machine can connect, and so can a web
//! page in a browser on it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use tracing::warn;

use super::host_token::HostToken;
use super::operation::{DescribeInput, OperationDescription, RouteAccess};
use super::problem::{ApiProblem, ProblemKind};
use super::route::ApiRoute;
use super::schemas::SchemaRegistry;
use crate::config::{ApiToken, HOST_TOKEN_NAME, TokenRole};
use crate::telemetry::log_throttle::LogThrottle;
use ferryd_domain::command_scope::CommandScope;
use ferryd_domain::name::Name;
use ferryd_serve::connection_handle::PeerAddress;
use ferryd_serve::connection_limiter::ConnectionPermit;

/// The time in which refused requests of one kind share one line of the log.
const REFUSALS_LOGGED_EVERY: Duration = Duration::from_secs(10);

/// The holder of the token that a request was sent with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHolder(Arc<TokenGrant>);

/// The name, the role and the scopes of a token.
#[derive(Debug, PartialEq, Eq)]
struct TokenGrant {
    name: Name,
    role: TokenRole,
    read: CommandScope,
    operate: CommandScope,
    /// The AMQP user under whose ids the token's holder publishes.
    publisher: Option<String>,
}

impl TokenHolder {
    fn new(grant: TokenGrant) -> Self {
        Self(Arc::new(grant))
    }

    /// Returns the name of the token.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name.as_str()
    }

    /// Returns the caller's name for the ledger, with the person for whom they act.
    fn recorded_name(&self, person: Option<&str>) -> String {
        match person {
            Some(person) => format!("{person} via api:{}", self.name()),
            None => format!("api:{}", self.name()),
        }
    }
}

/// The right to see commands, within the scope of a request's token. Only a request that was
/// admitted has one.
#[derive(Debug, Clone)]
pub(super) struct ReadAccess(TokenHolder);

/// The right to publish and to cancel commands, within the scope of a request's token.
#[derive(Debug, Clone)]
pub(super) struct OperateAccess(TokenHolder);

/// The right to have the contents of commands erased, within the scope in which a request's token
/// may see them.
#[derive(Debug, Clone)]
pub(super) struct EraseAccess(TokenHolder);

impl ReadAccess {
    /// Returns the scope of commands that may be seen.
    pub(super) fn scope(&self) -> &CommandScope {
        &self.0.0.read
    }
}

impl ReadAccess {
    /// Returns true if all these commands may be seen. Whoever may operate commands sees what is
    /// done to them.
    pub(super) fn sees(&self, commands: &CommandScope) -> bool {
        let TokenGrant { role, read, operate, .. } = &*self.0.0;
        read.covers(commands) || (role.includes(TokenRole::Operate) && operate.covers(commands))
    }

    /// Refuses a token that may only read.
    pub(super) fn require_operate(&self) -> Result<(), ApiProblem> {
        let Self(caller) = self;
        if caller.0.role.includes(TokenRole::Operate) {
            return Ok(());
        }
        let (name, role, needed) =
            (caller.name(), caller.0.role.as_str(), TokenRole::Operate.as_str());
        let detail = format!(
            "the token `{name}` has the role {role}; this needs one with the role {needed}"
        );
        Err(ApiProblem::insufficient_role(needed, detail))
    }
}

impl OperateAccess {
    /// Returns the scope of commands that may be published and cancelled.
    pub(super) fn scope(&self) -> &CommandScope {
        &self.0.0.operate
    }

    /// Returns the AMQP user under whose ids commands are published.
    pub(super) fn publisher(&self) -> Option<&str> {
        self.0.0.publisher.as_deref()
    }

    /// Returns the name of the token.
    pub(super) fn name(&self) -> &str {
        self.0.name()
    }

    /// Returns the caller's name for the ledger, with the person for whom they act.
    pub(super) fn recorded_name(&self, person: Option<&str>) -> String {
        self.0.recorded_name(person)
    }
}

impl EraseAccess {
    /// Returns the scope of commands whose contents may be erased.
    pub(super) fn scope(&self) -> &CommandScope {
        &self.0.0.read
    }

    /// Returns the caller's name for the ledger, with the person for whom they act.
    pub(super) fn recorded_name(&self, person: Option<&str>) -> String {
        self.0.recorded_name(person)
    }
}

/// Returns the caller that [`authorize_request`] attached to a request. A route without the guard
/// refuses every request.
fn require_caller(parts: &Parts, role: TokenRole) -> Result<TokenHolder, ApiProblem> {
    let caller =
        parts.extensions.get::<TokenHolder>().filter(|caller| caller.0.role.includes(role));
    caller
        .cloned()
        .ok_or_else(|| ApiProblem::new(ProblemKind::Internal, "ferryd failed; see its log"))
}

impl<S: Send + Sync> FromRequestParts<S> for ReadAccess {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiProblem> {
        require_caller(parts, TokenRole::Read).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OperateAccess {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiProblem> {
        require_caller(parts, TokenRole::Operate).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for EraseAccess {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiProblem> {
        require_caller(parts, TokenRole::Erase).map(Self)
    }
}

macro_rules! describe_access {
    ($($access:ident $role:ident)*) => {$(
        impl DescribeInput for $access {
            fn describe(operation: &mut OperationDescription, _: &mut SchemaRegistry) {
                operation.needs = RouteAccess::Token(TokenRole::$role);
                operation.can_be(&[ProblemKind::Unauthorized]);
                if TokenRole::$role != TokenRole::Read {
                    operation.can_be(&[ProblemKind::Forbidden]);
                }
            }
        }
    )*};
}

describe_access! { ReadAccess Read OperateAccess Operate EraseAccess Erase }

/// All tokens, of which only digests are kept, and the throttled log of refused requests.
#[derive(Clone)]
pub struct TokenRegistry(Arc<TokenTable>);

struct TokenTable {
    tokens: Vec<TokenDigest>,
    refusals: LogThrottle<RefusalReason>,
}

struct TokenDigest {
    caller: TokenHolder,
    digest: [u8; 32],
}

/// The reason why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
enum RefusalReason {
    #[error("it has no token")]
    Missing,
    #[error("its token is not known")]
    Unknown,
    #[error("its token does not allow it")]
    Role,
    #[error("its token is not good for such commands")]
    Scope,
}

impl TokenRegistry {
    /// Takes the tokens of the configuration, and that of the host.
    #[must_use]
    pub fn new(tokens: &[ApiToken], host: &HostToken) -> Self {
        let configured = tokens.iter().map(|token| TokenDigest {
            caller: TokenHolder::new(TokenGrant {
                name: token.name.clone(),
                role: token.role,
                read: token.read.clone().unwrap_or_default(),
                operate: token.operate.clone().unwrap_or_default(),
                publisher: token.publisher.clone(),
            }),
            digest: Sha256::digest(token.token.expose()).into(),
        });
        let (read, operate) = (CommandScope::default(), CommandScope::default());
        let host = TokenDigest {
            caller: TokenHolder::new(TokenGrant {
                name: host_name(),
                role: TokenRole::Operate,
                read,
                operate,
                publisher: None,
            }),
            digest: Sha256::digest(host.token().expose()).into(),
        };
        let tokens = configured.chain([host]).collect();
        Self(Arc::new(TokenTable { tokens, refusals: LogThrottle::new(REFUSALS_LOGGED_EVERY) }))
    }

    /// Admits a request, if its token allows it. Returns the caller.
    fn admit_request(
        &self,
        route: ApiRoute,
        role: TokenRole,
        request: &Request,
    ) -> Result<TokenHolder, ApiProblem> {
        let Some(presented) = bearer(request.headers()) else {
            return Err(self.refuse(RefusalReason::Missing, route, request, None));
        };
        let Some(token) = self.find(presented) else {
            return Err(self.refuse(RefusalReason::Unknown, route, request, None));
        };
        if let Some(place) = request.extensions().get::<Arc<ConnectionPermit>>() {
            place.authorise();
        }
        if !token.caller.0.role.includes(role) {
            return Err(self.refuse(
                RefusalReason::Role,
                route,
                request,
                Some((&token.caller, role)),
            ));
        }
        Ok(token.caller.clone())
    }

    /// Logs a refusal, throttled, and answers the client. The answer to a wrong token is the same
    /// as to a missing one.
    fn refuse(
        &self,
        reason: RefusalReason,
        route: ApiRoute,
        request: &Request,
        lacking: Option<(&TokenHolder, TokenRole)>,
    ) -> ApiProblem {
        self.log_refusal(reason, route, client(request), lacking.map(|(caller, _)| caller.clone()));
        if let Some((caller, needed)) = lacking {
            let (name, role, needed) = (caller.name(), caller.0.role.as_str(), needed.as_str());
            let detail = format!(
                "the token `{name}` has the role {role}; this needs one with the role {needed}"
            );
            return ApiProblem::insufficient_role(needed, detail);
        }
        let detail = "send a token as `Authorization: Bearer <token>`: one of `api.tokens`, or the host's own, which \
                      `ferryd token` prints";
        ApiProblem::new(ProblemKind::Unauthorized, detail)
    }

    /// Logs refused requests of one kind together, with the details of the last. The token is left
    /// out, because it may be a valid one with a slip.
    fn log_refusal(
        &self,
        reason: RefusalReason,
        route: ApiRoute,
        client: Option<IpAddr>,
        caller: Option<TokenHolder>,
    ) {
        self.0.refusals.log(reason, move |count| {
            let (method, path) = (route.method(), route.path());
            let (client, token) = (client.map(|client| client.to_string()), caller.as_ref().map(TokenHolder::name));
            warn!(count, %reason, client.address = client, token, http.request.method = %method, url.path = path, "refused requests to the API");
        });
    }

    /// Compares a token with every known one, in a time that does not depend on any of them.
    fn find(&self, presented: &str) -> Option<&TokenDigest> {
        let digest: [u8; 32] = Sha256::digest(presented).into();
        let mut found = u64::MAX;
        for (index, token) in (0..).zip(&self.0.tokens) {
            let equal: Choice = token.digest.ct_eq(&digest);
            found.conditional_assign(&index, equal);
        }
        self.0.tokens.get(usize::try_from(found).ok()?)
    }
}

#[expect(clippy::expect_used, reason = "a constant, held by a test")]
fn host_name() -> Name {
    HOST_TOKEN_NAME.parse().expect("a valid name")
}

/// Returns the peer address of a request's connection.
fn client(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<PeerAddress>().map(|PeerAddress(address)| *address)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Admits requests with the needed access, and attaches the caller to the request and the answer.
pub(super) async fn authorize_request(
    State((tokens, route, needs)): State<(TokenRegistry, ApiRoute, RouteAccess)>,
    mut request: Request,
    next: Next,
) -> Response {
    let RouteAccess::Token(role) = needs else { return next.run(request).await };
    let caller = match tokens.admit_request(route, role, &request) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let client = client(&request);
    request.extensions_mut().insert(caller.clone());
    let mut response = next.run(request).await;
    if response.status() == StatusCode::FORBIDDEN {
        tokens.log_refusal(RefusalReason::Scope, route, client, Some(caller.clone()));
    }
    response.extensions_mut().insert(caller);
    response
}

#[cfg(test)]
mod tests {
    use crate::web::test_client::{HOST, OPERATOR, READER, tokens};

    #[test]
    fn a_token_is_found_among_several_and_only_as_a_whole() {
        let tokens = tokens();
        let name = |text: &str| tokens.find(text).map(|token| token.caller.name().to_owned());
        assert_eq!(name(OPERATOR).as_deref(), Some("shop"));
        assert_eq!(name(READER).as_deref(), Some("graph"));
        assert_eq!(name(HOST).as_deref(), Some("host"));
        for wrong in ["", &HOST[1..], &format!("{HOST}0"), &HOST.to_uppercase()] {
            assert_eq!(name(wrong), None, "{wrong}");
        }
    }
}
