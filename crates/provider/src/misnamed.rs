//! Finds files that look like provider or account files but are ignored because of their names.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// The extension of files that are read.
const EXTENSION: &str = "toml";

/// Extensions of other configuration languages.
const OTHER_LANGUAGES: [&str; 2] = ["yaml", "yml"];

/// The most files that an error text names.
const MOST_NAMED: usize = 5;

/// An ignored file whose name is close to that of a file which is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MisnamedFile {
    /// The file.
    pub path: PathBuf,
    /// The name under which the file would be read.
    pub intended: String,
}

/// Finds the ignored files of a folder that have nearly the name of a file which is read; sorted. A
/// file beside the one whose name it nearly has counts as a copy, and is left out. A folder that
/// can't be read holds none.
#[must_use]
pub fn misnamed_files(dir: &Path) -> Vec<MisnamedFile> {
    let misnamed = |path: PathBuf| {
        let intended = intended_name(path.file_name()?.to_str()?)?;
        let is_copy =
            path.with_file_name(&intended).exists() && !same_but_for_case(&path, &intended);
        (path.is_file() && !is_copy).then_some(MisnamedFile { path, intended })
    };
    let mut found: Vec<_> = entries(dir).into_iter().filter_map(misnamed).collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Describes the contents of a folder without provider files, for people: `it holds notes.txt`;
/// `None` if the folder is empty.
#[must_use]
pub fn describe_contents(dir: &Path) -> Option<String> {
    let name = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            format!("the folder {name}, in which nothing is looked for")
        } else {
            name.into_owned()
        }
    };
    let mut names: Vec<_> = entries(dir).iter().map(name).collect();
    names.sort();
    let more = names.len().saturating_sub(MOST_NAMED);
    names.truncate(MOST_NAMED);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    (!names.is_empty()).then(|| format!("it holds {}", names.join(", ")))
}

/// All entries of a folder except hidden ones.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let paths =
        fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| {
            path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."))
        })
        .collect()
}

fn same_but_for_case(path: &Path, name: &str) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|own| own.eq_ignore_ascii_case(name))
}

/// The name that a file needs to be read; `None` if nothing suggests that it should be read.
fn intended_name(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let (stem, extension) = lower.rsplit_once('.')?;
    if name.ends_with(&format!(".{EXTENSION}")) || stem.is_empty() {
        return None;
    }
    // stripe.toml.bak, stripe.toml~, stripe.TOML
    if let Some((stem, _)) = lower.split_once(&format!(".{EXTENSION}")) {
        return (!stem.is_empty()).then(|| format!("{stem}.{EXTENSION}"));
    }
    let is_near = strsim::osa_distance(extension, EXTENSION) == 1;
    (is_near || OTHER_LANGUAGES.contains(&extension)).then(|| format!("{stem}.{EXTENSION}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_name_is_reported_with_the_one_that_is_read() {
        for (name, intended) in [
            ("stripe.toml", None),
            ("stripe.tml", Some("stripe.toml")),
            ("stripe.tmol", Some("stripe.toml")),
            ("stripe.TOML", Some("stripe.toml")),
            ("stripe.toml.bak", Some("stripe.toml")),
            ("stripe.toml~", Some("stripe.toml")),
            ("stripe.toml.example", Some("stripe.toml")),
            ("stripe.yaml", Some("stripe.toml")),
            ("stripe.yml", Some("stripe.toml")),
            ("stripe-eu.tom", Some("stripe-eu.toml")),
            ("payload.json", None),
            ("ca.pem", None),
            ("README.md", None),
            ("stripe", None),
        ] {
            assert_eq!(intended_name(name).as_deref(), intended, "{name}");
        }
    }

    #[test]
    fn a_copy_beside_its_original_is_no_mistake() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.toml", "a.toml.bak", "b.toml.bak", "c.tml", ".d.toml.swp", "e.txt"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join("f.yaml")).unwrap();
        let found = misnamed_files(dir.path());
        let names: Vec<_> = found
            .iter()
            .map(|file| (file.path.file_name().unwrap(), file.intended.as_str()))
            .collect();
        assert_eq!(names, [("b.toml.bak".as_ref(), "b.toml"), ("c.tml".as_ref(), "c.toml")]);
        assert_eq!(misnamed_files(&dir.path().join("none")), []);
    }

    #[test]
    fn what_lies_in_a_folder_is_named_and_not_all_of_much() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(describe_contents(dir.path()), None);
        fs::create_dir(dir.path().join("stripe")).unwrap();
        assert_eq!(
            describe_contents(dir.path()).as_deref(),
            Some("it holds the folder stripe, in which nothing is looked for")
        );
        for n in 0..7 {
            fs::write(dir.path().join(format!("{n}.txt")), "").unwrap();
        }
        let found = describe_contents(dir.path()).unwrap();
        assert_eq!(found, "it holds 0.txt, 1.txt, 2.txt, 3.txt, 4.txt, 3 more");
    }
}
