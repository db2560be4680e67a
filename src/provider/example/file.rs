//! What may stand in `[[operations.X.examples]]` and `[[webhook.examples]]`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::domain::exchange::Method;
use crate::provider::rest::meaning::Meaning;
use crate::provider::webhook::sense::Sense;

/// An example of an operation: what is sent for a payload, and what an answer means. `ferryd provider test` holds the file
/// against it. Every secret has its own name as its value there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct ExampleFile {
    /// What it shows, in a few words. Default: its number.
    pub(super) name: Option<String>,
    /// The payload of the command. It has to match the operation's schema.
    #[serde(default)]
    pub(super) payload: Map<String, Json>,
    /// What else the command says.
    #[serde(default)]
    pub(super) command: ExampleCommandFile,
    /// What is sent.
    pub(super) request: Option<ExpectedRequestFile>,
    /// An answer.
    pub(super) reply: Option<ReplyFile>,
    /// What that answer means.
    pub(super) outcome: Option<ExpectedOutcomeFile>,
}

/// What an example's command says beside its payload.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct ExampleCommandFile {
    /// Its id, of which the idempotency key is made. Default: `example-1`.
    pub(super) id: Option<String>,
    /// Its reference. Default: none.
    pub(super) reference: Option<String>,
    /// Its metadata.
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
}

/// The request that is expected. What is left out is not compared.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct ExpectedRequestFile {
    /// The method.
    pub(super) method: Option<Method>,
    /// The path, with that of `base_url`.
    pub(super) path: Option<String>,
    /// The whole query, decoded.
    pub(super) query: Option<BTreeMap<String, String>>,
    /// Some of the headers; that of an access token is put in later.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// The whole body: a map or list, a form too; or a text, compared as JSON where the body is JSON.
    pub(super) body: Option<Json>,
}

/// An answer of the provider.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct ReplyFile {
    /// The HTTP status.
    pub(super) status: u16,
    /// Its headers.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// Its body: a map or list is sent as JSON, a text as it is. Default: empty.
    pub(super) body: Option<Json>,
}

/// What an answer is expected to mean. What is left out is not compared.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct ExpectedOutcomeFile {
    /// The outcome, in the words of `classify`.
    pub(super) r#as: Meaning,
    /// The error's code.
    pub(super) code: Option<String>,
    /// The error's message.
    pub(super) message: Option<String>,
    /// The provider's own id.
    pub(super) reference: Option<String>,
    /// What the event's `result` holds.
    pub(super) result: Option<Json>,
    /// Who has to act next: `provider` or `customer`.
    pub(super) waiting_for: Option<String>,
    /// The warnings, always compared. Default: none.
    #[serde(default)]
    pub(super) warnings: Vec<String>,
}

/// An example of a webhook call: what is read in it, once it is verified. It carries no signature.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct CallbackExampleFile {
    /// What it shows, in a few words. Default: its number.
    pub(super) name: Option<String>,
    /// Its headers.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// Its query, decoded.
    #[serde(default)]
    pub(super) query: BTreeMap<String, String>,
    /// Its body: a map or list is sent as JSON, a text as it is. Default: empty.
    pub(super) body: Option<Json>,
    /// What is read in it: one table for each notice, in their order.
    pub(super) expect: Vec<ExpectedNoticeFile>,
}

/// A notice that is expected. What is left out is not compared.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct ExpectedNoticeFile {
    /// What it means, in the words of `on`.
    pub(super) r#as: Sense,
    /// The provider's name for what happened.
    pub(super) event: Option<String>,
    /// The provider's id for this telling of it.
    pub(super) id: Option<String>,
    /// The provider's own id for what it is about.
    pub(super) reference: Option<String>,
    /// The id of the command that it names.
    pub(super) command: Option<String>,
    /// What the event's `result` holds, of `completed` and `progress`.
    pub(super) result: Option<Json>,
    /// The provider's code, of `declined` and `failed`.
    pub(super) code: Option<String>,
    /// What a person should read, of `declined` and `failed`.
    pub(super) message: Option<String>,
    /// The warnings, always compared. Default: none.
    #[serde(default)]
    pub(super) warnings: Vec<String>,
}
