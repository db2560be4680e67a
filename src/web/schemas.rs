//! The schemas in the description of the API.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// The schemas by the name of their type. A type that clients send and one that they receive differ
/// in the optional fields.
pub(super) struct SchemaRegistry {
    pub read: SchemaGenerator,
    pub written: SchemaGenerator,
}

impl SchemaRegistry {
    /// Makes an empty collection.
    pub fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        let written = settings.clone().for_serialize().into_generator();
        Self { read: settings.into_generator(), written }
    }

    /// Returns the schema of a type that clients send.
    pub fn sent<T: JsonSchema>(&mut self) -> Value {
        self.read.subschema_for::<T>().to_value()
    }

    /// Returns the description of a type.
    pub fn description<T: JsonSchema>(&mut self) -> String {
        let schema = T::json_schema(&mut self.written);
        schema.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ")
    }

    /// Returns the schema of a type that clients receive.
    pub fn answered<T: JsonSchema>(&mut self) -> Value {
        self.written.subschema_for::<T>().to_value()
    }

    /// Returns all schemas, by name.
    pub fn all(mut self) -> Map<String, Value> {
        let mut all = self.written.take_definitions(true);
        all.extend(self.read.take_definitions(true));
        if let Some(Value::Object(command)) = all.get_mut("CommandBody") {
            // A publisher's own fields are ignored.
            command.insert("patternProperties".to_owned(), json!({ "^x_": true }));
            require_id(command);
        }
        all.sort_keys();
        all
    }
}

/// Requires the id in the body of a command. The API accepts it nowhere else.
fn require_id(command: &mut Map<String, Value>) {
    if let Some(Value::Object(fields)) = command.get_mut("properties") {
        let id = json!({ "$ref": "#/components/schemas/PublishedCommandId", "description": "Unique over all publishers." });
        fields.insert("id".to_owned(), id);
    }
    if let Some(Value::Array(required)) = command.get_mut("required") {
        required.insert(0, json!("id"));
    }
}
