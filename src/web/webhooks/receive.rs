//! Handles one webhook, from its first byte to its answer.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use jiff::Timestamp;
use url::Url;
use uuid::Uuid;

use super::endpoint::EndpointState;
use super::origin::client;
use super::refusal::{MAX_UNVERIFIED_BODY, RefusedCall, WebhookRefusal};
use super::unverified::reduce_call;
use crate::config::WebhooksConfig;
use crate::web::body::{BodyError, is_encoded, read_whole_body};
use ferryd_broker::webhook_message::{WebhookMessage, WebhookOrigin};
use ferryd_domain::name::Name;
use ferryd_domain::webhook::{ChallengeReply, RawWebhook};
use ferryd_provider::webhook::WebhookReception;
use ferryd_serve::connection_handle::PeerAddress;
use ferryd_transport::certificates::CertificateFetchError;

/// The part of the path before the provider's name.
const PREFIX: &str = "/webhooks/";

/// Handles one call.
pub(super) async fn take(State(endpoint): State<Arc<EndpointState>>, request: Request) -> Response {
    let peer = request.extensions().get::<PeerAddress>().copied();
    let client = peer.map(|PeerAddress(peer)| {
        client(peer, request.headers(), &endpoint.settings.trusted_proxies)
    });
    let words = split_path(request.uri().path());
    let provider = words.as_ref().map(|(provider, _)| provider.clone());
    match endpoint.answer(request, words, client).await {
        Ok(WebhookResponse::Kept) => {
            endpoint.counts.kept();
            // Every provider accepts this status as a success.
            StatusCode::OK.into_response()
        }
        Ok(WebhookResponse::Challenge(reply)) => {
            endpoint.counts.challenged();
            challenge(reply)
        }
        Err(RefusedCall { refusal, missing }) => {
            endpoint.counts.refused(refusal);
            let write = move |count| {
                refusal.write_line(provider.as_ref(), client, missing.as_deref(), count);
            };
            endpoint.refusals.log(refusal, write);
            refusal.problem(&endpoint.settings).into_response()
        }
    }
}

/// The result of an accepted call.
enum WebhookResponse {
    /// The call is in its queue.
    Kept,
    /// The call was a challenge, with this reply.
    Challenge(ChallengeReply),
}

impl EndpointState {
    async fn answer(
        &self,
        request: Request,
        words: Option<(Name, Name)>,
        client: Option<IpAddr>,
    ) -> Result<WebhookResponse, RefusedCall> {
        let received_at = Timestamp::now();
        if self.stop.is_cancelled() {
            return Err(WebhookRefusal::Stopping.into());
        }
        let (name, account) = words.ok_or(WebhookRefusal::NoEndpoint)?;
        let provider = self.registry.get(&name).ok_or(WebhookRefusal::NoEndpoint)?;
        let webhook = provider.called_webhook(&account).ok_or(WebhookRefusal::NoEndpoint)?;
        if ![Method::GET, Method::POST].contains(request.method()) {
            return Err(WebhookRefusal::OtherMethod.into());
        }
        readable(request.headers())?;
        let call = self.head(&request)?;
        let named = provider.named_by_url(&account, &call, received_at);
        let may_be_large = webhook.is_verifying() || named.is_some();
        let call = RawWebhook { body: self.body(request, may_be_large).await?, ..call };
        let certificate = match webhook.certificate_url(&call, received_at) {
            Some(url) => self.certificate(url).await?,
            None => None,
        };
        let call = RawWebhook { certificate, ..call };
        let received = webhook.receive(&call, received_at).map_err(|refused| RefusedCall {
            refusal: WebhookRefusal::NotReceived(refused),
            missing: refused
                .is_untrusted()
                .then(|| webhook.refused_for(&call, received_at))
                .flatten(),
        });
        if let WebhookReception::Challenge(reply) = received? {
            return Ok(WebhookResponse::Challenge(reply));
        }
        if call.method != "POST" {
            return Err(WebhookRefusal::OnlyPost.into());
        }
        let mut webhook_message = WebhookMessage {
            id: Uuid::now_v7(),
            provider: name,
            account,
            received_at,
            origin: WebhookOrigin::Endpoint,
            is_verified: true,
            call,
        };
        if !webhook.is_verifying() {
            let mask = provider.mask_of_called(&webhook_message.account);
            let notices = webhook
                .notices(&webhook_message.call)
                .masked(&mask)
                .map_err(|_| WebhookRefusal::Unreadable)?;
            if !provider.is_proven(&webhook_message.account, &notices, named.as_ref(), received_at)
            {
                self.unverified.check(&webhook_message.provider, client)?;
                let call = reduce_call(webhook_message.call, &notices)?;
                webhook_message = WebhookMessage { is_verified: false, call, ..webhook_message };
            }
        }
        self.keep.store_webhook(webhook_message).await.map_err(WebhookRefusal::NotKept)?;
        Ok(WebhookResponse::Kept)
    }

    /// Fetches the certificate that a call has to be verified with; `None` where its host says that
    /// there is none.
    async fn certificate(&self, url: Url) -> Result<Option<Bytes>, WebhookRefusal> {
        match self.certificates.certificate(url).await {
            Ok(certificate) => Ok(Some(certificate)),
            Err(CertificateFetchError::Absent) => Ok(None),
            Err(CertificateFetchError::Unavailable) => Err(WebhookRefusal::NoCertificate),
        }
    }

    /// Reads the head of a call.
    fn head(&self, request: &Request) -> Result<RawWebhook, WebhookRefusal> {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let url = self.settings.public_url.as_ref().and_then(|public| public.called(target));
        let url = url.ok_or(WebhookRefusal::Broken)?;
        let method = request.method().as_str().to_owned();
        let headers = request.headers();
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
            .collect();
        Ok(RawWebhook { method, url, headers, body: Bytes::new(), certificate: None })
    }

    /// Reads the body of a call. Only a call that can be proven may have a large one.
    async fn body(&self, request: Request, may_be_large: bool) -> Result<Bytes, WebhookRefusal> {
        let WebhooksConfig { max_body_size, body_timeout, .. } = self.settings;
        let is_small = !may_be_large && max_body_size > MAX_UNVERIFIED_BODY;
        let most = if is_small { MAX_UNVERIFIED_BODY } else { max_body_size };
        read_whole_body(request, most, body_timeout).await.map_err(|unread| match unread {
            BodyError::TooLarge if is_small => WebhookRefusal::TooLargeUnverified,
            unread => unread.into(),
        })
    }
}

/// Reads provider and account from a path: `/webhooks/<provider>` or
/// `/webhooks/<provider>/<account>`.
fn split_path(path: &str) -> Option<(Name, Name)> {
    let mut words = path.strip_prefix(PREFIX)?.split('/');
    let provider = words.next()?.parse().ok()?;
    let account =
        words.next().map_or_else(|| Some(Name::default_account()), |word| word.parse().ok())?;
    words.next().is_none().then_some((provider, account))
}

/// Refuses a body that the consumer of the queue cannot be expected to read. Accepted are bytes,
/// and text in one of the forms that webhooks have. A multipart or compressed body is neither: it
/// would be verified in one form and read in another.
fn readable(headers: &HeaderMap) -> Result<(), WebhookRefusal> {
    let get = |name| {
        headers.get(name).map(|value| value.to_str().unwrap_or_default().to_ascii_lowercase())
    };
    if is_encoded(headers) {
        return Err(WebhookRefusal::Encoded);
    }
    let Some(media_type) = get(CONTENT_TYPE) else { return Ok(()) };
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let known = match essence.split_once('/') {
        Some(("text", _)) => true,
        Some(("application", form)) => {
            matches!(
                form,
                "json" | "xml" | "x-www-form-urlencoded" | "octet-stream" | "jwt" | "jose"
            ) || [".json", "+json", "+xml", "+jwt"].iter().any(|end| form.ends_with(end))
        }
        _ => false,
    };
    if known { Ok(()) } else { Err(WebhookRefusal::MediaType) }
}

fn challenge(ChallengeReply { content_type, body, .. }: ChallengeReply) -> Response {
    // A media type that is no valid header value is left out, because the challenge asks only for
    // the body.
    let mut response = Response::new(Body::from(body));
    // Part of the body may be the caller's own text.
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(content_type) = content_type.parse() {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_provider_and_perhaps_an_account_exactly() {
        for (path, expected) in [
            ("/webhooks/stripe", Some(("stripe", "default"))),
            ("/webhooks/stripe/eu", Some(("stripe", "eu"))),
            ("/webhooks/", None),
            ("/webhooks", None),
            ("/webhooks/stripe/", None),
            ("/webhooks/stripe/eu/", None),
            ("/webhooks//eu", None),
            ("/webhooks/Stripe", None),
            ("/webhooks/%73tripe", None),
            ("/webhooks/../stripe", None),
            ("/stripe", None),
        ] {
            let found = split_path(path);
            let found =
                found.as_ref().map(|(provider, account)| (provider.as_str(), account.as_str()));
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn bodies_in_parts_compressed_ones_and_pictures_are_not_taken() {
        for (name, value, taken) in [
            ("content-type", "application/json; charset=utf-8", true),
            ("content-type", "Application/CloudEvents+JSON", true),
            ("content-type", "application/vnd.x.json", true),
            ("content-type", "application/x-www-form-urlencoded", true),
            ("content-type", "text/plain", true),
            ("content-type", "text/xml", true),
            ("content-type", "application/octet-stream", true),
            ("x-other", "anything", true),
            ("content-encoding", "identity", true),
            ("content-type", "multipart/form-data; boundary=x", false),
            ("content-type", "image/png", false),
            ("content-type", "application/zip", false),
            ("content-type", "json", false),
            ("content-type", "", false),
            ("content-encoding", "gzip", false),
        ] {
            let headers: HeaderMap =
                [(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect();
            assert_eq!(readable(&headers).is_ok(), taken, "{name}: {value}");
        }
    }
}
