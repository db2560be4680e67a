//! The JSON Schemas of the documents that other programs and people write for ferryd or read from
//! it.
//!
//! `docs/schema/` holds them as files; a test keeps the files equal to the types.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::config::Config;
use ferryd_domain::command::CommandBody;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::conflict::{ConflictEvent, ConflictNote};
use ferryd_domain::event::Event;
use ferryd_domain::job::record::{JobClaim, JobEnding, JobReport, JobRequest};
use ferryd_domain::job::{JobId, JobSpec};
use ferryd_domain::ledger::record::{
    CancelRequested, ClaimExpired, ContentErasure, FinishedRecord, OpenedRecord, PromptRecord,
    ReleasedRecord, ReplayedRecord, ReplyTarget, SettledRecord, StartedRecord, VERSION,
};
use ferryd_domain::webhook_event::ReceivedEvent;

/// Returns the schema of the configuration file.
#[must_use]
pub fn config() -> Value {
    Config::schema().to_value()
}

/// Returns the schema of a command's body.
#[must_use]
pub fn command() -> Value {
    let mut schema = schemars::schema_for!(CommandBody);
    // A publisher's own fields are ignored.
    schema.insert("patternProperties".to_owned(), json!({ "^x_": true }));
    schema.to_value()
}

/// Returns the schema of an event.
#[must_use]
pub fn event() -> Value {
    SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<Event>()
        .to_value()
}

/// Returns the schema of an event about a contradiction.
#[must_use]
pub fn conflict() -> Value {
    SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<ConflictEvent>()
        .to_value()
}

/// Returns the schema of an event about a webhook.
#[must_use]
pub fn webhook() -> Value {
    SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<ReceivedEvent>()
        .to_value()
}

/// Returns the schema of a record of the ledger.
#[must_use]
pub fn record() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let kinds = [
        ("opened", true, generator.subschema_for::<OpenedRecord>()),
        ("started", true, generator.subschema_for::<StartedRecord>()),
        ("released", true, generator.subschema_for::<ReleasedRecord>()),
        ("claim_expired", true, generator.subschema_for::<ClaimExpired>()),
        ("finished", true, generator.subschema_for::<FinishedRecord>()),
        ("settled", false, generator.subschema_for::<SettledRecord>()),
        ("cancel_requested", true, generator.subschema_for::<CancelRequested>()),
        ("replayed", true, generator.subschema_for::<ReplayedRecord>()),
        ("reply_requested", false, generator.subschema_for::<ReplyTarget>()),
        ("conflicted", false, generator.subschema_for::<ConflictNote>()),
        ("erased", false, generator.subschema_for::<ContentErasure>()),
        ("prompted", false, generator.subschema_for::<PromptRecord>()),
    ];
    let kinds = kinds.map(|(kind, critical, data)| {
        let fields =
            json!({ "kind": { "const": kind }, "critical": { "const": critical }, "data": data });
        json!({ "properties": fields, "required": ["command", "data"] })
    });
    let jobs = [
        ("job_started", generator.subschema_for::<JobSpec>()),
        ("job_taken", generator.subschema_for::<JobClaim>()),
        ("job_progress", generator.subschema_for::<JobReport>()),
        ("job_paused", generator.subschema_for::<JobRequest>()),
        ("job_resumed", generator.subschema_for::<JobRequest>()),
        ("job_stopped", generator.subschema_for::<JobRequest>()),
        ("job_ended", generator.subschema_for::<JobEnding>()),
    ];
    let jobs = jobs.map(|(kind, data)| {
        let fields =
            json!({ "kind": { "const": kind }, "critical": { "const": false }, "data": data });
        json!({ "properties": fields, "required": ["job", "data"] })
    });
    let marker =
        json!({ "properties": { "kind": { "const": "marker" }, "critical": { "const": false } } });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ferryd record",
        "description": "One line of the ledger. Later versions may write other kinds; pass over those that are not critical.",
        "type": "object",
        "required": ["v", "kind", "critical", "at"],
        "properties": {
            "v": { "const": VERSION },
            "kind": { "type": "string" },
            "critical": { "type": "boolean" },
            "at": { "type": "string", "format": "date-time" },
            "command": generator.subschema_for::<CommandId>(),
            "job": generator.subschema_for::<JobId>(),
        },
        "oneOf": kinds.into_iter().chain(jobs).chain([marker]).collect::<Vec<_>>(),
        "$defs": generator.take_definitions(true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferryd_provider::account_schema;
    use std::path::Path;

    #[test]
    fn the_files_in_docs_are_those_of_the_types() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
        for (name, schema) in [
            ("config", config()),
            ("command", command()),
            ("event", event()),
            ("conflict", conflict()),
            ("webhook", webhook()),
            ("record", record()),
            ("account", account_schema().clone()),
        ] {
            let path = folder.join(name).with_extension("json");
            let expected = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            if std::env::var_os("UPDATE_SCHEMAS").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &expected).unwrap();
            }
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                found == expected,
                "{} is out of date: run the tests with UPDATE_SCHEMAS=1",
                path.display()
            );
        }
    }

    #[test]
    fn what_the_ledger_holds_is_as_its_schema_says() {
        let validator = jsonschema::validator_for(&record()).unwrap();
        for line in ferryd_domain::ledger::record_examples::lines() {
            let value: Value = serde_json::from_slice(&line).unwrap();
            let faults: Vec<_> =
                validator.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(faults.is_empty(), "{faults:?} {value:#}");
            let mut other = value;
            other["kind"] = json!("split");
            assert!(!validator.is_valid(&other));
        }
    }

    #[test]
    fn names_and_ids_are_held_to_their_alphabet() {
        let validator = jsonschema::validator_for(&command()).unwrap();
        let refused = format!("order-1/refused/{}", "0".repeat(32));
        for (id, kind, valid) in [
            ("order-1", "payment", true),
            ("order 1", "payment", false),
            ("order-1", "Pay", false),
            (refused.as_str(), "payment", false),
        ] {
            let command = json!({ "id": id, "type": kind, "operation": "charge" });
            assert_eq!(validator.is_valid(&command), valid, "{command}");
        }
    }

    #[test]
    fn a_command_takes_fields_of_the_publishers_own_and_no_others() {
        let validator = jsonschema::validator_for(&command()).unwrap();
        let command = |field: &str| json!({ "type": "payment", "operation": "charge", field: 1 });
        assert!(validator.is_valid(&command("x_trace")));
        assert!(!validator.is_valid(&command("colour")));
    }
}
