//! The place of a value in a file of settings.

use std::fmt;

use serde_json::{Map, Value as Json};
use serde_path_to_error::Segment;

/// One step into a file: a key of a table or an index of a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum KeyStep {
    Key(String),
    Item(usize),
}

/// The place of a value in a file, such as `operations.charge.classify[0].when`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(Vec<KeyStep>);

impl KeyPath {
    /// The path of a key in the table at this path.
    #[must_use]
    pub fn key(&self, name: &str) -> Self {
        self.and(KeyStep::Key(name.to_owned()))
    }

    /// The path of an item in the list at this path; items are counted from 0.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        self.and(KeyStep::Item(index))
    }

    /// The number of steps from the whole file to this place.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    /// The path of the surrounding table or list; `None` for the whole file.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, outer) = self.0.split_last()?;
        Some(Self(outer.to_vec()))
    }

    /// Parses a path such as `events.subscribers[0].queue`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let words = text.split(['.', '[']).map(|word| word.trim_end_matches(']'));
        Self(
            words
                .map(|word| {
                    word.parse().map_or_else(|_| KeyStep::Key(word.to_owned()), KeyStep::Item)
                })
                .collect(),
        )
    }

    /// The place that a deserialization error names.
    #[must_use]
    pub fn of_error(path: &serde_path_to_error::Path) -> Self {
        let step = |segment: &Segment| match segment {
            Segment::Map { key } => Some(KeyStep::Key(key.clone())),
            Segment::Seq { index } => Some(KeyStep::Item(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        Self(path.iter().filter_map(step).collect())
    }

    /// The path of a value within the value at this path.
    #[must_use]
    pub fn join(&self, inner: &Self) -> Self {
        Self(self.0.iter().chain(&inner.0).cloned().collect())
    }

    /// Returns true if this path equals `outer`, or lies in the table or list at `outer`.
    #[must_use]
    pub fn is_within(&self, outer: &Self) -> bool {
        self.0.starts_with(&outer.0)
    }

    /// Finds the value at this path.
    #[must_use]
    pub fn find<'v>(&self, root: &'v Json) -> Option<&'v Json> {
        self.0.iter().try_fold(root, |value, step| match step {
            KeyStep::Key(key) => value.get(key),
            KeyStep::Item(index) => value.get(index),
        })
    }

    /// Finds the value at this path, to be changed.
    #[must_use]
    pub fn find_mut<'v>(&self, root: &'v mut Json) -> Option<&'v mut Json> {
        self.0.iter().try_fold(root, |value, step| match step {
            KeyStep::Key(key) => value.get_mut(key),
            KeyStep::Item(index) => value.get_mut(index),
        })
    }

    /// Sets the value at this path and creates missing tables. A path through a list sets nothing.
    pub fn put(&self, root: &mut Json, value: Json) {
        let mut place = root;
        for step in &self.0 {
            let KeyStep::Key(key) = step else { return };
            if !place.is_object() {
                *place = Json::Object(Map::new());
            }
            let Json::Object(table) = place else { return };
            place = table.entry(key.clone()).or_insert(Json::Null);
        }
        *place = value;
    }

    /// Removes the value at this path. Of a list the whole list is removed, so that the indexes of
    /// its other items stay true. Returns false if there was no value.
    pub fn remove(&self, root: &mut Json) -> bool {
        let keys: Vec<_> =
            self.0.iter().take_while(|step| matches!(step, KeyStep::Key(_))).cloned().collect();
        let Some((KeyStep::Key(last), tables)) = keys.split_last() else { return false };
        let table = Self(tables.to_vec()).find_mut(root).and_then(Json::as_object_mut);
        table.is_some_and(|table| table.shift_remove(last).is_some())
    }

    fn and(&self, step: KeyStep) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Returns true if one path equals the other, or lies in the table or list at the other.
    #[must_use]
    pub fn touches(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |name: &str| {
            name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$'))
        };
        for (n, step) in self.0.iter().enumerate() {
            let dot = if n == 0 { "" } else { "." };
            match step {
                KeyStep::Item(index) => write!(f, "[{index}]")?,
                KeyStep::Key(name) if bare(name) && !name.is_empty() => write!(f, "{dot}{name}")?,
                KeyStep::Key(name) => write!(f, "{dot}{name:?}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_is_written_as_it_is_read_and_leads_to_its_value() {
        let mut root = json!({"a": {"b": [{"c": 1}, {"c": 2}]}});
        let path = KeyPath::parse("a.b[1].c");
        assert_eq!(path.to_string(), "a.b[1].c");
        assert_eq!(path.find(&root), Some(&json!(2)));
        assert!(path.is_within(&KeyPath::parse("a.b")) && !KeyPath::parse("a.b").is_within(&path));
        assert!(path.touches(&KeyPath::parse("a")) && !path.touches(&KeyPath::parse("a.x")));
        assert!(!KeyPath::parse("a.x").remove(&mut root));
        assert!(
            path.remove(&mut root),
            "the whole list, so that the places of its other items stay true"
        );
        assert_eq!(root, json!({"a": {}}));
        KeyPath::parse("a.d.e").put(&mut root, json!("f"));
        KeyPath::parse("a.d.e.g").put(&mut root, json!("h"));
        assert_eq!(root, json!({"a": {"d": {"e": {"g": "h"}}}}));
    }
}
