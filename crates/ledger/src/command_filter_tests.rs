use clap::{CommandFactory as _, Parser};
use serde_json::{Value, json};

use super::*;

#[derive(Parser)]
struct FilterLine {
    #[command(flatten)]
    filter: CommandFilter,
}

/// Builds a filter in which every criterion that can be written is set.
fn full() -> CommandFilter {
    CommandFilter {
        ids: ["a", "b"].map(|id| id.parse().unwrap()).into(),
        r#type: Some("payment".parse().unwrap()),
        provider: Some("stripe".parse().unwrap()),
        account: Some("eu".parse().unwrap()),
        operation: Some("charge".parse().unwrap()),
        reference: Some("order 1".to_owned()),
        state: Some(LifecycleState::Failed),
        kind: Some(FailureKind::Declined.into()),
        code: Some("card/x".to_owned()),
        http_status: Some(402),
        generation: Some(1),
        older_than: "2026-01-31T12:00:00Z".parse().ok(),
        newer_than: "2026-01-30T12:00:00Z".parse().ok(),
        conflicts: true,
        ..CommandFilter::default()
    }
}

#[test]
fn a_filter_is_the_same_as_json_and_on_the_command_line() {
    let json = serde_json::to_value(full()).unwrap();
    assert_eq!(serde_json::from_value::<CommandFilter>(json.clone()).unwrap(), full());
    let mut line = vec!["line".to_owned()];
    for (name, value) in json.as_object().unwrap() {
        let option = format!("--{}", name.replace('_', "-"));
        match value {
            Value::Array(ids) => line.extend(ids.iter().map(|id| id.as_str().unwrap().to_owned())),
            Value::Bool(_) => line.push(option),
            Value::String(text) => line.extend([option, text.clone()]),
            value => line.extend([option, value.to_string()]),
        }
    }
    assert_eq!(FilterLine::try_parse_from(line).unwrap().filter, full());
    assert_eq!(serde_json::to_value(CommandFilter::default()).unwrap(), json!({}));
}

#[test]
fn every_field_is_an_argument_with_the_same_description() {
    let schema = schemars::schema_for!(CommandFilter).to_value();
    let fields = schema["properties"].as_object().unwrap();
    assert_eq!(fields.keys().map(String::as_str).collect::<Vec<_>>(), CommandFilter::ARGUMENTS);
    let command = FilterLine::command();
    for (name, field) in fields {
        let argument =
            command.get_arguments().find(|argument| argument.get_id() == name.as_str()).unwrap();
        let help = argument.get_help().unwrap().to_string();
        assert_eq!(field["description"].as_str().unwrap().replace('\n', " "), help, "{name}");
    }
}

#[test]
fn what_means_no_commands_in_words_is_refused() {
    for wrong in [
        json!({ "provder": "stripe" }),
        json!({ "dead": true }),
        json!({ "scope": {} }),
        json!({ "cancel_requested": true }),
        json!({ "state": "done" }),
        json!({ "kind": "sad" }),
        json!({ "older_than": "yesterday" }),
        json!({ "ids": ["no id"] }),
    ] {
        assert!(serde_json::from_value::<CommandFilter>(wrong.clone()).is_err(), "{wrong}");
    }
    for wrong in [["--state", "done"], ["--kind", "sad"], ["--older-than", "yesterday"]] {
        assert!(
            FilterLine::try_parse_from(["line"].into_iter().chain(wrong)).is_err(),
            "{wrong:?}"
        );
    }
    let unreadable: CommandFilter =
        serde_json::from_value(json!({ "kind": "unreadable" })).unwrap();
    assert_eq!(unreadable.kind, Some(WantedKind::Unreadable));
}

#[test]
fn an_age_is_the_time_so_long_ago() {
    let before = Timestamp::now();
    let filter: CommandFilter = serde_json::from_value(json!({ "older_than": "36h" })).unwrap();
    let age = before.duration_since(filter.older_than.unwrap()).as_secs();
    assert!((129_590..=129_600).contains(&age), "{age}");
}
