//! What may stand in `[webhook]` of a provider file.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value as Json;

use super::sense::Sense;
use crate::provider::example::file::CallbackExampleFile;

/// The provider's webhook calls: how one is known to be the provider's own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::provider) struct WebhookFile {
    /// How a call is verified: a table, or for calls that nobody signs `token` or `none`. There is no default.
    pub(super) verify: Option<VerifyFile>,
    /// What the provider is answered where it only asks whether the endpoint is really yours.
    pub(super) challenge: Option<ChallengeFile>,
    /// Where a call holds a list of notices: an expression that yields it. In what follows `body` is one of them.
    pub(super) each: Option<String>,
    /// The provider's name for what happened, such as `{{ body.type }}`: a word of the event's routing key.
    pub(super) event: Option<String>,
    /// The provider's id for this telling of it, by which repeats are known.
    pub(super) id: Option<String>,
    /// The id of the command that it is about, where the provider echoes it. It proves the command only with `token`.
    pub(super) command: Option<String>,
    /// The token beside it, where the provider echoes what `{{ command_token }}` of the request was.
    pub(super) token: Option<String>,
    /// The provider's own id for what it is about, as `response.reference` of the operation finds it.
    pub(super) reference: Option<String>,
    /// What is believed of a call. Default: `signature`.
    #[serde(default)]
    pub(super) trust: TrustFile,
    /// What notices mean for their command; the first that matches decides. What none matches means nothing.
    #[serde(default)]
    pub(super) on: Vec<OnFile>,
    /// Calls, and what is read in them. `ferryd provider test` holds the file against them.
    #[serde(default)]
    pub(in crate::provider) examples: Vec<CallbackExampleFile>,
}

impl WebhookFile {
    /// Whether some notices have their command looked up.
    pub(in crate::provider) fn asks(&self) -> bool {
        self.on.iter().any(|on| on.r#as == Sense::Lookup)
    }
}

/// What notices of a sort mean for their command; expressions may use `method`, `url`, `headers`, `query`, `body`, `text`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OnFile {
    /// The condition, an expression without braces, such as `body.type == 'payment_intent.succeeded'`.
    pub(super) when: String,
    /// What they mean.
    pub(super) r#as: Sense,
    /// What the event's `result` holds, of `completed` and `progress`: a text, map or list.
    pub(super) result: Option<Json>,
    /// How much was done, of `completed`. A notice that disagrees with the operation's `amount` is a conflict and ends nothing.
    pub(super) amount: Option<String>,
    /// Its currency.
    pub(super) currency: Option<String>,
    /// The condition under which less or more than was asked for is meant to be.
    pub(super) partial: Option<String>,
    /// The provider's code, of `declined` and `failed`.
    pub(super) code: Option<String>,
    /// What a person should read, of `declined` and `failed`.
    pub(super) message: Option<String>,
}

/// What is believed of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::provider) enum TrustFile {
    /// What it says, once it is verified.
    #[default]
    Signature,
    /// Only that it is worth asking: for providers whose calls can't be verified here.
    Lookup,
}

/// How calls are verified.
#[derive(Debug)]
pub(super) enum VerifyFile {
    /// They are not, and that was written out.
    None,
    /// By the token in the callback URL.
    Token,
    /// As described.
    Table(Box<VerifyTable>),
}

impl<'de> Deserialize<'de> for VerifyFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordOrTable)
    }
}

struct WordOrTable;

impl<'de> Visitor<'de> for WordOrTable {
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
        VerifyTable::deserialize(MapAccessDeserializer::new(map)).map(|table| VerifyFile::Table(Box::new(table)))
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
                { "description": "Not at all: everybody's calls are believed.", "type": "string", "const": "none" },
                {
                    "description": "By the token in the URL that was called, which the provider had from `callback_url`.",
                    "type": "string", "const": "token"
                },
                generator.subschema_for::<VerifyTable>(),
            ]
        })
    }
}

/// How calls are verified.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyTable {
    /// Who describes the scheme. Default: `described`, by the other keys here.
    #[serde(default)]
    pub(super) scheme: SchemeFile,
    /// How signatures are made.
    pub(super) algorithm: Option<AlgorithmFile>,
    /// The secrets or public keys; a call that matches any of them is believed.
    #[serde(default)]
    pub(super) keys: Vec<KeyFile>,
    /// How the keys are written. Default: `utf8`.
    pub(super) key_encoding: Option<KeyEncoding>,
    /// What stands before a key and is no part of it, such as `whsec_`.
    pub(super) key_prefix: Option<String>,
    /// True where the provider makes secrets of less than 16 bytes, which are refused otherwise. Default: false.
    #[serde(default)]
    pub(super) short_keys: bool,
    /// Where signatures are.
    pub(super) signature: Option<SignatureFile>,
    /// Where the time of signing is. Absent: calls carry none, and old ones can be repeated.
    pub(super) timestamp: Option<TimestampFile>,
    /// What is signed: a text with `{{ body }}`, `{{ timestamp }}`, `{{ url }}`, `{{ form }}`, `{{ headers['…'] }}`, `{{ query['…'] }}`.
    pub(super) signed: Option<String>,
    /// The same in parts, each of which is left out where a value in it is missing.
    #[serde(default)]
    pub(super) signed_parts: Vec<String>,
    /// Where the query has the body's SHA-256 in hexadecimal.
    pub(super) body_digest: Option<BodyDigestFile>,
    /// Whether the provider really signs nothing of the body. Default: false.
    pub(super) unsigned_body: Option<bool>,
    /// Of `paypal`: the id that PayPal gave the webhook, as `{{ secrets.webhook_id }}`.
    pub(super) webhook_id: Option<String>,
    /// Of `paypal`: true where calls are taken unverified, as with `none`, if there is no such secret. Default: false.
    pub(super) optional: Option<bool>,
    /// Of `paypal`: certificates in PEM that stand between PayPal's and the system's authorities, beside those that are built in.
    pub(super) intermediates: Option<String>,
}

/// Who describes the scheme.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SchemeFile {
    /// The other keys of the table.
    #[default]
    Described,
    /// ferryd: signatures in each item of Adyen's payment notifications. Takes `keys` only, in hexadecimal.
    AdyenPayments,
    /// ferryd: PayPal's signatures by certificate. Takes `webhook_id`, `optional` and `intermediates` only.
    Paypal,
}

/// How signatures are made.
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
    /// When it stops being taken: a time such as `2026-12-01T08:00:00Z`, or a date, at whose beginning (UTC). Absent: never.
    pub(super) until: Option<String>,
}

/// How keys are written.
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

/// Where signatures are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignatureFile {
    /// The header.
    pub(super) header: Option<String>,
    /// The name of a field in the header, for `t=…,v1=…`; it may be there several times.
    pub(super) field: Option<String>,
    /// What separates the fields, one character. Default: `,`.
    pub(super) separator: Option<String>,
    /// The version in a list such as `v1,… v1,…`; entries of other versions are passed over.
    pub(super) version: Option<String>,
    /// What stands before a signature, such as `sha256=`.
    pub(super) prefix: Option<String>,
    /// How it is written.
    pub(super) encoding: Option<SignatureEncoding>,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SignatureEncoding {
    /// Hexadecimal.
    Hex,
    /// Base64 (RFC 4648, 4).
    Base64,
}

/// Where the time of signing is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TimestampFile {
    /// The header.
    pub(super) header: Option<String>,
    /// The name of a field in the header, for `t=…,v1=…`.
    pub(super) field: Option<String>,
    /// What separates the fields, one character. Default: `,`.
    pub(super) separator: Option<String>,
    /// What it counts since 1970. Default: `s`.
    pub(super) unit: Option<UnitFile>,
    /// How far it may be from now, into the past and the future; a duration. Default: `5m`.
    pub(super) tolerance: Option<String>,
}

/// What a timestamp counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum UnitFile {
    /// Seconds.
    #[default]
    S,
    /// Milliseconds.
    Ms,
    /// Milliseconds where it has more than eleven digits, else seconds.
    Auto,
}

/// Where the body's SHA-256 is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BodyDigestFile {
    /// The parameter of the query. Where a call has it, it must be right; where it is the only sign of the body, it must be there.
    pub(super) query: String,
}

/// What the provider is answered where it only asks whether the endpoint is really yours; expressions may use `method`, `url`, `headers`, `query`, `body`, `text`, `secrets`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChallengeFile {
    /// The method of such calls. A `GET` is answered without verification, a `POST` only after it.
    pub(super) method: ChallengeMethod,
    /// The condition that tells such calls from others, an expression without braces.
    pub(super) when: String,
    /// What is answered: a text; expressions.
    pub(super) reply: String,
    /// The answer's media type. Default: `text/plain`.
    pub(super) content_type: Option<String>,
    /// What such a call has to know, compared in constant time. Absent: nothing.
    pub(super) token: Option<TokenFile>,
}

/// The method of a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum ChallengeMethod {
    /// A handshake that nobody signs.
    Get,
    /// A call that is signed like every other.
    Post,
}

/// What a challenge has to know.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenFile {
    /// What the call holds; expressions.
    pub(super) given: String,
    /// What it has to be; expressions.
    pub(super) expected: String,
}
