//! Signing certificates that webhooks name: fetched over HTTPS, and cached for a day.
//!
//! The caller chooses the addresses, within the limits of the provider's webhook. So requests are
//! rate-limited, missing certificates are remembered, and the cache is bounded.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::Mutex as Turn;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};
use url::Url;

use super::http::{HttpClient, HttpSetupError};
use ferryd_domain::http_call::{CallResult, HttpMethod, HttpRequest};
use ferryd_provider::HttpSettings;

/// The most bytes of a certificate with its chain.
const RESPONSE_CAP: usize = 64 << 10;
/// The most time for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The most time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// The most time that a webhook waits for its certificate, other fetches before it included.
pub const CERTIFICATE_TIMEOUT: Duration = Duration::from_secs(4);
/// The time for which a certificate is cached; PayPal recommends a day.
const KEPT: Duration = Duration::from_hours(24);
/// The time for which a missing certificate is remembered.
const ABSENT: Duration = Duration::from_mins(10);
/// The most addresses that are remembered: so many with a certificate, and so many without one.
const MOST: usize = 64;
/// The most requests at once, and then in a second.
const BURST: NonZeroU32 = NonZeroU32::new(8).unwrap();
const RATE: NonZeroU32 = NonZeroU32::new(1).unwrap();

/// The reason why a certificate is not available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateFetchError {
    /// The host answered that there is no such certificate.
    Absent,
    /// The host is unreachable or fails, or the rate limit is reached.
    Unavailable,
}

/// A source of certificates.
pub trait CertificateSource: Send + Sync {
    /// Gets the certificate at an address, in PEM.
    ///
    /// # Errors
    /// [`CertificateFetchError`].
    fn certificate(&self, url: Url) -> BoxFuture<'_, Result<Bytes, CertificateFetchError>>;
}

/// Fetches and caches certificates.
pub struct CertificateCache {
    http: Result<HttpClient, HttpSetupError>,
    entries: Mutex<HashMap<Url, CachedAnswer>>,
    limiter: DefaultDirectRateLimiter,
    /// Held by the call that fetches, so that calls which need the same certificate fetch it once.
    turn: Turn<()>,
}

/// The cached answer of an address.
struct CachedAnswer {
    found: Option<Bytes>,
    until: Instant,
}

impl Default for CertificateCache {
    fn default() -> Self {
        Self::new()
    }
}

impl CertificateCache {
    /// Makes a cache that trusts the system's authorities; connects to nothing yet. If they can't
    /// be loaded, every certificate is unavailable.
    #[must_use]
    pub fn new() -> Self {
        Self::with_authorities(None)
    }

    /// Makes a cache that trusts the authorities of a file, or else the system's.
    fn with_authorities(ca_file: Option<PathBuf>) -> Self {
        let settings = HttpSettings {
            ca_file,
            connect_timeout: CONNECT_TIMEOUT,
            max_response_size: RESPONSE_CAP,
        };
        let limiter = RateLimiter::direct(Quota::per_second(RATE).allow_burst(BURST));
        Self {
            http: HttpClient::new(&settings),
            entries: Mutex::default(),
            limiter,
            turn: Turn::default(),
        }
    }

    fn known_certificate(&self, url: &Url) -> Option<Result<Bytes, CertificateFetchError>> {
        let entries = self.entries();
        let entry = entries.get(url).filter(|entry| Instant::now() < entry.until)?;
        Some(entry.found.clone().ok_or(CertificateFetchError::Absent))
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Url, CachedAnswer>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn get(&self, url: Url) -> Result<Bytes, CertificateFetchError> {
        if let Some(known) = self.known_certificate(&url) {
            return known;
        }
        let _turn = self.turn.lock().await;
        // Another call may have fetched it meanwhile.
        if let Some(known) = self.known_certificate(&url) {
            return known;
        }
        if self.limiter.check().is_err() {
            return Err(CertificateFetchError::Unavailable);
        }
        self.fetch(url).await
    }

    async fn fetch(&self, url: Url) -> Result<Bytes, CertificateFetchError> {
        let http = self.http.as_ref().map_err(|error| {
            warn!(%error, "failed to fetch the certificate of a webhook");
            CertificateFetchError::Unavailable
        })?;
        let request = HttpRequest {
            method: HttpMethod::Get,
            url: url.clone(),
            headers: Vec::new(),
            input_headers: Vec::new(),
            body: Bytes::new(),
            timeout: REQUEST_TIMEOUT,
        };
        let found = match http.send(&request).await {
            CallResult::Reply(reply) if reply.status == 200 => Some(reply.body),
            CallResult::Reply(reply) if matches!(reply.status, 400 | 404 | 410) => None,
            CallResult::Reply(reply) => {
                warn!(url.full = %url, http.response.status_code = reply.status, "failed to fetch the certificate of a webhook");
                return Err(CertificateFetchError::Unavailable);
            }
            CallResult::NotSent(failure) | CallResult::Incomplete(failure) => {
                warn!(url.full = %url, reason = failure.message, "failed to fetch the certificate of a webhook");
                return Err(CertificateFetchError::Unavailable);
            }
        };
        info!(url.full = %url, exists = found.is_some(), "requested the certificate of a webhook");
        let until = Instant::now() + if found.is_some() { KEPT } else { ABSENT };
        self.remember(url, CachedAnswer { found: found.clone(), until });
        found.ok_or(CertificateFetchError::Absent)
    }

    /// Caches an entry. If there are too many of its sort, the entry replaces the one that expires
    /// first.
    fn remember(&self, url: Url, entry: CachedAnswer) {
        let mut entries = self.entries();
        let exists = entry.found.is_some();
        let alike = || entries.iter().filter(|(_, other)| other.found.is_some() == exists);
        if alike().count() >= MOST {
            let first = alike().min_by_key(|(_, other)| other.until).map(|(url, _)| url.clone());
            first.and_then(|url| entries.remove(&url));
        }
        entries.insert(url, entry);
    }
}

impl CertificateSource for CertificateCache {
    fn certificate(&self, url: Url) -> BoxFuture<'_, Result<Bytes, CertificateFetchError>> {
        async move {
            timeout(CERTIFICATE_TIMEOUT, self.get(url))
                .await
                .unwrap_or(Err(CertificateFetchError::Unavailable))
        }
        .boxed()
    }
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
