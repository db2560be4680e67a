//! Access tokens by client credentials (RFC 6749, section 4.4): the request for one, rendered when
//! the file is read, and the reading of its answers.
//!
//! Without a token nothing was sent to the provider, so no answer of the token endpoint ends a
//! command. Refused credentials end no command either: they are wrong for every command, and an
//! operator can correct them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value as Json;
use url::{Url, form_urlencoded};

use super::answer::{ReplyBody, retry_after};
use super::credential::{basic, refuse_written};
use super::expression::{ExpressionScope, KnownVariables};
use super::file::{ClientAuthFile, GrantFile};
use super::path::{BaseUrl, BaseUrlError, PathTemplate};
use super::secret::ProviderSecrets;
use super::text::TextTemplate;
use ferryd_domain::http_call::{CallResult, HttpMethod, HttpReply, HttpRequest};
use ferryd_domain::token::{AccessToken, TokenUnavailable};
use ferryd_settings::findings::SettingsCursor;

/// The parameters that the keys of `auth` set.
const OWN_PARAMETERS: [&str; 4] = ["grant_type", "client_id", "client_secret", "scope"];

/// The longest lifetime of a token that is taken literally, in seconds; a longer one is capped.
const LONGEST_LIFETIME: f64 = 365.0 * 24.0 * 3600.0;

/// The source of access tokens: the same request each time.
#[derive(Debug)]
pub(super) struct TokenRequest {
    request: HttpRequest,
}

/// The values of the table `auth`.
#[derive(Debug, Clone, Copy)]
pub(super) struct GrantSource<'f> {
    /// The grant.
    pub(super) grant: GrantFile,
    /// The address or path of the token endpoint.
    pub(super) token_url: &'f str,
    /// The client's id.
    pub(super) client_id: &'f str,
    /// The client's secret.
    pub(super) client_secret: &'f str,
    /// The scopes of the token.
    pub(super) scope: Option<&'f String>,
    /// The place of the client's credentials.
    pub(super) client_auth: ClientAuthFile,
    /// Further parameters.
    pub(super) parameters: &'f BTreeMap<String, String>,
}

/// The context of a token endpoint: the provider's address, and the variables of its values.
#[derive(Debug, Clone, Copy)]
pub(super) struct GrantContext<'f> {
    /// The provider's address, if it is valid.
    pub(super) base_url: Option<&'f BaseUrl>,
    /// True where plain HTTP to this machine is allowed.
    pub(super) allow_insecure_loopback: bool,
    /// The names in `[secrets]`.
    pub(super) known: &'f KnownVariables<'f>,
    /// The secrets; `None` where one of them is missing, which was reported already.
    pub(super) secrets: Option<&'f ProviderSecrets>,
}

impl GrantContext<'_> {
    /// The variables of the values.
    fn scope(&self) -> Option<ExpressionScope<'_>> {
        Some(ExpressionScope::new([("secrets", self.secrets?.variable().into())]))
    }
}

impl TokenRequest {
    /// Compiles the table `auth` into the request for a token.
    pub(super) fn compile(
        source: &GrantSource<'_>,
        context: &GrantContext<'_>,
        place: &SettingsCursor<'_>,
    ) -> Option<Self> {
        let GrantFile::ClientCredentials = source.grant;
        let value = |key: &str, text: &str| value(text, context, &place.key(key));
        let url = url(source.token_url, context, &place.key("token_url"));
        let client_id = value("client_id", source.client_id);
        let client_secret = value("client_secret", source.client_secret);
        if client_secret.as_deref() == Some(source.client_secret) {
            refuse_written(&place.key("client_secret"));
        }
        let mut form = vec![("grant_type".to_owned(), "client_credentials".to_owned())];
        if let Some(scope) = source.scope {
            form.push(("scope".to_owned(), value("scope", scope)?));
        }
        for (name, text) in source.parameters {
            let place = place.key("parameters").key(name);
            if OWN_PARAMETERS.contains(&name.as_str()) {
                place.refuse("is set by another key of `auth`; leave it out here");
            }
            form.push((name.clone(), self::value(text, context, &place)?));
        }
        let (url, client_id, client_secret) = (url?, client_id?, client_secret?);
        let mut headers = vec![
            ("accept".to_owned(), "application/json".to_owned()),
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
        ];
        match source.client_auth {
            ClientAuthFile::Basic => {
                // The parts are encoded before they are joined (RFC 6749, section 2.3.1).
                let [name, password] = [&client_id, &client_secret].map(|text| encoded(text));
                headers.insert(1, ("authorization".to_owned(), basic(&name, &password)));
            }
            ClientAuthFile::Body => {
                form.push(("client_id".to_owned(), client_id));
                form.push(("client_secret".to_owned(), client_secret));
            }
        }
        let body: Bytes =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish().into();
        Some(Self {
            request: HttpRequest {
                method: HttpMethod::Post,
                url,
                headers,
                input_headers: Vec::new(),
                body,
                timeout: Duration::ZERO,
            },
        })
    }

    /// The request for a token, with its timeout.
    pub(super) fn request(&self, timeout: Duration) -> HttpRequest {
        HttpRequest { timeout, ..self.request.clone() }
    }

    /// The header that identifies the client to the token endpoint; `None` where the body does.
    pub(super) fn authorization(&self) -> Option<&str> {
        let header = self.request.headers.iter().find(|(name, _)| name == "authorization");
        header.map(|(_, value)| value.as_str())
    }

    /// Reads the answer to the request for a token.
    pub(super) fn read(answer: &CallResult) -> Result<AccessToken, TokenUnavailable> {
        match answer {
            CallResult::NotSent(failure) | CallResult::Incomplete(failure) => {
                Err(unavailable(&failure.message))
            }
            CallResult::Reply(reply) => read(reply),
        }
    }
}

/// The address of a token endpoint: `https://…`, or a path behind `base_url`.
fn url(text: &str, context: &GrantContext<'_>, place: &SettingsCursor<'_>) -> Option<Url> {
    if !text.starts_with('/') {
        let url =
            BaseUrl::parse(text, context.allow_insecure_loopback).map_err(|error| match error {
                BaseUrlError::Part { part, .. } => {
                    format!(
                        "has a {part}; write credentials and parameters as other keys of `auth`"
                    )
                }
                error => error.to_string(),
            });
        return place.check(url).map(|url| url.as_url().clone());
    }
    let path = place.check(PathTemplate::compile(text, context.known))?;
    let path = place.check(path.render(&context.scope()?))?;
    let url = context.base_url?.join(&path);
    if url.is_none() {
        place.refuse(
            "leads out of `base_url`; write a path such as `/oauth/token`, or a whole address",
        );
    }
    url
}

/// Evaluates a text that may name secrets.
fn value(source: &str, context: &GrantContext<'_>, place: &SettingsCursor<'_>) -> Option<String> {
    let text = place.check(TextTemplate::compile(source, context.known))?;
    let value = place.check(text.string(&context.scope()?))?.filter(|value| !value.is_empty());
    if value.is_none() {
        place.refuse("has no value; write one, such as `{{ secrets.client_secret }}`");
    }
    value
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn read(reply: &HttpReply) -> Result<AccessToken, TokenUnavailable> {
    let body = ReplyBody::read(reply);
    let error = body.text_at("/error");
    match reply.status {
        200..=299 if error.is_none() => read_grant(&body),
        408 | 425 | 429 | 500.. => {
            let reason = format!("status {}", reply.status);
            Err(TokenUnavailable {
                retry_after: reply.header("retry-after").and_then(retry_after),
                ..unavailable(&reason)
            })
        }
        status => {
            let reason = match (error, body.text_at("/error_description")) {
                (Some(error), Some(description)) => format!("{error}: {description}"),
                (Some(error), None) => error,
                (None, _) => "it does not say why".to_owned(),
            };
            let message =
                format!("the token endpoint refuses the credentials (status {status}, {reason})");
            Err(TokenUnavailable::new("token_refused", message))
        }
    }
}

fn read_grant(body: &ReplyBody) -> Result<AccessToken, TokenUnavailable> {
    let unreadable = |problem: &str| {
        TokenUnavailable::new(
            "token_unreadable",
            format!("the answer of the token endpoint {problem}"),
        )
    };
    let kind = body.text_at("/token_type").unwrap_or_default().to_ascii_lowercase();
    // Some providers leave the token type out, or write `BearerToken`.
    if !kind.is_empty() && !kind.starts_with("bearer") {
        return Err(unreadable("grants a token that is no bearer token"));
    }
    let token = body.text_at("/access_token").ok_or_else(|| unreadable("has no `access_token`"))?;
    let lifetime = body.at("/expires_in").and_then(seconds);
    AccessToken::new(&token, lifetime)
        .map_err(|error| unreadable(&format!("cannot be used: {error}")))
}

/// Parses seconds as a number, or as a text, which some providers write.
fn seconds(value: &Json) -> Option<Duration> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Duration::try_from_secs_f64(number.clamp(0.0, LONGEST_LIFETIME)).ok()
}

fn unavailable(reason: &str) -> TokenUnavailable {
    TokenUnavailable::new("token_unavailable", format!("no access token: {reason}"))
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
