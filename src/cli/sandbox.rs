//! `ferryd sandbox`: a local provider over HTTPS, for demonstrations and tests.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::error::CommandError;
use super::interrupt::StopSignals;
use super::output::TerminalOutput;
use ferryd_sandbox::{Sandbox as Provider, SandboxOptions};

const EXAMPLES: &str = r#"Examples:
  ferryd sandbox --dir /tmp/sandbox
  curl --cacert /tmp/sandbox/ca.pem https://localhost:8443/v1/charges --json '{"amount":1099}'
  curl --cacert /tmp/sandbox/ca.pem https://localhost:8443/sandbox/calls

Any path and method is a call. The payload's field `sandbox` says how it ends, as JSON or as sandbox[…] of a form:
  {"latency":"250ms"}                      answers late
  {"status":503,"retry_after":2}           answers so
  {"fail_times":2}                         fails twice for each idempotency key, then succeeds
  {"decline":true}                         402, card_declined
  {"accepted":true,"finish_after":"5s"}    202, processing; ends well 5 s later
  {"accepted":true,"finish":"failed"}      202, processing; would end so, but never does by itself
  {"hang":"before_answer"}, {"hang":"mid_body"}, {"reset":true}, {"truncate":true}, {"huge":true}
  {"act_then_fail":true}                   acts, but answers 500

GET /sandbox/transactions?id=… finds what was done for a caller, GET /sandbox/transactions/sb_1 by the sandbox's own id;
"hidden":"2s" keeps it from being found for a while.

A repeated Idempotency-Key gets the first answer again, like at a good provider."#;

/// The arguments of `ferryd sandbox`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SandboxArguments {
    /// The address to listen at; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    bind: SocketAddr,
    /// The folder that keeps the certificate; the authority to trust is its ca.pem
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print the address of the sandbox as JSON
    #[arg(long)]
    json: bool,
}

impl SandboxArguments {
    pub(super) fn run(self, out: &mut TerminalOutput) -> Result<(), CommandError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let options = SandboxOptions { bind: self.bind, dir: self.dir.clone() };
            // A reader of the announcement may end the process at once.
            let mut signals = StopSignals::listen()?;
            let sandbox = Provider::start(options).await?;
            self.announce(&sandbox, out)?;
            signals.wait_for_first().await;
            sandbox.shutdown().await;
            Ok(())
        })
    }

    fn announce(&self, sandbox: &Provider, out: &mut TerminalOutput) -> Result<(), CommandError> {
        let url = format!("https://localhost:{}", sandbox.addr().port());
        let ca_file = self.dir.as_ref().map(|dir| dir.join("ca.pem").display().to_string());
        if self.json {
            out.json(&serde_json::json!({ "url": url, "ca_file": ca_file }))?;
        } else {
            out.line(format!("listening at {url}"))?;
            match ca_file {
                Some(path) => out.line(format!("trust {path}"))?,
                None => out.lines(sandbox.ca_pem())?,
            }
        }
        Ok(out.flush()?)
    }
}
