//! Webhook URLs: addresses of a provider's endpoint that name a command. The provider calls them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use ferryd_domain::command::Command;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::echo_token;
use ferryd_domain::name::Name;
use ferryd_domain::webhook::RawWebhook;
use ferryd_domain::webhook_token::{
    self, PARAMETER, TokenClaims, TokenError, TokenKey, TokenScope,
};

/// The placeholder for a token in requests that are only shown.
const ANY_TOKEN: &str = "token";

/// The address, keys and lifetime from which the webhook URLs of all providers, and the tokens
/// beside ids, are made.
#[derive(Debug, Clone)]
pub struct LinkSettings {
    /// The part before `/webhooks/<provider>`; `None` where no endpoint is reachable and there are
    /// no webhook URLs.
    pub public_url: Option<String>,
    /// The keys of the tokens. The first one signs, all of them verify.
    pub keys: Vec<TokenKey>,
    /// The lifetime of a token, from the day of the first call.
    pub lifetime: Duration,
}

/// Makes and verifies the tokens beside the ids of one provider's commands.
#[derive(Debug, Clone)]
pub struct EchoTokens {
    /// The provider of the commands.
    pub(super) provider: Name,
    /// The keys and the lifetime of the tokens.
    pub(super) settings: Arc<LinkSettings>,
}

impl EchoTokens {
    /// Makes the token of a command whose generation is first called at this time.
    #[must_use]
    pub fn make_token(
        &self,
        command: &Command,
        generation: u32,
        first_sent: Timestamp,
    ) -> Option<String> {
        let (key, scope) = (self.settings.keys.first()?, self.verify_token(&command.account));
        Some(echo_token::make_token(key, scope, &command.id, generation, first_sent))
    }

    /// The placeholder for a token in requests that are only shown.
    #[must_use]
    pub fn example(&self) -> &'static str {
        ANY_TOKEN
    }

    /// Verifies a token beside an id in a webhook to an account, and returns the generation
    /// that it was made for.
    ///
    /// # Errors
    /// [`TokenError`]: the token proves nothing.
    pub fn read(
        &self,
        account: &Name,
        command: &CommandId,
        token: &str,
        now: Timestamp,
    ) -> Result<u32, TokenError> {
        let LinkSettings { keys, lifetime, .. } = self.settings.as_ref();
        echo_token::read(keys, self.verify_token(account), command, token, now, *lifetime)
    }

    fn verify_token<'a>(&'a self, account: &'a Name) -> TokenScope<'a> {
        TokenScope { provider: &self.provider, account }
    }
}

/// Makes and reads the webhook URLs of one provider.
#[derive(Debug, Clone)]
pub struct WebhookLinks {
    public_url: String,
    provider: Name,
    settings: Arc<LinkSettings>,
}

impl WebhookLinks {
    /// The webhook URLs of a provider's endpoint; `None` where the configuration has no public
    /// address.
    #[must_use]
    pub(super) fn new(provider: Name, settings: &Arc<LinkSettings>) -> Option<Self> {
        Some(Self {
            public_url: settings.public_url.clone()?,
            provider,
            settings: Arc::clone(settings),
        })
    }

    /// The webhook URLs of a command whose generation is first called at this time: one for each
    /// key. The first URL is the one to send; the others were sent when their key was the first.
    pub fn urls<'a>(
        &'a self,
        command: &'a Command,
        generation: u32,
        first_sent: Timestamp,
    ) -> impl Iterator<Item = String> + 'a {
        let scope = self.verify_token(&command.account);
        let token =
            move |key: &TokenKey| key.make_token(scope, &command.id, generation, first_sent);
        self.settings.keys.iter().map(move |key| self.url(command, &token(key)))
    }

    /// The token of an account's command whose generation is first called at this time.
    #[must_use]
    pub fn make_token(
        &self,
        account: &Name,
        named: &TokenClaims,
        first_sent: Timestamp,
    ) -> Option<String> {
        let key = self.settings.keys.first()?;
        Some(key.make_token(
            self.verify_token(account),
            &named.command,
            named.generation,
            first_sent,
        ))
    }

    /// A URL of the same form that names no command, for requests that are only shown.
    #[must_use]
    pub fn example(&self, command: &Command) -> String {
        self.url(command, ANY_TOKEN)
    }

    /// The command that the token in a call's URL names; `None` where the URL has no token.
    #[must_use]
    pub fn named_by(
        &self,
        account: &Name,
        call: &RawWebhook,
        now: Timestamp,
    ) -> Option<Result<TokenClaims, TokenError>> {
        let LinkSettings { keys, lifetime, .. } = self.settings.as_ref();
        let token = call.query(PARAMETER)?;
        Some(webhook_token::read(keys, self.verify_token(account), &token, now, *lifetime))
    }

    fn verify_token<'a>(&'a self, account: &'a Name) -> TokenScope<'a> {
        TokenScope { provider: &self.provider, account }
    }

    fn url(&self, command: &Command, token: &str) -> String {
        let Self { public_url, provider, .. } = self;
        let account = Some(&command.account).filter(|account| **account != Name::default_account());
        let account = account.map(|account| format!("/{account}")).unwrap_or_default();
        format!("{public_url}/webhooks/{provider}{account}?{PARAMETER}={token}")
    }
}

#[cfg(test)]
#[path = "webhook_links_tests.rs"]
mod tests;
