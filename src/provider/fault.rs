//! What is wrong with a provider file: gathered whole, told with file, line and key.

use std::cell::RefCell;
use std::fmt;

use super::source::Source;

/// What is wrong with a provider file, for the person who wrote it.
///
/// Its text reads `providers/stripe.toml:12: operations.charge.request.path: …; write …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FileError {
    file: String,
    line: Option<usize>,
    key: String,
    message: String,
}

impl FileError {
    /// A fault of a file as a whole, or of a folder.
    pub(super) fn of_file(file: &str, line: Option<usize>, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, key: String::new(), message: message.into() }
    }

    /// The file, as the error shows it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, from 1, where it is known.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// One step into a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    Key(String),
    Item(usize),
}

/// Where something stands in a file: `operations.charge.classify[0].when`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct KeyPath(Vec<Step>);

impl KeyPath {
    /// A key of the table that stands here.
    pub(super) fn key(&self, name: &str) -> Self {
        self.and(Step::Key(name.to_owned()))
    }

    /// An item of the list that stands here, counted from 0.
    pub(super) fn item(&self, index: usize) -> Self {
        self.and(Step::Item(index))
    }

    /// How many steps it is from the whole file.
    pub(super) fn depth(&self) -> usize {
        self.0.len()
    }

    /// The table or list around it; `None` for the whole file.
    pub(super) fn parent(&self) -> Option<Self> {
        let (_, outer) = self.0.split_last()?;
        Some(Self(outer.to_vec()))
    }

    fn and(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    fn touches(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$'));
        for (n, step) in self.0.iter().enumerate() {
            let dot = if n == 0 { "" } else { "." };
            match step {
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Key(name) if bare(name) && !name.is_empty() => write!(f, "{dot}{name}")?,
                Step::Key(name) => write!(f, "{dot}{name:?}")?,
            }
        }
        Ok(())
    }
}

/// Every fault found so far.
#[derive(Debug, Default)]
pub(super) struct Faults {
    found: RefCell<Vec<(KeyPath, String)>>,
    wrong: RefCell<Vec<KeyPath>>,
}

impl Faults {
    /// The file as a whole.
    pub(super) fn place(&self) -> Place<'_> {
        Place { key: KeyPath::default(), faults: self }
    }

    /// The faults with file and line: those of the first source that has the key, or else the table around it.
    pub(super) fn located(self, sources: &[&Source]) -> Vec<FileError> {
        let mut errors: Vec<_> =
            self.found.into_inner().into_iter().map(|(key, text)| locate(sources, &key, text)).collect();
        errors.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        errors.dedup();
        errors
    }
}

fn locate(sources: &[&Source], key: &KeyPath, message: String) -> FileError {
    let mut looked_at = Some(key.clone());
    while let Some(place) = looked_at {
        if let Some((source, line)) = sources.iter().find_map(|source| Some((source, source.line(&place)?))) {
            return FileError { file: source.name().to_owned(), line: Some(line), key: key.to_string(), message };
        }
        looked_at = place.parent();
    }
    let file = sources.first().map(|source| source.name().to_owned()).unwrap_or_default();
    FileError { file, line: None, key: key.to_string(), message }
}

/// A place in a file, at which something may turn out wrong.
#[derive(Debug, Clone)]
pub(super) struct Place<'f> {
    key: KeyPath,
    faults: &'f Faults,
}

impl Place<'_> {
    /// Faults of a file that goes over this one: what follows from a value that was dropped here is none there either.
    pub(super) fn faults_above(&self) -> Faults {
        Faults { wrong: self.faults.wrong.clone(), ..Faults::default() }
    }

    /// A key of the table that stands here.
    pub(super) fn key(&self, name: &str) -> Self {
        Self { key: self.key.key(name), faults: self.faults }
    }

    /// An item of the list that stands here, counted from 0.
    pub(super) fn item(&self, index: usize) -> Self {
        Self { key: self.key.item(index), faults: self.faults }
    }

    /// Says what is wrong here, unless that follows from a value of the wrong type that was dropped.
    pub(super) fn refuse(&self, message: impl Into<String>) {
        let follows = self.faults.wrong.borrow().iter().any(|wrong| wrong.touches(&self.key));
        if !follows {
            self.faults.found.borrow_mut().push((self.key.clone(), message.into()));
        }
    }

    /// Says what is wrong with the value here, which is dropped.
    pub(super) fn drop_value(&self, message: impl Into<String>) {
        self.refuse(message);
        self.faults.wrong.borrow_mut().push(self.key.clone());
    }

    /// The value, or its error said here.
    pub(super) fn check<T, E: fmt::Display>(&self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.refuse(error.to_string())).ok()
    }
}
