//! Every method and path of the API.

use axum::http::Method;

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
    /// Erase the contents of many commands.
    Erasures,
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
    /// Start a job.
    StartJob,
    /// List jobs.
    Jobs,
    /// Show a job.
    Job,
    /// Pause a job.
    PauseJob,
    /// Let a paused job go on.
    ResumeJob,
    /// End a job.
    StopJob,
    /// Describe all this.
    OpenApi,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 20] = [
        Self::Livez,
        Self::Readyz,
        Self::Submit,
        Self::Commands,
        Self::Command,
        Self::Cancel,
        Self::Erase,
        Self::Erasures,
        Self::Exchanges,
        Self::Lookup,
        Self::DeadLetters,
        Self::DeadLetter,
        Self::Groups,
        Self::StartJob,
        Self::Jobs,
        Self::Job,
        Self::PauseJob,
        Self::ResumeJob,
        Self::StopJob,
        Self::OpenApi,
    ];

    /// Its method. `HEAD` goes wherever `GET` does.
    #[must_use]
    pub fn method(self) -> Method {
        match self {
            Self::Submit
            | Self::Erase
            | Self::Erasures
            | Self::Lookup
            | Self::StartJob
            | Self::PauseJob
            | Self::ResumeJob
            | Self::StopJob => Method::POST,
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
            Self::Erasures => "/v1/erasures",
            Self::Exchanges => "/v1/commands/{id}/exchanges",
            Self::Lookup => "/v1/commands/{id}/lookup",
            Self::DeadLetter => "/v1/dead-letters/{id}",
            Self::DeadLetters => "/v1/dead-letters",
            Self::Groups => "/v1/dead-letters/groups",
            Self::StartJob | Self::Jobs => "/v1/jobs",
            Self::Job => "/v1/jobs/{id}",
            Self::PauseJob => "/v1/jobs/{id}/pause",
            Self::ResumeJob => "/v1/jobs/{id}/resume",
            Self::StopJob => "/v1/jobs/{id}/stop",
            Self::OpenApi => "/openapi.json",
        }
    }
}
