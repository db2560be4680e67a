//! What a command can fail with.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::api_client::ApiError;
use super::exit::Exit;
use crate::config::ConfigError;
use crate::config::human::format_duration;
use crate::domain::command_id::CommandId;
use crate::operator::OperatorError;
use crate::operator::queues::NamesError;
use crate::settings::diagnostic::Diagnostic;

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Provider files or certificates are wrong, or do not go with the configuration: one line for each fault.
    #[error("{}", .0.join("\n"))]
    Providers(Vec<String>),
    /// There is no such provider.
    #[error("there is no provider `{name}`: configured are {known}")]
    NoProvider {
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// What was asked for cannot be done as it was asked.
    #[error("{0}")]
    Refused(String),
    /// The sandbox cannot be started.
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::SandboxError),
    /// The daemon cannot be set up.
    #[error(transparent)]
    Daemon(#[from] crate::daemon::SetupError),
    /// An address can't be listened at.
    #[error(transparent)]
    Listen(#[from] crate::serve::server::ListenError),
    /// The token of this host can't be made or read.
    #[error(transparent)]
    HostToken(#[from] crate::web::host_token::HostTokenError),
    /// Logging cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] crate::telemetry::TelemetryError),
    /// The broker, or what was asked of it.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// The daemon, or the way to it.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Some commands were published, and then no more: one line for what became of the others, and one for how to go on.
    #[error("{}", .0.join("\n"))]
    Partly(Vec<String>),
    /// What is to be published is no command that could be carried out: one line for each.
    #[error("{}", .0.join("\n"))]
    NoCommand(Vec<String>),
    /// A file can't be read.
    #[error("{}: failed to read: {source}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A provider was asked about a command, and its answer does not end it.
    #[error("`{id}` has not ended: the provider was asked, and {answer}")]
    StillOpen {
        /// The command.
        id: String,
        /// The provider's answer.
        answer: String,
    },
    /// Commands that were waited for had not ended in time.
    #[error("not ended within {}: {count} ({some}); `ferryd events --until-terminal ID` goes on waiting", format_duration(*after))]
    NotEnded {
        /// How many.
        count: usize,
        /// Some of them.
        some: String,
        /// For how long was waited.
        after: Duration,
    },
    /// The ledger is asked for what it does not hold.
    #[error(
        "what can't be read lies in the queues alone; look there with `ferryd dead list --queues --kind unreadable`"
    )]
    OnlyInQueues,
    /// The ledger knows no such command.
    #[error(
        "the ledger knows no command `{0}`: it may wait in its queue still, its id may be another (see `ferryd commands`), or it ended longer ago than `ledger.duplicate_window`"
    )]
    NotKnown(CommandId),
    /// The ledger knows no such command, and messages that were refused under its id.
    #[error(
        "the ledger knows no command `{id}`, only messages that were refused under this id and claim it for nothing; see `ferryd dead show ID` for {}",
        listed(refused)
    )]
    OnlyRefused {
        /// The id that was asked for.
        id: CommandId,
        /// The ids of the messages.
        refused: Vec<CommandId>,
    },
    /// There is no such dead letter.
    #[error("there is no dead letter of command `{0}`; see `ferryd dead list`")]
    NotDead(CommandId),
    /// The ledger knows of no such dead letter.
    #[error(
        "the ledger knows of no dead letter of command `{0}`; see `ferryd dead list`, or look into the queues themselves with --message"
    )]
    NotKnownDead(CommandId),
    /// The names of the providers can't be read.
    #[error(transparent)]
    Names(#[from] NamesError),
    /// The system does not give what a command needs to run.
    #[error("cannot run: {0}")]
    Runtime(io::Error),
    /// The command has printed what is wrong itself.
    #[error("failed as told")]
    Told(Exit),
    /// The operating system refuses, mostly because nothing can be printed.
    #[error("failed on input or output: {0}")]
    Output(#[from] io::Error),
}

fn listed(ids: &[CommandId]) -> String {
    ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
}

impl From<Vec<Diagnostic>> for CommandError {
    fn from(faults: Vec<Diagnostic>) -> Self {
        Self::Providers(faults.iter().map(Diagnostic::to_string).collect())
    }
}

impl CommandError {
    /// The code to end with. A reader that has seen enough and closed its end of the pipe is no failure.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_)
            | Self::Providers(_)
            | Self::Names(_)
            | Self::Daemon(_)
            | Self::Listen(_)
            | Self::HostToken(_) => Exit::Configuration,
            Self::Operator(OperatorError::Broker(_) | OperatorError::Management(_)) => Exit::Unreachable,
            Self::NotEnded { .. }
            | Self::StillOpen { .. }
            | Self::Operator(
                OperatorError::Behind { .. } | OperatorError::NoRuling { .. } | OperatorError::NoAnswer { .. },
            ) => Exit::Timeout,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::NoProvider { .. }
            | Self::Refused(_)
            | Self::Sandbox(_)
            | Self::Telemetry(_)
            | Self::Operator(_)
            | Self::Partly(_)
            | Self::NoCommand(_)
            | Self::Input { .. }
            | Self::NotDead(_)
            | Self::NotKnownDead(_)
            | Self::NotKnown(_)
            | Self::OnlyRefused { .. }
            | Self::OnlyInQueues
            | Self::Runtime(_)
            | Self::Output(_) => Exit::Failed,
            Self::Api(error) => error.exit(),
            Self::Told(exit) => *exit,
        }
    }

    /// What the standard error should say: one line for each fault, none where nothing is left to say.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Config(error) => error.lines(),
            Self::Providers(lines) | Self::Partly(lines) | Self::NoCommand(lines) => lines.clone(),
            Self::Told(_) => Vec::new(),
            Self::Output(_) if self.exit() == Exit::Done => Vec::new(),
            other => vec![other.to_string()],
        }
    }
}
