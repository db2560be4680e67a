//! The errors of subcommands.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::api_client::ApiError;
use super::exit_status::ExitStatus;
use crate::config::ConfigError;
use crate::operator::OperatorError;
use crate::operator::queues::NamesError;
use ferryd_domain::command_id::CommandId;
use ferryd_settings::diagnostic::Diagnostic;
use ferryd_settings::units::format_duration;

/// The reason why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration has faults.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Provider files or certificates have faults, or contradict the configuration: one line for
    /// each fault.
    #[error("{}", .0.join("\n"))]
    Providers(Vec<String>),
    /// There is no such provider.
    #[error("there is no provider `{name}`: configured are {known}")]
    NoProvider {
        /// The name that was given.
        name: String,
        /// The names of the configured providers.
        known: String,
    },
    /// The request cannot be carried out as it was given.
    #[error("{0}")]
    Refused(String),
    /// The sandbox cannot be started.
    #[error(transparent)]
    Sandbox(#[from] ferryd_sandbox::SandboxError),
    /// The daemon cannot be set up.
    #[error(transparent)]
    Daemon(#[from] crate::daemon::SetupError),
    /// The process can't listen at an address.
    #[error(transparent)]
    Listen(#[from] ferryd_serve::server::ListenError),
    /// The token of this host can't be made or read.
    #[error(transparent)]
    HostToken(#[from] crate::web::host_token::HostTokenError),
    /// Logging cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] crate::telemetry::TelemetryError),
    /// The broker can't be reached, or a request to it failed.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// The daemon can't be reached, or it refused a request.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Some commands were published, and then no more: one line for the state of the others, and
    /// one for how to continue.
    #[error("{}", .0.join("\n"))]
    Partly(Vec<String>),
    /// The commands to publish are invalid: one line for each.
    #[error("{}", .0.join("\n"))]
    NoCommand(Vec<String>),
    /// A file can't be read.
    #[error("{}: failed to read: {source}", path.display())]
    Input {
        /// The path of the file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A provider was queried about a command, and its answer does not end the command.
    #[error("`{id}` has not ended: the provider was queried, and {answer}")]
    StillOpen {
        /// The id of the command.
        id: String,
        /// The provider's answer.
        answer: String,
    },
    /// Commands that were waited for had not ended in time.
    #[error("not ended within {}: {count} ({some}); `ferryd events --until-terminal ID` goes on waiting", format_duration(*after))]
    NotEnded {
        /// The number of commands.
        count: usize,
        /// The ids of some of the commands.
        some: String,
        /// The time that was waited.
        after: Duration,
    },
    /// The filter selects messages that the ledger does not hold.
    #[error(
        "what can't be read lies in the queues alone; look there with `ferryd dead-letters list --queues --kind unreadable`"
    )]
    OnlyInQueues,
    /// The ledger knows no such command.
    #[error(
        "the ledger knows no command `{0}`: it may wait in its queue still, its id may be another (see `ferryd commands`), or it ended longer ago than `ledger.duplicate_window`"
    )]
    NotKnown(CommandId),
    /// The ledger knows no such command, only messages that were refused under its id.
    #[error(
        "the ledger knows no command `{id}`, only messages that were refused under this id and claim it for nothing; see `ferryd dead-letters show ID` for {}",
        list_names(refused)
    )]
    OnlyRefused {
        /// The id that was given.
        id: CommandId,
        /// The ids of the messages.
        refused: Vec<CommandId>,
    },
    /// The command is no dead letter.
    #[error("there is no dead letter of command `{0}`; see `ferryd dead-letters list`")]
    NotDead(CommandId),
    /// The ledger holds no such dead letter.
    #[error(
        "the ledger knows of no dead letter of command `{0}`; see `ferryd dead-letters list`, or look into the queues themselves with --message"
    )]
    NotKnownDead(CommandId),
    /// The names of the providers can't be read.
    #[error(transparent)]
    Names(#[from] NamesError),
    /// The async runtime can't be started.
    #[error("cannot run: {0}")]
    Runtime(io::Error),
    /// The subcommand has already printed the fault.
    #[error("failed as reported")]
    Reported(ExitStatus),
    /// The operating system refuses an operation, mostly because the output can't be written.
    #[error("failed on input or output: {0}")]
    Output(#[from] io::Error),
}

fn list_names(ids: &[CommandId]) -> String {
    ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
}

impl From<Vec<Diagnostic>> for CommandError {
    fn from(faults: Vec<Diagnostic>) -> Self {
        Self::Providers(faults.iter().map(Diagnostic::to_string).collect())
    }
}

impl CommandError {
    /// Returns the exit code. A reader that closes its end of the pipe early is no failure.
    #[must_use]
    pub fn exit(&self) -> ExitStatus {
        match self {
            Self::Config(_)
            | Self::Providers(_)
            | Self::Names(_)
            | Self::Daemon(_)
            | Self::Listen(_)
            | Self::HostToken(_) => ExitStatus::Configuration,
            Self::Operator(OperatorError::Broker(_) | OperatorError::Management(_)) => {
                ExitStatus::Unreachable
            }
            Self::NotEnded { .. }
            | Self::StillOpen { .. }
            | Self::Operator(OperatorError::Behind { .. }) => ExitStatus::Timeout,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitStatus::Done,
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
            | Self::Output(_) => ExitStatus::Failed,
            Self::Api(error) => error.exit(),
            Self::Reported(exit) => *exit,
        }
    }

    /// Lists the lines for the standard error: one for each fault, none where the fault is already
    /// printed.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Config(error) => error.lines(),
            Self::Providers(lines) | Self::Partly(lines) | Self::NoCommand(lines) => lines.clone(),
            Self::Reported(_) => Vec::new(),
            Self::Output(_) if self.exit() == ExitStatus::Done => Vec::new(),
            other => vec![other.to_string()],
        }
    }
}
