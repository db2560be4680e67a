//! Reads the query of a URL: every parameter is known, and given once.

use std::collections::BTreeMap;
use std::fmt::Display;

use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use url::form_urlencoded;

use super::parameters::fields;
use super::problem::{ApiProblem, ProblemKind};
use super::query_string::TakeFields;
use ferryd_ledger::command_filter::{CommandFilter, WantedKind};
use ferryd_ledger::index::{MAX_PAGE, PageCursor};

/// The longest reason, or name of a person, in bytes: it stands in the record, in the event and in
/// every list.
pub(super) const MAX_TEXT: usize = 512;

/// The number of commands on a page by default.
pub const DEFAULT_LIMIT: usize = 100;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PageQuery {
    /// The number of commands on the page, 1 to 1000. Default 100.
    #[serde(deserialize_with = "read_limit")]
    #[schemars(range(min = 1, max = MAX_PAGE))]
    pub limit: usize,
    /// The beginning of the page: the `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<PageCursor>,
}

impl Default for PageQuery {
    fn default() -> Self {
        Self { limit: DEFAULT_LIMIT, cursor: None }
    }
}

/// Reads the number of entries on a page.
pub(super) fn read_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let limit =
        usize::deserialize(deserializer).ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
    limit.ok_or_else(|| {
        serde::de::Error::custom(format_args!("it is no number from 1 to {MAX_PAGE}"))
    })
}

/// The choice between the lists of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CommandListQuery {
    /// Only dead letters.
    pub dead: bool,
    /// Only commands whose cancellation was requested before they came, and that have not come yet.
    /// Without this parameter none of them is listed.
    pub cancel_requested: bool,
}

/// The person for whom the caller acts, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PersonQuery {
    /// The person for whom the caller acts, at most 512 bytes; recorded as `ann via api:<name of
    /// the token>`.
    #[serde(deserialize_with = "read_short_text", skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The reason, at most 512 bytes.
    #[serde(deserialize_with = "read_short_text", skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The person for whom contents are erased, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErasureQuery {
    /// The person for whom the caller acts, at most 512 bytes; recorded as `ann via api:<name of
    /// the token>`.
    #[serde(
        default,
        deserialize_with = "read_short_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub by: Option<String>,
    /// The reason, at most 512 bytes. It is kept, so it names a request and no person.
    #[serde(deserialize_with = "read_required_reason")]
    pub reason: String,
}

fn read_short_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() > MAX_TEXT {
        return Err(serde::de::Error::custom(format_args!("it is longer than {MAX_TEXT} bytes")));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn read_required_reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    read_short_text(deserializer)?.ok_or_else(|| serde::de::Error::custom("it is empty; say why"))
}

/// Types whose fields are the parameters of a query.
pub(super) trait QueryFields: Sized + Send {
    /// Takes the fields from a query.
    fn take(query: &mut QueryParameters) -> Result<Self, ApiProblem>;

    /// Describes the fields.
    fn parameters(schemas: &mut SchemaGenerator) -> Vec<Value>;
}

/// Implements [`QueryFields`] for types whose fields are parameters of the query.
macro_rules! query_fields {
    ($($fields:ty)*) => {$(
        impl $crate::web::query::QueryFields for $fields {
            fn take(query: &mut $crate::web::query::QueryParameters) -> Result<Self, $crate::web::problem::ApiProblem> {
                query.take()
            }

            fn parameters(schemas: &mut schemars::SchemaGenerator) -> Vec<serde_json::Value> {
                $crate::web::parameters::fields::<Self>(schemas)
            }
        }
    )*};
}

pub(super) use query_fields;

query_fields! { PageQuery CommandListQuery PersonQuery ErasureQuery }

impl QueryFields for () {
    fn take(_: &mut QueryParameters) -> Result<Self, ApiProblem> {
        Ok(())
    }

    fn parameters(_: &mut SchemaGenerator) -> Vec<Value> {
        Vec::new()
    }
}

impl QueryFields for CommandFilter {
    fn take(query: &mut QueryParameters) -> Result<Self, ApiProblem> {
        query.filter()
    }

    fn parameters(schemas: &mut SchemaGenerator) -> Vec<Value> {
        fields::<Self>(schemas)
    }
}

impl<A: QueryFields, B: QueryFields> QueryFields for (A, B) {
    fn take(query: &mut QueryParameters) -> Result<Self, ApiProblem> {
        Ok((A::take(query)?, B::take(query)?))
    }

    fn parameters(schemas: &mut SchemaGenerator) -> Vec<Value> {
        [A::parameters(schemas), B::parameters(schemas)].concat()
    }
}

/// The parameters of a query that were not read yet.
pub(super) struct QueryParameters(BTreeMap<String, String>);

/// Refuses a parameter.
pub(super) fn refuse(name: &str, why: impl Display) -> ApiProblem {
    ApiProblem::new(ProblemKind::InvalidRequest, format!("the parameter `{name}` {why}"))
}

/// Returns the description of a field, as the document of the API has it.
fn describe<T: JsonSchema>(name: &str) -> String {
    let schema = SchemaGenerator::default().into_root_schema_for::<T>();
    let text = schema.pointer(&format!("/properties/{name}/description")).and_then(Value::as_str);
    text.map(|text| format!(" ({})", text.replace('\n', " "))).unwrap_or_default()
}

/// Refuses the fields of a type, and names the field that can't be read or is missing.
fn refuse_fields<T: JsonSchema>(current: Option<String>, error: &str) -> ApiProblem {
    if let Some(name) = current {
        return refuse(&name, format_args!("can't be read: {error}{}", describe::<T>(&name)));
    }
    match error.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        Some(name) => refuse(name, format_args!("is missing{}", describe::<T>(name))),
        None => ApiProblem::new(
            ProblemKind::InvalidRequest,
            format!("the query can't be read: {error}"),
        ),
    }
}

impl QueryParameters {
    /// Reads a query.
    pub fn read(text: Option<&str>) -> Result<Self, ApiProblem> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            if parameters.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(refuse(&name, "is there twice; write it once"));
            }
        }
        Ok(Self(parameters))
    }

    /// Takes the parameters that are fields of a type.
    pub fn take<T: DeserializeOwned + JsonSchema>(&mut self) -> Result<T, ApiProblem> {
        let mut current = None;
        let read = T::deserialize(TakeFields::of(&mut self.0, &mut current));
        read.map_err(|error| refuse_fields::<T>(current, &error.to_string()))
    }

    /// Takes the parameters of the ledger's filter of commands.
    pub fn filter(&mut self) -> Result<CommandFilter, ApiProblem> {
        let filter: CommandFilter = self.take()?;
        if filter.kind == Some(WantedKind::Unreadable) {
            let why = "can't be `unreadable`: nothing but their queue knows dead letters without a record; use `ferryd dead-letters list \
                       --queues --kind unreadable`";
            return Err(refuse("kind", why));
        }
        Ok(filter)
    }

    /// Refuses the parameters that are left: a filter with a misspelt name would select everything.
    pub fn finish(self) -> Result<(), ApiProblem> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(refuse(&name, "is not known here; see /openapi.json")),
        }
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
