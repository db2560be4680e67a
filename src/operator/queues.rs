//! The queues that hold dead letters, and the providers that name them.

use std::fs;
use std::path::{Path, PathBuf};

use super::queue_cursor::depth;
use super::{OperatorContext, OperatorError};
use ferryd_broker::connection::say_goodbye;
use ferryd_broker::error::BrokerError;
use ferryd_broker::message::short_string;
use ferryd_broker::topology::TopologyNames;
use ferryd_domain::name::Name;

/// The queues that can hold dead letters of `providers`, or of the one that is `wanted`, which need
/// not be configured any more. The last is the queue of dead letters that belong to no provider.
#[must_use]
pub fn dead_queues(
    names: &TopologyNames,
    providers: &[Name],
    wanted: Option<&Name>,
) -> Vec<String> {
    let mut queues: Vec<String> = match wanted {
        Some(provider) => vec![names.dead_of(provider)],
        None => providers.iter().map(|provider| names.dead_of(provider)).collect(),
    };
    queues.push(names.dead_other());
    queues.dedup();
    queues
}

/// The queues that can hold dead letters of `configured` providers, and of those besides that the
/// ledger `known`s dead letters of, as far as they have a queue: a provider that was taken out of
/// the configuration leaves it behind.
///
/// # Errors
/// [`OperatorError`].
pub async fn all_dead_queues(
    operator: &OperatorContext,
    configured: &[Name],
    known: Vec<Name>,
) -> Result<Vec<String>, OperatorError> {
    let mut providers = configured.to_vec();
    let removed: Vec<Name> = known.into_iter().filter(|name| !configured.contains(name)).collect();
    if !removed.is_empty() {
        let connection = operator.amqp.connect("operator-queues").await?;
        for provider in removed {
            // The broker closes a channel that asks for what is not there.
            let channel = connection
                .create_channel()
                .await
                .map_err(BrokerError::while_doing("open a channel"))?;
            if depth(&channel, &short_string(&operator.names.dead_of(&provider))?).await?.is_some()
            {
                providers.push(provider);
            }
        }
        say_goodbye(&connection).await;
    }
    Ok(dead_queues(&operator.names, &providers, None))
}

/// The one of these queues in which a dead letter of `provider` lies: where it has none, the broker
/// dead-letters it.
#[must_use]
pub fn dead_queue(names: &TopologyNames, queues: &[String], provider: Option<&Name>) -> String {
    let own =
        provider.map(|provider| names.dead_of(provider)).filter(|queue| queues.contains(queue));
    own.unwrap_or_else(|| names.dead_other())
}

/// Reason for which the names of the providers in a folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// The folder or a file can't be read.
    #[error("{path}: failed to read: {source}", path = path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file gives no name.
    #[error("{path}: {message}", path = path.display())]
    Unnamed {
        /// The file.
        path: PathBuf,
        /// The fault, for people.
        message: String,
    },
}

/// The names in the provider files of a folder, sorted, and nothing else of them: an operator's
/// shell need not have the secrets that the daemon has. A file without `name` has that of the
/// catalog's file it uses.
///
/// # Errors
/// [`NamesError`] at the first file that can't be used.
pub fn provider_names(dir: &Path) -> Result<Vec<Name>, NamesError> {
    Ok(read_outlines(dir)?.into_iter().map(|outline| outline.name).collect())
}

/// Reads the name in the text of a provider file, as [`provider_names`] reads it.
///
/// # Errors
/// The reason for which the file gives no name.
pub fn provider_name(text: &str) -> Result<Name, String> {
    read_outline(text).map(|outline| outline.name)
}

/// The names of the providers that call back, sorted, read as [`provider_names`] reads them.
///
/// # Errors
/// As [`provider_names`].
pub fn calling_back(dir: &Path) -> Result<Vec<Name>, NamesError> {
    Ok(read_outlines(dir)?
        .into_iter()
        .filter(|outline| outline.webhook)
        .map(|outline| outline.name)
        .collect())
}

/// The retry groups that providers name, read as [`provider_names`] reads them.
///
/// # Errors
/// As [`provider_names`].
pub fn retry_groups(dir: &Path) -> Result<Vec<Name>, NamesError> {
    Ok(read_outlines(dir)?.into_iter().filter_map(|outline| outline.retry_group).collect())
}

/// The parts of a provider that its queues are named by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct ProviderOutline {
    name: Name,
    webhook: bool,
    retry_group: Option<Name>,
}

fn read_outlines(dir: &Path) -> Result<Vec<ProviderOutline>, NamesError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| NamesError::Unreadable { path, source }
    };
    let mut outlines = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable(dir))? {
        let path = entry.map_err(unreadable(dir))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
            outlines.push(
                read_outline(&text).map_err(|message| NamesError::Unnamed { path, message })?,
            );
        }
    }
    outlines.sort();
    Ok(outlines)
}

fn read_outline(text: &str) -> Result<ProviderOutline, String> {
    let table: toml::Table =
        toml::from_str(text).map_err(|error| format!("is no TOML: {}", error.message()))?;
    let name = table.get("name").or_else(|| table.get("use")).ok_or("`name` is missing")?;
    let name = name
        .as_str()
        .ok_or("`name` is no text")?
        .parse()
        .map_err(|error| format!("`name`: {error}"))?;
    // The catalog's is only taken up by a file that asks for it by a table of its own.
    let webhook = table.contains_key("webhook") || table.contains_key("inbound");
    // The catalog's files name no group: which providers share queues is the operator's to say.
    let group =
        table.get("retry_group").map(|group| group.as_str().ok_or("`retry_group` is no text"));
    let retry_group = group
        .transpose()?
        .map(str::parse)
        .transpose()
        .map_err(|error| format!("`retry_group`: {error}"))?;
    Ok(ProviderOutline { name, webhook, retry_group })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_read_without_the_secrets_of_the_files() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("b.toml", "name = \"stripe\"\nsecrets = { key = \"${env:NOT_SET}\" }"),
            ("messages.toml", "use = \"twilio\""),
            ("notes.txt", "no provider"),
        ] {
            fs::write(dir.path().join(file), text).unwrap();
        }
        assert_eq!(provider_names(dir.path()).unwrap(), [name("stripe"), name("twilio")]);
        fs::write(
            dir.path().join("d.toml"),
            "name = \"acme\"\n[webhook]\nsecret = \"${env:NOT_SET}\"",
        )
        .unwrap();
        assert!(calling_back(dir.path()).unwrap().contains(&name("acme")));
        assert_eq!(provider_names(dir.path()).unwrap().len(), 3);
        fs::write(
            dir.path().join("e.toml"),
            "use = \"stripe\"\nname = \"slow\"\nretry_group = \"tail\"",
        )
        .unwrap();
        assert_eq!(retry_groups(dir.path()).unwrap(), [name("tail")]);
        fs::write(dir.path().join("c.toml"), "name = \"No Name\"").unwrap();
        let error = provider_names(dir.path()).unwrap_err().to_string();
        assert!(error.contains("c.toml: `name`: `No Name` is not a name"), "{error}");
    }

    #[test]
    fn a_wanted_provider_need_not_be_configured() {
        let names = TopologyNames::new(name("ferry"));
        let configured = [name("stripe"), name("twilio")];
        let all = ["ferry.dead.stripe", "ferry.dead.twilio", "ferry.dead.other"];
        assert_eq!(dead_queues(&names, &configured, None), all);
        assert_eq!(
            dead_queues(&names, &configured, Some(&name("gone"))),
            ["ferry.dead.gone", "ferry.dead.other"]
        );
    }
}
