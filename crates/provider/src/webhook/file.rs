//! The structure of the table `[webhook]` of a provider file.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value as Json;

use super::notice_meaning::NoticeMeaningName;
use crate::example::file::WebhookExampleFile;

/// The provider's webhooks: their verification, and their meaning.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookFile {
    /// The verification of calls: a table; `token` or `none` where calls are not signed. There is
    /// no default.
    pub(super) verify: Option<VerifyFile>,
    /// The answer to calls by which the provider checks who owns the endpoint.
    pub(super) challenge: Option<ChallengeFile>,
    /// The list of notices in a call: an expression that yields it. In the keys below, `body` is
    /// one of them.
    pub(super) each: Option<String>,
    /// The provider's name for the event, such as `{{ body.type }}`: a word of the event's routing
    /// key.
    pub(super) event: Option<String>,
    /// The provider's id for the notice, by which repeated notices are recognised.
    pub(super) id: Option<String>,
    /// The id of the notice's command, where the provider echoes it. The id proves the command only
    /// with `token`.
    pub(super) command: Option<String>,
    /// The token beside the id, where the provider echoes the value of `{{ command_token }}` in the
    /// request.
    pub(super) token: Option<String>,
    /// The provider's own id for the object of the notice, as `response.reference` of the operation
    /// finds it.
    pub(super) reference: Option<String>,
    /// The trust in the content of calls. Default: `signature`.
    #[serde(default)]
    pub(super) trust: TrustFile,
    /// The meaning of notices for their command; the first that matches decides. A notice without a
    /// match means nothing.
    #[serde(default)]
    pub(super) on: Vec<NoticeRuleFile>,
    /// Examples of calls, and of the notices that are read in them. `ferryd provider test` checks
    /// the file against them.
    #[serde(default)]
    pub(crate) examples: Vec<WebhookExampleFile>,
}

impl WebhookFile {
    /// Returns true if some notices have their command looked up.
    pub(crate) fn starts_lookups(&self) -> bool {
        self.on.iter().any(|on| on.r#as == NoticeMeaningName::Lookup)
    }
}

/// The meaning of one sort of notices for their command; expressions may use `method`, `url`,
/// `headers`, `query`, `body`, `text`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoticeRuleFile {
    /// The condition, an expression without braces, such as
    /// `body.type == 'payment_intent.succeeded'`.
    pub(super) when: String,
    /// The meaning of a notice that matches.
    pub(super) r#as: NoticeMeaningName,
    /// The event's `result`, for `completed` and `progress`: a text, map or list.
    pub(super) result: Option<Json>,
    /// The amount that the notice reports, for `completed`. A notice that disagrees with the
    /// operation's `amount` is a conflict and does not end the command.
    pub(super) amount: Option<String>,
    /// The amount's currency.
    pub(super) currency: Option<String>,
    /// The condition under which an amount other than the requested one is intended.
    pub(super) partial: Option<String>,
    /// The provider's code, for `declined` and `failed`.
    pub(super) code: Option<String>,
    /// The message for people, for `declined` and `failed`.
    pub(super) message: Option<String>,
}

/// The trust in the content of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TrustFile {
    /// The content of a verified call is trusted.
    #[default]
    Signature,
    /// A call only causes a lookup: for providers whose calls can't be verified here.
    Lookup,
}

/// The verification of calls.
#[derive(Debug)]
pub(super) enum VerifyFile {
    /// No verification, as the file states explicitly.
    None,
    /// Verification by the token in the webhook URL.
    Token,
    /// Verification as the table describes.
    Table(Box<VerifyTable>),
}

impl<'de> Deserialize<'de> for VerifyFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VerifyVisitor)
    }
}

struct VerifyVisitor;

impl<'de> Visitor<'de> for VerifyVisitor {
    type Value = VerifyFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table, or one of the texts `none` and `token`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        match text {
            "none" => Ok(VerifyFile::None),
            "token" => Ok(VerifyFile::Token),
            _ => Err(E::unknown_variant(text, &["none", "token"])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        VerifyTable::deserialize(MapAccessDeserializer::new(map))
            .map(|table| VerifyFile::Table(Box::new(table)))
    }
}

impl JsonSchema for VerifyFile {
    fn schema_name() -> Cow<'static, str> {
        "VerifyFile".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How calls are verified.",
            "oneOf": [
                { "description": "Not at all: every webhook is accepted.", "type": "string", "const": "none" },
                {
                    "description": "By the token in the URL that was called, which the provider had from `webhook_url`.",
                    "type": "string", "const": "token"
                },
                generator.subschema_for::<VerifyTable>(),
            ]
        })
    }
}

/// The verification of calls by signatures.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyTable {
    /// The source of the scheme's description. Default: `described`, by the other keys here.
    #[serde(default)]
    pub(super) scheme: SchemeFile,
    /// The signature algorithm.
    pub(super) algorithm: Option<AlgorithmFile>,
    /// The secrets or public keys; a call is verified if any of them matches.
    #[serde(default)]
    pub(super) keys: Vec<KeyFile>,
    /// The encoding of the keys. Default: `utf8`.
    pub(super) key_encoding: Option<KeyEncoding>,
    /// A prefix of every key that is no part of it, such as `whsec_`.
    pub(super) key_prefix: Option<String>,
    /// True where the provider makes secrets of less than 16 bytes, which are otherwise refused.
    /// Default: false.
    #[serde(default)]
    pub(super) short_keys: bool,
    /// The place of signatures in a call.
    pub(super) signature: Option<SignatureFile>,
    /// The place of the time of signing. Absent: calls carry none, and old calls can be replayed.
    pub(super) timestamp: Option<TimestampFile>,
    /// The signed content: a text with `{{ body }}`, `{{ timestamp }}`, `{{ url }}`, `{{ form }}`,
    /// `{{ headers['…'] }}`, `{{ query['…'] }}`.
    pub(super) signed: Option<String>,
    /// The signed content in parts, each of which is left out where a value in it is missing.
    #[serde(default)]
    pub(super) signed_parts: Vec<String>,
    /// The place of the body's SHA-256 in the query, in hexadecimal.
    pub(super) body_digest: Option<BodyDigestFile>,
    /// True where the provider signs no part of the body. Default: false.
    pub(super) unsigned_body: Option<bool>,
    /// For `paypal`: the id that PayPal gave the webhook, as `{{ secrets.webhook_id }}`.
    pub(super) webhook_id: Option<String>,
    /// For `paypal`: true where calls are accepted unverified, as with `none`, if there is no such
    /// secret. Default: false.
    pub(super) optional: Option<bool>,
    /// For `paypal`: certificates in PEM between PayPal's and the system's authorities, in addition
    /// to the built-in ones.
    pub(super) intermediates: Option<String>,
}

/// The source of the scheme's description.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SchemeFile {
    /// The other keys of the table describe the scheme.
    #[default]
    Described,
    /// Built-in: signatures in each item of Adyen's payment notifications. Takes `keys` only, in
    /// hexadecimal.
    AdyenPayments,
    /// Built-in: PayPal's signatures by certificate. Takes `webhook_id`, `optional` and
    /// `intermediates` only.
    Paypal,
}

/// The signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum AlgorithmFile {
    /// HMAC with SHA-1 (RFC 2104).
    HmacSha1,
    /// HMAC with SHA-256.
    HmacSha256,
    /// ECDSA on P-256 with SHA-256, signatures in DER.
    EcdsaP256,
    /// Ed25519 (RFC 8032).
    Ed25519,
}

/// A secret or public key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile {
    /// The key, such as `{{ secrets.webhook }}`.
    pub(super) secret: String,
    /// The time from which the key is not accepted: a time such as `2026-12-01T08:00:00Z`, or a
    /// date, which means its beginning (UTC). Absent: never.
    pub(super) until: Option<String>,
}

/// The encoding of keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeyEncoding {
    /// The key is the text itself.
    #[default]
    Utf8,
    /// The key is the text in the Unicode form NFKD.
    Utf8Nfkd,
    /// Hexadecimal.
    Hex,
    /// Base64 (RFC 4648, 4).
    Base64,
    /// A public key as SPKI (RFC 5280): PEM, or its Base64 alone.
    Spki,
}

/// The place of signatures in a call.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignatureFile {
    /// The header.
    pub(super) header: Option<String>,
    /// The name of a field in the header, for `t=…,v1=…`; it may be there several times.
    pub(super) field: Option<String>,
    /// The separator of the fields, one character. Default: `,`.
    pub(super) separator: Option<String>,
    /// The version in a list such as `v1,… v1,…`; entries of other versions are ignored.
    pub(super) version: Option<String>,
    /// The prefix of a signature, such as `sha256=`.
    pub(super) prefix: Option<String>,
    /// The encoding of signatures.
    pub(super) encoding: Option<SignatureEncoding>,
}

/// The encoding of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SignatureEncoding {
    /// Hexadecimal.
    Hex,
    /// Base64 (RFC 4648, 4).
    Base64,
}

/// The place of the time of signing in a call.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TimestampFile {
    /// The header.
    pub(super) header: Option<String>,
    /// The name of a field in the header, for `t=…,v1=…`.
    pub(super) field: Option<String>,
    /// The separator of the fields, one character. Default: `,`.
    pub(super) separator: Option<String>,
    /// The unit of the timestamp, counted from 1970. Default: `s`.
    pub(super) unit: Option<UnitFile>,
    /// The tolerance, into the past and the future; a duration. Default: `5m`.
    pub(super) tolerance: Option<String>,
}

/// The unit of a timestamp.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum UnitFile {
    /// Seconds.
    #[default]
    S,
    /// Milliseconds.
    Ms,
    /// Milliseconds if the timestamp has more than eleven digits, else seconds.
    Auto,
}

/// The place of the body's SHA-256 in a call.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BodyDigestFile {
    /// The query parameter. If a call has the parameter, its value must be right; if nothing else
    /// covers the body, the parameter is required.
    pub(super) query: String,
}

/// The answer to calls by which the provider checks who owns the endpoint; expressions may use
/// `method`, `url`, `headers`, `query`, `body`, `text`, `secrets`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChallengeFile {
    /// The method of such calls. A `GET` is answered without verification, a `POST` only after
    /// verification.
    pub(super) method: ChallengeMethod,
    /// The condition that distinguishes such calls from others, an expression without braces.
    pub(super) when: String,
    /// The answer: a text; expressions.
    pub(super) reply: String,
    /// The answer's media type. Default: `text/plain`.
    pub(super) content_type: Option<String>,
    /// The token that such a call must have, compared in constant time. Absent: none.
    pub(super) token: Option<TokenFile>,
}

/// The method of a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum ChallengeMethod {
    /// A handshake without a signature.
    Get,
    /// A call that is signed like every other call.
    Post,
}

/// The token that a challenge must have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenFile {
    /// The token in the call; expressions.
    pub(super) given: String,
    /// The expected token; expressions.
    pub(super) expected: String,
}
