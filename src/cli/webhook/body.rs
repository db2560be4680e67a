//! Builds the body of a call that is sent by hand: from a file, or from an example of the
//! provider's file with changed values.

use std::path::Path;

use serde_json::Value;
use url::form_urlencoded;

use super::captured;
use crate::cli::error::CommandError;
use ferryd_provider::example::WebhookSample;

/// The body of a call, with its headers and query.
#[derive(Debug, PartialEq)]
pub(super) struct WebhookContent {
    /// The bytes of the body.
    pub(super) body: Vec<u8>,
    /// The headers, with names in lower case.
    pub(super) headers: Vec<(String, String)>,
    /// The parameters of the query.
    pub(super) query: Vec<(String, String)>,
}

/// A value to set in a body, with its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BodySetting {
    path: String,
    value: String,
}

impl BodySetting {
    /// Parses `data.object.id=pi_1`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (path, value) = text
            .split_once('=')
            .ok_or("is no setting: write PATH=VALUE, such as data.object.id=pi_1")?;
        Ok(Self { path: path.to_owned(), value: value.to_owned() })
    }
}

impl WebhookContent {
    /// Reads a file as it is, or the standard input where the path is `-`.
    pub(super) fn of_file(path: &Path) -> Result<Self, CommandError> {
        Ok(Self { body: captured::bytes(path)?, headers: Vec::new(), query: Vec::new() })
    }

    /// Takes an example.
    pub(super) fn of_sample(samples: Vec<WebhookSample>, name: &str) -> Result<Self, CommandError> {
        let known: Vec<_> = samples.iter().map(|sample| format!("'{}'", sample.name)).collect();
        let Some(WebhookSample { headers, query, body, .. }) =
            samples.into_iter().find(|sample| sample.name == name)
        else {
            let known =
                if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
            let text = format!("the provider's file has no example '{name}' of a webhook: {known}");
            return Err(CommandError::Refused(text));
        };
        let body = match body {
            None => Vec::new(),
            Some(Value::String(text)) => text.into_bytes(),
            Some(value) => value.to_string().into_bytes(),
        };
        Ok(Self { body, headers, query: query.into_iter().collect() })
    }

    /// Sets values in the body.
    pub(super) fn set(&mut self, settings: &[BodySetting]) -> Result<(), CommandError> {
        if settings.is_empty() {
            return Ok(());
        }
        let refused = |text: String| CommandError::Refused(text);
        self.body = match serde_json::from_slice::<Value>(&self.body) {
            Ok(mut json) => {
                settings.iter().try_for_each(|setting| put(&mut json, setting)).map_err(refused)?;
                json.to_string().into_bytes()
            }
            Err(_) => form_with(&self.body, settings).map_err(refused)?,
        };
        Ok(())
    }
}

/// Sets a value in JSON. It stays a text where there was one; else it is JSON if it can be parsed
/// as such.
fn put(json: &mut Value, BodySetting { path, value }: &BodySetting) -> Result<(), String> {
    let (parents, last) = path
        .rsplit_once('.')
        .map_or((None, path.as_str()), |(parents, last)| (Some(parents), last));
    let mut place = json;
    for step in parents.into_iter().flat_map(|parents| parents.split('.')) {
        place = inside(place, step)
            .ok_or_else(|| format!("--set {path}: the body has no `{step}` there"))?;
    }
    let text = || Value::String(value.clone());
    let plain = || serde_json::from_str(value).unwrap_or_else(|_| text());
    if let Some(there) = inside(place, last) {
        *there = if there.is_string() { text() } else { plain() };
        return Ok(());
    }
    let Value::Object(entries) = place else {
        return Err(format!("--set {path}: the body has no `{last}` there"));
    };
    entries.insert(last.to_owned(), plain());
    Ok(())
}

/// Finds an entry of a map, or an item of a list by its index from 0.
fn inside<'j>(json: &'j mut Value, step: &str) -> Option<&'j mut Value> {
    match json {
        Value::Object(entries) => entries.get_mut(step),
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    }
}

fn form_with(body: &[u8], settings: &[BodySetting]) -> Result<Vec<u8>, String> {
    if !body.is_empty() && !body.contains(&b'=') {
        return Err("--set: the body is neither JSON nor a form".to_owned());
    }
    let mut pairs: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    for BodySetting { path, value } in settings {
        match pairs.iter().position(|(name, _)| name == path) {
            Some(at) => pairs[at].1.clone_from(value),
            None => pairs.push((path.clone(), value.clone())),
        }
    }
    Ok(form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(body: &str, settings: &[&str]) -> Result<String, String> {
        let settings: Vec<_> =
            settings.iter().map(|text| BodySetting::parse(text).unwrap()).collect();
        let mut content =
            WebhookContent { body: body.into(), headers: Vec::new(), query: Vec::new() };
        content.set(&settings).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(content.body).unwrap())
    }

    #[test]
    fn values_go_to_their_place_and_keep_their_type() {
        let body = r#"{"id":"1","data":{"amount":5,"tags":["a","b"]}}"#;
        for (settings, expected) in [
            (vec![], body),
            (vec!["id=2"], r#"{"id":"2","data":{"amount":5,"tags":["a","b"]}}"#),
            (
                vec!["data.amount=7", "data.tags.1=x=y"],
                r#"{"id":"1","data":{"amount":7,"tags":["a","x=y"]}}"#,
            ),
            (
                vec!["data.new={\"a\":[1]}"],
                r#"{"id":"1","data":{"amount":5,"tags":["a","b"],"new":{"a":[1]}}}"#,
            ),
            (vec!["data.amount=much"], r#"{"id":"1","data":{"amount":"much","tags":["a","b"]}}"#),
        ] {
            assert_eq!(set(body, &settings).as_deref(), Ok(expected), "{settings:?}");
        }
        assert_eq!(set("a=1&b=2", &["b=x y", "c=3"]).as_deref(), Ok("a=1&b=x+y&c=3"));
    }

    #[test]
    fn a_place_that_is_not_there_is_named() {
        for (settings, fault) in [
            ("other.id=1", "--set other.id: the body has no `other` there"),
            ("id.x=1", "--set id.x: the body has no `x` there"),
            ("list.7=1", "--set list.7: the body has no `7` there"),
        ] {
            let error = set(r#"{"id":"1","list":[]}"#, &[settings]).unwrap_err();
            assert!(error.contains(fault), "{error}");
        }
        assert!(set("plain", &["a=1"]).unwrap_err().contains("neither JSON nor a form"));
        assert!(BodySetting::parse("data.object.id").is_err());
    }

    #[test]
    fn an_example_is_taken_by_its_name_and_the_others_are_listed() {
        let sample = |name: &str| WebhookSample {
            name: name.to_owned(),
            headers: vec![("x-a".to_owned(), "b".to_owned())],
            query: [("q".to_owned(), "1".to_owned())].into(),
            body: Some(json!({"id": 1})),
        };
        let content =
            WebhookContent::of_sample(vec![sample("paid"), sample("lost")], "lost").unwrap();
        assert_eq!((content.body.as_slice(), content.query.len()), (&br#"{"id":1}"#[..], 1));
        let error = WebhookContent::of_sample(vec![sample("paid"), sample("lost")], "gone")
            .unwrap_err()
            .to_string();
        assert!(error.contains("no example 'gone'") && error.contains("'paid', 'lost'"), "{error}");
        assert!(
            WebhookContent::of_sample(Vec::new(), "gone")
                .unwrap_err()
                .to_string()
                .contains("there is none")
        );
    }
}
