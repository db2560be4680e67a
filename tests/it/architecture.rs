//! Rules for the dependencies of the code, and for the documents that describe them.

mod imports;
mod printed;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use self::imports::CrateImports;
use super::documents::read;

/// Names that the pure core must not use: I/O, clocks and randomness that are in the standard
/// library or in crates that the core needs for something else.
const IMPURE: [&str; 14] = [
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

/// The part of `std::sync` that the core uses: values that do not change, and have several owners.
const SHARED_VALUE: &str = "std::sync::Arc;";

/// The crates that the core is made of: none of them does I/O by itself.
const PURE_CRATES: [&str; 13] = [
    "base64",
    "bytes",
    "hex",
    "jiff",
    "ring",
    "schemars",
    "secrecy",
    "serde",
    "serde_json",
    "serde_path_to_error",
    "thiserror",
    "url",
    "uuid",
];

/// The libraries of ferryd, and the others that each may use.
const WALLS: [(&str, &[&str]); 9] = [
    ("domain", &[]),
    ("redact", &["domain"]),
    ("provider", &["domain", "redact", "settings"]),
    ("broker", &["domain"]),
    ("ledger", &["domain", "broker"]),
    ("settings", &[]),
    ("serve", &[]),
    ("sandbox", &["serve"]),
    ("transport", &["domain", "redact", "provider"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folders with the source of each crate.
fn source_folders() -> Vec<PathBuf> {
    let libraries = WALLS.map(|(name, _)| root().join("crates").join(name).join("src"));
    [root().join("src")].into_iter().chain(libraries).collect()
}

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

/// The names in a table of a crate's manifest.
fn dependencies(manifest: &str, table: &str) -> BTreeSet<String> {
    let manifest: toml::Table = manifest.parse().unwrap();
    let table = manifest.get(table).and_then(toml::Value::as_table);
    table.into_iter().flat_map(|table| table.keys().cloned()).collect()
}

/// Finds the forbidden name in a line of the pure core.
fn impurity(line: &str) -> Option<&'static str> {
    let code = &line.split("//").next().unwrap_or_default().replace(SHARED_VALUE, "");
    // `.await` stands for itself, and not for the beginning of a name such as `.awaited_step`.
    let goes_on = |word: &str, at: usize| {
        code[at + word.len()..].starts_with(|c: char| c.is_ascii_lowercase())
    };
    let is_named = |word: &str| {
        code.match_indices(word).any(|(at, _)| !(word == ".await" && goes_on(word, at)))
    };
    IMPURE.into_iter().find(|word| is_named(word))
}

#[test]
fn the_core_does_no_io_and_reads_no_clock() {
    let files = sources(&root().join("crates/domain/src"));
    assert!(files.len() > 15, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            assert_eq!(impurity(line), None, "{}:{number}", file.display());
        }
    }
    let named = dependencies(&read("crates/domain/Cargo.toml"), "dependencies");
    assert_eq!(named, PURE_CRATES.map(str::to_owned).into());
}

#[test]
fn impurities_are_noticed() {
    for line in [
        "use std::sync::Mutex;",
        "use std::sync::{Arc, Mutex};",
        "let now = Timestamp::now();",
        "step.await;",
    ] {
        assert!(impurity(line).is_some(), "{line}");
    }
    for line in [
        "//! nothing knows of std::fs",
        "use crate::name::Name;",
        "use std::sync::Arc;",
        "random: f64, // Instant::now()",
        "a.awaited_step()",
    ] {
        assert_eq!(impurity(line), None, "{line}");
    }
}

#[test]
fn each_crate_depends_on_what_its_wall_lets_in() {
    let folders: BTreeSet<_> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(folders, WALLS.map(|(name, _)| name.to_owned()).into());
    for (name, allowed) in WALLS {
        let manifest = read(&format!("crates/{name}/Cargo.toml"));
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let named = dependencies(&manifest, table);
            let ours = named.iter().filter_map(|name| name.strip_prefix("ferryd-"));
            assert!(
                ours.clone().all(|used| allowed.contains(&used)),
                "{name}: {:?}",
                ours.collect::<Vec<_>>()
            );
            assert!(!named.contains("ferryd"), "{name}");
        }
    }
}

#[test]
fn nothing_but_the_mask_and_the_address_of_the_broker_writes_what_stands_for_a_secret() {
    for file in source_folders().iter().flat_map(|folder| sources(folder)) {
        let shown = file.strip_prefix(root()).unwrap().display().to_string();
        let code = fs::read_to_string(&file).unwrap();
        let code = code.split("#[cfg(test)]").next().unwrap();
        let is_excused = shown.starts_with("crates/redact/")
            || shown.ends_with("_tests.rs")
            || shown == "src/config/amqp_uri.rs";
        assert!(
            is_excused || !code.contains("\"***\""),
            "{shown} masks on its own; use `ferryd_redact::Mask`"
        );
    }
}

#[test]
fn the_module_map_names_every_module() {
    let text = read("docs/ARCHITECTURE.md");
    let map = text.split("\nsrc/\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let (program, libraries) = map.split_once("\ncrates/\n").unwrap();
    for (folder, map) in [("src", program), ("crates", libraries)] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let is_test = name.ends_with("_tests.rs") || name == "snapshots";
            let shown = if entry.path().is_dir() { format!("{name}/") } else { name.clone() };
            assert!(is_test || map.contains(&format!(" {shown}")), "{folder}/{shown}");
        }
    }
}

/// The only files that import each other in a circle: one state machine.
const STATE_MACHINE: [&str; 3] = ["lifecycle.rs", "progress.rs", "query.rs"];

#[test]
fn no_files_but_those_of_the_state_machine_import_each_other_in_a_circle() {
    for folder in source_folders() {
        let imports = CrateImports::read(&folder);
        let circles = imports.circles();
        let lines: Vec<_> = circles.values().flatten().collect();
        let expected = if folder.ends_with("crates/domain/src") {
            vec![STATE_MACHINE.map(Path::new).into()]
        } else {
            Vec::new()
        };
        assert_eq!(circles.keys().cloned().collect::<Vec<_>>(), expected, "{lines:#?}");
    }
}
