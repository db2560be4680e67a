//! Adyen's payment notifications, which carry a signature inside of every item of a batch.
//! <https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures>
//!
//! Each signature covers eight fields of its item. The rest of the notification is unsigned, so it
//! may inform a person but decide nothing.

use base64::Engine as _;
use jiff::Timestamp;
use serde_json::Value as Json;

use super::key::{BASE64, VerificationKey};
use super::sign::SigningError;
use super::verification_trace::{VerificationTrace, beginning};
use ferryd_domain::webhook::{RawWebhook, VerificationError};

/// The signed fields in their order, as JSON pointers into an item.
const SIGNED: [&str; 8] = [
    "/pspReference",
    "/originalReference",
    "/merchantAccountCode",
    "/merchantReference",
    "/amount/value",
    "/amount/currency",
    "/eventCode",
    "/success",
];

/// The scheme of Adyen's payment notifications.
pub(super) struct AdyenPayments {
    /// The keys; one match is enough.
    pub(super) keys: Vec<VerificationKey>,
}

impl AdyenPayments {
    /// Verifies that every item of a batch is Adyen's own, and records the steps.
    pub(super) fn verify_items(
        &self,
        call: &RawWebhook,
        now: Timestamp,
        trace: &mut VerificationTrace,
    ) -> Result<(), VerificationError> {
        let looked_for = "items in `notificationItems` of the body";
        let body: Option<Json> = serde_json::from_slice(&call.body).ok();
        let Some(items) = body.as_ref().and_then(items) else {
            trace.note_failed(looked_for, || "the body has none".to_owned());
            return Err(VerificationError::Unsigned);
        };
        trace.note_passed(looked_for, || items.len().to_string());
        // The worst result of all items decides: a batch is verified as a whole or not at all.
        items.iter().enumerate().try_for_each(|(number, item)| self.check(number, item, now, trace))
    }

    fn check(
        &self,
        number: usize,
        item: &Json,
        now: Timestamp,
        trace: &mut VerificationTrace,
    ) -> Result<(), VerificationError> {
        let looked_for = format!("`additionalData.hmacSignature` of item {}", number + 1);
        let text = item.pointer("/additionalData/hmacSignature").and_then(Json::as_str);
        let signature = text.and_then(|text| BASE64.decode(text).ok());
        let (Some(text), Some(signature)) = (text, signature) else {
            trace.note_failed(&looked_for, || "it has none that is Base64".to_owned());
            return Err(VerificationError::Unsigned);
        };
        let content = content(item);
        let mut keys = self.keys.iter().filter(|key| key.is_taken(now)).peekable();
        let first = keys.peek().copied();
        if keys.any(|key| key.matches(&content, std::slice::from_ref(&signature))) {
            trace.note_passed(&looked_for, || format!("{} matches", beginning(text)));
            return Ok(());
        }
        trace.note_failed(&looked_for, || {
            let expected =
                first.and_then(|key| key.sign(&content)).map(|signature| BASE64.encode(signature));
            let expected = expected.map_or("no key is taken any more".to_owned(), |expected| {
                format!("by the first key it would begin with {}", beginning(&expected))
            });
            format!("{} matches no key; {expected}", beginning(text))
        });
        Err(VerificationError::Forged)
    }

    /// Signs each item of the notification.
    pub(super) fn sign(
        &self,
        call: &RawWebhook,
        now: Timestamp,
    ) -> Result<RawWebhook, SigningError> {
        let key = self.keys.iter().find(|key| key.is_taken(now)).ok_or(SigningError::NoKey)?;
        let mut body: Json =
            serde_json::from_slice(&call.body).map_err(|_| SigningError::NoNotification)?;
        let items = body
            .get_mut("notificationItems")
            .and_then(Json::as_array_mut)
            .filter(|items| !items.is_empty());
        for item in items.ok_or(SigningError::NoNotification)? {
            let item = item.get_mut("NotificationRequestItem").filter(|item| item.is_object());
            let item = item.ok_or(SigningError::NoNotification)?;
            let signature = key.sign(&content(item)).ok_or(SigningError::NoKey)?;
            if !item["additionalData"].is_object() {
                item["additionalData"] = Json::Object(serde_json::Map::new());
            }
            item["additionalData"]["hmacSignature"] = Json::String(BASE64.encode(signature));
        }
        Ok(RawWebhook { body: body.to_string().into(), ..call.clone() })
    }
}

/// The items of a batch; `None` if there are none, or if one is malformed.
fn items(body: &Json) -> Option<Vec<&Json>> {
    let items = body.get("notificationItems")?.as_array()?;
    let items: Option<Vec<&Json>> =
        items.iter().map(|item| item.get("NotificationRequestItem")).collect();
    items.filter(|items| !items.is_empty())
}

/// The signed content of an item.
fn content(item: &Json) -> Vec<u8> {
    let texts = SIGNED.map(|pointer| match item.pointer(pointer) {
        Some(Json::String(text)) => text.clone(),
        None | Some(Json::Null) => String::new(),
        Some(other) => other.to_string(),
    });
    texts.join(":").into_bytes()
}
