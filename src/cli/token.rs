//! `ferryd token`: prints the token with which this host uses the HTTP API.

use std::path::Path;

use clap::Args;

use super::error::CommandError;
use super::output::TerminalOutput;
use crate::config::Config;
use crate::web::host_token::HostToken;

const EXAMPLES: &str = "\
Examples:
  curl -H @<(ferryd token --header) http://127.0.0.1:8420/v1/commands
  curl -H \"Authorization: Bearer $(ferryd token)\" http://127.0.0.1:8420/v1/dead-letters
  ferryd token --file

The token has the role operate. ferryd makes its file at its first start: `api.token_file`, or else
`api-token` in `ledger.dir`. Run this with the configuration of the daemon, and as its user, as root, or
as a member of `api.token_group`. The first example keeps the token out of the list of processes.";

/// The arguments of `ferryd token`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TokenArguments {
    /// Print the whole header, `Authorization: Bearer` and the token
    #[arg(long, conflicts_with = "file")]
    header: bool,
    /// Print the path of the token's file, and not the token
    #[arg(long)]
    file: bool,
}

impl TokenArguments {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let file = Config::load(config)?.host_token_file()?;
        if self.file {
            return Ok(out.line(file.display().to_string())?);
        }
        let token = HostToken::load(&file)?;
        let scheme = if self.header { "Authorization: Bearer " } else { "" };
        Ok(out.line(format!("{scheme}{}", token.token().expose()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ExitStatus;
    use crate::cli::fixture::printed;

    #[test]
    fn the_token_of_the_host_is_printed_once_there_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("ferryd.toml");
        std::fs::write(&config, "[api]\ntoken_file = 'api-token'\n").unwrap();
        let run = |header: bool, file: bool| {
            let mut result = Ok(());
            let printed =
                printed(|out| result = TokenArguments { header, file }.run(Some(&config), out));
            result.map(|()| printed.trim_end().to_owned())
        };
        let missing = run(false, false).unwrap_err();
        assert_eq!(missing.exit(), ExitStatus::Configuration);
        assert!(missing.to_string().contains("ferryd makes it at its first start"), "{missing}");
        let path = dir.path().join("api-token");
        let token = HostToken::load_or_create(&path, None).unwrap();
        let token = token.token().expose();
        assert_eq!(run(false, false).unwrap(), token);
        assert_eq!(run(true, false).unwrap(), format!("Authorization: Bearer {token}"));
        assert_eq!(run(false, true).unwrap(), path.display().to_string());
    }
}
