//! `ferryd provider render`: renders the request of an operation for a payload, with nothing sent.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::error::CommandError;
use super::loaded_config::LoadedConfig;
use super::output::TerminalOutput;
use super::publish::pair;
use ferryd_domain::command::{Command, CommandEnvelope};
use ferryd_domain::http_call::HttpRequest;
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::message_call::MessageRequest;
use ferryd_domain::name::Name;
use ferryd_domain::outbound_request::OutboundRequest;
use ferryd_provider::webhook_links::EchoTokens;
use ferryd_provider::{Account, CallContext, Operation, Provider};
use ferryd_redact::Mask;
use ferryd_transport::call_method::CallMethod;

pub(super) const EXAMPLES: &str = r#"Examples:
  ferryd provider render stripe charge --payload '{"amount":1099,"currency":"eur"}'
  ferryd provider render stripe charge --account eu --reference order-1001 --metadata tenant=eu-1 --payload @charge.json
  ferryd provider render twilio send_sms --payload @sms.json --json
  ferryd provider render stripe --verification

Nothing is sent. Secrets and sensitive fields are masked, so the request can be shown to others."#;

/// The arguments of `ferryd provider render`.
#[derive(Debug, Args)]
pub struct RenderArguments {
    /// The provider's name
    name: String,
    /// The operation
    #[arg(required_unless_present = "verification")]
    operation: Option<String>,
    /// Render the request by which `ferryd check --connect` tries credentials, in place of an
    /// operation's
    #[arg(long, conflicts_with_all = ["operation", "payload", "id", "reference", "metadata"])]
    verification: bool,
    /// The account that the command names
    #[arg(long, value_name = "NAME")]
    account: Option<Name>,
    /// The command's reference
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    /// A text of the command's metadata, by name; may be given more than once
    #[arg(long, value_name = "NAME=TEXT", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// The payload as JSON; @FILE reads it from a file
    #[arg(long, value_name = "JSON", default_value = "{}")]
    payload: String,
    /// The id of the command that the request is rendered for
    #[arg(long, value_name = "ID", default_value = "example-1")]
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A request with secrets masked.
#[derive(Debug, Serialize)]
struct RenderedRequest {
    method: &'static str,
    url: String,
    headers: Value,
    body: String,
}

impl RenderArguments {
    pub(super) fn run(
        self,
        setup: &LoadedConfig,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let provider = setup.provider(&self.name)?;
        if self.verification {
            let shown = show_verification(
                provider,
                LoadedConfig::account(provider, self.account.as_ref())?,
            )?;
            return if self.json { Ok(out.json(&shown)?) } else { shown.print(out) };
        }
        let command = self.command(provider)?;
        let operation = provider.operations.get(&command.operation).ok_or_else(|| {
            let known: Vec<_> = provider.operations.keys().map(ToString::to_string).collect();
            CommandError::Refused(format!(
                "provider `{}` has no operation `{}`; it has {}",
                self.name,
                command.operation,
                known.join(", ")
            ))
        })?;
        let faults = operation.payload.check(&command.payload);
        if !faults.is_empty() {
            return Err(CommandError::Refused(format!(
                "the payload does not match the operation's schema: {}",
                faults.join("; ")
            )));
        }
        let account = LoadedConfig::account(provider, self.account.as_ref())?;
        let shown = show(provider, account, operation, &command)?;
        if self.json { Ok(out.json(&shown)?) } else { shown.print(out) }
    }

    fn command(&self, provider: &Provider) -> Result<Command, CommandError> {
        let text = match self.payload.strip_prefix('@') {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| CommandError::Refused(format!("{path}: {error}")))?,
            None => self.payload.clone(),
        };
        let payload: Value = serde_json::from_str(&text)
            .map_err(|error| CommandError::Refused(format!("--payload is no JSON: {error}")))?;
        let metadata: BTreeMap<_, _> = self.metadata.iter().cloned().collect();
        let body = json!({
            "id": self.id, "type": provider.kind, "provider": provider.name, "operation": self.operation, "payload": payload,
            "account": self.account, "reference": self.reference, "metadata": metadata,
        });
        Command::decode(body.to_string().as_bytes(), CommandEnvelope::default())
            .map_err(|invalid| CommandError::Refused(invalid.failure.message))
    }
}

fn show(
    provider: &Provider,
    account: &Account,
    operation: &Operation,
    command: &Command,
) -> Result<RenderedRequest, CommandError> {
    let key = operation
        .idempotency
        .map(|keys| IdempotencyKey::for_generation(&command.id, 0).shortened_to(keys.max_length));
    let webhook_url = provider.links.as_ref().map(|links| links.example(command));
    let call = CallContext {
        command,
        key: key.as_ref(),
        generation: 0,
        attempt: 1,
        provider_reference: None,
        webhook_url: webhook_url.as_deref(),
        command_token: provider.echo_tokens.as_ref().map_or("", EchoTokens::example),
        in_doubt: false,
    };
    let sensitive = operation.payload.sensitive_values(&command.payload);
    let mask = provider.mask_of(account).with_values(&sensitive).capped_at(usize::MAX);
    let request = account.adapter.build_request(&call);
    match request.map_err(|failure| CommandError::Refused(failure.masked(&mask).message))? {
        OutboundRequest::Http(request) => Ok(render_request(account, request, &mask)),
        OutboundRequest::Message(message) => Ok(RenderedRequest::of_message(&message, &mask)),
    }
}

/// Renders the request that tries the account's credentials.
fn show_verification(
    provider: &Provider,
    account: &Account,
) -> Result<RenderedRequest, CommandError> {
    let mask = provider.mask_of(account).capped_at(usize::MAX);
    if let Some(request) = account.adapter.verification_request() {
        let request =
            request.map_err(|failure| CommandError::Refused(failure.masked(&mask).message))?;
        return Ok(render_request(account, request, &mask));
    }
    let token = account
        .adapter
        .build_token_request(provider.http.connect_timeout)
        .filter(|_| provider.verification.is_some());
    token.map(|request| RenderedRequest::of(&request, &mask)).ok_or_else(|| {
        let name = &provider.name;
        CommandError::Refused(format!(
            "the file of provider `{name}` has no `verification`; see docs/PROVIDERS.md"
        ))
    })
}

fn render_request(account: &Account, mut request: HttpRequest, mask: &Mask) -> RenderedRequest {
    if account.adapter.build_token_request(request.timeout).is_some() {
        // The mask shows no more of a real one.
        request.headers.insert(0, ("authorization".to_owned(), "Bearer".to_owned()));
    }
    RenderedRequest::of(&request, mask)
}

impl RenderedRequest {
    fn of(request: &HttpRequest, mask: &Mask) -> Self {
        let content_type = request
            .headers
            .iter()
            .find(|(name, _)| name == "content-type")
            .map(|(_, value)| value.as_str());
        Self {
            method: request.method.as_str(),
            url: mask.url(&request.url),
            // The mask prints them as a JSON object.
            headers: serde_json::to_value(mask.headers(&request.headers)).unwrap_or_default(),
            body: mask.body(content_type, &request.body).to_string(),
        }
    }

    fn of_message(message: &MessageRequest, mask: &Mask) -> Self {
        Self {
            method: CallMethod::Publish.as_str(),
            url: mask.url(&message.url()),
            headers: serde_json::to_value(mask.headers(&message.shown_headers()))
                .unwrap_or_default(),
            body: mask.body(message.content_type, &message.body).to_string(),
        }
    }

    fn print(&self, out: &mut TerminalOutput) -> Result<(), CommandError> {
        out.line(format!("{} {}", self.method, self.url))?;
        for (name, value) in self.headers.as_object().into_iter().flatten() {
            out.line(format!(
                "{name}: {}",
                value.as_str().map_or_else(|| value.to_string(), str::to_owned)
            ))?;
        }
        if !self.body.is_empty() {
            out.print_blank_line()?;
            out.lines(&self.body)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, EnvironmentVariables};

    #[test]
    fn tokens_are_shown_by_their_name_alone() {
        let key = "0123456789abcdef0123456789abcdef";
        let text = format!(
            "[webhooks]\npublic_url = 'https://hooks.example.com'\nsigning_keys = ['{key}']"
        );
        let config =
            Config::from_parts(Some(("ferryd.toml".as_ref(), &text)), &EnvironmentVariables::new())
                .unwrap();
        let file = r#"
            name = "acme"
            type = "payment"
            protocol = "rest"
            base_url = "https://api.example.com"
            webhook = { verify = "token" }
            [operations.act]
            request = { method = "POST", path = "/acts", query = { cb = "{{ webhook_url }}" } }
            body = { notify = "{{ webhook_url }}", proof = "{{ command_token }}" }
        "#;
        let provider = Provider::parse(file, "acme.toml", &config.provider_defaults()).unwrap();
        let (name, operation) = provider.operations.first_key_value().unwrap();
        let account = provider.default_account().unwrap();
        let (id, payload) = ("example-1".to_owned(), "{}".to_owned());
        let operation_name = Some(name.to_string());
        let arguments = RenderArguments {
            name: "acme".to_owned(),
            operation: operation_name,
            verification: false,
            payload,
            id,
            account: None,
            reference: None,
            metadata: Vec::new(),
            json: false,
        };
        let shown =
            show(&provider, account, operation, &arguments.command(&provider).unwrap()).unwrap();
        let url = "https://hooks.example.com/webhooks/acme?ferry=token";
        assert_eq!(shown.url, format!("https://api.example.com/acts?cb={url}"));
        assert_eq!(shown.body, format!("{{\"notify\":\"{url}\",\"proof\":\"token\"}}"));
    }

    #[test]
    fn the_request_that_tries_credentials_is_shown_without_them() {
        let config = Config::default();
        let parse =
            |text: &str| Provider::parse(text, "x.toml", &config.provider_defaults()).unwrap();
        let paypal = parse(
            "use = \"paypal\"\nsecrets = { client_id = \"id-of-shop\", client_secret = \"secret-of-shop\" }",
        );
        let shown = show_verification(&paypal, paypal.default_account().unwrap()).unwrap();
        assert_eq!(
            (shown.method, shown.url.as_str()),
            ("GET", "https://api-m.paypal.com/v1/notifications/webhooks")
        );
        assert_eq!(shown.headers["authorization"], "***");
        let adyen = parse(
            "use = \"adyen\"\nsecrets = { api_key = \"key-of-shop\", merchant_account = \"ShopECOM\" }",
        );
        let shown = show_verification(&adyen, adyen.default_account().unwrap()).unwrap();
        assert_eq!((shown.method, shown.body.as_str()), ("POST", r#"{"merchantAccount":"***"}"#));
        let file = "name = \"acme\"\ntype = \"payment\"\nprotocol = \"rest\"\nbase_url = \"https://api.example.com\"\n\
                    [operations.act]\nrequest = { method = \"POST\", path = \"/acts\" }";
        let acme = parse(file);
        let error =
            show_verification(&acme, acme.default_account().unwrap()).unwrap_err().to_string();
        assert!(error.contains("the file of provider `acme` has no `verification`"), "{error}");
    }
}
