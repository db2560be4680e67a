//! The engine that evaluates expressions: minijinja with a bounded amount of work, whose filters
//! reject missing values.

use std::sync::{Arc, LazyLock};

use minijinja::value::{Object, ObjectRepr, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, Value, filters};

use super::decimal::decimal;

/// The most work of one expression, in minijinja's fuel units: about a tenth of a second at the
/// worst.
const FUEL: u64 = 200_000;

/// The environment that all expressions share.
pub(super) static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(engine);

fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Chainable);
    engine.set_fuel(Some(FUEL));
    engine.add_function("null", || Value::from_object(SentNull));
    engine.add_filter("decimal", decimal);
    engine.add_filter("merge", merge);
    for (name, filter) in needing_a_value() {
        engine.add_filter(name, move |state: &mut State, args: Rest<ValueOrKwargs>| {
            let args: Vec<Value> = args.0.into_iter().map(Value::from).collect();
            match args.first() {
                Some(value) if value.is_undefined() || value.is_none() => Err(Error::new(
                    ErrorKind::UndefinedError,
                    format!("there is no value for `{name}`; put `| default(…)` before it where that may be"),
                )),
                _ => filter.call(state, &args),
            }
        });
    }
    engine
}

/// Wraps the built-in filters that would read a missing value as an empty text or a zero.
fn needing_a_value() -> Vec<(&'static str, Value)> {
    vec![
        ("lower", Value::from_function(filters::lower)),
        ("upper", Value::from_function(filters::upper)),
        ("title", Value::from_function(filters::title)),
        ("capitalize", Value::from_function(filters::capitalize)),
        ("trim", Value::from_function(filters::trim)),
        ("join", Value::from_function(filters::join)),
        ("split", Value::from_function(filters::split)),
        ("string", Value::from_function(filters::string)),
        ("int", Value::from_function(filters::int)),
        ("float", Value::from_function(filters::float)),
        ("abs", Value::from_function(filters::abs)),
        ("round", Value::from_function(filters::round)),
        ("urlencode", Value::from_function(filters::urlencode)),
        ("tojson", Value::from_function(filters::tojson)),
        ("length", Value::from_function(filters::length)),
        ("count", Value::from_function(filters::length)),
    ]
}

/// The filter `merge`: merges two maps; entries of the right one override those of the left one. A
/// missing right map changes nothing.
fn merge(left: &Value, right: &Value) -> Result<Value, Error> {
    let pairs = |map: &Value| -> Result<Vec<(Value, Value)>, Error> {
        if map.is_undefined() || map.is_none() {
            return Ok(Vec::new());
        }
        if map.kind() != ValueKind::Map {
            return Err(Error::new(ErrorKind::InvalidOperation, "`merge` takes maps"));
        }
        map.try_iter()?.map(|key| Ok((key.clone(), map.get_item(&key)?))).collect()
    };
    let mut merged = pairs(left)?;
    for (key, value) in pairs(right)? {
        match merged.iter_mut().find(|(known, _)| *known == key) {
            Some(entry) => entry.1 = value,
            None => merged.push((key, value)),
        }
    }
    Ok(Value::from_pairs(merged))
}

/// The value of `null()`: a null that is sent, where `none` is left out.
#[derive(Debug)]
pub(super) struct SentNull;

impl Object for SentNull {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}
