//! `ferryd webhook sign`: writes a call to a file as the provider would send it.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use url::{Position, Url};

use super::captured;
use super::endpoint::endpoint;
use crate::cli::error::CommandError;
use crate::cli::loaded_config::LoadedConfig;
use crate::cli::output::{PlainText, TerminalOutput};
use ferryd_domain::name::Name;
use ferryd_domain::webhook::RawWebhook;
use ferryd_provider::webhook::PrivateKey;

pub(super) const EXAMPLES: &str = r"Examples:
  ferryd webhook sign stripe call.http > signed.http
  ferryd webhook sign twilio call.http --url 'https://hooks.example.com/twilio?foo=1' --output signed.http
  ferryd webhook sign sendgrid call.http --private-key key.pem --output signed.http

FILE holds a call: the request line, headers, an empty line, and the body byte for byte. What its provider signs
with is added to it, or replaced: headers, parameters of the query, fields of the body. The first key in the
file whose time has not passed signs. Where providers sign with a private key, it has to be given, in PKCS#8.
Nothing is sent.";

/// The arguments of `ferryd webhook sign`.
#[derive(Debug, Args)]
pub struct WebhookSignArguments {
    /// The provider's name
    #[arg(value_name = "PROVIDER")]
    name: String,
    /// The account whose endpoint is called
    #[arg(long, value_name = "NAME")]
    account: Option<Name>,
    /// The file of the call; - reads the standard input
    file: PathBuf,
    /// The URL that is to be called, with its query [default: https, the header Host and the
    /// request line]
    #[arg(long)]
    url: Option<Url>,
    /// The time of signing, such as 2026-12-01T08:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// The private key to sign with, in a PEM file
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
    /// The file that the call is written to [default: the standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl WebhookSignArguments {
    pub(super) fn run(
        self,
        setup: &LoadedConfig,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let endpoint = endpoint(setup.provider(&self.name)?, self.account.as_ref())?;
        let captured = captured::read(&self.file, self.url.as_ref())?;
        let private_key = self.private_key.as_deref().map(private_key).transpose()?;
        let now = self.at.unwrap_or_else(Timestamp::now);
        let signed = endpoint
            .sign(&captured.call, now, private_key.as_ref())
            .map_err(|error| CommandError::Refused(format!("failed to sign: {error}")))?;
        let written = write_call(&signed);
        match &self.output {
            Some(path) => {
                fs::write(path, written).map_err(|error| CommandError::Refused(format!("{}: {error}", path.display())))
            }
            None => match std::str::from_utf8(&written).ok().and_then(PlainText::new) {
                Some(text) => Ok(out.verbatim(text)?),
                None => Err(CommandError::Refused(
                    "the call has bytes that are no text, or characters that a terminal obeys or does not show; write it \
                     into a file with --output"
                        .to_owned(),
                )),
            },
        }
    }
}

/// Reads a private key from a file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKey, CommandError> {
    let text = fs::read_to_string(path)
        .map_err(|source| CommandError::Input { path: path.to_owned(), source })?;
    PrivateKey::parse(&text)
        .map_err(|error| CommandError::Refused(format!("{}: {error}", path.display())))
}

/// Formats a call as a file.
pub(super) fn write_call(call: &RawWebhook) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\n", call.method, &call.url[Position::BeforePath..]);
    let authority = &call.url[Position::BeforeHost..Position::AfterPort];
    let own = ["host", "content-length"];
    let kept = call.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let made = [
        ("host".to_owned(), authority.to_owned()),
        ("content-length".to_owned(), call.body.len().to_string()),
    ];
    for (name, value) in made.iter().chain(kept) {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    [head.as_bytes(), &call.body].concat()
}
