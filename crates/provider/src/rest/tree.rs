//! Trees of a provider file (bodies, queries, results) whose leaves are texts with expressions.

use std::borrow::Cow;

use minijinja::value::ValueKind;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::expression::{EvalError, Expression, ExpressionScope, KnownVariables};
use super::expression_error::ExpressionError;
use super::text::TextTemplate;
use ferryd_settings::findings::SettingsCursor;
use ferryd_settings::key_path::KeyPath;

/// A compiled tree.
#[derive(Debug)]
pub(crate) enum TreeTemplate {
    /// A number or truth value of the file.
    Constant(Json),
    /// A text.
    Leaf(TextTemplate),
    /// A map, in the order of the file.
    Map(Vec<(String, TreeTemplate)>),
    /// A list.
    List(Vec<TreeTemplate>),
    /// One item for each of a list: `{ "$each" = "payload.items", "$as" = "item", "$item" = … }`.
    Each {
        /// The expression that yields the list.
        items: Expression,
        /// The name of an item in expressions.
        name: String,
        /// The tree that is rendered for each item.
        item: Box<TreeTemplate>,
    },
}

/// The error of a leaf that has no value, with its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {error}")]
pub(crate) struct TreeError {
    key: KeyPath,
    error: EvalError,
}

/// The key of a part of a tree that is evaluated. Only an error makes a path of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TreeKey<'a> {
    /// The key of the whole tree.
    Root(&'a str),
    /// The key of an entry of a map.
    Entry(&'a TreeKey<'a>, &'a str),
    /// The index of an item of a list.
    Item(&'a TreeKey<'a>, usize),
}

/// The handling of a leaf that cannot be evaluated.
pub(crate) enum LeafErrorPolicy<'a> {
    /// The tree has no value.
    Fail,
    /// The leaf is null, and the list names it.
    Note(&'a mut Vec<String>),
    /// The leaf is left out.
    LeaveOut,
}

impl TreeTemplate {
    /// Compiles a tree; faults are reported at `place`.
    pub(crate) fn compile(
        value: &Json,
        known: &KnownVariables<'_>,
        place: &SettingsCursor<'_>,
    ) -> Option<Self> {
        match value {
            Json::String(text) => place.check(TextTemplate::compile(text, known)).map(Self::Leaf),
            Json::Array(items) => {
                let items = items.iter().enumerate();
                let items: Vec<_> =
                    items.map(|(n, item)| Self::compile(item, known, &place.item(n))).collect();
                items.into_iter().collect::<Option<_>>().map(Self::List)
            }
            Json::Object(entries) if entries.keys().any(|key| key.starts_with('$')) => {
                each(entries, known, place)
            }
            Json::Object(entries) => {
                let entries = entries.iter();
                let compile = |(key, value): (&String, &Json)| {
                    Self::compile(value, known, &place.key(key)).map(|tree| (key.clone(), tree))
                };
                let entries: Vec<_> = entries.map(compile).collect();
                entries.into_iter().collect::<Option<_>>().map(Self::Map)
            }
            constant => Some(Self::Constant(constant.clone())),
        }
    }

    /// The expressions in the tree, each with true where its value may be missing: a whole leaf
    /// without a value is left out.
    pub(super) fn uses(&self) -> Vec<(&Expression, bool)> {
        match self {
            Self::Constant(_) => Vec::new(),
            Self::Leaf(text) => text.uses(),
            Self::Map(entries) => entries.iter().flat_map(|(_, tree)| tree.uses()).collect(),
            Self::List(trees) => trees.iter().flat_map(Self::uses).collect(),
            Self::Each { items, item, .. } => {
                std::iter::once((items, true)).chain(item.uses()).collect()
            }
        }
    }

    /// Evaluates the tree; `None` if the whole of it is to be left out. `key` is the tree's key,
    /// for errors.
    pub(crate) fn json(
        &self,
        scope: &ExpressionScope<'_>,
        key: TreeKey<'_>,
        faults: &mut LeafErrorPolicy<'_>,
    ) -> Result<Option<Json>, TreeError> {
        match self {
            Self::Constant(value) => Ok(Some(value.clone())),
            Self::Leaf(text) => faults.settle(text.json(scope), key),
            Self::Map(entries) => {
                let mut map = Map::new();
                for (name, tree) in entries {
                    if let Some(value) = tree.json(scope, TreeKey::Entry(&key, name), faults)? {
                        map.insert(name.clone(), value);
                    }
                }
                Ok(Some(Json::Object(map)))
            }
            Self::List(trees) => {
                let mut list = Vec::new();
                for (n, tree) in trees.iter().enumerate() {
                    list.extend(tree.json(scope, TreeKey::Item(&key, n), faults)?);
                }
                Ok(Some(Json::Array(list)))
            }
            Self::Each { items, name, item } => {
                let list = match items_of(items, scope) {
                    Ok(Some(list)) => list,
                    Ok(None) => return Ok(None),
                    Err(error) => return faults.settle(Err(error), key),
                };
                let mut mapped = Vec::new();
                for (n, value) in list.into_iter().enumerate() {
                    let scope = scope.with([(name, value.into())]);
                    mapped.extend(item.json(&scope, TreeKey::Item(&key, n), faults)?);
                }
                Ok(Some(Json::Array(mapped)))
            }
        }
    }
}

impl TreeTemplate {
    /// Writes the tree as the text of the JSON that [`json`](Self::json) yields. Returns false where
    /// the whole of it is to be left out, and nothing is written.
    pub(super) fn write_json(
        &self,
        scope: &ExpressionScope<'_>,
        key: TreeKey<'_>,
        text: &mut Vec<u8>,
    ) -> Result<bool, TreeError> {
        let value = match self {
            Self::Map(entries) => return write_map(entries, scope, key, text).map(|()| true),
            Self::Leaf(leaf) => {
                leaf.value(scope).map_err(|error| TreeError { key: key.path(), error })?
            }
            tree => tree.json(scope, key, &mut LeafErrorPolicy::Fail)?.map(Cow::Owned),
        };
        if let Some(value) = &value {
            write_value(value.as_ref(), text);
        }
        Ok(value.is_some())
    }
}

fn write_map(
    entries: &[(String, TreeTemplate)],
    scope: &ExpressionScope<'_>,
    key: TreeKey<'_>,
    text: &mut Vec<u8>,
) -> Result<(), TreeError> {
    text.push(b'{');
    let first = text.len();
    for (name, tree) in entries {
        let before = text.len();
        if before > first {
            text.push(b',');
        }
        write_value(name, text);
        text.push(b':');
        if !tree.write_json(scope, TreeKey::Entry(&key, name), text)? {
            text.truncate(before);
        }
    }
    text.push(b'}');
    Ok(())
}

fn write_value<T: Serialize + ?Sized>(value: &T, text: &mut Vec<u8>) {
    // JSON and texts can always be written: keys are texts, and numbers finite.
    let _ = serde_json::to_writer(text, value);
}

impl TreeKey<'_> {
    fn path(self) -> KeyPath {
        match self {
            Self::Root(name) => KeyPath::default().key(name),
            Self::Entry(map, name) => map.path().key(name),
            Self::Item(list, index) => list.path().item(index),
        }
    }
}

impl LeafErrorPolicy<'_> {
    fn settle(
        &mut self,
        value: Result<Option<Json>, EvalError>,
        key: TreeKey<'_>,
    ) -> Result<Option<Json>, TreeError> {
        match (value, self) {
            (Ok(value), _) => Ok(value),
            (Err(_), LeafErrorPolicy::LeaveOut) => Ok(None),
            (Err(error), LeafErrorPolicy::Fail) => Err(TreeError { key: key.path(), error }),
            (Err(error), LeafErrorPolicy::Note(warnings)) => {
                warnings.push(format!("{}: {error}", key.path()));
                Ok(Some(Json::Null))
            }
        }
    }
}

fn items_of(
    items: &Expression,
    scope: &ExpressionScope<'_>,
) -> Result<Option<Vec<minijinja::Value>>, EvalError> {
    let value = items.eval(scope)?;
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Ok(None),
        ValueKind::Seq | ValueKind::Iterable => {
            let list = value.try_iter().and_then(|list| list.checked().collect());
            list.map(Some).map_err(|_| items.error("cannot be read as a list"))
        }
        _ => Err(items.error("is not a list")),
    }
}

fn each(
    entries: &Map<String, Json>,
    known: &KnownVariables<'_>,
    place: &SettingsCursor<'_>,
) -> Option<TreeTemplate> {
    let text = |key: &str| entries.get(key).and_then(Json::as_str);
    let (Some(items), Some(name), Some(item), 3) =
        (text("$each"), text("$as"), entries.get("$item"), entries.len())
    else {
        place.refuse(
            r#"a mapped list has three keys; write { "$each" = "payload.items", "$as" = "item", "$item" = … }"#,
        );
        return None;
    };
    let items = place.key("$each").check(Expression::compile(items, known));
    let name = place.key("$as").check(item_name(name, known));
    let item = TreeTemplate::compile(
        item,
        &known.and(name.as_deref().unwrap_or("item")),
        &place.key("$item"),
    );
    Some(TreeTemplate::Each { items: items?, name: name?, item: Box::new(item?) })
}

fn item_name(name: &str, known: &KnownVariables<'_>) -> Result<String, ExpressionError> {
    let mut letters = name.chars();
    let starts_well = letters.next().is_some_and(|c| c.is_ascii_lowercase());
    let identifier = starts_well && letters.all(|c| c.is_ascii_alphanumeric() || c == '_');
    let taken = known.names().any(|taken| taken == name);
    if identifier && !taken {
        return Ok(name.to_owned());
    }
    let hint = "write a new word of a-z, 0-9 and `_`, such as `item`".to_owned();
    Err(ExpressionError::Variable { name: name.to_owned(), hint })
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
