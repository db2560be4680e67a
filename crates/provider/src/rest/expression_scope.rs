//! The variables of an evaluation.
//!
//! Most expressions are paths to a value of the command or of the answer, which is read where it
//! is. JSON is converted to values of the engine only for the expressions that compute something.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;

use minijinja::Value;
use minijinja::value::{Serde, ValueKind};
use serde_json::{Map, Value as Json};

use super::engine::SentNull;

/// The variables of an evaluation, with their values.
#[derive(Default)]
pub(crate) struct ExpressionScope<'v> {
    variables: Vec<(&'v str, ScopeVariable<'v>)>,
    outer: Option<&'v ExpressionScope<'v>>,
}

/// The value of a variable.
pub(crate) struct ScopeVariable<'v> {
    source: VariableSource<'v>,
    /// The value as the engine needs it, once an expression needed that.
    value: OnceCell<Value>,
}

/// Makes the value of a variable that few expressions name.
type MakeJson<'v> = Box<dyn Fn() -> Json + 'v>;

enum VariableSource<'v> {
    Value(Value),
    Json(&'v Json),
    Fields(&'v Map<String, Json>),
    Made(OnceCell<Json>, MakeJson<'v>),
}

/// The value at the end of a path.
pub(super) enum PathValue<'v> {
    /// The value.
    Found(Cow<'v, Json>),
    /// There is none, or null: the value is to be left out.
    LeftOut,
    /// The engine has to find the value, or its error.
    Unknown,
}

impl<'v> ExpressionScope<'v> {
    /// Makes a scope of these variables.
    pub(crate) fn new<const N: usize>(variables: [(&'v str, ScopeVariable<'v>); N]) -> Self {
        Self { variables: variables.into(), outer: None }
    }

    /// Makes a scope with further variables, which take precedence.
    pub(crate) fn with<'s, const N: usize>(
        &'s self,
        more: [(&'s str, ScopeVariable<'s>); N],
    ) -> ExpressionScope<'s> {
        ExpressionScope { variables: more.into(), outer: Some(self) }
    }

    /// The values of variables, as the engine needs them.
    pub(super) fn values(&self, names: &[String]) -> Value {
        let value = |name: &String| Some((name.clone(), self.variable(name)?.value().clone()));
        Value::from_object(names.iter().filter_map(value).collect::<BTreeMap<_, _>>())
    }

    /// The value at the end of a path.
    pub(super) fn at(&self, path: &[String]) -> PathValue<'_> {
        let Some((name, steps)) = path.split_first() else { return PathValue::Unknown };
        let Some(variable) = self.variable(name) else { return PathValue::Unknown };
        let root = match &variable.source {
            VariableSource::Value(value) => return walk_value(value, steps),
            VariableSource::Json(json) => json,
            VariableSource::Made(json, make) => json.get_or_init(make),
            VariableSource::Fields(fields) => {
                return match steps.split_first() {
                    None => PathValue::Found(Cow::Owned(Json::Object((*fields).clone()))),
                    Some((name, rest)) => walk(fields.get(name), rest),
                };
            }
        };
        walk(Some(root), steps)
    }

    fn variable(&self, name: &str) -> Option<&ScopeVariable<'v>> {
        let own = self.variables.iter().find(|(own, _)| *own == name).map(|(_, value)| value);
        own.or_else(|| self.outer?.variable(name))
    }
}

impl<'v> ScopeVariable<'v> {
    /// A variable whose value is made if an expression names it.
    pub(crate) fn made(make: impl Fn() -> Json + 'v) -> Self {
        Self::of(VariableSource::Made(OnceCell::new(), Box::new(make)))
    }

    fn of(source: VariableSource<'v>) -> Self {
        Self { source, value: OnceCell::new() }
    }

    fn value(&self) -> &Value {
        self.value.get_or_init(|| match &self.source {
            VariableSource::Value(value) => value.clone(),
            VariableSource::Json(json) => Value::from(Serde(json)),
            VariableSource::Fields(fields) => Value::from(Serde(fields)),
            VariableSource::Made(json, make) => Value::from(Serde(json.get_or_init(make))),
        })
    }
}

impl From<Value> for ScopeVariable<'_> {
    fn from(value: Value) -> Self {
        Self::of(VariableSource::Value(value))
    }
}

impl<'v> From<&'v Json> for ScopeVariable<'v> {
    fn from(json: &'v Json) -> Self {
        Self::of(VariableSource::Json(json))
    }
}

impl<'v> From<&'v Map<String, Json>> for ScopeVariable<'v> {
    fn from(fields: &'v Map<String, Json>) -> Self {
        Self::of(VariableSource::Fields(fields))
    }
}

fn walk<'v>(root: Option<&'v Json>, steps: &[String]) -> PathValue<'v> {
    let found = root
        .and_then(|root| steps.iter().try_fold(root, |value, step| value.as_object()?.get(step)));
    match found {
        None | Some(Json::Null) => PathValue::LeftOut,
        Some(value) => PathValue::Found(Cow::Borrowed(value)),
    }
}

fn walk_value(root: &Value, steps: &[String]) -> PathValue<'static> {
    if root.kind() == ValueKind::Invalid {
        return PathValue::Unknown;
    }
    let found = steps.iter().try_fold(root.clone(), |value, step| value.get_attr(step).ok());
    match found.map(|value| json_of(&value)) {
        Some(Ok(Some(value))) => PathValue::Found(Cow::Owned(value)),
        Some(Ok(None)) => PathValue::LeftOut,
        Some(Err(_)) | None => PathValue::Unknown,
    }
}

/// Converts a value of the engine to JSON; `None` if the value is to be left out.
pub(super) fn json_of(value: &Value) -> Result<Option<Json>, serde_json::Error> {
    if value.is_undefined() || value.is_none() {
        return Ok(None);
    }
    if value.downcast_object_ref::<SentNull>().is_some() {
        return Ok(Some(Json::Null));
    }
    serde_json::to_value(value).map(Some)
}
