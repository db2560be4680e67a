//! Webhooks as messages: published by the ingress, and read by the consumers of the queues of
//! webhooks.
//!
//! The body is the call's own, byte for byte. Headers of ferryd's own hold the rest of the call, so
//! that a message names its provider and account wherever it has been moved to. A version reads
//! what the versions before and after it wrote: headers that it does not know are ignored.
//!
//! | header | what |
//! |---|---|
//! | `ferry-provider`, `ferry-account` | the endpoint that was called |
//! | `ferry-received-at` | the time of the call, RFC 3339 |
//! | `ferry-method`, `ferry-url` | the method, and the public address that was called |
//! | `ferry-headers` | the call's headers in their order, a JSON list of `[name, value]` |
//! | `ferry-origin` | `queue` where the call is a message of a queue at the provider's broker; no such header for a call to the endpoint. ferryd alone writes it: a call's own headers stand in `ferry-headers` |
//! | `ferry-verified` | `no` where the call could not be verified: the body is then a JSON list of the commands that it names, and nothing else is kept |

use bytes::Bytes;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{FieldTable, ShortString};
use uuid::Uuid;

use super::message::{
    OutgoingMessage, TextTooLong, get_text, persistent_properties, put_text, short_string,
};
use super::names::TopologyNames;
use ferryd_domain::name::Name;
use ferryd_domain::webhook::RawWebhook;

const PROVIDER: &str = "ferry-provider";
const ACCOUNT: &str = "ferry-account";
const RECEIVED_AT: &str = "ferry-received-at";
const METHOD: &str = "ferry-method";
const URL: &str = "ferry-url";
const HEADERS: &str = "ferry-headers";
const ORIGIN: &str = "ferry-origin";
/// The value of [`ORIGIN`] for a message of a queue.
const FROM_QUEUE: &str = "queue";
const VERIFIED: &str = "ferry-verified";
/// The value of [`VERIFIED`] for an unverified call; other calls have no such header.
const NOT_VERIFIED: &str = "no";

/// The AMQP property `type` of these messages.
const KIND: &str = "ferry.webhook";

/// Headers that are not kept: they can hold passwords, and the call has been verified by them
/// already.
const SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// The way on which a webhook came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookOrigin {
    /// A call to the endpoint.
    Endpoint,
    /// A message of a queue at the provider's broker, to which only the provider may write.
    Queue,
}

/// A webhook that ferryd has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookMessage {
    /// The id that ferryd gave to the call. Copies of the message share it; a provider's repeat of
    /// the call has another.
    pub id: Uuid,
    /// The provider whose endpoint was called.
    pub provider: Name,
    /// The account that the endpoint is for.
    pub account: Name,
    /// The time at which the call was received, to the nanosecond.
    pub received_at: Timestamp,
    /// The way on which the call came.
    pub origin: WebhookOrigin,
    /// False where the call could not be verified. The body is then a list of
    /// [`UnverifiedNotice`]s.
    ///
    /// [`UnverifiedNotice`]: ferryd_domain::webhook::UnverifiedNotice
    pub is_verified: bool,
    /// The call, without `Authorization`, `Proxy-Authorization` and `Cookie` once it has been a
    /// message.
    pub call: RawWebhook,
}

/// An error: the message is not a webhook, for this reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is missing or can't be read")]
pub struct UnreadableWebhook(&'static str);

/// Builds the message that keeps a webhook, for the exchange of webhooks under
/// `<provider>.<account>`.
///
/// # Errors
/// [`TextTooLong`] where prefix, provider and account together are too long: each for itself is
/// short enough.
pub fn to_message(
    webhook: &WebhookMessage,
    names: &TopologyNames,
) -> Result<OutgoingMessage, TextTooLong> {
    let WebhookMessage { id, provider, account, received_at, origin, is_verified, call } = webhook;
    let kept: Vec<_> =
        call.headers.iter().filter(|(name, _)| !SECRET.contains(&name.as_str())).collect();
    let mut headers = FieldTable::default();
    put_text(&mut headers, PROVIDER, provider.as_str());
    put_text(&mut headers, ACCOUNT, account.as_str());
    put_text(&mut headers, RECEIVED_AT, &received_at.to_string());
    put_text(&mut headers, METHOD, &call.method);
    put_text(&mut headers, URL, call.url.as_str());
    if *origin == WebhookOrigin::Queue {
        put_text(&mut headers, ORIGIN, FROM_QUEUE);
    }
    if !is_verified {
        put_text(&mut headers, VERIFIED, NOT_VERIFIED);
    }
    // Pairs of texts always have a JSON form.
    put_text(&mut headers, HEADERS, &serde_json::to_string(&kept).unwrap_or_default());
    let mut properties = persistent_properties()
        .with_message_id(short_string(&id.to_string())?)
        .with_type(ShortString::from(KIND))
        .with_headers(headers);
    if let Ok(seconds) = u64::try_from(received_at.as_second()) {
        properties = properties.with_timestamp(seconds);
    }
    if let Some(media_type) = call.header("content-type").and_then(|value| short_string(value).ok())
    {
        properties = properties.with_content_type(media_type);
    }
    let (exchange, routing_key) =
        (short_string(&names.webhooks())?, short_string(&format!("{provider}.{account}"))?);
    Ok(OutgoingMessage { exchange, routing_key, properties, body: call.body.to_vec() })
}

/// Returns true if a message is a webhook that ferryd has accepted.
#[must_use]
pub fn is_webhook(properties: &BasicProperties) -> bool {
    properties.kind().as_ref().is_some_and(|kind| kind.as_str() == KIND)
}

/// Reads the webhook of a delivery.
///
/// # Errors
/// [`UnreadableWebhook`] where ferryd did not publish the message, or a version did that writes
/// webhooks in another way.
pub fn read_delivery(delivery: &Delivery) -> Result<WebhookMessage, UnreadableWebhook> {
    read_webhook(&delivery.properties, delivery.data.clone().into())
}

/// Reads the webhook of a message's properties and body.
///
/// # Errors
/// As [`read_delivery`].
pub fn read_webhook(
    properties: &BasicProperties,
    body: Bytes,
) -> Result<WebhookMessage, UnreadableWebhook> {
    let headers = properties.headers().as_ref();
    let get = |name| get_text(headers, name).ok_or(UnreadableWebhook(name));
    let is_verified = get_text(headers, VERIFIED).is_none();
    // A way that this version does not know must not be taken for another.
    let has_origin = headers.is_some_and(|headers| headers.inner().contains_key(ORIGIN));
    let origin = match get_text(headers, ORIGIN) {
        Some(FROM_QUEUE) if is_verified => WebhookOrigin::Queue,
        None if !has_origin => WebhookOrigin::Endpoint,
        _ => return Err(UnreadableWebhook(ORIGIN)),
    };
    let id = properties.message_id().as_ref().and_then(|id| id.as_str().parse().ok());
    Ok(WebhookMessage {
        id: id.ok_or(UnreadableWebhook("message_id"))?,
        provider: get(PROVIDER)?.parse().map_err(|_| UnreadableWebhook(PROVIDER))?,
        account: get(ACCOUNT)?.parse().map_err(|_| UnreadableWebhook(ACCOUNT))?,
        received_at: get(RECEIVED_AT)?.parse().map_err(|_| UnreadableWebhook(RECEIVED_AT))?,
        origin,
        is_verified,
        call: RawWebhook {
            method: get(METHOD)?.to_owned(),
            url: get(URL)?.parse().map_err(|_| UnreadableWebhook(URL))?,
            headers: serde_json::from_str(get(HEADERS)?).map_err(|_| UnreadableWebhook(HEADERS))?,
            body,
            certificate: None,
        },
    })
}

#[cfg(test)]
#[path = "webhook_message_tests.rs"]
mod tests;
