//! Who may do what: tokens, and where there are none, requests that are really meant for this machine.
//!
//! Without tokens the API listens at a loopback address only, and everybody on the machine may do everything. A web page that
//! somebody on it looks at must not: it could let the name of its own host lead to 127.0.0.1, and would be taken for a
//! page of ours by the browser. Such a request still carries the page's own host name, by which it is refused.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use super::problem::{Kind, Problem};
use crate::config::ApiToken;
use crate::domain::name::Name;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// To ask.
    Read,
    /// To publish and to cancel, too.
    Operate,
}

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// A token of at least this role.
    Token(Role),
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(Option<Name>);

impl Caller {
    /// The name of their token, or that there are none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.as_ref().map_or("anybody", Name::as_str)
    }
}

/// Everybody's tokens. Only digests are kept.
#[derive(Clone, Default)]
pub struct Tokens(Vec<Token>);

#[derive(Clone)]
struct Token {
    name: Name,
    role: Role,
    digest: [u8; 32],
}

impl Tokens {
    /// Of the configuration.
    #[must_use]
    pub fn new(tokens: &[ApiToken]) -> Self {
        let token = |token: &ApiToken| Token {
            name: token.name.clone(),
            role: token.role,
            digest: Sha256::digest(token.token.expose()).into(),
        };
        Self(tokens.iter().map(token).collect())
    }

    /// Whether somebody may come in, and who that is.
    fn admit(&self, needs: Role, headers: &HeaderMap, uri_host: Option<&str>) -> Result<Caller, Problem> {
        if self.0.is_empty() {
            return local(headers, uri_host).map(|()| Caller(None));
        }
        let known = bearer(headers).and_then(|token| self.find(token));
        // Nothing tells a token that is wrong from one that is missing.
        let token = known.ok_or_else(|| {
            Problem::new(Kind::Unauthorized, "send a token of `api.tokens` as `Authorization: Bearer <token>`")
        })?;
        if token.role < needs {
            let detail = format!("the token `{}` has the role read; this needs one with the role operate", token.name);
            return Err(Problem::new(Kind::Forbidden, detail));
        }
        Ok(Caller(Some(token.name.clone())))
    }

    /// Compares with every token, in a time that does not depend on any of them.
    fn find(&self, presented: &str) -> Option<&Token> {
        let digest: [u8; 32] = Sha256::digest(presented).into();
        let mut found = u64::MAX;
        for (index, token) in (0..).zip(&self.0) {
            let equal: Choice = token.digest.ct_eq(&digest);
            found.conditional_assign(&index, equal);
        }
        self.0.get(usize::try_from(found).ok()?)
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a request is meant for this machine.
fn local(headers: &HeaderMap, uri_host: Option<&str>) -> Result<(), Problem> {
    let hosts: Vec<_> = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default()).collect();
    if hosts.len() == 1 && hosts.into_iter().chain(uri_host).all(is_loopback) {
        return Ok(());
    }
    let detail = "without `api.tokens`, only requests to localhost, 127.0.0.1 or [::1] are answered";
    Err(Problem::new(Kind::WrongHost, detail))
}

/// Whether a host, with or without a port, is this machine by its name or address.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, "0"),
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    port.parse::<u16>().is_ok()
        && (name.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()))
}

/// Lets in who may come in, and notes who it is, on the request and on the answer.
pub(super) async fn guard(
    State((tokens, needs)): State<(Tokens, Needs)>,
    mut request: Request,
    next: Next,
) -> Response {
    let Needs::Token(role) = needs else { return next.run(request).await };
    let caller = match tokens.admit(role, request.headers(), request.uri().authority().map(Authority::as_str)) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    request.extensions_mut().insert(caller.clone());
    let mut response = next.run(request).await;
    response.extensions_mut().insert(caller);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_this_machine_by_name_or_address() {
        for (host, local) in [
            ("localhost", true),
            ("LocalHost:8420", true),
            ("127.0.0.1:8420", true),
            ("127.8.9.1", true),
            ("[::1]:8420", true),
            ("[::1]", true),
            ("localhost.example.com", false),
            ("example.com", false),
            ("127.0.0.1.nip.io:8420", false),
            ("192.168.0.1", false),
            ("0.0.0.0:8420", false),
            ("localhost:", false),
            ("localhost:x", false),
            ("user@localhost", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host), local, "{host}");
        }
    }

    #[test]
    fn a_token_is_found_among_several_and_only_as_a_whole() {
        let token = |name: &str, role, token: &str| ApiToken { name: name.parse().unwrap(), role, token: token.into() };
        let tokens = Tokens::new(&[
            token("shop", Role::Operate, "0123456789abcdef"),
            token("graph", Role::Read, "fedcba9876543210"),
        ]);
        let name = |text: &str| tokens.find(text).map(|token| token.name.as_str().to_owned());
        assert_eq!(name("0123456789abcdef").as_deref(), Some("shop"));
        assert_eq!(name("fedcba9876543210").as_deref(), Some("graph"));
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF"] {
            assert_eq!(name(wrong), None, "{wrong}");
        }
    }
}
