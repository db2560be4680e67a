//! Examples of webhooks as templates, from a provider's file and from the built-in file that
//! it builds on.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Json;

use super::file::WebhookExampleFile;
use super::title;
use crate::catalog;
use crate::registry::files;
use ferryd_domain::name::Name;

/// A webhook as an example shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookSample {
    /// The example's description.
    pub name: String,
    /// The call's headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The call's query, decoded.
    pub query: BTreeMap<String, String>,
    /// The call's body: a map or list stands for JSON, a text for itself.
    pub body: Option<Json>,
}

/// The parts of a provider file that are read here.
#[derive(Deserialize)]
struct SampleFile {
    r#use: Option<String>,
    name: Option<String>,
    #[serde(default)]
    webhook: SampleWebhook,
}

#[derive(Default, Deserialize)]
struct SampleWebhook {
    #[serde(default)]
    examples: Vec<WebhookExampleFile>,
}

/// The samples of a provider, those of its own file first. `dir` is the folder of provider files,
/// which were validated before.
#[must_use]
pub fn samples(dir: &Path, provider: &Name) -> Vec<WebhookSample> {
    let texts =
        files(dir).unwrap_or_default().into_iter().filter_map(|path| fs::read_to_string(path).ok());
    let own = texts.filter_map(|text| toml::from_str::<SampleFile>(&text).ok());
    let own = own.filter(|file| {
        file.name.as_ref().or(file.r#use.as_ref()).is_some_and(|name| name == provider.as_str())
    });
    own.flat_map(|file| {
        let below = file.r#use.as_deref().and_then(catalog::source);
        let below = below.and_then(|text| toml::from_str::<SampleFile>(text).ok());
        let below = below.map(|file| file.webhook.examples).unwrap_or_default();
        file.webhook
            .examples
            .into_iter()
            .chain(below)
            .enumerate()
            .map(|(n, example)| WebhookSample::of(example, n))
    })
    .collect()
}

impl WebhookSample {
    fn of(example: WebhookExampleFile, number: usize) -> Self {
        let WebhookExampleFile { name, headers, query, body, .. } = example;
        let headers = headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
        Self { name: title(name.as_ref(), number), headers: headers.collect(), query, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_has_the_examples_of_its_file_and_of_the_catalogs() {
        let folder = tempfile::tempdir().unwrap();
        let own = "use = \"stripe\"\nname = \"stripe-eu\"\n[webhook]\n[[webhook.examples]]\nname = \"ours\"\n\
                   headers = { X-A = \"b\" }\nbody = { id = 1 }\nexpect = []\n";
        fs::write(folder.path().join("a.toml"), own).unwrap();
        fs::write(folder.path().join("b.toml"), "use = \"twilio\"\n").unwrap();
        let names = |provider: &str| -> Vec<String> {
            samples(folder.path(), &provider.parse().unwrap())
                .into_iter()
                .map(|sample| sample.name)
                .collect()
        };
        assert_eq!(names("stripe-eu")[..2], ["ours", "a payment that succeeds"]);
        assert!(names("twilio").contains(&"an incoming message".to_owned()));
        assert_eq!(names("stripe"), Vec::<String>::new());
        let first = samples(folder.path(), &"stripe-eu".parse().unwrap()).remove(0);
        assert_eq!(first.headers, [("x-a".to_owned(), "b".to_owned())]);
        assert_eq!(first.body, Some(serde_json::json!({"id": 1})));
    }
}
