//! The description of the API for clients: `OpenAPI` 3.1, made from the routes and the types.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::Json;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::access::{Needs, Role};
use super::answers::CommandStory;
use super::ask::{CommandExchanges, CommandPage};
use super::cancel::Cancelled;
use super::dead_letters::{DeadLetterGroups, DeadLetters};
use super::erase::ErasedCommand;
use super::live::Health;
use super::lookup::LookupReceipt;
use super::parameters::parameters;
use super::problem::{self, Kind, ProblemBody};
use super::routes::Route;
use super::submit::Receipt;
use crate::domain::command::CommandBody;
use crate::domain::event::{self, Event};

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// `GET /openapi.json`
pub(super) async fn serve() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

/// The description.
#[must_use]
pub fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for route in Route::ALL {
        let method = route.method().as_str().to_lowercase();
        let operation = operation(route, &mut schemas);
        let path = paths.entry(route.path()).or_insert_with(|| json!({}));
        if let Value::Object(methods) = path {
            methods.insert(method, operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ferryd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Publish commands to outside providers, ask what became of them, and cancel them. \
                            Errors are problem details (RFC 9457).",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "paths": paths,
        "components": {
            "schemas": schemas.all(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `api.tokens`, or the host's own, which `ferryd token` prints. What is outside of the \
                                    scope of a token is not known to it.",
                },
            },
        },
    })
}

/// Schemas by the name of their type. What clients send and what they are answered differs in what may be left out.
struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        let written = settings.clone().for_serialize().into_generator();
        Self { read: settings.into_generator(), written }
    }

    fn sent<T: JsonSchema>(&mut self) -> Value {
        self.read.subschema_for::<T>().to_value()
    }

    fn answered<T: JsonSchema>(&mut self) -> Value {
        self.written.subschema_for::<T>().to_value()
    }

    fn all(mut self) -> Map<String, Value> {
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

fn operation(route: Route, schemas: &mut Schemas) -> Value {
    let (id, summary, description) = words(route);
    let mut operation = json!({ "operationId": id, "summary": summary, "description": description });
    if let Value::Object(fields) = &mut operation {
        let parameters = parameters(route, &mut schemas.read);
        if !parameters.is_empty() {
            fields.insert("parameters".to_owned(), parameters.into());
        }
        if route == Route::Submit {
            let content = json!({ "application/json": { "schema": schemas.sent::<CommandBody>() } });
            fields.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
        }
        let mut responses = answers(route, schemas);
        responses.extend(problems(route, schemas));
        fields.insert("responses".to_owned(), responses.into());
        let security = match route.needs() {
            Needs::Nothing => json!([{}]),
            Needs::Token(_) => json!([{ "token": [] }]),
        };
        fields.insert("security".to_owned(), security);
    }
    operation
}

fn words(route: Route) -> (&'static str, &'static str, String) {
    let (id, summary, description) = match route {
        Route::Livez => ("livez", "Is the process alive?", "Says nothing about the broker."),
        Route::Readyz => {
            ("readyz", "Can ferryd do its work?", "The broker is connected, and the ledger is known up to now.")
        }
        Route::Submit => (
            "submitCommand",
            "Publish a command",
            "The command is checked, put down in the ledger, and published like one that was published to RabbitMQ. To send \
             it again under the same id is safe: the answer is the same, and it is carried out once.",
        ),
        Route::Commands => ("listCommands", "List commands", "Newest first. Everything that is given must hold."),
        Route::Command => ("showCommand", "Show a command", "Its state, and what happened to it."),
        Route::Cancel => (
            "cancelCommand",
            "Cancel a command",
            "Possible until its first call begins. A command that is not known yet is cancelled when it comes.",
        ),
        Route::Erase => (
            "eraseCommand",
            "Erase the contents of a command that has ended",
            "Its reference, metadata, result, texts and the provider's ids leave the index, for good. Id, digests, state and times \
             stay, so that nothing is called again. A dead letter is resolved or discarded first.",
        ),
        Route::Exchanges => (
            "listExchanges",
            "Show what was said to the provider, and what it answered",
            "Masked, and cut where long. Kept for as long as the stream of exchanges keeps it. The search takes up to 10 s.",
        ),
        Route::Lookup => (
            "lookUpCommand",
            "Ask the provider about a command now",
            "By the operation's `lookup`, of a command that waits or is a dead letter. What it finds ends the command, and closes its \
             dead letter; `queries` of the command tell what was answered.",
        ),
        Route::DeadLetter => (
            "showDeadLetter",
            "Show the dead letter of a command",
            "And those of the messages that were refused under its id. What is recorded is answered at once; with `message=true` the \
             queue is gone through for the original messages, and the token needs the role `operate`.",
        ),
        Route::DeadLetters => {
            ("listDeadLetters", "List dead letters", "Newest first. Everything that is given must hold.")
        }
        Route::Groups => ("groupDeadLetters", "Count dead letters by how they failed", "The most frequent first."),
        Route::OpenApi => ("openapi", "Describe the API", "This document."),
    };
    let role = match route.needs() {
        Needs::Nothing => "Needs no token.",
        Needs::Token(Role::Read) => "Needs the role `read`.",
        Needs::Token(Role::Operate) => "Needs the role `operate`.",
        Needs::Token(Role::Erase) => "Needs the role `erase`.",
    };
    (id, summary, format!("{description} {role}"))
}

fn answers(route: Route, schemas: &mut Schemas) -> Map<String, Value> {
    let json_of = |description: &str, schema: Value| json!({ "description": description, "content": { "application/json": { "schema": schema } } });
    let mut answers = Map::new();
    let mut add = |status: &str, answer: Value| answers.insert(status.to_owned(), answer);
    match route {
        Route::Livez => add("200", json_of("It is.", schemas.answered::<Health>())),
        Route::Readyz => add("200", json_of("It can.", schemas.answered::<Health>())),
        Route::Submit => {
            add("200", ended(&schemas.answered::<Event>()));
            add("202", under_way(&schemas.answered::<Receipt>()))
        }
        Route::Commands | Route::DeadLetters => add("200", json_of("A page.", schemas.answered::<CommandPage>())),
        Route::Command => add("200", json_of("The command.", schemas.answered::<CommandStory>())),
        Route::Cancel => {
            let schema = schemas.answered::<Cancelled>();
            add("200", json_of("It is cancelled.", schema.clone()));
            add("202", json_of("It is not known yet; it will be cancelled if it comes.", schema))
        }
        Route::Erase => add("200", json_of("They are erased.", schemas.answered::<ErasedCommand>())),
        Route::Lookup => add("202", json_of("The provider is asked.", schemas.answered::<LookupReceipt>())),
        Route::DeadLetter => add("200", json_of("The dead letters.", schemas.answered::<DeadLetters>())),
        Route::Exchanges => add("200", json_of("What was found.", schemas.answered::<CommandExchanges>())),
        Route::Groups => add("200", json_of("The groups.", schemas.answered::<DeadLetterGroups>())),
        Route::OpenApi => add("200", json_of("An OpenAPI document.", json!({ "type": "object" }))),
    };
    answers
}

fn ended(schema: &Value) -> Value {
    json!({
        "description": "The command has ended: the event that says how.",
        "headers": headers(),
        "content": { event::CONTENT_TYPE: { "schema": schema } },
    })
}

fn under_way(schema: &Value) -> Value {
    json!({
        "description": "The command is on its way.",
        "headers": headers(),
        "content": { "application/json": { "schema": schema } },
    })
}

fn headers() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "Location": { "description": "Where to ask for the command.", "schema": text },
        "Preference-Applied": { "description": "`wait=N`, where that was waited for.", "schema": text },
    })
}

/// What can be wrong, by status.
fn problems(route: Route, schemas: &mut Schemas) -> Map<String, Value> {
    let schema = schemas.answered::<ProblemBody>();
    let mut by_status: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
    for kind in Kind::ALL.into_iter().filter(|kind| can_be(*kind, route)) {
        by_status.entry(kind.status().as_u16()).or_default().push(kind);
    }
    let problem = |(status, kinds): (u16, Vec<Kind>)| {
        let told = kinds.iter().map(|kind| format!("`{}`: {}", kind.slug(), kind.title()));
        let description = told.collect::<Vec<_>>().join("; ");
        let content = json!({ problem::MEDIA_TYPE: { "schema": schema.clone() } });
        (status.to_string(), json!({ "description": description, "content": content }))
    };
    by_status.into_iter().map(problem).collect()
}

/// Whether a route can answer with a kind of problem.
fn can_be(kind: Kind, route: Route) -> bool {
    let is_list = matches!(route, Route::Commands | Route::DeadLetters | Route::Groups);
    let is_one = matches!(route, Route::Command | Route::Exchanges | Route::DeadLetter);
    let writes = matches!(route, Route::Submit | Route::Cancel | Route::Erase | Route::Lookup);
    match kind {
        Kind::NotFound | Kind::MethodNotAllowed | Kind::Unverified | Kind::TooManyRequests => false,
        Kind::Unauthorized => route.needs() != Needs::Nothing,
        Kind::Forbidden => {
            route == Route::DeadLetter || matches!(route.needs(), Needs::Token(role) if role != Role::Read)
        }
        Kind::InvalidRequest | Kind::Internal => is_list || is_one || writes,
        Kind::UnknownCommand => is_one || matches!(route, Route::Cancel | Route::Erase | Route::Lookup),
        Kind::RequestTimeout
        | Kind::OtherContent
        | Kind::TooLarge
        | Kind::UnsupportedMediaType
        | Kind::InvalidCommand
        | Kind::NewerVersion => route == Route::Submit,
        Kind::TooLate => route == Route::Cancel,
        Kind::NotErasable => route == Route::Erase,
        Kind::NothingToAsk => route == Route::Lookup,
        Kind::CatchingUp => is_list || is_one || writes || route == Route::Readyz,
        Kind::BrokerAway | Kind::NotConfirmed | Kind::Stopping => is_one || writes || route == Route::Readyz,
        Kind::Busy => {
            matches!(route, Route::Submit | Route::Exchanges | Route::Erase | Route::Lookup | Route::DeadLetter)
        }
    }
}

#[cfg(test)]
#[path = "openapi_tests.rs"]
mod tests;
