//! The structure of the table `lookup`, by which a provider is queried whether a call acted.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value as Json;

use super::request::RequestFile;

/// The choice of the query whether a call acted.
#[derive(Debug)]
pub(in crate::rest) enum LookupChoice {
    /// The request of the operation's `poll`, whose answer is read as the poll's answer is.
    Poll,
    /// A request of the lookup's own.
    Own(Box<LookupFile>),
}

impl<'de> Deserialize<'de> for LookupChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LookupVisitor)
    }
}

struct LookupVisitor;

impl<'de> Visitor<'de> for LookupVisitor {
    type Value = LookupChoice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table, or the text `poll`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if text == "poll" {
            Ok(LookupChoice::Poll)
        } else {
            Err(E::unknown_variant(text, &["poll"]))
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        LookupFile::deserialize(MapAccessDeserializer::new(map))
            .map(|table| LookupChoice::Own(Box::new(table)))
    }
}

impl JsonSchema for LookupChoice {
    fn schema_name() -> Cow<'static, str> {
        "LookupChoice".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How to find out whether a call acted.",
            "oneOf": [
                { "description": "By the request of `poll`, which reads its answer as well.", "type": "string", "const": "poll" },
                generator.subschema_for::<LookupFile>(),
            ]
        })
    }
}

/// The query whether a call acted. Its expressions may also use `provider_reference`, if it is
/// known.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::rest) struct LookupFile {
    /// The request; it must change nothing.
    pub(in crate::rest) request: Option<RequestFile>,
    /// The request's body. Absent: none.
    pub(in crate::rest) body: Option<Json>,
    /// The time after a call during which the answer "not found" proves nothing; a duration. The
    /// operation's `timeout` is the least value, because another call of the same attempt may have
    /// begun a little later.
    pub(in crate::rest) after: String,
    /// The condition under which the transaction was found.
    pub(in crate::rest) found: String,
    /// The transaction in the answer, one expression: `response` and `classify` read it as if it
    /// were the body of an answer. Default: the body.
    pub(in crate::rest) item: Option<String>,
    /// The condition under which the provider says that there is no transaction. Only this
    /// condition allows another call; absent: no answer does.
    pub(in crate::rest) not_found: Option<String>,
}
