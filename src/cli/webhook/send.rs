//! `ferryd webhook send`: sends a call to a running daemon as the provider would.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Builder;
use url::form_urlencoded::Serializer;

use super::body::{BodySetting, WebhookContent};
use super::endpoint::endpoint;
use super::sign::private_key;
use crate::cli::error::CommandError;
use crate::cli::exit_status::ExitStatus;
use crate::cli::loaded_config::LoadedConfig;
use crate::cli::output::TerminalOutput;
use crate::config::{InvalidPublicUrl, PublicUrl, WebhooksConfig};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::http_call::{CallResult, HttpMethod, HttpReply, HttpRequest};
use ferryd_domain::name::Name;
use ferryd_domain::webhook::{RawWebhook, WebhookNotice};
use ferryd_domain::webhook_token::{PARAMETER, TokenClaims};
use ferryd_provider::example::samples;
use ferryd_provider::webhook_links::WebhookLinks;
use ferryd_provider::{HttpSettings, WebhookReceiver};
use ferryd_redact::Mask;
use ferryd_transport::http::HttpClient;

pub(super) const EXAMPLES: &str = r"Examples:
  ferryd webhook send stripe event.json
  ferryd webhook send stripe --example 'a payment that succeeds' --set data.object.id=pi_3Q
  printf %s 'MessageSid=SM1&MessageStatus=sent' | ferryd webhook send twilio -
  ferryd webhook send acme done.json --command shop.order-1001.charge
  ferryd webhook send github push.json --header 'X-GitHub-Event: push'
  ferryd webhook send sendgrid events.json --private-key key.pem
  ferryd webhook send stripe event.json --to https://hooks.example.com --ca ca.pem --json

FILE holds the body alone, byte for byte; `ferryd provider test` lists the examples that --example knows. The body is signed with the secret in the provider's file, for the address
that `webhooks.public_url` gives, and sent to the daemon. It counts like a call of the provider: a command
that it ends has ended. Ends with 0 where the call is taken, with 1 where it is not.";

/// The longest time for connecting to the daemon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time for the whole call, which exceeds the daemon's wait for the broker.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The most bytes of an answer that are read.
const RESPONSE_CAP: usize = 1 << 20;

/// The most notices that are printed for people.
const MOST_SHOWN: usize = 10;

/// The arguments of `ferryd webhook send`.
#[derive(Debug, Args)]
pub struct WebhookSendArguments {
    /// The provider's name
    #[arg(value_name = "PROVIDER")]
    name: String,
    /// The account whose endpoint is called
    #[arg(long, value_name = "NAME")]
    account: Option<Name>,
    /// The file of the body; - reads the standard input
    #[arg(required_unless_present = "example")]
    file: Option<PathBuf>,
    /// An example of a webhook in the provider's file, or in that of the catalog which it builds
    /// on, instead of a file
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    example: Option<String>,
    /// A value to put into the body, which is JSON or a form; can be given several times
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = BodySetting::parse)]
    settings: Vec<BodySetting>,
    /// The address of the daemon, https, or http on this machine [default: `webhooks.bind`;
    /// `webhooks.public_url` where the daemon has a certificate of its own]
    #[arg(long, value_name = "URL", value_parser = address)]
    to: Option<PublicUrl>,
    /// The authority that signed the daemon's certificate, in a PEM file [default: those of the
    /// system]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The query of the call, such as 'foo=1&bar=2'
    #[arg(long)]
    query: Option<String>,
    /// The id of a command: its webhook URL is called, with a token made for it
    #[arg(long, value_name = "ID")]
    command: Option<CommandId>,
    /// The generation of that command: which of its replays is meant
    #[arg(long, value_name = "N", default_value_t = 0, requires = "command")]
    generation: u32,
    /// The media type of the body [default: application/json where it is JSON, else
    /// application/x-www-form-urlencoded]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// A further header; can be given several times
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The private key to sign with, in a PEM file
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
    /// Print JSON: `called`, `sent_to`, `notices`, `status`, `taken`, `meaning`, `answer`
    #[arg(long)]
    json: bool,
}

/// The call that was sent, and its answer.
#[derive(Debug, Serialize)]
struct WebhookSendReport {
    /// The address that the provider would call.
    called: String,
    /// The address that was called.
    sent_to: String,
    /// The notices of the call; empty where it is a challenge or can't be read.
    notices: Vec<SentNotice>,
    /// The reason why the notices can't be read.
    unreadable: Option<String>,
    /// The answer's status.
    status: u16,
    /// True where a provider accepts the status as a success.
    taken: bool,
    /// The meaning of the status.
    meaning: &'static str,
    /// The body of the answer, where it has one.
    answer: Option<String>,
}

/// The content of a notice.
#[derive(Debug, Serialize)]
struct SentNotice {
    event: Option<String>,
    id: Option<String>,
    command: Option<String>,
    reference: Option<String>,
    meaning: &'static str,
}

impl WebhookSendArguments {
    pub(super) fn run(
        self,
        setup: &LoadedConfig,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let provider = setup.provider(&self.name)?;
        let endpoint = endpoint(provider, self.account.as_ref())?;
        let settings = &setup.config.webhooks;
        let public = settings.public_url.as_ref().ok_or_else(|| {
            refused("there is no endpoint for webhooks: write `webhooks.public_url` into the configuration")
        })?;
        let to = self.to.clone().map_or_else(|| default_address(settings, public), Ok)?;
        let content = self.content(setup, &provider.name)?;
        let call = self.call(content, public, provider.links.as_ref())?;
        let private_key = self.private_key.as_deref().map(private_key).transpose()?;
        let signed = endpoint
            .sign(&call, Timestamp::now(), private_key.as_ref())
            .map_err(|error| CommandError::Refused(format!("failed to sign: {error}")))?;
        let request = request(&signed, public, &to)?;
        let reply = self.send_call(&request, &to)?;
        let mask = provider.mask_of(LoadedConfig::account(provider, self.account.as_ref())?);
        let mut report = WebhookSendReport::of(endpoint, &mask, (&signed, &request), &reply);
        for notice in &mut report.notices {
            notice.command =
                notice.command.take().or_else(|| self.command.as_ref().map(ToString::to_string));
        }
        if self.json {
            out.json(&report)?;
        } else {
            report.print(out)?;
        }
        if report.taken { Ok(()) } else { Err(CommandError::Reported(ExitStatus::Failed)) }
    }

    fn content(
        &self,
        setup: &LoadedConfig,
        provider: &Name,
    ) -> Result<WebhookContent, CommandError> {
        let mut content = match (&self.file, &self.example) {
            (_, Some(name)) => {
                WebhookContent::of_sample(samples(&setup.config.providers.dir, provider), name)
            }
            (Some(file), None) => WebhookContent::of_file(file),
            (None, None) => Err(refused("give the file of the body, or --example NAME")),
        }?;
        content.set(&self.settings)?;
        Ok(content)
    }

    /// Builds the call before it is signed.
    fn call(
        &self,
        content: WebhookContent,
        public: &PublicUrl,
        links: Option<&WebhookLinks>,
    ) -> Result<RawWebhook, CommandError> {
        let WebhookContent { body, headers: given, query } = content;
        let given_query = (!query.is_empty())
            .then(|| Serializer::new(String::new()).extend_pairs(query).finish());
        let token = self.command.as_ref().map(|id| {
            let named = TokenClaims { command: id.clone(), generation: self.generation };
            let account = self.account.clone().unwrap_or_else(Name::default_account);
            let token =
                links.and_then(|links| links.make_token(&account, &named, Timestamp::now()));
            let refusal =
                "there are no webhook URLs: write `webhooks.signing_keys` into the configuration";
            token.map(|token| format!("{PARAMETER}={token}")).ok_or_else(|| refused(refusal))
        });
        let query = self.query.as_ref().map(|query| query.trim_start_matches('?').to_owned());
        let query: Vec<_> =
            given_query.into_iter().chain(query).chain(token.transpose()?).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let account = self.account.as_ref().filter(|account| **account != Name::default_account());
        let account = account.map(|account| format!("/{account}")).unwrap_or_default();
        let url = public
            .called(&format!("/webhooks/{}{account}{query}", self.name))
            .ok_or_else(|| refused("`--query` is no query; write one such as 'foo=1&bar=2'"))?;
        let guessed = || {
            if is_json(&body) { "application/json" } else { "application/x-www-form-urlencoded" }
        };
        let is_type = |(name, _): &&(String, String)| name == "content-type";
        let of_example = given.iter().find(is_type).map(|(_, value)| value.clone());
        let content_type =
            self.content_type.clone().or(of_example).unwrap_or_else(|| guessed().to_owned());
        let mut headers = vec![("content-type".to_owned(), content_type)];
        headers.extend(given.into_iter().filter(|header| !is_type(&header)));
        headers.extend(self.headers.iter().cloned());
        Ok(RawWebhook {
            method: "POST".to_owned(),
            url,
            headers,
            body: body.into(),
            certificate: None,
        })
    }

    fn send_call(&self, request: &HttpRequest, to: &PublicUrl) -> Result<HttpReply, CommandError> {
        let settings = HttpSettings {
            ca_file: self.ca.clone(),
            connect_timeout: CONNECT_TIMEOUT,
            max_response_size: RESPONSE_CAP,
        };
        let http =
            HttpClient::new(&settings).map_err(|error| CommandError::Refused(error.to_string()))?;
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(CommandError::Runtime)?;
        let (failure, done) = match runtime.block_on(http.send(request)) {
            CallResult::Reply(reply) => return Ok(reply),
            CallResult::NotSent(failure) => (failure, "not sent"),
            CallResult::Incomplete(failure) => (failure, "sent, but not answered"),
        };
        let remedy = match failure.code.as_deref() {
            Some("request") => "",
            Some("tls") => {
                "; --ca names the authority of its certificate, --to the name that is in it"
            }
            _ => "; is `ferryd run` up with this configuration? --to names another address",
        };
        Err(CommandError::Refused(format!(
            "{to}: the call was {done}: {}{remedy}",
            failure.message
        )))
    }
}

impl WebhookSendReport {
    fn of(
        endpoint: &dyn WebhookReceiver,
        mask: &Mask,
        (call, request): (&RawWebhook, &HttpRequest),
        reply: &HttpReply,
    ) -> Self {
        let is_challenge = endpoint.answer_challenge(call).is_some();
        let read =
            if is_challenge { Ok(Vec::new()) } else { endpoint.read_notices(call).masked(mask) };
        let (notices, unreadable) = match read {
            Ok(notices) => (notices.into_iter().map(SentNotice::from).collect(), None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        Self {
            called: call.url.to_string(),
            sent_to: request.url.to_string(),
            notices,
            unreadable,
            status: reply.status,
            taken: (200..300).contains(&reply.status),
            meaning: meaning(reply.status),
            answer: (!reply.body.is_empty())
                .then(|| String::from_utf8_lossy(&reply.body).into_owned()),
        }
    }

    fn print(&self, out: &mut TerminalOutput) -> Result<(), CommandError> {
        out.line(format!("called    {}", self.called))?;
        out.line(format!("sent to   {}", self.sent_to))?;
        for notice in self.notices.iter().take(MOST_SHOWN) {
            out.line(format!("notice    {}", notice.line()))?;
        }
        if self.notices.len() > MOST_SHOWN {
            out.line(format!("          and {} more", self.notices.len() - MOST_SHOWN))?;
        }
        if let Some(reason) = &self.unreadable {
            out.line(format!(
                "notice    none can be read, so the webhook is dead-lettered: {reason}"
            ))?;
        }
        out.line(format!("answer    {}: {}", self.status, self.meaning))?;
        if let Some(answer) = &self.answer {
            out.line(format!("          {answer}"))?;
        }
        Ok(())
    }
}

impl From<WebhookNotice> for SentNotice {
    fn from(notice: WebhookNotice) -> Self {
        Self {
            meaning: notice.meaning.as_str(),
            event: notice.event,
            id: notice.id,
            command: notice.command.map(|id| id.to_string()),
            reference: notice.reference,
        }
    }
}

impl SentNotice {
    fn line(&self) -> String {
        let event = self.event.as_deref().unwrap_or("an event without a name");
        let about = [("command", &self.command), ("reference", &self.reference)];
        let about = about
            .into_iter()
            .filter_map(|(name, value)| Some(format!(", {name} {}", value.as_ref()?)));
        format!("{event} means {}{}", self.meaning, about.collect::<String>())
    }
}

/// Describes the status of an answer.
fn meaning(status: u16) -> &'static str {
    match status {
        200..=299 => "taken",
        300..=399 => "sent elsewhere, and by no ferryd; --to names another address",
        401 => {
            "verification failed: the daemon has another secret, another `webhooks.public_url` or another clock"
        }
        404 => {
            "no such endpoint: the daemon's file of the provider has no [webhook], or --to is not its address for webhooks"
        }
        429 | 500..=599 => "not taken now: a provider calls again",
        _ => "refused as it is",
    }
}

/// Builds the request of a signed call.
fn request(
    signed: &RawWebhook,
    public: &PublicUrl,
    to: &PublicUrl,
) -> Result<HttpRequest, CommandError> {
    let target = signed.url.as_str().strip_prefix(&public.to_string());
    let url = target.and_then(|target| to.called(target));
    let url = url.ok_or_else(|| refused("the signed address is none of `webhooks.public_url`"))?;
    Ok(HttpRequest {
        method: HttpMethod::Post,
        url,
        headers: signed.headers.clone(),
        input_headers: Vec::new(),
        body: signed.body.clone(),
        timeout: TIMEOUT,
    })
}

/// Returns the address of the daemon by its configuration.
fn default_address(
    settings: &WebhooksConfig,
    public: &PublicUrl,
) -> Result<PublicUrl, CommandError> {
    // The certificate is for the public name.
    if settings.tls_cert_file.is_some() {
        return Ok(public.clone());
    }
    let (ip, port) = (settings.bind.ip(), settings.bind.port());
    if port == 0 {
        return Err(refused(
            "`webhooks.bind` leaves the port open; write --to with the one in the log",
        ));
    }
    let ip = match ip {
        IpAddr::V4(all) if all.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(all) if all.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        one => one,
    };
    address(&format!("http://{}", SocketAddr::new(ip, port))).map_err(|_| {
        CommandError::Refused(format!(
            "webhooks.bind = \"{ip}:{port}\" can't be called without TLS; write --to"
        ))
    })
}

fn address(text: &str) -> Result<PublicUrl, String> {
    text.to_owned().try_into().map_err(|error: InvalidPublicUrl| error.to_string())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("is no header: write 'Name: value'")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok()
}

fn refused(text: &str) -> CommandError {
    CommandError::Refused(text.to_owned())
}

#[cfg(test)]
#[path = "send_tests.rs"]
mod tests;
