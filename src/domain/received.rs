//! What ferryd publishes about a provider's webhook call: the event `ferry.callback.received`.
//!
//! Every verified call is told, whether it belongs to a command or not, also long after its command has ended: bounces,
//! disputes, trackers. Of a call that nothing proves no more is told than what it is about, under an id that no verified one has.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::callback::slug;
use super::command::Identity;
use super::name::Name;

/// The last word of its routing key.
const WORD: &str = "callback";

/// A `CloudEvents` 1.0 event about a webhook call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "ferryd callback event")]
pub struct ReceivedEvent {
    /// Always `1.0`.
    pub specversion: String,
    /// `callback/<provider>/<account>/<the provider's id>`, or `unverified/<provider>/<account>/<a digest>` where `data.verified` is
    /// false: the same when the provider calls again.
    pub id: String,
    /// `/ferryd/<provider>`.
    pub source: String,
    /// Always `ferry.callback.received`.
    pub r#type: String,
    /// The command's id, where it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it was received.
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// What it tells.
    pub data: ReceivedData,
}

/// What a webhook call tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReceivedData {
    /// The command that it belongs to; absent where none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Identity>,
    /// The type of the provider that called.
    pub r#type: Name,
    /// The provider that called.
    pub provider: Name,
    /// The account whose endpoint it called.
    pub account: Name,
    /// False where nothing proves that the provider made the call: anybody can have made it, so ask the provider before you act on
    /// it. Then there is no `body`, and `meaning` is `lookup` or `nothing`.
    #[serde(default = "is_verified_before")]
    pub verified: bool,
    /// Its name for what happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Its own id for what this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_reference: Option<String>,
    /// What it means for a command: `completed`, `declined`, `failed`, `progress`, `lookup` or `nothing`.
    pub meaning: String,
    /// What is known so far, of `progress`, as the provider's file maps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The body of the call, or one item of it, masked; `null` where `verified` is false.
    pub body: Value,
}

/// Events of versions that did not say so were about verified calls, as far as anybody knew.
fn is_verified_before() -> bool {
    true
}

impl ReceivedEvent {
    /// The event about a notice; `id` is the provider's own, or one that copies share.
    #[must_use]
    pub fn new(id: &str, time: Timestamp, data: ReceivedData) -> Self {
        let ReceivedData { provider, account, command, verified, .. } = &data;
        let space = if *verified { "callback" } else { "unverified" };
        Self {
            specversion: "1.0".to_owned(),
            id: format!("{space}/{provider}/{account}/{id}"),
            source: format!("/ferryd/{provider}"),
            r#type: "ferry.callback.received".to_owned(),
            subject: command.as_ref().map(|command| command.id.to_string()),
            time,
            datacontenttype: "application/json".to_owned(),
            data,
        }
    }

    /// `<type>.<provider>.<event>.callback`, the event's name as one word.
    #[must_use]
    pub fn routing_key(&self) -> String {
        let ReceivedData { r#type, provider, event, .. } = &self.data;
        let event = slug(event.as_deref().unwrap_or_default());
        format!("{type}.{provider}.{event}.{WORD}")
    }
}
