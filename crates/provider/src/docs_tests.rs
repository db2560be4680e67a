//! Tests that the documentation of provider files is true.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::example::{FileExample, test_file};
use super::fixture::{lines, parse};
use super::{catalog, file_schema};

fn path(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(name)
}

#[test]
fn the_schema_for_editors_is_the_one_that_files_are_held_against() {
    let path = path("docs/schema/provider.json");
    let current = format!("{:#}\n", file_schema());
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &current).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap();
    assert_eq!(
        stored, current,
        "run the tests with UPDATE_SCHEMAS=1 to write docs/schema/provider.json anew"
    );
}

#[test]
fn the_schema_is_one_and_takes_the_catalog() {
    let validator = jsonschema::validator_for(file_schema()).unwrap();
    for name in catalog::names() {
        let file: serde_json::Value = toml::from_str(catalog::source(name).unwrap()).unwrap();
        let faults: Vec<String> =
            validator.iter_errors(&file).map(|error| error.to_string()).collect();
        assert_eq!(faults, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn every_key_is_documented() {
    let document = fs::read_to_string(path("docs/PROVIDERS.md")).unwrap();
    let mut tables = vec![file_schema()];
    tables.extend(file_schema()["$defs"].as_object().unwrap().values());
    for table in tables {
        for (key, schema) in table["properties"].as_object().into_iter().flatten() {
            assert!(
                schema["description"].is_string() || schema["const"].is_string(),
                "{key} has no description"
            );
            assert!(document.contains(&format!("`{key}`")), "`{key}` is not in docs/PROVIDERS.md");
        }
    }
}

/// The TOML examples of the document: whole files, and tables of one operation.
fn examples(fence: &str) -> Vec<String> {
    let document = fs::read_to_string(path("docs/PROVIDERS.md")).unwrap();
    let fence = format!("```{fence}\n");
    let blocks = document.split(&fence).skip(1);
    // The environment of a test has no secrets.
    blocks
        .map(|block| {
            block.split("```").next().unwrap().replace("${env:", "literal-${").replace("${", "")
        })
        .collect()
}

#[test]
fn every_example_is_taken() {
    let whole = examples("toml");
    let operations = examples("toml operation");
    assert!(whole.len() >= 3 && operations.len() >= 5, "{} {}", whole.len(), operations.len());
    let head = "name = \"x\"\ntype = \"payment\"\nprotocol = \"rest\"\nbase_url = \"https://api.example.com\"\n";
    let completed = operations.iter().map(|tables| format!("{head}{tables}"));
    for text in whole.iter().cloned().chain(completed) {
        if let Err(errors) = parse(&text) {
            panic!("{text}\n{}", lines(&errors));
        }
    }
}

/// The provider files of the demonstration.
const DEMONSTRATED: [&str; 3] = [
    include_str!("../../../demo/providers/acme-pay.toml"),
    include_str!("../../../demo/providers/acme-ship.toml"),
    include_str!("../../../demo/providers/acme-sms.toml"),
];

#[test]
fn every_example_in_the_document_and_the_demonstration_is_true() {
    let mut tests = Vec::new();
    for text in examples("toml").into_iter().chain(DEMONSTRATED.map(str::to_owned)) {
        tests.extend(
            test_file(&text, "providers/x.toml")
                .unwrap_or_else(|errors| panic!("{text}\n{}", lines(&errors)))
                .tests,
        );
    }
    assert!(tests.len() >= 2, "{}", tests.len());
    for FileExample { operation, example, differences } in tests {
        assert_eq!(differences, Vec::new(), "{operation}: {example}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_file_makes_reading_panic(cut in 0_usize..4_000, length in 0_usize..40, text in "[ -~\n]{0,20}") {
        let mut source = catalog::source("stripe").unwrap().to_owned();
        let cut = cut.min(source.len());
        let end = (cut + length).min(source.len());
        source.replace_range(cut..end, &text);
        let _ = parse(&source);
    }
}
