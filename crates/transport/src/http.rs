//! Sends requests over HTTPS, and reports with certainty what was sent.
//!
//! Each provider has one [`HttpClient`], with connections and trusted authorities of its own. The
//! client follows no redirect, uses no proxy, keeps no cookie, asks for no compression and repeats
//! nothing, so that one call is one request and one failure is one failure.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, redirect, retry, tls};
use url::Url;

use super::failure;
use ferryd_domain::http_call::{CallResult, HttpMethod, HttpReply, HttpRequest};
use ferryd_domain::loopback::is_https_or_loopback;
use ferryd_provider::HttpSettings;

/// The time for which an idle connection is kept for the next request.
///
/// If a server closes a connection just as a request goes out, it is unknown whether the server has
/// read the request. So the client must close first: the shortest limits in wide use are the 5 s of
/// Apache and Node.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// The interval of TCP keepalive probes. A peer that vanished while its response is awaited is
/// noticed after three of them.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Headers that belong to the transport: a wrong one would split a request in two, or redirect it.
const OWN_HEADERS: [&str; 7] =
    ["connection", "content-length", "expect", "host", "te", "transfer-encoding", "upgrade"];

/// The HTTP client of one provider.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: Client,
    max_response_size: usize,
}

/// The reason why the HTTP client of a provider can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum HttpSetupError {
    /// The CA file can't be read.
    #[error(
        "ca_file {path} cannot be read ({source}): name a PEM file with the authorities to trust, or leave ca_file out to trust the system's"
    )]
    CaUnreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The CA file holds no usable certificate.
    #[error(
        "ca_file {path} holds no usable PEM certificate ({reason}): it must have a block `-----BEGIN CERTIFICATE-----` for each authority to trust"
    )]
    CaUnusable {
        /// The file.
        path: PathBuf,
        /// The reason, from the parser.
        reason: String,
    },
    /// TLS can't be set up with the system's authorities.
    #[error(
        "https cannot be set up ({0}): install the system's CA certificates, or name a ca_file"
    )]
    Tls(String),
}

impl HttpClient {
    /// Sets up the client of a provider: reads its CA file, connects to nothing.
    ///
    /// # Errors
    /// The CA file is unreadable or no PEM, or the system's authorities can't be loaded.
    pub fn new(settings: &HttpSettings) -> Result<Self, HttpSetupError> {
        // An error means that a cryptography provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = builder(settings.connect_timeout);
        let client = match &settings.ca_file {
            Some(path) => {
                let unusable = |reason| HttpSetupError::CaUnusable { path: path.clone(), reason };
                builder
                    .tls_certs_only(authorities(path)?)
                    .build()
                    .map_err(|error| unusable(innermost(&error)))?
            }
            None => builder.build().map_err(|error| HttpSetupError::Tls(innermost(&error)))?,
        };
        Ok(Self { client, max_response_size: settings.max_response_size })
    }

    /// Sends a request and reads its answer, both within the request's timeout. Dropping the future
    /// ends the connection.
    ///
    /// The connect timeout must be shorter than the request's: after the latter the request counts
    /// as sent.
    pub async fn send(&self, request: &HttpRequest) -> CallResult {
        let prepared = match prepare(request) {
            Ok(prepared) => prepared,
            Err(why) => return failure::unsendable_failure(why),
        };
        tokio::time::timeout(request.timeout, self.perform_call(prepared))
            .await
            .unwrap_or_else(|_| failure::timed_out(request.timeout))
    }

    async fn perform_call(&self, request: reqwest::Request) -> CallResult {
        match self.client.execute(request).await {
            Ok(response) => self.read(response).await,
            Err(error) => failure::failure_before_answer(&error),
        }
    }

    async fn read(&self, mut response: reqwest::Response) -> CallResult {
        let status = response.status().as_u16();
        let announced = response.content_length().unwrap_or(0);
        if usize::try_from(announced).map_or(true, |announced| announced > self.max_response_size) {
            return failure::too_large(status, self.max_response_size);
        }
        let headers = readable(response.headers());
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if chunk.len() > self.max_response_size - body.len() => {
                    return failure::too_large(status, self.max_response_size);
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => {
                    return CallResult::Reply(HttpReply { status, headers, body: body.into() });
                }
                Err(error) => return failure::within_body(status, &error),
            }
        }
    }
}

fn builder(connect_timeout: Duration) -> ClientBuilder {
    Client::builder()
        .tls_version_min(tls::Version::TLS_1_2)
        .http1_only()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .user_agent(concat!("ferryd/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(usize::MAX)
        .tcp_keepalive(KEEPALIVE)
        .tcp_keepalive_interval(KEEPALIVE)
        .tcp_nodelay(true)
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, HttpSetupError> {
    let pem = std::fs::read(path)
        .map_err(|source| HttpSetupError::CaUnreadable { path: path.to_owned(), source })?;
    let unusable = |reason| HttpSetupError::CaUnusable { path: path.to_owned(), reason };
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if certificates.is_empty() => Err(unusable("it has none".to_owned())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(innermost(&error))),
    }
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .last()
        .map_or_else(String::new, ToString::to_string)
}

/// Converts a request into the client's type. The error says why the request can't be sent, and
/// never quotes a header's value.
fn prepare(request: &HttpRequest) -> Result<reqwest::Request, String> {
    refuse_plain_text(&request.url)?;
    let method = reqwest::Method::from_bytes(request.method.as_str().as_bytes())
        .map_err(|error| error.to_string())?;
    let mut prepared = reqwest::Request::new(method, request.url.clone());
    for (name, value) in &request.headers {
        let (name, value) = header(name, value)?;
        prepared.headers_mut().append(name, value);
    }
    if !request.body.is_empty() {
        *prepared.body_mut() = Some(request.body.clone().into());
    } else if !matches!(request.method, HttpMethod::Get | HttpMethod::Delete) {
        // Without this header some servers answer 411, or wait for a body (RFC 9110, section 8.6).
        prepared.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(prepared)
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("`{name}` is not a header name"))?;
    if OWN_HEADERS.contains(&parsed.as_str()) {
        return Err(format!("header `{parsed}` is set by ferryd itself: leave it out"));
    }
    let mut value = HeaderValue::from_str(value)
        .or_else(|_| HeaderValue::from_bytes(value.as_bytes()))
        .map_err(|_| {
            format!("header `{parsed}` has a value with control characters: remove them")
        })?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

/// Refuses plain HTTP to other hosts. Provider files with such addresses are refused when they are
/// read; this is the second line of defence.
fn refuse_plain_text(url: &Url) -> Result<(), String> {
    if is_https_or_loopback(url.scheme(), url.host_str().unwrap_or_default()) {
        return Ok(());
    }
    Err(format!("scheme `{}` is not sent to this host: use https", url.scheme()))
}

fn readable(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
