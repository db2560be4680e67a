//! Compares the catalog's fields and limits with tables made of the providers' official
//! specifications.
//!
//! The tables are `tests/fixtures/provider-constraints/*.json`; `tests/emulators/constraints.py`
//! makes them from official documents.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};
use url::Url;

use super::catalog;
use super::payload_limits::{PayloadLimits, compare_limits};

/// The most characters of a command's id, which stands in for a field that a payload leaves out.
const LONGEST_ID: usize = 128;

/// The accepted departures from a specification, each with its reason.
const EXEMPT: [(&str, &str); 3] = [
    (
        "adyen: charge: additionalData, values: any type",
        "Adyen refuses what is no text, before it does anything",
    ),
    (
        "adyen: charge: returnUrl is required",
        "not where no shopper is there, and the provider file's `account` has one",
    ),
    ("stripe: charge: metadata: string is not taken", "it is not sent"),
];

fn table(name: &str) -> Value {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .join("tests/fixtures/provider-constraints");
    serde_json::from_slice(&std::fs::read(folder.join(format!("{name}.json"))).unwrap()).unwrap()
}

fn file(name: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(catalog::source(name).unwrap()).unwrap())
        .unwrap()
}

/// One request of a catalog file, with the official specification of it.
struct CatalogRequest<'a> {
    name: String,
    request: &'a Value,
    body: &'a Value,
    payload: &'a Value,
    key: &'a Value,
    official: &'a Value,
}

/// A path with `{}` where its parts are expressions.
fn shape(path: &str) -> String {
    let parts = path.split("{{").enumerate();
    parts
        .map(|(n, part)| {
            if n == 0 {
                part.to_owned()
            } else {
                format!("{{}}{}", part.split_once("}}").unwrap().1)
            }
        })
        .collect()
}

fn requests<'a>(
    file: &'a Value,
    table: &'a Value,
    faults: &mut Vec<String>,
) -> Vec<CatalogRequest<'a>> {
    let base = Url::parse(file["base_url"].as_str().unwrap()).unwrap();
    let mut found = Vec::new();
    for (operation, keys) in file["operations"].as_object().unwrap() {
        for (step, from) in [("", keys), (".poll", &keys["poll"]), (".lookup", &keys["lookup"])] {
            let (name, request) = (format!("{operation}{step}"), &from["request"]);
            if request.is_null() {
                continue;
            }
            let first = step.is_empty();
            found.push(CatalogRequest {
                official: official(&base, table, &name, request, faults),
                name,
                request,
                body: if first { &keys["body"] } else { &Value::Null },
                payload: &keys["payload"],
                key: if first { &keys["idempotency"] } else { &Value::Null },
            });
        }
    }
    let (name, verification) = ("verification".to_owned(), &file["verification"]);
    let request = &verification["request"];
    found.push(CatalogRequest {
        official: official(&base, table, &name, request, faults),
        name,
        request,
        body: &verification["body"],
        payload: &Value::Null,
        key: &Value::Null,
    });
    found
}

/// The official specification of a request.
fn official<'a>(
    base: &Url,
    table: &'a Value,
    name: &str,
    request: &Value,
    faults: &mut Vec<String>,
) -> &'a Value {
    let path = format!(
        "{}{}",
        base.path().trim_end_matches('/'),
        shape(request["path"].as_str().unwrap())
    );
    let official = &table["requests"][format!("{} {path}", request["method"].as_str().unwrap())];
    if official.is_null() {
        faults.push(format!("{name}: {} {path} is in no specification", request["method"]));
    }
    official
}

/// The names of a payload's fields that an expression reads.
fn fields_read(expression: &str) -> BTreeSet<&str> {
    let names = expression.split("payload.").skip(1);
    names
        .map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap())
        .collect()
}

/// The most characters of the command's id that an expression takes, where the id stands in for a
/// field that a payload leaves out.
fn length_of_id(expression: &str) -> Option<usize> {
    let (_, rest) = expression
        .split_once("default(command.id")
        .or_else(|| expression.split_once("default((command."))?;
    let cut = rest.split_once("[:").and_then(|(_, length)| length.split_once(']')?.0.parse().ok());
    Some(cut.unwrap_or(LONGEST_ID))
}

impl CatalogRequest<'_> {
    /// Checks the value that is sent in one field against the official constraints of the field.
    fn hold_value(&self, place: &str, value: &Value, official: &Value, faults: &mut Vec<String>) {
        match value {
            Value::Object(fields) => self.hold_level(place, fields, official, faults),
            Value::Array(items) => {
                for item in items {
                    self.hold_value(&format!("{place}[]"), item, &official["items"], faults);
                }
            }
            Value::String(text) if text.contains("{{") => {
                self.hold_expression(place, text, official, faults);
            }
            constant => compare_limits(
                &PayloadLimits::of_value(constant),
                official,
                &format!("{}: {place}", self.name),
                faults,
            ),
        }
    }

    fn hold_expression(&self, place: &str, text: &str, official: &Value, faults: &mut Vec<String>) {
        let read = fields_read(text);
        let place = format!("{}: {place}", self.name);
        if let (Some(field), 1) = (read.first(), read.len()) {
            let schema = &self.payload["properties"][*field];
            let limits = PayloadLimits::of_schema(schema);
            let limits = if text.contains("| decimal(") { limits.of_any_type() } else { limits };
            compare_limits(&limits, official, &place, faults);
        }
        if let Some(length) = length_of_id(text) {
            compare_limits(
                &PayloadLimits::of_text(length),
                official,
                &format!("{place}, where it is the command's id"),
                faults,
            );
        }
    }

    /// Checks a map against its allowed fields and its required ones.
    fn hold_level(
        &self,
        place: &str,
        fields: &Map<String, Value>,
        official: &Value,
        faults: &mut Vec<String>,
    ) {
        let whole =
            |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
        for (name, value) in fields {
            match official["fields"].get(name) {
                Some(field) => self.hold_value(&whole(name), value, field, faults),
                None => faults.push(format!("{}: {} is no field", self.name, whole(name))),
            }
        }
        for name in official["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
        {
            if !fields.get(name).is_some_and(|value| self.is_sent(value)) {
                faults.push(format!(
                    "{}: {} is required, and may be left out",
                    self.name,
                    whole(name)
                ));
            }
        }
    }

    /// Returns true if a value is sent in every request.
    fn is_sent(&self, value: &Value) -> bool {
        let Some(text) = value.as_str().filter(|text| text.contains("{{")) else { return true };
        let required = self.payload["required"].as_array();
        let given = |field: &str| required.is_some_and(|names| names.contains(&json!(field)));
        let read = fields_read(text);
        length_of_id(text).is_some()
            || text.contains("default('")
            || read.iter().all(|field| given(field)) && !text.contains("command.reference")
    }

    fn hold_places(&self, faults: &mut Vec<String>) {
        if let Some(query) = self.request["query"].as_object() {
            self.hold_level("query", query, &json!({"fields": self.official["query"]}), faults);
        }
        let path = self.request["path"].as_str().unwrap();
        let parts: Vec<_> =
            path.split("{{").skip(1).map(|part| part.split_once("}}").unwrap().0).collect();
        let official = self.official["path"].as_object().cloned().unwrap_or_default();
        assert_eq!(parts.len(), official.len(), "{}: {path}", self.name);
        for (part, (name, limits)) in parts.iter().zip(&official) {
            self.hold_expression(&format!("path {name}"), part, limits, faults);
        }
        if let (Some(header), Some(longest)) =
            (self.key["header"].as_str(), self.key["max_length"].as_u64())
        {
            let official = self.official["header"].get(header).unwrap_or(&Value::Null);
            compare_limits(
                &PayloadLimits::of_text(usize::try_from(longest).unwrap()),
                official,
                &format!("{}: {header}", self.name),
                faults,
            );
        }
    }

    fn hold_all(&self, faults: &mut Vec<String>) {
        self.hold_places(faults);
        match self.body {
            Value::Object(fields) => self.hold_level("", fields, &self.official["body"], faults),
            Value::Null => assert!(self.official["body"]["required"].is_null(), "{}", self.name),
            other => panic!("{}: {other}", self.name),
        }
        let ours = if self.request["encoding"] == "form" {
            "application/x-www-form-urlencoded"
        } else {
            "application/json"
        };
        let taken = self.official["media_types"].as_array();
        if taken.is_some_and(|types| !types.contains(&json!(ours))) {
            faults.push(format!("{}: {ours} is not taken", self.name));
        }
    }
}

fn faults_of(name: &str, file: &Value) -> Vec<String> {
    let (table, mut faults) = (table(name), Vec::new());
    for request in requests(file, &table, &mut faults) {
        if !request.official.is_null() {
            request.hold_all(&mut faults);
        }
    }
    faults
}

#[test]
fn no_field_and_no_limit_of_the_catalog_goes_beyond_the_official_specification() {
    let mut wrong = Vec::new();
    for name in catalog::names() {
        let faults = faults_of(name, &file(name)).into_iter();
        wrong.extend(faults.map(|fault| format!("{name}: {fault}")));
    }
    for (beyond, why) in EXEMPT {
        let before = wrong.len();
        wrong.retain(|fault| !fault.starts_with(beyond));
        assert!(
            wrong.len() < before,
            "nothing begins with `{beyond}` any more ({why}): take it out of EXEMPT"
        );
    }
    assert!(wrong.is_empty(), "{} faults\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_table_says_where_it_is_from() {
    for name in catalog::names() {
        let table = table(name);
        assert!(table["source"].as_str().is_some_and(|text| text.len() > 10), "{name}");
        assert!(table["version"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        for departure in table["departures"].as_array().unwrap() {
            for key in ["what", "why", "source"] {
                assert!(
                    departure[key].as_str().is_some_and(|text| text.len() > 3),
                    "{name}: {departure}"
                );
            }
        }
    }
}

#[test]
fn a_field_or_limit_beyond_the_specification_is_found() {
    let changes: [(&str, &str, Value, &str); 11] = [
        (
            "twilio",
            "/operations/send_sms/body/Colour",
            json!("{{ payload.to }}"),
            "Colour is no field",
        ),
        (
            "twilio",
            "/operations/send_sms/payload/properties/body/maxLength",
            json!(1601),
            "Body: at most 1600",
        ),
        (
            "twilio",
            "/operations/send_sms/payload/properties/validity_period/maximum",
            json!(36001),
            "at most 36000",
        ),
        (
            "twilio",
            "/operations/send_sms/payload/properties/smart_encoded",
            json!({"type": "string"}),
            "SmartEncoded: string",
        ),
        ("twilio", "/operations/send_sms/payload/required", json!([]), "To is required"),
        (
            "twilio",
            "/operations/send_sms/request/encoding",
            json!("json"),
            "application/json is not taken",
        ),
        (
            "sendgrid",
            "/operations/send_mail/payload/properties/personalizations/maxItems",
            json!(1001),
            "at most 1000",
        ),
        (
            "paypal",
            "/operations/create_order/payload/properties/intent",
            json!({"enum": ["CAPTURE", "LATER"]}),
            "LATER",
        ),
        (
            "stripe",
            "/operations/retrieve/request/path",
            json!("/v1/payments/{{ payload.payment_intent }}"),
            "is in no specification",
        ),
        (
            "sendgrid",
            "/verification/request/path",
            json!("/v3/scope"),
            "verification: \"GET\" /v3/scope is in no",
        ),
        (
            "adyen",
            "/verification/body",
            json!({"account": "x"}),
            "verification: account is no field",
        ),
    ];
    for (name, pointer, value, expected) in changes {
        let mut file = file(name);
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        file.pointer_mut(parent).unwrap()[key] = value;
        let faults = faults_of(name, &file);
        assert!(
            faults.iter().any(|fault| fault.contains(expected)),
            "{pointer}: {expected}\n{}",
            faults.join("\n")
        );
    }
}
