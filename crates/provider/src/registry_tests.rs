use std::collections::BTreeMap;

use super::*;
use crate::fixture::{defaults, lines};
use ferryd_settings::diagnostic::DiagnosticOrigin;

const FILE: &str = r#"
    type = "payment"
    protocol = "rest"
    base_url = "https://api.example.com"
    operations.act = { request = { method = "GET", path = "/" } }
"#;

fn file_name(error: &Diagnostic) -> String {
    let DiagnosticOrigin::File { file, .. } = &error.origin else {
        panic!("not of a file: {error}")
    };
    file.rsplit('/').next().unwrap().to_owned()
}

fn load(
    files: &[(&str, String)],
    routes: &[(&str, &str)],
) -> Result<ProviderRegistry, Vec<Diagnostic>> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let routes = routes.iter().map(|(kind, name)| (kind.parse().unwrap(), name.parse().unwrap()));
    ProviderRegistry::load(dir.path(), &defaults(), routes.collect())
}

fn named(name: &str) -> String {
    format!("name = \"{name}\"\n{FILE}")
}

#[test]
fn every_toml_file_of_a_folder_is_a_provider() {
    let files = [
        ("b.toml", named("two")),
        ("a.toml", named("one")),
        ("notes.txt", "no provider".to_owned()),
        (".#c.toml", "=".to_owned()),
    ];
    let registry = load(&files, &[("payment", "two")]).map_err(|errors| lines(&errors)).unwrap();
    let names: Vec<_> = registry.iter().map(|provider| provider.name.to_string()).collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(registry.route(&"payment".parse().unwrap()).unwrap().name.as_str(), "two");
    assert!(registry.route(&"shipping".parse().unwrap()).is_none());
}

#[test]
fn every_fault_of_every_file_is_reported_in_the_order_of_the_files() {
    let files = [
        ("b.toml", named("Two")),
        ("a.toml", format!("{}\nx = 1", named("one"))),
        ("c.toml", "[".to_owned()),
    ];
    let errors = load(&files, &[]).map(|_| ()).unwrap_err();
    let mut files: Vec<_> = errors.iter().map(file_name).collect();
    files.dedup();
    assert_eq!(files, ["a.toml", "b.toml", "c.toml"], "{}", lines(&errors));
    assert!(errors.iter().all(|error| error.line().is_some()), "{}", lines(&errors));
}

#[test]
fn twins_and_routes_to_nowhere_are_refused() {
    let table = [
        (
            vec![("a.toml", named("one")), ("b.toml", named("one"))],
            vec![],
            "`one` is also the name in",
        ),
        (
            vec![("a.toml", named("one"))],
            vec![("payment", "two")],
            "leads to `two`, which no file here describes",
        ),
        (
            vec![("a.toml", named("one"))],
            vec![("shipping", "one")],
            "leads to `one`, which is of type `payment`",
        ),
    ];
    for (files, routes, expected) in table {
        let errors = load(&files, &routes).map(|_| ()).unwrap_err();
        assert!(lines(&errors).contains(expected), "{}", lines(&errors));
    }
}

#[test]
fn a_folder_that_is_not_there_is_refused() {
    let errors =
        ProviderRegistry::load(Path::new("/nowhere/providers"), &defaults(), BTreeMap::new())
            .map(|_| ())
            .unwrap_err();
    assert!(
        lines(&errors)
            .starts_with("/nowhere/providers: the folder of provider files cannot be read")
    );
}

#[test]
fn paths_in_a_file_begin_in_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ca.pem"), "").unwrap();
    fs::write(dir.path().join("token"), "from-a-file\n").unwrap();
    fs::write(dir.path().join("act.json"), r#"{"required": ["amount"]}"#).unwrap();
    let text =
        named("one").replace("path = \"/\" }", "path = \"/\" }, payload_file = \"act.json\"");
    let text = format!("ca_file = \"ca.pem\"\nsecrets = {{ token = \"${{file:token}}\" }}\n{text}");
    fs::write(dir.path().join("a.toml"), text).unwrap();
    let registry = ProviderRegistry::load(dir.path(), &defaults(), BTreeMap::new())
        .map_err(|errors| lines(&errors))
        .unwrap();
    let provider = registry.get(&"one".parse().unwrap()).unwrap();
    assert_eq!(provider.http.ca_file, Some(dir.path().join("ca.pem")));
    assert_eq!(provider.default_account().unwrap().secrets.len(), 1);
    let schema = &provider.operations[&"act".parse().unwrap()].payload;
    assert_eq!(schema.check(&serde_json::Map::new()).len(), 1);
}
