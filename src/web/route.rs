//! Every method and path of the API.

use axum::http::Method;

/// A method and a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiRoute {
    /// Reports that the process is alive.
    Livez,
    /// Reports that the process can do its work.
    Readyz,
    /// Publishes a command.
    Submit,
    /// Lists commands.
    Commands,
    /// Shows a command.
    Command,
    /// Cancels a command.
    Cancel,
    /// Erases the contents of a command.
    Erase,
    /// Erases the contents of many commands.
    Erasures,
    /// Shows the calls to the provider for a command.
    Exchanges,
    /// Queries the provider about a command.
    Lookup,
    /// Lists dead letters.
    DeadLetters,
    /// Shows a dead letter.
    DeadLetter,
    /// Counts dead letters by their failure.
    Groups,
    /// Starts a job.
    StartJob,
    /// Lists jobs.
    Jobs,
    /// Shows a job.
    Job,
    /// Pauses a job.
    PauseJob,
    /// Resumes a paused job.
    ResumeJob,
    /// Ends a job.
    StopJob,
    /// Describes the API.
    OpenApi,
}

impl ApiRoute {
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

    /// Returns the method of the route. `HEAD` is accepted wherever `GET` is.
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

    /// Returns the path of the route.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Livez => "/livez",
            Self::Readyz => "/readyz",
            Self::Submit | Self::Commands => "/v1/commands",
            Self::Command | Self::Cancel => "/v1/commands/{id}",
            Self::Erase => "/v1/commands/{id}/erase",
            Self::Erasures => "/v1/erasures",
            Self::Exchanges => "/v1/commands/{id}/calls",
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
