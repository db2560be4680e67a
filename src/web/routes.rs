//! Every path of the API.

use std::any::Any;
use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tracing::debug;

use super::access::{Caller, guard};
use super::endpoint::Endpoint;
use super::operation::Needs;
use super::problem::{Kind, NOT_READY, Problem};
use super::route::Route;
use super::schemas::Schemas;
use super::{Desk, ask, cancel, dead_letters, erase, jobs, live, lookup, openapi, submit};

impl Route {
    /// Returns the access that the route's handler takes.
    #[must_use]
    pub fn needs(self) -> Needs {
        self.endpoint().operation(&mut Schemas::new()).needs
    }

    /// Returns the handler of the route, with its description for people and the problems that the
    /// handler's types do not state.
    #[expect(clippy::too_many_lines, reason = "a table: one entry for each route")]
    pub(super) fn endpoint(self) -> Endpoint {
        use Kind::{Busy, CatchingUp, Forbidden, NewerVersion, NothingToAsk, OtherContent, TooLate};
        match self {
            Self::Livez => {
                Endpoint::new(live::livez, "livez", "Is the process alive?", "Says nothing about the broker.")
            }
            Self::Readyz => Endpoint::new(
                live::readyz,
                "readyz",
                "Can ferryd do its work?",
                "The broker is connected, and the ledger is known up to now.",
            )
            .with_problems(&NOT_READY),
            Self::Submit => Endpoint::new(
                submit::submit,
                "submitCommand",
                "Publish a command",
                "The command is checked, put down in the ledger, and published like one that was published to \
                 RabbitMQ. To send it again under the same id is safe: the answer is the same, and it is carried \
                 out once.",
            )
            .with_problems(&NOT_READY)
            .with_problems(&[OtherContent, NewerVersion, Busy]),
            Self::Commands => Endpoint::new(
                ask::commands,
                "listCommands",
                "List commands",
                "Newest first. Everything that is given must hold.",
            )
            .with_problems(&[CatchingUp]),
            Self::Command => {
                Endpoint::new(ask::command, "showCommand", "Show a command", "Its state, and what happened to it.")
                    .with_problems(&NOT_READY)
            }
            Self::Cancel => Endpoint::new(
                cancel::cancel,
                "cancelCommand",
                "Cancel a command",
                "Possible until its first call begins. A command that is not known yet is cancelled when it \
                 comes.",
            )
            .with_problems(&NOT_READY)
            .with_problems(&[TooLate]),
            Self::Erase => erase::endpoint(),
            Self::Erasures => erase::endpoint_of_many(),
            Self::Exchanges => Endpoint::new(
                ask::exchanges,
                "listExchanges",
                "Show what was said to the provider, and what it answered",
                "Masked, and cut where long. Kept for as long as the stream of exchanges keeps it. The search \
                 takes up to 10 s.",
            )
            .with_problems(&NOT_READY)
            .with_problems(&[Busy]),
            Self::Lookup => Endpoint::new(
                lookup::lookup,
                "lookUpCommand",
                "Ask the provider about a command now",
                "By the operation's `lookup`, of a command that waits or is a dead letter. What it finds ends \
                 the command, and closes its dead letter; `queries` of the command tell what was answered.",
            )
            .with_problems(&NOT_READY)
            .with_problems(&[NothingToAsk, Busy]),
            Self::DeadLetters => Endpoint::new(
                dead_letters::list,
                "listDeadLetters",
                "List dead letters",
                "Newest first. Everything that is given must hold.",
            )
            .with_problems(&[CatchingUp]),
            Self::DeadLetter => Endpoint::new(
                dead_letters::show,
                "showDeadLetter",
                "Show the dead letter of a command",
                "And those of the messages that were refused under its id. What is recorded is answered at once; \
                 with `message=true` the queue is gone through for the original messages, and the token needs \
                 the role `operate`.",
            )
            .with_problems(&NOT_READY)
            .with_problems(&[Forbidden, Busy]),
            Self::Groups => Endpoint::new(
                dead_letters::groups,
                "groupDeadLetters",
                "Count dead letters by how they failed",
                "The most frequent first.",
            )
            .with_problems(&[CatchingUp]),
            Self::StartJob => Endpoint::new(
                jobs::start,
                "startJob",
                "Start a job on dead letters",
                "The job is recorded in the ledger, run by one instance, and taken over by another where that is gone. \
                 It looks only at what was dead-lettered before it was started, and that the token is good for.",
            )
            .with_problems(&NOT_READY),
            Self::Jobs => {
                Endpoint::new(jobs::list, "listJobs", "List jobs", "Newest first.").with_problems(&[CatchingUp])
            }
            Self::Job => {
                Endpoint::new(jobs::show, "showJob", "Show a job", "How far it is, what it refused, and why it ended.")
                    .with_problems(&NOT_READY)
            }
            Self::PauseJob => Endpoint::new(
                jobs::pause,
                "pauseJob",
                "Pause a job",
                "What is under way is finished. To pause it again changes nothing.",
            )
            .with_problems(&NOT_READY),
            Self::ResumeJob => Endpoint::new(
                jobs::resume,
                "resumeJob",
                "Let a paused job go on",
                "The first instance that claims it goes on.",
            )
            .with_problems(&NOT_READY),
            Self::StopJob => Endpoint::new(
                jobs::stop,
                "stopJob",
                "End a job",
                "What is under way is finished; what is left stays as it is.",
            )
            .with_problems(&NOT_READY),
            Self::OpenApi => Endpoint::new(openapi::serve, "openapi", "Describe the API", "This document."),
        }
    }
}

/// Builds the router of the API.
pub fn router(desk: Desk) -> Router {
    let mut router = Router::new();
    for route in Route::ALL {
        let guarded = (desk.tokens.clone(), route, route.needs());
        let handler = route.endpoint().serve(route.method());
        router = router.route(route.path(), handler.route_layer(from_fn_with_state(guarded, guard)));
    }
    attended(router.fallback(nothing).method_not_allowed_fallback(other_methods)).with_state(desk)
}

async fn nothing() -> Problem {
    Problem::new(Kind::NotFound, "see /openapi.json for what there is")
}

async fn other_methods() -> Problem {
    Problem::new(Kind::MethodNotAllowed, "the header `Allow` names the methods that this path knows")
}

/// Adds the handling of every request to a router: panics, the log, and headers of the answer.
pub(super) fn attended<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    let uncached = SetResponseHeaderLayer::overriding(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    router.layer(CatchPanicLayer::custom(panicked)).layer(uncached).layer(from_fn(log_answer))
}

/// Answers a request whose handler panicked. The panic is logged where it happens.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::new(Kind::Internal, "ferryd failed; see its log").into_response()
}

/// Logs the answer to a request. Bodies and queries stay out of the log.
async fn log_answer(request: Request, next: Next) -> Response {
    let (began, method, path) = (Instant::now(), request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let token = response.extensions().get::<Caller>().map(Caller::name);
    let (status, took_us) = (response.status().as_u16(), began.elapsed().as_micros());
    debug!(%method, path, status, token, took_us, "answered");
    response
}
