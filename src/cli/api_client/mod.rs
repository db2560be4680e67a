//! A client of a daemon's HTTP API, for the subcommands.

mod daemon_address;
mod error;
mod terminal_wait;

use std::path::Path;
use std::time::Duration;

use clap::Args;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Certificate, Client, Method, Response, redirect, retry, tls};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};
use url::Url;
use url::form_urlencoded::Serializer;

pub(super) use self::daemon_address::ApiUrl;
use self::daemon_address::{ApiCredential, DaemonAddress};
pub(super) use self::error::ApiError;
use self::terminal_wait::TerminalWait;
use super::error::CommandError;
use crate::web::problem::{MEDIA_TYPE, ProblemBody};
use crate::web::query_string::write_query;

/// The longest time for reaching the daemon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time for an answer, which exceeds the longest search of the daemon.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The most bytes of an answer.
const MAX_ANSWER: usize = 64 << 20;

/// The arguments that select the daemon.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ApiArguments {
    /// The address of the daemon's HTTP API: https, or http on this machine [default: that of this
    /// host's daemon]
    #[arg(long, value_name = "URL", env = "FERRYD_URL", hide_env_values = true)]
    url: Option<ApiUrl>,
    /// Allow `--url` to be http to another machine, although everybody on the network path can read and
    /// change what is sent
    #[arg(long, requires = "url")]
    allow_plaintext: bool,
}

/// A request to the API.
#[derive(Debug, Clone)]
pub(super) struct ApiRequest {
    method: Method,
    /// The segments of the path, not yet encoded.
    path: Vec<String>,
    /// The encoded query.
    query: String,
    /// The body of the request, as JSON.
    body: Option<Vec<u8>>,
    timeout: Duration,
}

/// A client of the API of one daemon.
pub(super) struct ApiClient {
    http: Client,
    place: DaemonAddress,
    credential: ApiCredential,
    runtime: Runtime,
}

impl ApiRequest {
    fn new<'a>(method: Method, path: impl IntoIterator<Item = &'a str>) -> Self {
        let path = path.into_iter().map(str::to_owned).collect();
        Self { method, path, query: String::new(), body: None, timeout: TIMEOUT }
    }

    /// Makes a request that reads what is under a path.
    pub(super) fn get<'a>(path: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Makes a request that does something.
    pub(super) fn post<'a>(path: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(Method::POST, path)
    }

    /// Makes a request that deletes what is under a path.
    pub(super) fn delete<'a>(path: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Adds a parameter, where it has a value.
    pub(super) fn with(self, name: &str, value: Option<impl ToString>) -> Self {
        let Some(value) = value.map(|value| value.to_string()) else { return self };
        let more = Serializer::new(String::new()).append_pair(name, &value).finish();
        self.with_query(&more)
    }

    /// Adds the fields of a value as parameters.
    pub(super) fn with_fields(self, fields: &impl Serialize) -> Self {
        // Parameters are objects of plain fields, which always have that form.
        self.with_query(&write_query(fields).unwrap_or_default())
    }

    fn with_query(mut self, more: &str) -> Self {
        if !self.query.is_empty() && !more.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(more);
        self
    }

    /// Sets the body.
    pub(super) fn with_body(self, body: &impl Serialize) -> Self {
        // Orders are plain data, which always has a JSON form.
        Self { body: Some(serde_json::to_vec(body).unwrap_or_default()), ..self }
    }

    /// Sets a longer timeout than most requests need.
    pub(super) fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }
}

impl ApiClient {
    /// Finds the address of the daemon and the token; connects to nothing.
    ///
    /// # Errors
    /// There is no address or token, or the token must not be sent to that address.
    pub(super) fn open(
        arguments: &ApiArguments,
        config: Option<&Path>,
    ) -> Result<Self, CommandError> {
        let given = daemon_address::given_token();
        let (place, credential) = daemon_address::find(
            arguments.url.as_ref(),
            arguments.allow_plaintext,
            given.as_deref(),
            config,
        )?;
        let http =
            client(&place).map_err(|error| ApiError::Setup(error::innermost_cause(&error)))?;
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(CommandError::Runtime)?;
        Ok(Self { http, place, credential, runtime })
    }

    /// Sends a request and reads its answer. Where the daemon is still reading the ledger, or is
    /// overloaded, the request is repeated for some time.
    ///
    /// # Errors
    /// [`ApiError`].
    pub(super) fn send_request<T: DeserializeOwned>(
        &self,
        request: &ApiRequest,
    ) -> Result<T, ApiError> {
        self.runtime.block_on(async {
            let mut waiting = TerminalWait::default();
            loop {
                match self.send(request).await {
                    Err(ApiError::Problem(problem)) => waiting.pause(problem).await?,
                    answered => return answered,
                }
            }
        })
    }

    async fn send<T: DeserializeOwned>(&self, request: &ApiRequest) -> Result<T, ApiError> {
        let answered = tokio::time::timeout(request.timeout, self.read_answer(request)).await;
        let (status, is_problem, body) = answered
            .map_err(|_| self.place.too_late(request.timeout))?
            .map_err(|error| self.place.unreachable(&error))?;
        if (200..300).contains(&status) {
            let read = serde_json::from_slice(&body);
            return read.map_err(|error| self.place.unreadable(&error.to_string()));
        }
        let problem = serde_json::from_slice::<ProblemBody>(&body).ok().filter(|_| is_problem);
        Err(match problem {
            Some(_) if status == 401 => self.place.unknown_token(&self.credential),
            Some(problem) => ApiError::Problem(Box::new(problem)),
            None => self.place.no_ferryd(status),
        })
    }

    /// Sends a request. Returns the status, true where the answer is a problem, and the body.
    async fn read_answer(
        &self,
        request: &ApiRequest,
    ) -> Result<(u16, bool, Vec<u8>), reqwest::Error> {
        let mut token = HeaderValue::try_from(format!("Bearer {}", self.credential.token.expose()))
            .unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        token.set_sensitive(true);
        let asking = self
            .http
            .request(request.method.clone(), self.url(request))
            .header(AUTHORIZATION, token);
        let asking = match &request.body {
            Some(body) => asking.header(CONTENT_TYPE, "application/json").body(body.clone()),
            None => asking,
        };
        let mut response = asking.send().await?;
        let (status, is_problem) = (response.status().as_u16(), is_problem(&response));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                break;
            }
        }
        Ok((status, is_problem, body))
    }

    fn url(&self, request: &ApiRequest) -> Url {
        let mut url = self.place.url().clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(&request.path);
        }
        if !request.query.is_empty() {
            url.set_query(Some(&request.query));
        }
        url
    }
}

fn is_problem(response: &Response) -> bool {
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media_type.is_some_and(|media_type| media_type.split(';').next() == Some(MEDIA_TYPE))
}

/// Builds the HTTP client: HTTP/1.1, no redirects, no proxy, no retries.
fn client(place: &DaemonAddress) -> Result<Client, reqwest::Error> {
    // An error means that a provider of cryptography is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .tls_version_min(tls::Version::TLS_1_2)
        .http1_only()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .user_agent(concat!("ferryd/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true);
    // Reading the system's authorities takes longer than most answers.
    let builder = if place.is_plain() {
        builder.tls_certs_only(std::iter::empty::<Certificate>())
    } else {
        builder
    };
    builder.build()
}

#[cfg(test)]
#[path = "api_client_tests.rs"]
mod tests;
