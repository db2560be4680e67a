//! `ferryd provider try`: renders the request of an operation for a payload, with nothing sent.

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::error::CommandError;
use super::output::Output;
use super::setup::Setup;
use ferryd_domain::command::{Command, Envelope};
use ferryd_domain::exchange::Request;
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::name::Name;
use ferryd_domain::outcome::Failure;
use ferryd_provider::link::EchoTokens;
use ferryd_provider::{Account, Call, Operation, Provider};
use ferryd_redact::{Mask, UnmaskedValue};

pub(super) const EXAMPLES: &str = r#"Examples:
  ferryd provider try stripe charge --payload '{"amount":1099,"currency":"eur"}'
  ferryd provider try stripe charge --account eu --payload @charge.json
  ferryd provider try twilio send_sms --payload @sms.json --json
  ferryd provider try stripe --verification

Nothing is sent. Secrets and sensitive fields are masked, so the request can be shown to others."#;

/// The arguments of `ferryd provider try`.
#[derive(Debug, Args)]
pub struct Try {
    /// The provider's name
    name: String,
    /// The operation
    #[arg(required_unless_present = "verification")]
    operation: Option<String>,
    /// Render the request by which `ferryd check --connect` tries credentials, in place of an operation's
    #[arg(long, conflicts_with_all = ["operation", "payload", "id"])]
    verification: bool,
    /// The account that the command names
    #[arg(long, value_name = "NAME")]
    account: Option<Name>,
    /// The payload as JSON; @FILE reads it from a file
    #[arg(long, value_name = "JSON", default_value = "{}")]
    payload: String,
    /// The id of the command that the request is rendered for
    #[arg(long, value_name = "ID", default_value = "try-1")]
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A request with secrets masked.
#[derive(Debug, Serialize)]
struct Shown {
    method: &'static str,
    url: String,
    headers: Value,
    body: String,
}

impl Try {
    pub(super) fn run(self, setup: &Setup, out: &mut Output) -> Result<(), CommandError> {
        let provider = setup.provider(&self.name)?;
        if self.verification {
            let shown = show_verification(provider, Setup::account(provider, self.account.as_ref())?)?;
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
        let account = Setup::account(provider, self.account.as_ref())?;
        let shown = show(provider, account, operation, &command)?;
        if self.json { Ok(out.json(&shown)?) } else { shown.print(out) }
    }

    fn command(&self, provider: &Provider) -> Result<Command, CommandError> {
        let text = match self.payload.strip_prefix('@') {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|error| CommandError::Refused(format!("{path}: {error}")))?
            }
            None => self.payload.clone(),
        };
        let payload: Value = serde_json::from_str(&text)
            .map_err(|error| CommandError::Refused(format!("--payload is no JSON: {error}")))?;
        let body = json!({
            "id": self.id, "type": provider.kind, "provider": provider.name, "operation": self.operation, "payload": payload,
            "account": self.account,
        });
        Command::decode(body.to_string().as_bytes(), Envelope::default())
            .map_err(|invalid| CommandError::Refused(invalid.failure.message))
    }
}

fn show(
    provider: &Provider,
    account: &Account,
    operation: &Operation,
    command: &Command,
) -> Result<Shown, CommandError> {
    let key =
        operation.idempotency.map(|keys| IdempotencyKey::for_generation(&command.id, 0).shortened_to(keys.max_length));
    let callback_url = provider.links.as_ref().map(|links| links.example(command));
    let call = Call {
        command,
        key: key.as_ref(),
        generation: 0,
        attempt: 1,
        provider_reference: None,
        callback_url: callback_url.as_deref(),
        command_token: provider.echo_tokens.as_ref().map(EchoTokens::example),
        in_doubt: false,
    };
    let sensitive = operation.payload.sensitive_values(&command.payload);
    let mask = provider.mask_of(account).with_values(&sensitive).capped_at(usize::MAX);
    shown(account, account.adapter.request(&call), &mask)
}

/// Renders the request that tries the account's credentials.
fn show_verification(provider: &Provider, account: &Account) -> Result<Shown, CommandError> {
    let mask = provider.mask_of(account).capped_at(usize::MAX);
    if let Some(request) = account.adapter.verification_request() {
        return shown(account, request, &mask);
    }
    let token =
        account.adapter.token_request(provider.http.connect_timeout).filter(|_| provider.verification.is_some());
    token.map(|request| Shown::of(&request, &mask)).ok_or_else(|| {
        let name = &provider.name;
        CommandError::Refused(format!("the file of provider `{name}` has no `verification`; see docs/PROVIDERS.md"))
    })
}

fn shown(
    account: &Account,
    request: Result<Request, UnmaskedValue<Failure>>,
    mask: &Mask,
) -> Result<Shown, CommandError> {
    let mut request = request.map_err(|failure| CommandError::Refused(failure.masked(mask).message))?;
    if account.adapter.token_request(request.timeout).is_some() {
        // The mask shows no more of a real one.
        request.headers.insert(0, ("authorization".to_owned(), "Bearer".to_owned()));
    }
    Ok(Shown::of(&request, mask))
}

impl Shown {
    fn of(request: &Request, mask: &Mask) -> Self {
        let content_type =
            request.headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str());
        Self {
            method: request.method.as_str(),
            url: mask.url(&request.url),
            // The mask prints them as a JSON object.
            headers: serde_json::to_value(mask.headers(&request.headers)).unwrap_or_default(),
            body: mask.body(content_type, &request.body).to_string(),
        }
    }

    fn print(&self, out: &mut Output) -> Result<(), CommandError> {
        out.line(format!("{} {}", self.method, self.url))?;
        for (name, value) in self.headers.as_object().into_iter().flatten() {
            out.line(format!("{name}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))?;
        }
        if !self.body.is_empty() {
            out.gap()?;
            out.lines(&self.body)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    #[test]
    fn tokens_are_shown_by_their_name_alone() {
        let key = "0123456789abcdef0123456789abcdef";
        let text = format!("[webhooks]\npublic_url = 'https://hooks.example.com'\ntoken_keys = ['{key}']");
        let config = Config::from_parts(Some(("ferryd.toml".as_ref(), &text)), &Environment::new()).unwrap();
        let file = r#"
            name = "acme"
            type = "payment"
            protocol = "rest"
            base_url = "https://api.example.com"
            webhook = { verify = "token" }
            [operations.act]
            request = { method = "POST", path = "/acts", query = { cb = "{{ callback_url }}" } }
            body = { notify = "{{ callback_url }}", proof = "{{ command_token }}" }
        "#;
        let provider = Provider::parse(file, "acme.toml", &config.provider_defaults()).unwrap();
        let (name, operation) = provider.operations.first_key_value().unwrap();
        let account = provider.default_account().unwrap();
        let (id, payload) = ("try-1".to_owned(), "{}".to_owned());
        let operation_name = Some(name.to_string());
        let asked = Try {
            name: "acme".to_owned(),
            operation: operation_name,
            verification: false,
            payload,
            id,
            account: None,
            json: false,
        };
        let shown = show(&provider, account, operation, &asked.command(&provider).unwrap()).unwrap();
        let url = "https://hooks.example.com/webhooks/acme?ferry=token";
        assert_eq!(shown.url, format!("https://api.example.com/acts?cb={url}"));
        assert_eq!(shown.body, format!("{{\"notify\":\"{url}\",\"proof\":\"token\"}}"));
    }

    #[test]
    fn the_request_that_tries_credentials_is_shown_without_them() {
        let config = Config::default();
        let parse = |text: &str| Provider::parse(text, "x.toml", &config.provider_defaults()).unwrap();
        let paypal =
            parse("use = \"paypal\"\nsecrets = { client_id = \"id-of-shop\", client_secret = \"secret-of-shop\" }");
        let shown = show_verification(&paypal, paypal.default_account().unwrap()).unwrap();
        assert_eq!((shown.method, shown.url.as_str()), ("GET", "https://api-m.paypal.com/v1/notifications/webhooks"));
        assert_eq!(shown.headers["authorization"], "***");
        let adyen = parse("use = \"adyen\"\nsecrets = { api_key = \"key-of-shop\", merchant_account = \"ShopECOM\" }");
        let shown = show_verification(&adyen, adyen.default_account().unwrap()).unwrap();
        assert_eq!((shown.method, shown.body.as_str()), ("POST", r#"{"merchantAccount":"***"}"#));
        let file = "name = \"acme\"\ntype = \"payment\"\nprotocol = \"rest\"\nbase_url = \"https://api.example.com\"\n\
                    [operations.act]\nrequest = { method = \"POST\", path = \"/acts\" }";
        let acme = parse(file);
        let error = show_verification(&acme, acme.default_account().unwrap()).unwrap_err().to_string();
        assert!(error.contains("the file of provider `acme` has no `verification`"), "{error}");
    }
}
