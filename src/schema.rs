//! The JSON Schemas of what other programs and people write for ferryd or read from it.
//!
//! `docs/schema/` holds them as files; a test keeps those equal to the types.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::config::Config;
use crate::domain::command::CommandBody;
use crate::domain::event::Event;

/// Of the configuration file.
#[must_use]
pub fn config() -> Value {
    Config::schema().to_value()
}

/// Of a command's body.
#[must_use]
pub fn command() -> Value {
    let mut schema = schemars::schema_for!(CommandBody);
    // Fields of the publisher's own are ignored.
    schema.insert("patternProperties".to_owned(), json!({ "^x_": true }));
    schema.to_value()
}

/// Of an event.
#[must_use]
pub fn event() -> Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<Event>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_files_in_docs_are_those_of_the_types() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
        for (name, schema) in [("config", config()), ("command", command()), ("event", event())] {
            let path = folder.join(name).with_extension("json");
            let expected = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            if std::env::var_os("UPDATE_SCHEMAS").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &expected).unwrap();
            }
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(found == expected, "{} is out of date: run the tests with UPDATE_SCHEMAS=1", path.display());
        }
    }

    #[test]
    fn names_and_ids_are_held_to_their_alphabet() {
        let validator = jsonschema::validator_for(&command()).unwrap();
        for (id, kind, valid) in
            [("order-1", "payment", true), ("order 1", "payment", false), ("order-1", "Pay", false)]
        {
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
