//! The schemas in the description of the API.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// Schemas by the name of their type. What clients send and what they are answered differs in what may be left out.
pub(super) struct Schemas {
    pub read: SchemaGenerator,
    pub written: SchemaGenerator,
}

impl Schemas {
    /// None so far.
    pub fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        let written = settings.clone().for_serialize().into_generator();
        Self { read: settings.into_generator(), written }
    }

    /// The schema of what clients send.
    pub fn sent<T: JsonSchema>(&mut self) -> Value {
        self.read.subschema_for::<T>().to_value()
    }

    /// The description of a type.
    pub fn description<T: JsonSchema>(&mut self) -> String {
        let schema = T::json_schema(&mut self.written);
        schema.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ")
    }

    /// The schema of what clients are answered.
    pub fn answered<T: JsonSchema>(&mut self) -> Value {
        self.written.subschema_for::<T>().to_value()
    }

    /// All of them, by name.
    pub fn all(mut self) -> Map<String, Value> {
        let mut all = self.written.take_definitions(true);
        all.extend(self.read.take_definitions(true));
        if let Some(Value::Object(command)) = all.get_mut("CommandBody") {
            // Fields of the publisher's own are ignored.
            command.insert("patternProperties".to_owned(), json!({ "^x_": true }));
            require_id(command);
        }
        all.sort_keys();
        all
    }
}

/// Here a command has no other place for its id.
fn require_id(command: &mut Map<String, Value>) {
    if let Some(Value::Object(fields)) = command.get_mut("properties") {
        let id =
            json!({ "$ref": "#/components/schemas/PublishedCommandId", "description": "Unique over all publishers." });
        fields.insert("id".to_owned(), id);
    }
    if let Some(Value::Array(required)) = command.get_mut("required") {
        required.insert(0, json!("id"));
    }
}
