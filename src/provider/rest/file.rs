//! What may stand in a provider file: the structures that TOML is read into, and the source of `docs/schema/provider.json`.
//!
//! Durations are texts such as `30s`, `2m`, `24h`, `1h 30m`. Texts marked *expressions* may hold `{{ … }}`.

mod auth;
mod lookup;
mod verification;

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroUsize};

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

pub(super) use self::auth::{AuthFile, ClientAuthFile, GrantFile};
pub(super) use self::lookup::{LookupChoice, LookupFile};
pub(super) use self::verification::VerificationFile;
use super::meaning::Meaning;
use crate::domain::exchange::Method;
use crate::provider::example::file::{CallbackExampleFile, ExampleFile};
use crate::provider::publishers::PublisherFile;
use crate::provider::webhook::file::WebhookFile;

/// A provider of ferryd: where it is, how calls are authorised, what it can do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "ferryd provider file")]
pub(in crate::provider) struct ProviderFile {
    /// A provider of the catalog to build on, such as `stripe`: every key here goes over the catalog's.
    #[expect(dead_code, reason = "read before the files are merged; kept for the schema and for unknown keys")]
    pub(in crate::provider) r#use: Option<String>,
    /// The provider's name, a word of routing keys and queue names: a-z, then up to 62 of a-z, 0-9, `_`, `-`.
    pub(super) name: Option<String>,
    /// The kind of provider, such as `payment`, `shipping` or `notification`.
    pub(super) r#type: Option<String>,
    /// How it is spoken to.
    pub(super) protocol: Option<Protocol>,
    /// The `https://` address that every path is put behind; expressions, which may use `account`. No query.
    pub(super) base_url: Option<String>,
    /// How requests are authorised. Absent: they are not.
    pub(super) auth: Option<AuthFile>,
    /// Headers of every request; expressions. An operation's own go over them.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// Secrets by name: `${env:NAME}`, `${file:/run/secrets/x}` (a last line break is dropped) or the value itself.
    #[serde(default)]
    pub(in crate::provider) secrets: BTreeMap<String, String>,
    /// What expressions see as `account.<name>`, such as a region or a shop.
    #[serde(default)]
    pub(in crate::provider) account: BTreeMap<String, String>,
    /// The folder of accounts, relative to this file: each `*.toml` in it is one, named like the file, whose `[secrets]` and
    /// `[account]` go over those here. Commands that name no account mean `default.toml`. Absent: the one account `default`.
    pub(in crate::provider) accounts_dir: Option<String>,
    /// The AMQP users that may publish commands for the accounts: names, or tables such as
    /// `{ user = "warehouse", ids = ["wh-"] }`. An account file's own go in place of these. Absent: every user may.
    pub(in crate::provider) publishers: Option<Vec<PublisherFile>>,
    /// The most time for DNS, TCP and TLS together; a duration. Default: `10s`.
    pub(super) connect_timeout: Option<String>,
    /// The most time for a whole exchange; a duration up to `10m`, above `connect_timeout`. Default: `30s`.
    pub(super) timeout: Option<String>,
    /// The largest response body that is read, in bytes. Default: 1048576 (1 MiB).
    pub(super) response_cap: Option<NonZeroUsize>,
    /// The most calls at the same time for each account, 1 to 65535. Default: the daemon's setting.
    pub(super) max_in_flight: Option<NonZeroU16>,
    /// The most bytes of commands being worked on at the same time. Default: the daemon's setting.
    pub(super) max_bytes_in_flight: Option<NonZeroUsize>,
    /// A name for delay queues of its own, `a-z`, then up to 62 of a-z, 0-9, `_`, `-`: its retries wait there, apart from those of
    /// providers in no group or in another. Default: none, the delay queues that such providers share.
    pub(super) retry_group: Option<String>,
    /// PEM file of the authorities to trust instead of the system's; relative to this file.
    pub(super) ca_file: Option<String>,
    /// Whether `base_url` may be plain HTTP to this machine (`127.0.0.0/8`, `::1`, `localhost`). Default: false.
    #[serde(default)]
    pub(super) allow_insecure_loopback: bool,
    /// How often and how long commands are tried. Default: the daemon's setting.
    pub(super) retry: Option<RetryFile>,
    /// What the log of requests and responses shows.
    pub(super) log: Option<LogFile>,
    /// How answers of every operation are read.
    pub(super) response: Option<ProviderResponseFile>,
    /// Rules for answers, asked after those of the operation; the first that matches decides.
    #[serde(default)]
    pub(super) classify: Vec<RuleFile>,
    /// The provider's webhook calls. Absent: it has no endpoint. In a file with `use` an empty table takes the catalog's.
    pub(super) webhook: Option<WebhookFile>,
    /// How credentials are tried by `ferryd check --connect`. Absent: they are not.
    pub(super) verification: Option<VerificationFile>,
    /// What the provider can do, by name.
    #[serde(default)]
    pub(super) operations: BTreeMap<String, OperationFile>,
}

impl ProviderFile {
    /// The examples of an operation, taken out of the file.
    pub(in crate::provider) fn take_examples(&mut self, operation: &str) -> Vec<ExampleFile> {
        self.operations.get_mut(operation).map(|table| std::mem::take(&mut table.examples)).unwrap_or_default()
    }

    /// The examples of webhook calls, taken out of the file.
    pub(in crate::provider) fn take_callback_examples(&mut self) -> Vec<CallbackExampleFile> {
        self.webhook.as_mut().map(|table| std::mem::take(&mut table.examples)).unwrap_or_default()
    }
}

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Protocol {
    /// HTTP requests, described in this file.
    Rest,
}

/// How often and how long commands are tried; absent keys are inherited.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryFile {
    /// The delay after each failed attempt, durations up to `12h`; one attempt more than entries. `[]`: one attempt.
    pub(super) schedule: Option<Vec<String>>,
    /// No attempt starts later than this after the first; a duration.
    pub(super) give_up_after: Option<String>,
    /// Whether delays vary at random, so that retries of one outage do not come back together.
    pub(super) jitter: Option<bool>,
}

/// What the log of requests and responses shows.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogFile {
    /// Whether bodies are logged. Default: true.
    pub(super) bodies: Option<bool>,
    /// Names of fields whose values are masked, at any depth of a body and in the query.
    #[serde(default)]
    pub(super) mask: Vec<String>,
}

/// How answers of every operation are read.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderResponseFile {
    /// Where errors are found in an answer; an operation's own goes over it key by key.
    pub(super) error: Option<ErrorFile>,
}

/// Where errors are found in an answer; expressions that may use `status`, `headers`, `body`, `text`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ErrorFile {
    /// The provider's code. Default: `http_<status>`.
    pub(super) code: Option<String>,
    /// What a person should read. Default: `body.error.message`, `body.message`, or the words of the status.
    pub(super) message: Option<String>,
    /// More about it: a text, map or list.
    pub(super) details: Option<Json>,
}

/// One rule for answers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    /// The condition, an expression without braces, such as `status == 402`. What cannot be evaluated is false.
    pub(super) when: String,
    /// What the answer then means.
    pub(super) r#as: Meaning,
    /// The error's code; expressions.
    pub(super) code: Option<String>,
}

/// Something a provider can do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OperationFile {
    /// The request.
    pub(super) request: Option<RequestFile>,
    /// The request's body: a map, list or text; expressions. Absent: no body.
    pub(super) body: Option<Json>,
    /// How much money the command asks for, such as `{{ payload.amount }}`: what its provider says it did has to agree. In the unit
    /// in which the provider's answers and webhook calls have it.
    pub(super) amount: Option<String>,
    /// Its currency.
    pub(super) currency: Option<String>,
    /// The provider's promise to act once under one key. Absent: it makes none.
    pub(super) idempotency: Option<IdempotencyFile>,
    /// Whether another call does no harm, whatever came of the first: a quote, a tracker that the provider makes once, a draft.
    /// A call without an answer is then made again. Requests with `GET` are that by themselves.
    #[serde(default)]
    pub(super) repeatable: bool,
    /// The most time for a whole exchange; a duration up to `10m`. Default: the provider's.
    pub(super) timeout: Option<String>,
    /// How the answer is read.
    pub(super) response: Option<ResponseFile>,
    /// Rules for answers, asked before those of the provider; the first that matches decides.
    #[serde(default)]
    pub(super) classify: Vec<RuleFile>,
    /// How long the provider may take to finish what it has accepted; a duration. Then it is looked up a last time, or the
    /// command is left to a person. Default: `7d`.
    pub(super) deadline: Option<String>,
    /// How accepted commands are asked about until they end.
    pub(super) poll: Option<PollFile>,
    /// How to find out whether a call acted: a table, or `poll` where the request of `poll` serves for both.
    pub(super) lookup: Option<LookupChoice>,
    /// The provider's own id for what another command did and this one changes, such as that of a payment which is cancelled;
    /// expressions. Once this command is completed, the provider is asked at once about the one that waits under that id.
    pub(super) affects: Option<String>,
    /// How often and how long commands are tried. Default: the provider's, key by key.
    pub(super) retry: Option<RetryFile>,
    /// The JSON Schema of the payload (draft 2020-12). Fields with `x-sensitive = true` are masked in the log,
    /// and wherever the provider echoes them.
    pub(super) payload: Option<Map<String, Json>>,
    /// The same from a JSON file; relative to this file.
    pub(super) payload_file: Option<String>,
    /// What is sent for which payload, and what which answer means; held against the file by `ferryd provider test`.
    #[serde(default)]
    pub(in crate::provider) examples: Vec<ExampleFile>,
}

/// A request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestFile {
    /// The method.
    pub(super) method: Option<Method>,
    /// The path behind `base_url`, beginning with `/`; expressions, each of which stays within its segment.
    pub(super) path: Option<String>,
    /// How the body is written. Default: `json`.
    pub(super) encoding: Option<Encoding>,
    /// How lists are written in the query and in a form. Default: `brackets`.
    pub(super) lists: Option<Lists>,
    /// The query as a map; expressions. Maps nest with brackets: `a[b]=c`.
    pub(super) query: Option<Map<String, Json>>,
    /// Headers; expressions. One whose single path is missing is left out.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
}

/// How a body is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Encoding {
    /// `application/json`.
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
}

/// How lists are written in a query or form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Lists {
    /// `a[0]=x&a[1]=y`.
    #[default]
    Brackets,
    /// `a=x&a=y`.
    Repeat,
}

/// How accepted commands are asked about until they end. Its expressions may also use `provider_reference`, the provider's
/// own id as `response.reference` found it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PollFile {
    /// The request; it must only read.
    pub(super) request: Option<RequestFile>,
    /// The request's body. Absent: none.
    pub(super) body: Option<Json>,
    /// The wait before the first poll; a duration up to `12h`. Each further one waits a step of the delay ladder longer.
    pub(super) interval: String,
    /// The longest wait between two polls; a duration up to `12h`. Default: `1h`.
    pub(super) longest: Option<String>,
    /// The condition under which a 2xx says that it is done. Default: `response.success`, unless `response.accepted` holds.
    pub(super) done: Option<String>,
    /// The condition under which the answer says that it has failed, for good. Rules with `as = "declined"` say so too.
    pub(super) failed: Option<String>,
}

/// A provider's promise to act once under one key. The key is sent as a header or as a field of the body.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IdempotencyFile {
    /// The header that takes the key.
    pub(super) header: Option<String>,
    /// The field of the body that takes the key.
    pub(super) field: Option<String>,
    /// For how long the provider remembers a key; a duration.
    pub(super) retention: String,
    /// The most characters of a key, at least 36. Absent: 128 and more are taken.
    pub(super) max_length: Option<usize>,
    /// The condition that says our own first call is still running there, such as `status == 409`.
    pub(super) in_progress: Option<String>,
}

/// How the answer of an operation is read; expressions that may use `status`, `headers`, `body`, `text`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResponseFile {
    /// The provider's own id for what it did.
    pub(super) reference: Option<String>,
    /// What the event's `result` holds: a text, map or list. A leaf that cannot be evaluated is null and named in warnings.
    pub(super) result: Option<Json>,
    /// How much was done, as the answer says. An end by an answer that disagrees with the operation's `amount` is a conflict.
    pub(super) amount: Option<String>,
    /// Its currency.
    pub(super) currency: Option<String>,
    /// The condition under which less or more than was asked for is meant to be.
    pub(super) partial: Option<String>,
    /// The condition under which a 2xx is a success. Where it is given and does not hold, the outcome is unknown.
    pub(super) success: Option<String>,
    /// The condition under which a 2xx was only accepted, and finishes later.
    pub(super) accepted: Option<String>,
    /// Who has to act before an accepted command can end: `provider`, `customer`, or an expression that yields one of them.
    pub(super) waiting_for: Option<String>,
    /// Warnings of the provider: expressions that yield a text or a list of texts.
    #[serde(default)]
    pub(super) warnings: Vec<String>,
    /// Where errors are found.
    pub(super) error: Option<ErrorFile>,
}

/// The JSON Schema of provider files, for editors and for [`crate::provider::shape`].
pub(in crate::provider) fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().with_transform(WithoutNull);
    settings.into_generator().into_root_schema_for::<ProviderFile>()
}

/// TOML has no null: what is optional is left out.
#[derive(Debug, Clone)]
struct WithoutNull;

impl Transform for WithoutNull {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        if let Some(Json::Array(types)) = object.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                object.insert("type".to_owned(), only);
            }
        }
        if let Some(Json::Array(mut branches)) = object.remove("anyOf") {
            branches.retain(|branch| branch.get("type").and_then(Json::as_str) != Some("null"));
            if let [Json::Object(only)] = branches.as_slice() {
                object.extend(only.clone());
            } else {
                object.insert("anyOf".to_owned(), Json::Array(branches));
            }
        }
        if object.get("default").is_some_and(Json::is_null) {
            object.shift_remove("default");
        }
    }
}
