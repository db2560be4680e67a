//! The structure of a provider file: the types that TOML is read into, and the source of
//! `docs/schema/provider.json`.
//!
//! Durations are texts such as `30s`, `2m`, `24h`, `1h 30m`. Texts described as *expressions* may
//! contain `{{ … }}`.

mod auth;
mod lookup;
mod message;
mod request;
mod verification;

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

pub(super) use self::auth::{AuthFile, ClientAuthFile, GrantFile};
pub(super) use self::lookup::{LookupChoice, LookupFile};
pub(super) use self::message::MessageFile;
pub(super) use self::request::{BodyEncoding, ListEncoding, RequestFile};
pub(super) use self::verification::VerificationFile;
use super::answer_meaning::AnswerMeaning;
use crate::example::file::{ExampleFile, WebhookExampleFile};
use crate::publishers::PublisherFile;
use crate::webhook::file::WebhookFile;
use crate::webhook::inbound_file::InboundFile;

/// A provider of ferryd: its address, its credentials and its operations.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "ferryd provider file")]
pub(crate) struct ProviderFile {
    /// A built-in provider to build on, such as `stripe`: every key of this file overrides the
    /// built-in one.
    #[expect(
        dead_code,
        reason = "read before the files are merged; kept for the schema and for unknown keys"
    )]
    pub(crate) r#use: Option<String>,
    /// The provider's name, a word of routing keys and queue names: a-z, then up to 62 of a-z, 0-9,
    /// `_`, `-`.
    pub(super) name: Option<String>,
    /// The kind of provider, such as `payment`, `shipping` or `notification`.
    pub(super) r#type: Option<String>,
    /// The provider's protocol.
    pub(super) protocol: Option<ProviderProtocol>,
    /// The `https://` address before every path, the `amqps://` address of the broker with its
    /// virtual host, or the `tls://` address of the NATS server; expressions that may use
    /// `account`. No query.
    pub(super) base_url: Option<String>,
    /// The authorisation of requests. Absent: none.
    pub(super) auth: Option<AuthFile>,
    /// Headers of every request; expressions. An operation's own headers override them.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// Secrets by name: `${env:NAME}`, `${file:/run/secrets/x}` (the last line break is dropped) or
    /// the value itself.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, String>,
    /// Values that expressions read as `account.<name>`, such as a region or a shop.
    #[serde(default)]
    pub(crate) account: BTreeMap<String, String>,
    /// The folder of accounts, relative to this file: each `*.toml` in it is an account, named like
    /// the file, whose `[secrets]` and `[account]` override those here. The account of commands
    /// that name none is `default.toml`. Absent: the one account `default`.
    pub(crate) accounts_dir: Option<String>,
    /// The AMQP users that may publish commands for the accounts: names, or tables such as
    /// `{ user = "warehouse", ids = ["wh-"] }`. An account file's own list replaces this one.
    /// Absent: every user may.
    pub(crate) publishers: Option<Vec<PublisherFile>>,
    /// The most time for DNS, TCP and TLS together; a duration. Default: `10s`.
    pub(super) connect_timeout: Option<String>,
    /// The most time for a whole call; a duration up to `10m`, longer than `connect_timeout`.
    /// Default: `30s`.
    pub(super) timeout: Option<String>,
    /// The largest response body that is read; a size with its unit. Default: `1MiB`.
    #[serde(default)]
    #[schemars(schema_with = "ferryd_settings::units::size::schema")]
    pub(super) max_response_size: Option<String>,
    /// The most calls at the same time for each account, 1 to 65535. Default: the daemon's setting.
    pub(super) max_in_flight: Option<NonZeroU16>,
    /// The most bytes of commands that are processed at the same time; a size with its unit.
    /// Default: the daemon's setting.
    #[serde(default)]
    #[schemars(schema_with = "ferryd_settings::units::size::schema")]
    pub(super) max_bytes_in_flight: Option<String>,
    /// A name for delay queues of its own, `a-z`, then up to 62 of a-z, 0-9, `_`, `-`: the
    /// provider's retries wait there, apart from those of providers without a group or in another
    /// one. Default: none; the retries wait in the delay queues that providers without a group
    /// share.
    pub(super) retry_group: Option<String>,
    /// PEM file of the authorities to trust instead of the system's; relative to this file.
    pub(super) ca_file: Option<String>,
    /// True where `base_url` may be plain HTTP, AMQP or NATS to this machine (`127.0.0.0/8`, `::1`,
    /// `localhost`).
    /// Default: false.
    #[serde(default)]
    pub(super) allow_insecure_loopback: bool,
    /// The retries of commands. Default: the daemon's setting.
    pub(super) retry: Option<RetryFile>,
    /// The content of the call log.
    pub(super) log: Option<LogFile>,
    /// The reading of answers, for every operation.
    pub(super) response: Option<ProviderResponseFile>,
    /// Rules for answers, tried after those of the operation; the first that matches decides.
    #[serde(default)]
    pub(super) classify: Vec<RuleFile>,
    /// The provider's webhooks. Absent: the provider has no endpoint. In a file with `use` an
    /// empty table inherits the built-in one.
    pub(super) webhook: Option<WebhookFile>,
    /// The queue at the provider's broker that holds its answers, for `protocol = "amqp"`. Absent:
    /// the provider answers by no messages.
    pub(super) inbound: Option<InboundFile>,
    /// The verification of credentials by `ferryd check --connect`. Absent: none.
    pub(super) verification: Option<VerificationFile>,
    /// The provider's operations, by name.
    #[serde(default)]
    pub(super) operations: BTreeMap<String, OperationFile>,
}

impl ProviderFile {
    /// Returns the provider's protocol; the one of most providers where the file states none,
    /// which is a fault of its own.
    pub(super) fn spoken(&self) -> ProviderProtocol {
        self.protocol.unwrap_or(ProviderProtocol::Rest)
    }

    /// Takes the examples of an operation out of the file.
    pub(crate) fn take_examples(&mut self, operation: &str) -> Vec<ExampleFile> {
        self.operations
            .get_mut(operation)
            .map(|table| std::mem::take(&mut table.examples))
            .unwrap_or_default()
    }

    /// Takes the examples of webhooks out of the file.
    pub(crate) fn take_webhook_examples(&mut self) -> Vec<WebhookExampleFile> {
        self.webhook.as_mut().map(|table| std::mem::take(&mut table.examples)).unwrap_or_default()
    }
}

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ProviderProtocol {
    /// HTTP requests that this file describes.
    Rest,
    /// Messages to the provider's own RabbitMQ, or another broker that speaks AMQP 0-9-1.
    Amqp,
    /// Messages to the provider's own NATS server, which stores them in a JetStream stream.
    Nats,
}

/// The retries of commands; absent keys are inherited.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryFile {
    /// The delay after each failed attempt, durations up to `12h`; there is one attempt more than
    /// entries. `[]`: one attempt.
    pub(super) schedule: Option<Vec<String>>,
    /// The time from the first attempt after which no attempt starts; a duration.
    pub(super) give_up_after: Option<String>,
    /// True where delays vary at random, so that retries after one outage are spread.
    pub(super) jitter: Option<bool>,
}

/// The content of the call log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogFile {
    /// True where bodies are logged. Default: true.
    pub(super) bodies: Option<bool>,
    /// Names of fields whose values are masked, at any depth of a body and in the query.
    #[serde(default)]
    pub(super) mask: Vec<String>,
}

/// The reading of answers, for every operation.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderResponseFile {
    /// The places of errors in an answer; an operation's own table overrides this one key by key.
    pub(super) error: Option<ErrorFile>,
}

/// The places of errors in an answer; expressions that may use `status`, `headers`, `body`, `text`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ErrorFile {
    /// The provider's code. Default: `http_<status>`.
    pub(super) code: Option<String>,
    /// The message for people. Default: `body.error.message`, `body.message`, or the reason phrase
    /// of the status.
    pub(super) message: Option<String>,
    /// Further details of the error: a text, map or list.
    pub(super) details: Option<Json>,
}

/// One rule that classifies answers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    /// The condition, an expression without braces, such as `status == 402`. A condition that
    /// cannot be evaluated is false.
    pub(super) when: String,
    /// The meaning of an answer that matches.
    pub(super) r#as: AnswerMeaning,
    /// The error's code; expressions.
    pub(super) code: Option<String>,
}

/// An operation of a provider.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OperationFile {
    /// The request.
    pub(super) request: Option<RequestFile>,
    /// The message, of a provider with `protocol = "amqp"` or `"nats"`.
    pub(super) message: Option<MessageFile>,
    /// The body of the request or message: a map, list or text; expressions. Absent: no body.
    pub(super) body: Option<Json>,
    /// The amount of money that the command asks for, such as `{{ payload.amount }}`, in the unit
    /// of the provider's answers and webhooks. The amount that the provider reports has to
    /// agree.
    pub(super) amount: Option<String>,
    /// The amount's currency.
    pub(super) currency: Option<String>,
    /// The provider's guarantee to act only once under one key. Absent: none.
    pub(super) idempotency: Option<IdempotencyFile>,
    /// True where another call does no harm, whatever the outcome of the first: a quote, a tracker
    /// that the provider creates once, a draft. A call without an answer is then repeated. `GET`
    /// requests are always repeatable.
    #[serde(default)]
    pub(super) repeatable: bool,
    /// The most time for a whole call; a duration up to `10m`. Default: the provider's.
    pub(super) timeout: Option<String>,
    /// The reading of the answer.
    pub(super) response: Option<ResponseFile>,
    /// Rules for answers, tried before those of the provider; the first that matches decides.
    #[serde(default)]
    pub(super) classify: Vec<RuleFile>,
    /// The time in which the provider has to finish an accepted command; a duration. After the
    /// deadline the command is looked up a last time, or becomes unresolved. Default: `7d`.
    pub(super) deadline: Option<String>,
    /// The polling of accepted commands until they end.
    pub(super) poll: Option<PollFile>,
    /// The query whether a call acted: a table, or `poll` where the request of `poll` serves for
    /// both.
    pub(super) lookup: Option<LookupChoice>,
    /// The provider's own id of a transaction of another command that this command changes, such as
    /// the payment that is cancelled; expressions. Once this command is completed, the provider is
    /// queried at once about the command that waits under that id.
    pub(super) affects: Option<String>,
    /// The retries of commands. Default: the provider's, key by key.
    pub(super) retry: Option<RetryFile>,
    /// The JSON Schema of the payload (draft 2020-12). Fields with `x-sensitive = true` are masked
    /// in the log, and wherever the provider echoes their values.
    pub(super) payload: Option<Map<String, Json>>,
    /// The file of the payload's JSON Schema; relative to this file.
    pub(super) payload_file: Option<String>,
    /// Examples of payloads with their requests, and of answers with their meanings;
    /// `ferryd provider test` checks the file against them.
    #[serde(default)]
    pub(crate) examples: Vec<ExampleFile>,
}

/// The polling of accepted commands until they end. Its expressions may also use
/// `provider_reference`, the provider's own id as `response.reference` found it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PollFile {
    /// The request; it must change nothing.
    pub(super) request: Option<RequestFile>,
    /// The request's body. Absent: none.
    pub(super) body: Option<Json>,
    /// The wait before the first poll; a duration up to `12h`. Each further wait is one step of the
    /// delay ladder longer.
    pub(super) interval: String,
    /// The longest wait between two polls; a duration up to `12h`. Default: `1h`.
    pub(super) max_interval: Option<String>,
    /// The condition under which a 2xx means that the command is completed. Default:
    /// `response.success`, unless `response.accepted` holds.
    pub(super) done: Option<String>,
    /// The condition under which the answer means that the command has failed for good. Rules with
    /// `as = "declined"` mean that as well.
    pub(super) failed: Option<String>,
}

/// The provider's guarantee to act only once under one key. The key is sent as a header or as a
/// field of the body.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IdempotencyFile {
    /// The header that takes the key.
    pub(super) header: Option<String>,
    /// The field of the body that takes the key.
    pub(super) field: Option<String>,
    /// The time for which the provider remembers a key; a duration.
    pub(super) retention: String,
    /// The most characters of a key, at least 36. Absent: 128 or more are accepted.
    pub(super) max_length: Option<usize>,
    /// The condition which means that the first call under the key is still running at the
    /// provider, such as `status == 409`.
    pub(super) in_progress: Option<String>,
}

/// The reading of an operation's answer; expressions that may use `status`, `headers`, `body`,
/// `text`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResponseFile {
    /// The provider's own id for the transaction.
    pub(super) reference: Option<String>,
    /// The event's `result`: a text, map or list. A leaf that cannot be evaluated is null, and
    /// `warnings` names it.
    pub(super) result: Option<Json>,
    /// The amount that the answer reports. An answer whose amount disagrees with the operation's
    /// `amount` does not complete the command: the two are a conflict.
    pub(super) amount: Option<String>,
    /// The amount's currency.
    pub(super) currency: Option<String>,
    /// The condition under which an amount other than the requested one is intended.
    pub(super) partial: Option<String>,
    /// The condition under which a 2xx is a success. If the condition is given and does not hold,
    /// the outcome is unknown.
    pub(super) success: Option<String>,
    /// The condition under which a 2xx only means "accepted", and the provider finishes later.
    pub(super) accepted: Option<String>,
    /// The party that has to act before an accepted command can end: `provider`, `customer`, or an
    /// expression that yields one of them.
    pub(super) waiting_for: Option<String>,
    /// Warnings of the provider: expressions that yield a text or a list of texts.
    #[serde(default)]
    pub(super) warnings: Vec<String>,
    /// The places of errors in an answer.
    pub(super) error: Option<ErrorFile>,
}

/// The JSON Schema of provider files, for editors and for [`ferryd_settings::shape`].
pub(crate) fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().with_transform(WithoutNull);
    settings.into_generator().into_root_schema_for::<ProviderFile>()
}

/// Removes null from schemas, because TOML has no null: optional keys are left out.
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
