//! Tests the dependencies between the parts of the code, and the tables of the documentation that
//! come from code.

mod imports;
mod printed;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use self::imports::CrateImports;
use super::documents::read;

/// The names that the pure core must not use: I/O, clocks, randomness, and the crates that bring
/// them.
const IMPURE: [&str; 24] = [
    "tokio",
    "lapin",
    "reqwest",
    "axum",
    "hyper",
    "rustls",
    "tracing",
    "futures",
    "rand::",
    "getrandom",
    "std::fs",
    "std::net",
    "std::env",
    "std::io",
    "std::process",
    "std::thread",
    "std::sync",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "Zoned::now",
    "new_v4",
    "now_v7",
    ".await",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Describes the fault of a line in the pure core.
fn impurity(line: &str) -> Option<String> {
    let code = line.split("//").next().unwrap_or_default();
    // `.await` is the keyword, and not the beginning of a name such as `.awaited_step`.
    let goes_on = |word: &str, at: usize| code[at + word.len()..].starts_with(|c: char| c.is_ascii_lowercase());
    let is_named = |word: &str| code.match_indices(word).any(|(at, _)| !(word == ".await" && goes_on(word, at)));
    let named = IMPURE.into_iter().find(|word| is_named(word)).map(str::to_owned);
    let foreign = code.match_indices("crate::").find(|(at, _)| !code[*at..].starts_with("crate::domain"));
    named.or_else(|| foreign.map(|(at, _)| code[at..].to_owned()))
}

#[test]
fn the_core_does_no_io_reads_no_clock_and_knows_nothing_else_of_ferryd() {
    let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain"));
    assert!(files.len() > 15, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            assert_eq!(impurity(line), None, "{}:{number}", file.display());
        }
    }
}

/// The folders of `src` with restricted dependencies, each with the folders that it may use.
const WALLS: [(&str, &[&str]); 9] = [
    ("domain", &[]),
    ("redact", &["domain"]),
    ("provider", &["domain", "redact", "settings"]),
    ("amqp", &["domain"]),
    ("ledger", &["domain", "amqp"]),
    ("settings", &[]),
    ("serve", &[]),
    ("sandbox", &["serve"]),
    ("transport", &["domain", "redact", "provider"]),
];

/// Lists the parts that a source file names.
fn parts_named(code: &str) -> BTreeSet<&str> {
    let named = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    let paths = named.flat_map(|line| line.split("crate::").skip(1));
    paths.map(|path| path.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap()).collect()
}

#[test]
fn each_part_uses_only_what_its_wall_lets_in() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (part, allowed) in WALLS {
        let files = sources(&source.join(part));
        assert!(!files.is_empty(), "{part}");
        for file in files {
            let code = fs::read_to_string(&file).unwrap();
            for named in parts_named(&code) {
                assert!(named == part || allowed.contains(&named), "{}: crate::{named}", file.display());
            }
        }
    }
}

#[test]
fn a_part_that_is_named_is_noticed() {
    let code = "use crate::domain::name::Name; // crate::web\nlet size = super::x(crate::amqp::size());";
    assert_eq!(parts_named(code), ["amqp", "domain"].into());
}

#[test]
fn nothing_but_the_mask_and_the_address_of_the_broker_writes_what_stands_for_a_secret() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in sources(&source) {
        let shown = file.strip_prefix(&source).unwrap().display().to_string();
        let code = fs::read_to_string(&file).unwrap();
        let code = code.split("#[cfg(test)]").next().unwrap();
        let is_excused = shown.starts_with("redact/") || shown.ends_with("_tests.rs") || shown == "config/amqp_uri.rs";
        assert!(is_excused || !code.contains("\"***\""), "{shown} masks on its own; use `redact::Mask`");
    }
}

#[test]
fn impurities_are_noticed() {
    for line in ["use tokio::sync::watch;", "let now = Timestamp::now();", "use crate::amqp::topology::Names;"] {
        assert!(impurity(line).is_some(), "{line}");
    }
    for line in ["//! nothing knows of tokio", "use crate::domain::name::Name;", "random: f64, // rand::random()"] {
        assert_eq!(impurity(line), None, "{line}");
    }
}

#[test]
fn the_module_map_names_every_module() {
    let text = read("docs/ARCHITECTURE.md");
    let map = text.split("\nsrc/\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let is_test = name.ends_with("_tests.rs") || name == "snapshots";
        let shown = if entry.path().is_dir() { format!("{name}/") } else { name.clone() };
        assert!(is_test || map.contains(&shown), "{shown}");
    }
}

/// The only files that import each other in a circle: one state machine.
const STATE_MACHINE: [&str; 3] = ["domain/inquiry.rs", "domain/lifecycle.rs", "domain/progress.rs"];

#[test]
fn no_files_but_those_of_the_state_machine_import_each_other_in_a_circle() {
    let imports = CrateImports::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    // `cli` and `jobs` are being taken apart.
    let is_left_out = |file: &&Path| ["cli/jobs", "jobs", "operator"].iter().any(|part| file.starts_with(part));
    let mut circles = imports.circles();
    circles.retain(|circle, _| !circle.iter().any(is_left_out));
    let lines: Vec<_> = circles.values().flatten().collect();
    assert_eq!(circles.keys().cloned().collect::<Vec<_>>(), [STATE_MACHINE.map(Path::new).into()], "{lines:#?}");
}
