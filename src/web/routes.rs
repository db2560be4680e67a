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

use super::access::{TokenHolder, authorize_request};
use super::endpoint::DescribedEndpoint;
use super::operation::RouteAccess;
use super::problem::{ApiProblem, NOT_READY, ProblemKind};
use super::route::ApiRoute;
use super::schemas::SchemaRegistry;
use super::{
    ApiState, cancel, dead_letters, erase, jobs, liveness, lookup, openapi, read_commands, submit,
};

impl ApiRoute {
    /// Returns the access that the route's handler takes.
    #[must_use]
    pub fn required_access(self) -> RouteAccess {
        self.endpoint().operation(&mut SchemaRegistry::new()).needs
    }

    /// Returns the handler of the route, with its description for people and the problems that the
    /// handler's types do not state.
    #[expect(clippy::too_many_lines, reason = "a table: one entry for each route")]
    pub(super) fn endpoint(self) -> DescribedEndpoint {
        use ProblemKind::{
            Busy, CatchingUp, Forbidden, NewerVersion, NothingToAsk, OtherContent, TooLate,
        };
        match self {
            Self::Livez => DescribedEndpoint::new(
                liveness::livez,
                "livez",
                "Is the process alive?",
                "Says nothing about the broker.",
            ),
            Self::Readyz => DescribedEndpoint::new(
                liveness::readyz,
                "readyz",
                "Can ferryd do its work?",
                "The broker is connected, and the ledger is up to date.",
            )
            .with_problems(&NOT_READY),
            Self::Submit => DescribedEndpoint::new(
                submit::submit,
                "submitCommand",
                "Publish a command",
                "The command is checked, recorded in the ledger, and published like one that was published to \
                 RabbitMQ. To send it again under the same id is safe: the answer is the same, and it is carried \
                 out once.",
            )
            .with_problems(&NOT_READY)
            .with_problems(&[OtherContent, NewerVersion, Busy]),
            Self::Commands => DescribedEndpoint::new(
                read_commands::list_commands,
                "listCommands",
                "List commands",
                "Newest first. Everything that is given must hold.",
            )
            .with_problems(&[CatchingUp]),
            Self::Command => DescribedEndpoint::new(
                read_commands::command,
                "showCommand",
                "Show a command",
                "Its state, and what happened to it.",
            )
            .with_problems(&NOT_READY),
            Self::Cancel => DescribedEndpoint::new(
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
            Self::Exchanges => DescribedEndpoint::new(
                read_commands::list_calls,
                "listCalls",
                "Show what was said to the provider, and what it answered",
                "Masked, and cut where long. Kept for as long as the stream of calls keeps it. The search \
                 takes up to 10 s.",
            )
            .with_problems(&NOT_READY)
            .with_problems(&[Busy]),
            Self::Lookup => DescribedEndpoint::new(
                lookup::lookup,
                "lookUpCommand",
                "Ask the provider about a command now",
                "By the operation's `lookup`, of a command that waits or is a dead letter. What it finds ends \
                 the command, and closes its dead letter; `queries` of the command show what was answered.",
            )
            .with_problems(&NOT_READY)
            .with_problems(&[NothingToAsk, Busy]),
            Self::DeadLetters => DescribedEndpoint::new(
                dead_letters::list,
                "listDeadLetters",
                "List dead letters",
                "Newest first. Everything that is given must hold.",
            )
            .with_problems(&[CatchingUp]),
            Self::DeadLetter => DescribedEndpoint::new(
                dead_letters::show,
                "showDeadLetter",
                "Show the dead letter of a command",
                "And those of the messages that were refused under its id. What is recorded is answered at once; \
                 with `message=true` the queue is gone through for the original messages, and the token needs \
                 the role `operate`.",
            )
            .with_problems(&NOT_READY)
            .with_problems(&[Forbidden, Busy]),
            Self::Groups => DescribedEndpoint::new(
                dead_letters::groups,
                "groupDeadLetters",
                "Count dead letters by how they failed",
                "The most frequent first.",
            )
            .with_problems(&[CatchingUp]),
            Self::StartJob => DescribedEndpoint::new(
                jobs::start,
                "startJob",
                "Start a job on dead letters",
                "The job is recorded in the ledger, run by one instance, and taken over by another where that is gone. \
                 It looks only at what was dead-lettered before it was started, and that the token is good for.",
            )
            .with_problems(&NOT_READY),
            Self::Jobs => DescribedEndpoint::new(jobs::list, "listJobs", "List jobs", "Newest first.")
                .with_problems(&[CatchingUp]),
            Self::Job => DescribedEndpoint::new(
                jobs::show,
                "showJob",
                "Show a job",
                "How far it is, what it refused, and why it ended.",
            )
            .with_problems(&NOT_READY),
            Self::PauseJob => DescribedEndpoint::new(
                jobs::pause,
                "pauseJob",
                "Pause a job",
                "What is under way is finished. To pause it again changes nothing.",
            )
            .with_problems(&NOT_READY),
            Self::ResumeJob => DescribedEndpoint::new(
                jobs::resume,
                "resumeJob",
                "Resume a paused job",
                "The first instance that claims it goes on.",
            )
            .with_problems(&NOT_READY),
            Self::StopJob => DescribedEndpoint::new(
                jobs::stop,
                "stopJob",
                "End a job",
                "What is under way is finished; what is left stays as it is.",
            )
            .with_problems(&NOT_READY),
            Self::OpenApi => DescribedEndpoint::new(openapi::serve, "openapi", "Describe the API", "This document."),
        }
    }
}

/// Builds the router of the API.
pub fn router(api: ApiState) -> Router {
    let mut router = Router::new();
    for route in ApiRoute::ALL {
        let guarded = (api.tokens.clone(), route, route.required_access());
        let handler = route.endpoint().serve(route.method());
        router = router.route(
            route.path(),
            handler.route_layer(from_fn_with_state(guarded, authorize_request)),
        );
    }
    with_request_layers(router.fallback(no_such_route).method_not_allowed_fallback(other_methods))
        .with_state(api)
}

async fn no_such_route() -> ApiProblem {
    ApiProblem::new(ProblemKind::NotFound, "see /openapi.json for what there is")
}

async fn other_methods() -> ApiProblem {
    ApiProblem::new(
        ProblemKind::MethodNotAllowed,
        "the header `Allow` names the methods that this path knows",
    )
}

/// Adds the handling of every request to a router: panics, the log, and headers of the answer.
pub(super) fn with_request_layers<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
) -> Router<S> {
    let uncached =
        SetResponseHeaderLayer::overriding(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    router.layer(CatchPanicLayer::custom(answer_panic)).layer(uncached).layer(from_fn(log_answer))
}

/// Answers a request whose handler panicked. The panic is logged where it happens.
fn answer_panic(_: Box<dyn Any + Send>) -> Response {
    ApiProblem::new(ProblemKind::Internal, "ferryd failed; see its log").into_response()
}

/// Logs the answer to a request. Bodies and queries stay out of the log.
async fn log_answer(request: Request, next: Next) -> Response {
    let (began, method, path) =
        (Instant::now(), request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let token = response.extensions().get::<TokenHolder>().map(TokenHolder::name);
    let (status, took_us) = (response.status().as_u16(), began.elapsed().as_micros());
    debug!(http.request.method = %method, url.path = path, http.response.status_code = status, token, took_us, "answered");
    response
}
