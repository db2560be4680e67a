//! Tests the documentation against the code: links lead somewhere, commands exist, files can be
//! read.

mod command_lines;
mod quoted_messages;

use std::fs;
use std::path::{Path, PathBuf};

use ferryd::config::{Config, EnvironmentVariables};
use ferryd_domain::command::{Command, CommandEnvelope};
use ferryd_domain::event::{Event, sequence};
use ferryd_provider::registry::ProviderRegistry;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a file of the repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Lists every Markdown file, by its path in the repository.
fn documents() -> Vec<String> {
    let mut found = Vec::new();
    for folder in [".", "docs", "docs/adr", "docs/how-to", "docs/reference", "examples"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(
                    path.strip_prefix(root()).unwrap().display().to_string().replace("./", ""),
                );
            }
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

/// A fenced block: the text behind its fence, and its lines.
struct FencedBlock {
    document: String,
    info: String,
    text: String,
}

fn blocks() -> Vec<FencedBlock> {
    let mut found = Vec::new();
    for document in documents() {
        let text = read(&document);
        for (index, part) in text.split("\n```").enumerate() {
            if index % 2 == 1 {
                let (info, text) = part.split_once('\n').unwrap_or((part, ""));
                let block = FencedBlock {
                    document: document.clone(),
                    info: info.trim().to_owned(),
                    text: format!("{text}\n"),
                };
                found.push(block);
            }
        }
    }
    found
}

/// Removes the fenced blocks from a document.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect()
}

/// Returns the anchor that hosts of Markdown make of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

fn anchors(path: &Path) -> Vec<String> {
    let text = prose(&fs::read_to_string(path).unwrap());
    text.lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').map(anchor))
        .collect()
}

/// Lists the targets of a text's links within the repository.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn links_within_the_repository_lead_somewhere() {
    let mut dead = Vec::new();
    let mut followed = 0;
    for document in documents() {
        for link in links(&prose(&read(&document))) {
            let (file, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let own = root().join(&document);
            let target: PathBuf =
                if file.is_empty() { own } else { own.parent().unwrap().join(file) };
            let there = target.exists()
                && (fragment.is_empty() || anchors(&target).iter().any(|found| found == fragment));
            followed += 1;
            if !there {
                dead.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(followed > 20, "{followed}");
    assert_eq!(dead, Vec::<String>::new());
}

/// Replaces every `${…}` with a value.
fn filled(text: &str, value: &str) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        filled.push_str(value);
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    filled + rest
}

/// Fills the secrets of a configuration, because a test has no such files or variables.
fn with_secrets(text: &str) -> String {
    // Some keys are written in hexadecimal.
    filled(text, "0123456789abcdef0123456789abcdef")
}

#[test]
fn configurations_and_provider_files_in_the_documentation_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let defaults = Config::default().provider_defaults();
    let mut providers: Vec<_> =
        blocks().into_iter().filter(|block| block.info == "toml provider").collect();
    providers.push(FencedBlock {
        document: "deploy/providers/stripe.toml".to_owned(),
        info: String::new(),
        text: read("deploy/providers/stripe.toml"),
    });
    assert!(providers.len() > 1);
    // The sandbox makes the authority that the tutorial's file trusts.
    let authority =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    fs::create_dir(dir.path().join("sandbox")).unwrap();
    fs::write(dir.path().join("sandbox/ca.pem"), authority).unwrap();
    for (number, block) in providers.iter().enumerate() {
        let folder = dir.path().join(number.to_string());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("provider.toml"), with_secrets(&block.text)).unwrap();
        let registry = ProviderRegistry::load(&folder, &defaults, [].into());
        let faults = registry
            .as_ref()
            .err()
            .map(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(faults, None, "{}", block.document);
        assert_eq!(
            registry.ok().map(|registry| registry.iter().count()),
            Some(1),
            "{}",
            block.document
        );
    }
    let configurations: Vec<_> =
        blocks().into_iter().filter(|block| block.info == "toml config").collect();
    assert!(!configurations.is_empty());
    for block in configurations {
        let text = with_secrets(&block.text);
        let config = Config::from_parts(
            Some((Path::new("ferryd.toml"), &text)),
            &EnvironmentVariables::new(),
        );
        assert_eq!(
            config.map(drop).map_err(|error| error.to_string()),
            Ok(()),
            "{}",
            block.document
        );
    }
}

#[test]
fn the_compose_file_says_where_it_goes_without_tls() {
    let text = read("deploy/compose.yaml");
    let lines =
        text.lines().filter_map(|line| line.trim().strip_prefix("FERRYD_")?.split_once(": "));
    let value = |text: &str| {
        text.trim_matches('"').replace("$${file:/run/secrets/amqp_password}", "secret")
    };
    let mut environment: EnvironmentVariables =
        lines.map(|(name, text)| (format!("FERRYD_{name}"), value(text))).collect();
    let example = read("deploy/ferryd.example.toml");
    let load = |environment: &EnvironmentVariables| {
        Config::from_parts(Some((Path::new("ferryd.toml"), &example)), environment)
    };
    let config = load(&environment).unwrap();
    assert!(config.amqp.uri.is_exposed() && config.amqp.allow_plaintext);
    environment.remove("FERRYD_AMQP__ALLOW_PLAINTEXT").unwrap();
    let refused = load(&environment).unwrap_err().to_string();
    assert!(refused.contains("amqp.allow_plaintext = true"), "{refused}");
}

#[test]
fn commands_and_events_in_the_documentation_are_of_their_form() {
    let of = |info: &str| {
        blocks().into_iter().filter(move |block| block.info == info).collect::<Vec<_>>()
    };
    let (commands, events) = (of("json command"), of("json event"));
    assert!(!commands.is_empty() && !events.is_empty());
    for block in commands {
        let command = Command::decode(block.text.as_bytes(), CommandEnvelope::default());
        assert_eq!(
            command.map(drop).map_err(|invalid| invalid.failure),
            Ok(()),
            "{}",
            block.document
        );
    }
    for block in events {
        let event: Event = serde_json::from_str(&block.text).unwrap();
        let data = &event.data;
        let state = data.state.as_str();
        let id = format!("{}/{}/{}/{state}", data.command.id, data.generation, data.attempt);
        assert_eq!(
            (event.id.as_str(), event.subject.as_str()),
            (id.as_str(), data.command.id.as_str())
        );
        assert_eq!(event.r#type, format!("ferry.command.{state}"));
        assert_eq!(data.sequence, sequence(data.generation, data.attempt, data.state));
    }
}

#[test]
fn first_provider_files_are_the_examples() {
    for (document, example) in [("README.md", "courier"), ("docs/TUTORIAL.md", "bank")] {
        let example = read(&format!("docs/examples/providers/{example}.toml"));
        assert!(read(document).contains(&format!("```toml provider\n{example}```")), "{document}");
    }
}

#[test]
fn the_fields_of_a_call_record_are_all_explained() {
    let name = "ferryd_transport__call_log__tests__a_call_is_one_record_with_everything_secret_masked.snap";
    let snapshot = read(&format!("crates/transport/src/snapshots/{name}"));
    let records: Vec<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(snapshot.splitn(3, "---").nth(2).unwrap()).unwrap();
    let text = read("docs/reference/logs.md");
    let fields = records[0].keys().filter(|field| !matches!(field.as_str(), "message" | "target"));
    for field in fields {
        assert!(text.contains(&format!("`{field}`")), "{field}");
    }
}

/// The names of all properties of a schema, at any depth.
fn properties(schema: &serde_json::Value) -> Vec<String> {
    match schema {
        serde_json::Value::Object(map) => {
            let own = map.get("properties").and_then(serde_json::Value::as_object);
            let names = own.into_iter().flat_map(|own| own.keys().cloned());
            names.chain(map.values().flat_map(properties)).collect()
        }
        serde_json::Value::Array(items) => items.iter().flat_map(properties).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_field_of_an_event_is_explained() {
    let text = read("docs/reference/events.md");
    for name in ["event", "conflict", "webhook"] {
        let schema: serde_json::Value =
            serde_json::from_str(&read(&format!("docs/schema/{name}.json"))).unwrap();
        let fields = properties(&schema);
        assert!(fields.len() > 15, "{name}: {fields:?}");
        for field in fields {
            assert!(text.contains(&format!("`{field}`")), "{name}: {field}");
        }
    }
}

#[test]
fn every_decision_record_is_in_the_index_with_its_status() {
    let index = read("docs/adr/README.md");
    let mut records: Vec<_> =
        fs::read_dir(root().join("docs/adr")).unwrap().map(|entry| entry.unwrap().path()).collect();
    records.retain(|path| path.file_name().is_some_and(|name| name != "README.md"));
    assert!(records.len() > 20, "{}", records.len());
    for path in records {
        let file = path.file_name().unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let (number, title) =
            text.lines().next().unwrap().trim_start_matches("# ").split_once(". ").unwrap();
        let status = text.lines().find_map(|line| line.strip_prefix("**Status:** ")).unwrap();
        let row = format!("\n| {number} | [{title}]({file}) | {status} |\n");
        assert!(index.contains(&row), "docs/adr/README.md should hold:{row}");
    }
}
