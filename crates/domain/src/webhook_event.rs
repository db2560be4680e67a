//! The event `ferry.webhook.received`, which ferryd publishes about a provider's webhook.
//!
//! Every verified call is published, with or without a command, and also long after the command has
//! ended: bounces, disputes, trackers. The event of an unverified call has only the object that it
//! is about, under an id that no verified call has.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::command::EncodedIdentity;
use super::name::Name;
use super::webhook::slug;

/// The last word of the event's routing key.
const WORD: &str = "webhook";

/// A `CloudEvents` 1.0 event about a webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "ferryd webhook event")]
pub struct ReceivedEvent {
    /// Always `1.0`.
    pub specversion: String,
    /// `webhook/<provider>/<account>/<the provider's id>`, or
    /// `unverified/<provider>/<account>/<a digest>` where `data.verified` is false: the same when
    /// the provider repeats the call.
    pub id: String,
    /// `/ferryd/<provider>`.
    pub source: String,
    /// Always `ferry.webhook.received`.
    pub r#type: String,
    /// The command's id, where the call is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The time at which the call was received.
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// The contents of the call.
    pub data: ReceivedData,
}

/// The contents of a webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReceivedData {
    /// The command that the call is about; absent where none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<EncodedIdentity>,
    /// The type of the provider that called.
    pub r#type: Name,
    /// The provider that called.
    pub provider: Name,
    /// The account whose endpoint it called.
    pub account: Name,
    /// False where the call could not be verified: anyone can have made it, so query the provider
    /// before you act on it. Then there is no `body`, and `meaning` is `lookup` or `nothing`.
    pub verified: bool,
    /// The provider's name for the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The provider's own id of the object that the call is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_reference: Option<String>,
    /// The meaning for a command: `completed`, `declined`, `failed`, `progress`, `lookup` or
    /// `nothing`.
    pub meaning: String,
    /// The result known so far, of `progress`, as the provider's file maps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The body of the call, or one item of it, masked; `null` where `verified` is false.
    pub body: Value,
}

/// Returns the value for events of versions without this field, which published verified calls
/// only.
impl ReceivedEvent {
    /// Builds the event of a notice; `id` is the provider's own, or one that copies share.
    #[must_use]
    pub fn new(id: &str, time: Timestamp, data: ReceivedData) -> Self {
        let ReceivedData { provider, account, command, verified, .. } = &data;
        let space = if *verified { "webhook" } else { "unverified" };
        Self {
            specversion: "1.0".to_owned(),
            id: format!("{space}/{provider}/{account}/{id}"),
            source: format!("/ferryd/{provider}"),
            r#type: "ferry.webhook.received".to_owned(),
            subject: command.as_ref().map(|command| command.id.to_string()),
            time,
            datacontenttype: "application/json".to_owned(),
            data,
        }
    }

    /// Returns the routing key `<type>.<provider>.<event>.webhook`, with the event's name as one
    /// word.
    #[must_use]
    pub fn routing_key(&self) -> String {
        let ReceivedData { r#type, provider, event, .. } = &self.data;
        let event = slug(event.as_deref().unwrap_or_default());
        format!("{type}.{provider}.{event}.{WORD}")
    }
}
