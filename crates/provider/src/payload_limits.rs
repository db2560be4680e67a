//! The limits that a payload's JSON Schema puts on one field, and their comparison with those of a
//! specification.

use serde_json::{Map, Value};

/// A length that stands for all texts of a provider; the catalog's fields do not repeat it.
const GENERAL_LENGTH: u64 = 5_000;

/// The mark of a branch whose values are converted before they are sent.
const CONVERTED: &str = "converted";

/// The values that a field of a payload may have: one entry for each branch of its schema.
pub(super) struct PayloadLimits(Vec<Map<String, Value>>);

impl PayloadLimits {
    /// The limits of a JSON Schema, one entry for each branch.
    pub(super) fn of_schema(schema: &Value) -> Self {
        let branches = schema["anyOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
        let branch = |branch: Value| branch.as_object().cloned().unwrap_or_default();
        Self(branches.into_iter().map(branch).map(with_types).collect())
    }

    /// The limits of a constant value.
    pub(super) fn of_value(value: &Value) -> Self {
        Self::of_schema(&serde_json::json!({"const": value}))
    }

    /// The limits of a required text of at most so many characters.
    pub(super) fn of_text(longest: usize) -> Self {
        Self::of_schema(
            &serde_json::json!({"type": "string", "minLength": 1, "maxLength": longest}),
        )
    }

    /// The same limits for a value that is written as another type.
    pub(super) fn of_any_type(mut self) -> Self {
        for branch in &mut self.0 {
            branch.insert(CONVERTED.to_owned(), true.into());
        }
        self
    }
}

/// Normalizes a branch: its types as a list, a constant as its only choice, and the lengths that a
/// pattern implies.
fn with_types(mut branch: Map<String, Value>) -> Map<String, Value> {
    if let Some(value) = branch.remove("const") {
        branch.insert("enum".to_owned(), Value::Array(vec![value]));
    }
    let types = match (branch.get("type"), branch.get("enum").and_then(Value::as_array)) {
        (Some(Value::String(kind)), _) => vec![Value::String(kind.clone())],
        (Some(Value::Array(kinds)), _) => kinds.clone(),
        (_, Some(choices)) => {
            choices.iter().map(|choice| Value::String(kind_of(choice).to_owned())).collect()
        }
        _ => Vec::new(),
    };
    if !types.is_empty() {
        branch.insert("type".to_owned(), Value::Array(types));
    }
    if let Some((shortest, longest)) =
        branch.get("pattern").and_then(Value::as_str).and_then(pattern_lengths)
    {
        branch.insert("minLength".to_owned(), shortest.into());
        branch.insert("maxLength".to_owned(), longest.into());
    }
    branch
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The lengths that a pattern of the form `^[…]{3}$` or `^[…]{1,36}$` allows.
fn pattern_lengths(pattern: &str) -> Option<(u64, u64)> {
    let counted = pattern.strip_prefix("^[")?.strip_suffix("}$")?;
    let (class, counts) = counted.split_once("]{")?;
    let (least, most) = counts.split_once(',').unwrap_or((counts, counts));
    if class.contains(']') { None } else { Some((least.parse().ok()?, most.parse().ok()?)) }
}

/// Compares the limits of a field with the official ones, and adds every value that exceeds them.
pub(super) fn compare_limits(
    limits: &PayloadLimits,
    official: &Value,
    place: &str,
    faults: &mut Vec<String>,
) {
    for branch in &limits.0 {
        hold_types(branch, official, place, faults);
        hold_choices(branch, official, place, faults);
        for (limit, kind, upper) in [
            ("minLength", "string", false),
            ("maxLength", "string", true),
            ("minimum", "integer", false),
            ("maximum", "integer", true),
            ("minItems", "array", false),
            ("maxItems", "array", true),
            ("maxProperties", "object", true),
        ] {
            let concerned = branch
                .get("type")
                .and_then(Value::as_array)
                .is_some_and(|types| types.contains(&kind.into()));
            let (Some(bound), true) =
                (official[limit].as_u64(), concerned && branch.get("enum").is_none())
            else {
                continue;
            };
            let ours = branch.get(limit).and_then(Value::as_u64);
            let kept = ours.is_some_and(|ours| if upper { ours <= bound } else { ours >= bound });
            let general = ours.is_none() && limit == "maxLength" && bound >= GENERAL_LENGTH;
            if !(kept || general) {
                let side = if upper { "at most" } else { "at least" };
                let ours = ours.map_or_else(|| "no limit".to_owned(), |ours| ours.to_string());
                faults.push(format!(
                    "{place}: {side} {bound} by `{limit}`, and the catalog has {ours}"
                ));
            }
        }
        hold_inner(branch, official, place, faults);
    }
}

/// Compares the items of a list, and the names and values of a map.
fn hold_inner(
    branch: &Map<String, Value>,
    official: &Value,
    place: &str,
    faults: &mut Vec<String>,
) {
    for (ours, theirs, kind) in [
        ("items", "items", "array"),
        ("additionalProperties", "values", "object"),
        ("propertyNames", "keys", "object"),
    ] {
        let concerned = branch
            .get("type")
            .and_then(Value::as_array)
            .is_some_and(|types| types.contains(&kind.into()));
        let within = branch.get(ours).unwrap_or(&Value::Null);
        if official[theirs].is_null() || !concerned || within == false {
            continue;
        }
        let mut within = within.as_object().cloned().unwrap_or_default();
        if ours == "propertyNames" {
            within.insert("type".to_owned(), "string".into());
        }
        compare_limits(
            &PayloadLimits::of_schema(&Value::Object(within)),
            &official[theirs],
            &format!("{place}, {theirs}"),
            faults,
        );
    }
}

fn hold_types(
    branch: &Map<String, Value>,
    official: &Value,
    place: &str,
    faults: &mut Vec<String>,
) {
    let Some(allowed) = official["type"].as_array().filter(|types| !types.is_empty()) else {
        return;
    };
    if branch.contains_key(CONVERTED) {
        return;
    }
    if !branch.contains_key("type") {
        faults.push(format!("{place}: any type, where only {} is taken", official["type"]));
    }
    for kind in branch.get("type").and_then(Value::as_array).into_iter().flatten() {
        let number = kind == "integer" && allowed.contains(&"number".into());
        if !allowed.contains(kind) && !number {
            faults.push(format!(
                "{place}: {} is not taken, but {official_types}",
                kind.as_str().unwrap_or_default(),
                official_types = official["type"]
            ));
        }
    }
}

fn hold_choices(
    branch: &Map<String, Value>,
    official: &Value,
    place: &str,
    faults: &mut Vec<String>,
) {
    let Some(allowed) = official["enum"].as_array() else { return };
    let text = branch
        .get("type")
        .and_then(Value::as_array)
        .is_some_and(|types| types.contains(&"string".into()));
    match branch.get("enum").and_then(Value::as_array) {
        Some(choices) => {
            for choice in
                choices.iter().filter(|choice| choice.is_string() && !allowed.contains(choice))
            {
                faults
                    .push(format!("{place}: {choice} is none of the choices {}", official["enum"]));
            }
        }
        None if text => {
            faults.push(format!("{place}: any text, where only {} are taken", official["enum"]));
        }
        None => {}
    }
}
