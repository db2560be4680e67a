//! Every path of the API.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, Method};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, delete, get, post};
use futures_util::FutureExt as _;
use tracing::debug;

use super::access::{Caller, Needs, Role, guard};
use super::problem::{Kind, Problem};
use super::{Desk, ask, cancel, dead_letters, erase, live, lookup, openapi, submit};

/// A method and a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Is the process alive?
    Livez,
    /// Can it do its work?
    Readyz,
    /// Publish a command.
    Submit,
    /// List commands.
    Commands,
    /// Show a command.
    Command,
    /// Cancel a command.
    Cancel,
    /// Erase the contents of a command.
    Erase,
    /// Show what was said to the provider.
    Exchanges,
    /// Ask the provider about a command.
    Lookup,
    /// List dead letters.
    DeadLetters,
    /// Show a dead letter.
    DeadLetter,
    /// Count dead letters.
    Groups,
    /// Describe all this.
    OpenApi,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 13] = [
        Self::Livez,
        Self::Readyz,
        Self::Submit,
        Self::Commands,
        Self::Command,
        Self::Cancel,
        Self::Erase,
        Self::Exchanges,
        Self::Lookup,
        Self::DeadLetters,
        Self::DeadLetter,
        Self::Groups,
        Self::OpenApi,
    ];

    /// Its method. `HEAD` goes wherever `GET` does.
    #[must_use]
    pub fn method(self) -> Method {
        match self {
            Self::Submit | Self::Erase | Self::Lookup => Method::POST,
            Self::Cancel => Method::DELETE,
            _ => Method::GET,
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Livez => "/livez",
            Self::Readyz => "/readyz",
            Self::Submit | Self::Commands => "/v1/commands",
            Self::Command | Self::Cancel => "/v1/commands/{id}",
            Self::Erase => "/v1/commands/{id}/erase",
            Self::Exchanges => "/v1/commands/{id}/exchanges",
            Self::Lookup => "/v1/commands/{id}/lookup",
            Self::DeadLetter => "/v1/dead-letters/{id}",
            Self::DeadLetters => "/v1/dead-letters",
            Self::Groups => "/v1/dead-letters/groups",
            Self::OpenApi => "/openapi.json",
        }
    }

    /// What it needs.
    #[must_use]
    pub fn needs(self) -> Needs {
        match self {
            Self::Livez | Self::Readyz => Needs::Nothing,
            Self::Submit | Self::Cancel | Self::Lookup => Needs::Token(Role::Operate),
            Self::Erase => Needs::Token(Role::Erase),
            _ => Needs::Token(Role::Read),
        }
    }

    fn serve(self) -> MethodRouter<Desk> {
        match self {
            Self::Livez => get(live::livez),
            Self::Readyz => get(live::readyz),
            Self::Submit => post(submit::submit),
            Self::Commands => get(ask::commands),
            Self::Command => get(ask::command),
            Self::Cancel => delete(cancel::cancel),
            Self::Erase => post(erase::erase),
            Self::Exchanges => get(ask::exchanges),
            Self::Lookup => post(lookup::lookup),
            Self::DeadLetter => get(dead_letters::show),
            Self::DeadLetters => get(dead_letters::list),
            Self::Groups => get(dead_letters::groups),
            Self::OpenApi => get(openapi::serve),
        }
    }
}

/// The API.
pub fn router(desk: Desk) -> Router {
    let mut router = Router::new();
    for route in Route::ALL {
        let guarded = (desk.tokens.clone(), route);
        router = router.route(route.path(), route.serve().route_layer(from_fn_with_state(guarded, guard)));
    }
    router.fallback(nothing).method_not_allowed_fallback(other_methods).layer(from_fn(attend)).with_state(desk)
}

async fn nothing() -> Problem {
    Problem::new(Kind::NotFound, "see /openapi.json for what there is")
}

async fn other_methods() -> Problem {
    Problem::new(Kind::MethodNotAllowed, "the header `Allow` names the methods that this path knows")
}

/// What is done about every request, whatever comes of it. Bodies and queries stay out of the log.
pub(super) async fn attend(request: Request, next: Next) -> Response {
    let (began, method, path) = (Instant::now(), request.method().clone(), request.uri().path().to_owned());
    // The panic has been logged where it happened.
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response =
        answered.unwrap_or_else(|_| Problem::new(Kind::Internal, "ferryd failed; see its log").into_response());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let token = response.extensions().get::<Caller>().map(Caller::name);
    let (status, took_us) = (response.status().as_u16(), began.elapsed().as_micros());
    debug!(%method, path, status, token, took_us, "answered");
    response
}
