//! `ferryd webhook verify`: verifies a captured call, and prints each step.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use url::Url;

use super::captured;
use super::endpoint::endpoint;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::cli::setup::Setup;
use ferryd_domain::callback::Unverified;
use ferryd_domain::name::Name;
use ferryd_provider::Webhook;
use ferryd_provider::webhook::{Reception, Step, StepResult, receive};

pub(super) const EXAMPLES: &str = r"Examples:
  ferryd webhook verify stripe call.http
  ferryd webhook verify stripe call.http --at 2026-12-01T08:00:00Z
  ferryd webhook verify twilio call.http --url 'https://hooks.example.com/twilio?foo=1'
  ferryd webhook verify slack - --json < call.http | jq -r '.steps[].found'

FILE holds the call as it came: the request line, the headers, an empty line, and the body byte for byte.
Where it has a Content-Length, more bytes than that are not taken. Nothing is connected to, and no secret is
shown: of a signature that was expected only the first characters. Ends with 0 where the call is believed,
with 1 where it is not.";

/// The arguments of `ferryd ledger verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The provider's name
    #[arg(value_name = "PROVIDER")]
    name: String,
    /// The account whose endpoint is called
    #[arg(long, value_name = "NAME")]
    account: Option<Name>,
    /// The file of the call; - reads the standard input
    file: PathBuf,
    /// The URL that the provider called, with its query [default: https, the header Host and the request line]
    #[arg(long)]
    url: Option<Url>,
    /// The time at which the call came, such as 2026-12-01T08:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// The PEM file of the certificate that the call names, as its provider serves it; for PayPal's calls
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Print JSON: `believed`, `reason`, `challenge`, `steps`
    #[arg(long)]
    json: bool,
}

/// The result of the verification.
#[derive(Debug, Serialize)]
struct Verdict {
    believed: bool,
    /// The reason why the verification failed: `unsigned`, `no_token`, `forged`, `forged_token`,
    /// `untrusted`, `stale`.
    reason: Option<&'static str>,
    /// The reply to a challenge, by which a provider checks who owns the endpoint.
    challenge: Option<String>,
    steps: Vec<Step>,
}

impl Verify {
    pub(super) fn run(self, setup: &Setup, out: &mut Output) -> Result<(), CommandError> {
        let endpoint = endpoint(setup.provider(&self.name)?, self.account.as_ref())?;
        let mut captured = captured::read(&self.file, self.url.as_ref())?;
        if let Some(path) = &self.certificate {
            let pem = std::fs::read(path).map_err(|source| CommandError::Input { path: path.clone(), source })?;
            captured.call.certificate = Some(pem.into());
        }
        let now = self.at.unwrap_or_else(Timestamp::now);
        let (verdict, result) = Verdict::of(endpoint, &captured, now);
        if self.json {
            out.json(&verdict)?;
        } else {
            verdict.print(result, endpoint.is_verifying(), out)?;
            if result == Err(Unverified::Stale) && self.at.is_none() {
                out.line("it was held against this moment; say with --at when it came")?;
            }
        }
        if verdict.believed { Ok(()) } else { Err(CommandError::Told(Exit::Failed)) }
    }
}

impl Verdict {
    fn of(endpoint: &dyn Webhook, captured: &captured::Captured, now: Timestamp) -> (Self, Result<(), Unverified>) {
        let received = receive(endpoint, &captured.call, now);
        let notes = captured.notes.iter().map(|note| Step {
            looked_for: "the body in the file".to_owned(),
            found: note.clone(),
            result: StepResult::Noted,
        });
        let (challenge, handshake) = match &received {
            Ok(Reception::Challenge(reply)) => {
                (Some(String::from_utf8_lossy(&reply.body).into_owned()), captured.call.method == "GET")
            }
            _ => (None, false),
        };
        let steps = if handshake { handshake_step() } else { endpoint.explain(&captured.call, now) };
        let reason = received.as_ref().err().map(|reason| match reason {
            Unverified::Unsigned => "unsigned",
            Unverified::NoToken => "no_token",
            Unverified::ForgedToken => "forged_token",
            Unverified::Forged => "forged",
            Unverified::Untrusted => "untrusted",
            Unverified::Stale => "stale",
        });
        let verdict = Self { believed: received.is_ok(), reason, challenge, steps: notes.chain(steps).collect() };
        (verdict, received.map(drop))
    }

    fn print(&self, result: Result<(), Unverified>, is_verifying: bool, out: &mut Output) -> Result<(), CommandError> {
        for Step { looked_for, found, result } in &self.steps {
            let mark = match result {
                StepResult::Passed => "ok",
                StepResult::Noted => "note",
                StepResult::Failed => "FAILED",
            };
            out.line(format!("{mark:8}{looked_for}: {found}"))?;
        }
        out.gap()?;
        match (result, &self.challenge) {
            (Err(reason), _) => out.line(format!("refused: {reason}"))?,
            (Ok(()), Some(reply)) => out.line(format!("answered as a challenge: {reply}"))?,
            (Ok(()), None) if is_verifying => out.line("believed: it is the provider's own")?,
            (Ok(()), None) => out.line("taken: nothing proves who made it")?,
        }
        Ok(())
    }
}

/// Describes the verification of a call that carries no signature.
fn handshake_step() -> Vec<Step> {
    let found = "it is one, and is answered without a signature".to_owned();
    vec![Step { looked_for: "a handshake".to_owned(), found, result: StepResult::Passed }]
}
