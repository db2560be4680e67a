//! `ferryd webhook verify`: verifies a captured call, and prints each step.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use url::Url;

use super::captured;
use super::endpoint::endpoint;
use crate::cli::error::CommandError;
use crate::cli::exit_status::ExitStatus;
use crate::cli::loaded_config::LoadedConfig;
use crate::cli::output::TerminalOutput;
use ferryd_domain::name::Name;
use ferryd_domain::webhook::VerificationError;
use ferryd_provider::WebhookReceiver;
use ferryd_provider::webhook::{StepResult, VerificationStep, WebhookReception, receive_webhook};

pub(super) const EXAMPLES: &str = r"Examples:
  ferryd webhook verify stripe call.http
  ferryd webhook verify stripe call.http --at 2026-12-01T08:00:00Z
  ferryd webhook verify twilio call.http --url 'https://hooks.example.com/twilio?foo=1'
  ferryd webhook verify slack - --json < call.http | jq -r '.steps[].found'

FILE holds the call as it came: the request line, the headers, an empty line, and the body byte for byte.
Where it has a Content-Length, more bytes than that are not taken. Nothing is connected to, and no secret is
shown: of a signature that was expected only the first characters. Ends with 0 where the call is verified,
with 1 where it is not.";

/// The arguments of `ferryd ledger verify`.
#[derive(Debug, Args)]
pub struct WebhookVerifyArguments {
    /// The provider's name
    #[arg(value_name = "PROVIDER")]
    name: String,
    /// The account whose endpoint is called
    #[arg(long, value_name = "NAME")]
    account: Option<Name>,
    /// The file of the call; - reads the standard input
    file: PathBuf,
    /// The URL that the provider called, with its query [default: https, the header Host and the
    /// request line]
    #[arg(long)]
    url: Option<Url>,
    /// The time at which the call came, such as 2026-12-01T08:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// The PEM file of the certificate that the call names, as its provider serves it; for PayPal's
    /// calls
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Print JSON: `verified`, `reason`, `challenge`, `steps`
    #[arg(long)]
    json: bool,
}

/// The result of the verification.
#[derive(Debug, Serialize)]
struct VerificationReport {
    verified: bool,
    /// The reason why the verification failed: `unsigned`, `no_token`, `forged`, `forged_token`,
    /// `untrusted`, `stale`.
    reason: Option<&'static str>,
    /// The reply to a challenge, by which a provider checks who owns the endpoint.
    challenge: Option<String>,
    steps: Vec<VerificationStep>,
}

impl WebhookVerifyArguments {
    pub(super) fn run(
        self,
        setup: &LoadedConfig,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let endpoint = endpoint(setup.provider(&self.name)?, self.account.as_ref())?;
        let mut captured = captured::read(&self.file, self.url.as_ref())?;
        if let Some(path) = &self.certificate {
            let pem = std::fs::read(path)
                .map_err(|source| CommandError::Input { path: path.clone(), source })?;
            captured.call.certificate = Some(pem.into());
        }
        let now = self.at.unwrap_or_else(Timestamp::now);
        let (report, result) = VerificationReport::of(endpoint, &captured, now);
        if self.json {
            out.json(&report)?;
        } else {
            report.print(result, endpoint.is_verifying(), out)?;
            if result == Err(VerificationError::Stale) && self.at.is_none() {
                out.line("it was held against this moment; say with --at when it came")?;
            }
        }
        if report.verified { Ok(()) } else { Err(CommandError::Reported(ExitStatus::Failed)) }
    }
}

impl VerificationReport {
    fn of(
        endpoint: &dyn WebhookReceiver,
        captured: &captured::CapturedWebhook,
        now: Timestamp,
    ) -> (Self, Result<(), VerificationError>) {
        let received = receive_webhook(endpoint, &captured.call, now);
        let notes = captured.notes.iter().map(|note| VerificationStep {
            looked_for: "the body in the file".to_owned(),
            found: note.clone(),
            result: StepResult::Noted,
        });
        let (challenge, handshake) = match &received {
            Ok(WebhookReception::Challenge(reply)) => (
                Some(String::from_utf8_lossy(&reply.body).into_owned()),
                captured.call.method == "GET",
            ),
            _ => (None, false),
        };
        let steps = if handshake {
            handshake_step()
        } else {
            endpoint.explain_verification(&captured.call, now)
        };
        let reason = received.as_ref().err().map(|reason| match reason {
            VerificationError::Unsigned => "unsigned",
            VerificationError::NoToken => "no_token",
            VerificationError::ForgedToken => "forged_token",
            VerificationError::Forged => "forged",
            VerificationError::Untrusted => "untrusted",
            VerificationError::Stale => "stale",
        });
        let report = Self {
            verified: received.is_ok(),
            reason,
            challenge,
            steps: notes.chain(steps).collect(),
        };
        (report, received.map(drop))
    }

    fn print(
        &self,
        result: Result<(), VerificationError>,
        is_verifying: bool,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        for VerificationStep { looked_for, found, result } in &self.steps {
            let mark = match result {
                StepResult::Passed => "ok",
                StepResult::Noted => "note",
                StepResult::Failed => "FAILED",
            };
            out.line(format!("{mark:8}{looked_for}: {found}"))?;
        }
        out.print_blank_line()?;
        match (result, &self.challenge) {
            (Err(reason), _) => out.line(format!("refused: {reason}"))?,
            (Ok(()), Some(reply)) => out.line(format!("answered as a challenge: {reply}"))?,
            (Ok(()), None) if is_verifying => out.line("verified: the provider's own")?,
            (Ok(()), None) => out.line("taken: nothing proves who made it")?,
        }
        Ok(())
    }
}

/// Describes the verification of a call that carries no signature.
fn handshake_step() -> Vec<VerificationStep> {
    let found = "it is one, and is answered without a signature".to_owned();
    vec![VerificationStep {
        looked_for: "a handshake".to_owned(),
        found,
        result: StepResult::Passed,
    }]
}
