//! Collects every fault of a settings file, so that a person can correct all of them at once.

use std::cell::RefCell;
use std::fmt;

use super::diagnostic::Diagnostic;
use super::key_path::KeyPath;
use super::source::SettingsSource;

/// A fault by the key at which it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFinding {
    /// The key of the wrong value.
    pub key: KeyPath,
    /// The fault, and what to write instead.
    pub message: String,
    /// True where the key itself is not known, so that its value may be anything.
    pub is_unknown_key: bool,
}

/// Every fault found so far.
#[derive(Debug, Default)]
pub struct FindingList {
    found: RefCell<Vec<KeyFinding>>,
    wrong: RefCell<Vec<KeyPath>>,
}

impl FindingList {
    /// The file as a whole.
    #[must_use]
    pub fn place(&self) -> SettingsCursor<'_> {
        SettingsCursor { key: KeyPath::default(), faults: self }
    }

    /// The faults with file and line: of the first source that has the key, or else the surrounding
    /// table.
    #[must_use]
    pub fn located(self, sources: &[&SettingsSource]) -> Vec<Diagnostic> {
        let locate = |finding: KeyFinding| locate(sources, &finding.key, finding.message);
        let mut errors: Vec<_> = self.found.into_inner().into_iter().map(locate).collect();
        errors.sort_by(|a, b| a.origin.cmp(&b.origin));
        errors.dedup();
        errors
    }

    /// The faults by their keys, in the order in which they were found.
    #[must_use]
    pub fn into_findings(self) -> Vec<KeyFinding> {
        self.found.into_inner()
    }
}

fn locate(sources: &[&SettingsSource], key: &KeyPath, message: String) -> Diagnostic {
    let mut looked_at = Some(key.clone());
    while let Some(place) = looked_at {
        if let Some((source, line)) =
            sources.iter().find_map(|source| Some((source, source.line(&place)?)))
        {
            return Diagnostic {
                key: key.to_string(),
                ..Diagnostic::of_file(source.name(), Some(line), message)
            };
        }
        looked_at = place.parent();
    }
    let file = sources.first().map(|source| source.name()).unwrap_or_default();
    Diagnostic { key: key.to_string(), ..Diagnostic::of_file(file, None, message) }
}

/// A place in a file, at which faults are reported.
#[derive(Debug, Clone)]
pub struct SettingsCursor<'f> {
    key: KeyPath,
    faults: &'f FindingList,
}

impl SettingsCursor<'_> {
    /// An empty list for a file that overrides this one. A value dropped here is not reported as
    /// missing there either.
    #[must_use]
    pub fn faults_above(&self) -> FindingList {
        FindingList { wrong: self.faults.wrong.clone(), ..FindingList::default() }
    }

    /// The place of a key in the table at this place.
    #[must_use]
    pub fn key(&self, name: &str) -> Self {
        Self { key: self.key.key(name), faults: self.faults }
    }

    /// The place of an item in the list at this place; items are counted from 0.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        Self { key: self.key.item(index), faults: self.faults }
    }

    /// The place of a value within the value at this place.
    #[must_use]
    pub fn within(&self, inner: &KeyPath) -> Self {
        Self { key: self.key.join(inner), faults: self.faults }
    }

    /// Reports a fault at this place, unless it follows from a value of the wrong type that was
    /// dropped.
    pub fn refuse(&self, message: impl Into<String>) {
        self.find(message.into(), false);
    }

    /// Reports that a key of this name is unknown in the table at this place.
    pub fn refuse_key(&self, message: impl Into<String>) {
        self.find(message.into(), true);
    }

    fn find(&self, message: String, is_unknown_key: bool) {
        let follows = self.faults.wrong.borrow().iter().any(|wrong| wrong.touches(&self.key));
        if !follows {
            self.faults.found.borrow_mut().push(KeyFinding {
                key: self.key.clone(),
                message,
                is_unknown_key,
            });
        }
    }

    /// Reports a fault of the value at this place; the value is dropped.
    pub fn drop_value(&self, message: impl Into<String>) {
        self.refuse(message);
        self.faults.wrong.borrow_mut().push(self.key.clone());
    }

    /// Returns the value, or reports its error at this place.
    pub fn check<T, E: fmt::Display>(&self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.refuse(error.to_string())).ok()
    }
}
