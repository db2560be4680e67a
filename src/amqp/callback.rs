//! A webhook call as a message: written by the ingress, read by whoever consumes the queues of callbacks.
//!
//! The body is the call's own, byte for byte. What else was received stands in headers of ferryd's own, so that a callback
//! says whose it is wherever it has been moved to. A version reads what the versions before and after it wrote: headers
//! that it does not know are ignored.
//!
//! | header | what |
//! |---|---|
//! | `ferry-provider`, `ferry-account` | whose endpoint was called |
//! | `ferry-received-at` | when, RFC 3339 |
//! | `ferry-method`, `ferry-url` | how, and under which public address |
//! | `ferry-headers` | the call's headers in their order, a JSON list of `[name, value]` |
//! | `ferry-verified` | `no` where nothing proves the call: the body is a JSON list of what it is about, and nothing else is kept |

use bytes::Bytes;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{FieldTable, ShortString};
use uuid::Uuid;

use super::message::{Message, TooLong, persistent, put_text, short, text};
use super::names::Names;
use crate::domain::callback::RawCallback;
use crate::domain::name::Name;

const PROVIDER: &str = "ferry-provider";
const ACCOUNT: &str = "ferry-account";
const RECEIVED_AT: &str = "ferry-received-at";
const METHOD: &str = "ferry-method";
const URL: &str = "ferry-url";
const HEADERS: &str = "ferry-headers";
const VERIFIED: &str = "ferry-verified";
/// The value of [`VERIFIED`] for a call that nothing proves; other calls have no such header.
const NOT_VERIFIED: &str = "no";

/// The AMQP property `type` of these messages.
const KIND: &str = "ferry.callback";

/// Headers that are not kept: they can hold passwords, and the call has been verified by them already.
const SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// A webhook call that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// Given to it by ferryd. Copies of the message share it; where a provider calls again, that is another callback.
    pub id: Uuid,
    /// Whose endpoint was called.
    pub provider: Name,
    /// The account that the endpoint is for.
    pub account: Name,
    /// When it was received, to the nanosecond.
    pub received_at: Timestamp,
    /// False where nothing proves the call. Its body is a list of [`UnverifiedNotice`]s then.
    ///
    /// [`UnverifiedNotice`]: crate::domain::callback::UnverifiedNotice
    pub is_verified: bool,
    /// The call, without `Authorization`, `Proxy-Authorization` and `Cookie` once it has been a message.
    pub call: RawCallback,
}

/// Why a message is no callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is missing or can't be read")]
pub struct Unreadable(&'static str);

/// The message that keeps a callback, for the exchange of callbacks under `<provider>.<account>`.
///
/// # Errors
/// [`TooLong`] where prefix, provider and account together are: each for itself is short enough.
pub fn to_message(callback: &Callback, names: &Names) -> Result<Message, TooLong> {
    let Callback { id, provider, account, received_at, is_verified, call } = callback;
    let kept: Vec<_> = call.headers.iter().filter(|(name, _)| !SECRET.contains(&name.as_str())).collect();
    let mut headers = FieldTable::default();
    put_text(&mut headers, PROVIDER, provider.as_str());
    put_text(&mut headers, ACCOUNT, account.as_str());
    put_text(&mut headers, RECEIVED_AT, &received_at.to_string());
    put_text(&mut headers, METHOD, &call.method);
    put_text(&mut headers, URL, call.url.as_str());
    if !is_verified {
        put_text(&mut headers, VERIFIED, NOT_VERIFIED);
    }
    // Pairs of texts always have a JSON form.
    put_text(&mut headers, HEADERS, &serde_json::to_string(&kept).unwrap_or_default());
    let mut properties =
        persistent().with_message_id(short(&id.to_string())?).with_type(ShortString::from(KIND)).with_headers(headers);
    if let Ok(seconds) = u64::try_from(received_at.as_second()) {
        properties = properties.with_timestamp(seconds);
    }
    if let Some(media_type) = call.header("content-type").and_then(|value| short(value).ok()) {
        properties = properties.with_content_type(media_type);
    }
    let (exchange, routing_key) = (short(&names.callbacks())?, short(&format!("{provider}.{account}"))?);
    Ok(Message { exchange, routing_key, properties, body: call.body.to_vec() })
}

/// Whether a message is a webhook call that ferryd has taken in.
#[must_use]
pub fn is_callback(properties: &BasicProperties) -> bool {
    properties.kind().as_ref().is_some_and(|kind| kind.as_str() == KIND)
}

/// Reads the callback of a delivery.
///
/// # Errors
/// [`Unreadable`] where it is none: it was not published by ferryd, or by a version that writes callbacks in another way.
pub fn from_delivery(delivery: &Delivery) -> Result<Callback, Unreadable> {
    from_parts(&delivery.properties, delivery.data.clone().into())
}

/// Reads the callback of a message's properties and body.
///
/// # Errors
/// As [`from_delivery`].
pub fn from_parts(properties: &BasicProperties, body: Bytes) -> Result<Callback, Unreadable> {
    let headers = properties.headers().as_ref();
    let get = |name| text(headers, name).ok_or(Unreadable(name));
    let id = properties.message_id().as_ref().and_then(|id| id.as_str().parse().ok());
    Ok(Callback {
        id: id.ok_or(Unreadable("message_id"))?,
        provider: get(PROVIDER)?.parse().map_err(|_| Unreadable(PROVIDER))?,
        account: get(ACCOUNT)?.parse().map_err(|_| Unreadable(ACCOUNT))?,
        received_at: get(RECEIVED_AT)?.parse().map_err(|_| Unreadable(RECEIVED_AT))?,
        is_verified: text(headers, VERIFIED).is_none(),
        call: RawCallback {
            method: get(METHOD)?.to_owned(),
            url: get(URL)?.parse().map_err(|_| Unreadable(URL))?,
            headers: serde_json::from_str(get(HEADERS)?).map_err(|_| Unreadable(HEADERS))?,
            body,
            certificate: None,
        },
    })
}

#[cfg(test)]
#[path = "callback_tests.rs"]
mod tests;
