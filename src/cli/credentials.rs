//! Tries the credentials of accounts with the harmless request that a provider file names, and with
//! no other.
//!
//! The request is no command: it is not recorded, counted or repeated, and only the part of its
//! answer about the credentials is read.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use secrecy::ExposeSecret as _;
use serde::Serialize;

use ferryd_domain::credentials::CredentialCheck;
use ferryd_domain::http_call::{CallResult, HttpRequest};
use ferryd_domain::outcome::Failure;
use ferryd_domain::token::AccessToken;
use ferryd_provider::{Account, Provider};
use ferryd_redact::{Mask, UnmaskedValue};
use ferryd_transport::broker_link::{BrokerLink, BrokerSetupError, LOGIN_REFUSED};
use ferryd_transport::http::HttpClient;

/// The most accounts that are tried at the same time.
const AT_ONCE: usize = 8;

/// The most time for an access token once there is a connection.
const TOKEN: Duration = Duration::from_secs(20);

/// The result of trying the credentials of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CredentialResult {
    /// The provider accepts them.
    Accepted,
    /// The provider refuses them.
    Refused,
    /// The provider gave no complete answer.
    Unreachable,
    /// The answer leaves open whether they are valid.
    Unclear,
    /// The provider file names no request for trying them.
    NotTried,
}

/// The credentials of one account, and the result of trying them. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct TriedCredentials {
    pub(super) provider: String,
    pub(super) account: String,
    pub(super) result: CredentialResult,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

/// Tries the credentials of every account of these providers, several at a time. The results stand
/// in the order of providers and accounts.
pub(super) async fn try_credentials(providers: Vec<&Provider>) -> Vec<TriedCredentials> {
    let ways: Vec<_> =
        providers.into_iter().map(|provider| (provider, HttpClient::new(&provider.http))).collect();
    let accounts = ways.iter().flat_map(|(provider, http)| {
        provider.accounts.values().map(move |account| (*provider, account.as_ref(), http.as_ref()))
    });
    let tried = accounts.map(|(provider, account, http)| async move {
        if let Some(link) = BrokerLink::of(provider, account).transpose() {
            let check = Some(try_login(link, &provider.mask_of(account)).await);
            return TriedCredentials::new(provider, account, check);
        }
        let check = match (provider.verification.is_some(), http) {
            (false, _) => None,
            // The fault of the file reports this already.
            (true, Err(error)) => {
                Some(CredentialCheck::Unreachable(Failure::new("tls", error.to_string())))
            }
            (true, Ok(http)) => Some(CredentialTrial { provider, account, http }.run().await),
        };
        TriedCredentials::new(provider, account, check)
    });
    stream::iter(tried).buffered(AT_ONCE).collect().await
}

/// Logs in at a provider's broker, and opens its virtual host where it has one.
async fn try_login(link: Result<BrokerLink, BrokerSetupError>, mask: &Mask) -> CredentialCheck {
    let link = match link {
        Ok(link) => link,
        Err(error) => {
            return CredentialCheck::Unreachable(Failure::new("tls", error.to_string()));
        }
    };
    match link.probe().await.map_err(|failure| UnmaskedValue::new(failure).masked(mask)) {
        Ok(()) => CredentialCheck::Accepted,
        Err(failure) if failure.code.as_deref() == Some(LOGIN_REFUSED) => {
            CredentialCheck::Refused(failure)
        }
        Err(failure) => CredentialCheck::Unreachable(failure),
    }
}

/// An account whose credentials are tried.
struct CredentialTrial<'p> {
    provider: &'p Provider,
    account: &'p Account,
    http: &'p HttpClient,
}

impl CredentialTrial<'_> {
    async fn run(&self) -> CredentialCheck {
        let mask = self.provider.mask_of(self.account);
        let request = match self.account.adapter.verification_request() {
            Some(Err(failure)) => return CredentialCheck::Unclear(failure.masked(&mask)),
            Some(Ok(request)) => Some(request),
            None => None,
        };
        match self.token(&mask).await {
            Err(check) => check,
            Ok(token) => match (request, token) {
                (None, _) => CredentialCheck::Accepted,
                (Some(request), None) => self.call(&request, &mask).await,
                (Some(request), Some(token)) => {
                    let mask = mask.with_tokens(&[token.secret().expose_secret()]);
                    self.call(&token.authorise(&request, request.timeout), &mask).await
                }
            },
        }
    }

    async fn call(&self, request: &HttpRequest, mask: &Mask) -> CredentialCheck {
        let answer = self.http.send(request).await;
        self.account.adapter.interpret_credential_check(&answer).masked(mask)
    }

    /// Requests an access token, where the provider wants one.
    async fn token(&self, mask: &Mask) -> Result<Option<AccessToken>, CredentialCheck> {
        let Some(request) =
            self.account.adapter.build_token_request(self.provider.http.connect_timeout + TOKEN)
        else {
            return Ok(None);
        };
        let answer = self.http.send(&request).await;
        self.account.adapter.read_token(&answer).map(Some).map_err(|none| {
            let failure = UnmaskedValue::masked(none, mask).failure;
            let failure = Failure { http_status: status(&answer), ..failure };
            match (&answer, failure.code.as_deref()) {
                (CallResult::NotSent(_) | CallResult::Incomplete(_), _) => {
                    CredentialCheck::Unreachable(failure)
                }
                (CallResult::Reply(_), Some("token_refused")) => CredentialCheck::Refused(failure),
                (CallResult::Reply(_), _) => CredentialCheck::Unclear(failure),
            }
        })
    }
}

fn status(answer: &CallResult) -> Option<u16> {
    match answer {
        CallResult::Reply(reply) => Some(reply.status),
        CallResult::Incomplete(failure) => failure.http_status,
        CallResult::NotSent(_) => None,
    }
}

impl TriedCredentials {
    fn new(provider: &Provider, account: &Account, check: Option<CredentialCheck>) -> Self {
        let (result, failure) = match check {
            None => (CredentialResult::NotTried, None),
            Some(CredentialCheck::Accepted) => (CredentialResult::Accepted, None),
            Some(CredentialCheck::Refused(failure)) => (CredentialResult::Refused, Some(failure)),
            Some(CredentialCheck::Unreachable(failure)) => {
                (CredentialResult::Unreachable, Some(failure))
            }
            Some(CredentialCheck::Unclear(failure)) => (CredentialResult::Unclear, Some(failure)),
        };
        let (http_status, code, message) = match failure {
            Some(Failure { http_status, code, message, .. }) => (http_status, code, Some(message)),
            None => (None, None, None),
        };
        let (provider, account) = (provider.name.to_string(), account.name.to_string());
        Self { provider, account, result, http_status, code, message }
    }

    /// Describes the fault, where the provider refuses the credentials.
    pub(super) fn fault(&self) -> Option<String> {
        let Self { provider, account, result: CredentialResult::Refused, .. } = self else {
            return None;
        };
        Some(format!(
            "provider {provider}: the credentials of account `{account}` are refused{}; write those that the provider gave you into \
             its secrets",
            self.reason_text()
        ))
    }

    /// Returns true where the credentials' validity could not be determined.
    pub(super) fn is_in_doubt(&self) -> bool {
        matches!(self.result, CredentialResult::Unreachable | CredentialResult::Unclear)
    }

    /// Describes the result for people.
    pub(super) fn describe(&self) -> String {
        let result = match self.result {
            CredentialResult::Accepted => "accepted",
            CredentialResult::Refused => "refused",
            CredentialResult::Unreachable => "unreachable",
            CredentialResult::Unclear => "unclear, the answer says nothing about them",
            CredentialResult::NotTried => "not tried, the provider file has no `verification`",
        };
        format!("{result}{}", self.reason_text())
    }

    /// Describes the reason in brackets: `(status 401, invalid_key: No such API key)`.
    fn reason_text(&self) -> String {
        let status = self.http_status.map(|status| format!("status {status}"));
        // A status that the file does not map is named by its number.
        let of_status = self.http_status.map(|status| format!("http_{status}"));
        let code = self.code.clone().filter(|code| Some(code) != of_status.as_ref());
        let head: Vec<_> = status.into_iter().chain(code).collect();
        match (head.join(", "), self.message.as_deref().unwrap_or_default()) {
            (head, "") if head.is_empty() => String::new(),
            (head, "") => format!(" ({head})"),
            (head, message) if head.is_empty() => format!(" ({message})"),
            (head, message) => format!(" ({head}: {message})"),
        }
    }
}
