//! Exit codes, a part of the contract with scripts.

use std::process::ExitCode;

/// The section about exit codes in `--help`.
pub(super) const HELP: &str = "\
Exit codes:
  0  done
  1  failed; the standard error says why
  2  the command line is wrong
  3  the configuration or a provider file is wrong
  4  the broker, or the daemon, cannot be reached
  5  what was waited for did not come in time

Environment:
  FERRYD_CONFIG        the configuration file
  FERRYD_LOG           what is logged, such as info or debug; comes before log.filter
  FERRYD_SECTION__KEY  any setting, such as FERRYD_AMQP__URI
  FERRYD_URL           the address of the daemon, as --url
  FERRYD_TOKEN         the token for it [default: that of this host, see `ferryd token --help`]
  NO_COLOR             no colours";

/// The exit code of a subcommand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// The subcommand succeeded.
    Done = 0,
    /// The subcommand failed in a way that has no code of its own.
    Failed = 1,
    /// The command line is wrong. clap uses this code itself.
    Usage = 2,
    /// The configuration or a provider file is wrong.
    Configuration = 3,
    /// The broker, or the daemon, cannot be reached.
    Unreachable = 4,
    /// The awaited result did not come in time.
    Timeout = 5,
}

impl From<ExitStatus> for ExitCode {
    fn from(exit: ExitStatus) -> Self {
        Self::from(exit as u8)
    }
}
