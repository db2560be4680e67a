//! The structure of `[[operations.X.examples]]` and `[[webhook.examples]]`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::rest::answer_meaning::AnswerMeaning;
use crate::webhook::notice_meaning::NoticeMeaningName;
use ferryd_domain::http_call::HttpMethod;

/// An example of an operation: the request for a payload, and the meaning of an answer.
/// `ferryd provider test` checks the file against the example. In examples the value of every
/// secret is the secret's own name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExampleFile {
    /// A short description of the example. Default: its number.
    pub(super) name: Option<String>,
    /// The payload of the command. It has to match the operation's schema.
    #[serde(default)]
    pub(super) payload: Map<String, Json>,
    /// The command's other properties.
    #[serde(default)]
    pub(super) command: ExampleCommandFile,
    /// The expected request.
    pub(super) request: Option<ExpectedRequestFile>,
    /// The expected message, of a provider that is reached by messages.
    pub(super) message: Option<ExpectedMessageFile>,
    /// An answer of the provider.
    pub(super) reply: Option<ReplyFile>,
    /// The expected meaning of that answer, or of the acknowledgement of a message.
    pub(super) outcome: Option<ExpectedOutcomeFile>,
}

/// The properties of an example's command beside its payload.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExampleCommandFile {
    /// The command's id, from which the idempotency key is made. Default: `example-1`.
    pub(super) id: Option<String>,
    /// The command's reference. Default: none.
    pub(super) reference: Option<String>,
    /// The command's metadata.
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
}

/// The request that is expected. Keys that are left out are not compared.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedRequestFile {
    /// The method.
    pub(super) method: Option<HttpMethod>,
    /// The path, including that of `base_url`.
    pub(super) path: Option<String>,
    /// The whole query, decoded.
    pub(super) query: Option<BTreeMap<String, String>>,
    /// Some of the headers. The header of an access token is not among them.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// The whole body: a map or list, for a form as well; or a text, compared as JSON where the
    /// body is JSON.
    pub(super) body: Option<Json>,
}

/// The message that is expected. Keys that are left out are not compared.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedMessageFile {
    /// The exchange; empty for the default exchange.
    pub(super) exchange: Option<String>,
    /// The routing key.
    pub(super) routing_key: Option<String>,
    /// The subject, for NATS.
    pub(super) subject: Option<String>,
    /// The message's id.
    pub(super) message_id: Option<String>,
    /// Some of the headers.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// The whole body: a map or list, for a form as well; or a text, compared as JSON where the
    /// body is JSON.
    pub(super) body: Option<Json>,
}

/// An answer of the provider.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplyFile {
    /// The HTTP status.
    pub(super) status: u16,
    /// The answer's headers.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// The answer's body: a map or list is sent as JSON, a text unchanged. Default: empty.
    pub(super) body: Option<Json>,
}

/// The expected meaning of an answer. Keys that are left out are not compared.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedOutcomeFile {
    /// The outcome, as `classify` names it.
    pub(super) r#as: AnswerMeaning,
    /// The error's code.
    pub(super) code: Option<String>,
    /// The error's message.
    pub(super) message: Option<String>,
    /// The provider's own id.
    pub(super) reference: Option<String>,
    /// The expected `result` of the event.
    pub(super) result: Option<Json>,
    /// The party that has to act next: `provider` or `customer`.
    pub(super) waiting_for: Option<String>,
    /// The warnings, always compared. Default: none.
    #[serde(default)]
    pub(super) warnings: Vec<String>,
}

/// An example of a webhook: the notices that are read in it, once it is verified. The example
/// carries no signature.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookExampleFile {
    /// A short description of the example. Default: its number.
    pub(super) name: Option<String>,
    /// The call's headers.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// The call's query, decoded.
    #[serde(default)]
    pub(super) query: BTreeMap<String, String>,
    /// The call's body: a map or list is sent as JSON, a text unchanged. Default: empty.
    pub(super) body: Option<Json>,
    /// The expected notices: one table for each, in their order.
    pub(super) expect: Vec<ExpectedNoticeFile>,
}

/// A notice that is expected. Keys that are left out are not compared.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedNoticeFile {
    /// The notice's meaning, as `on` names it.
    pub(super) r#as: NoticeMeaningName,
    /// The provider's name for the event.
    pub(super) event: Option<String>,
    /// The provider's id for this notice.
    pub(super) id: Option<String>,
    /// The provider's own id for the object of the notice.
    pub(super) reference: Option<String>,
    /// The id of the command that the notice names.
    pub(super) command: Option<String>,
    /// The expected `result` of the event, for `completed` and `progress`.
    pub(super) result: Option<Json>,
    /// The provider's code, for `declined` and `failed`.
    pub(super) code: Option<String>,
    /// The message for people, for `declined` and `failed`.
    pub(super) message: Option<String>,
    /// The warnings, always compared. Default: none.
    #[serde(default)]
    pub(super) warnings: Vec<String>,
}
