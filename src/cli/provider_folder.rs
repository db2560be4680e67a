//! Finds folders of provider and account files that are empty, and files that are ignored because
//! of their names.

use std::path::Path;

use crate::config::Config;
use ferryd_provider::Provider;
use ferryd_provider::misnamed::{MisnamedFile, describe_contents, misnamed_files};

/// Warns of a folder without a provider, and of ignored files whose names come close; one line
/// each.
pub(super) fn warn_of_folders(config: &Config, providers: &[&Provider]) -> Vec<String> {
    let dir = &config.providers.dir;
    let mut warnings: Vec<_> =
        providers.is_empty().then(|| describe_empty(dir)).into_iter().collect();
    warnings.extend(warn_of_names("providers.dir", "provider", dir));
    for (provider, dir) in
        providers.iter().filter_map(|provider| Some((provider, provider.accounts_dir.as_ref()?)))
    {
        warnings.extend(warn_of_names(
            &format!("provider {}: accounts_dir", provider.name),
            "account",
            dir,
        ));
    }
    warnings
}

fn describe_empty(dir: &Path) -> String {
    let contents =
        describe_contents(dir).map(|contents| format!(" ({contents})")).unwrap_or_default();
    format!(
        "providers.dir = \"{}\": there is no provider file (*.toml) in it{contents}, so no command can be carried out; write one, such as \
         stripe.toml with `use = \"stripe\"`, or the folder in which they are",
        dir.display()
    )
}

fn warn_of_names(key: &str, kind: &str, dir: &Path) -> Vec<String> {
    let warn = |MisnamedFile { path, intended }| {
        format!(
            "{key}: {} is not read, for the name of a file of {kind}s ends in `.toml`; rename it to {intended} if it is one, in TOML",
            path.display()
        )
    };
    misnamed_files(dir).into_iter().map(warn).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cli::fixture;

    #[test]
    fn a_folder_without_a_provider_is_warned_of_with_what_lies_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.providers.dir = dir.path().to_owned();
        let found = warn_of_folders(&config, &[]);
        let start = format!(
            "providers.dir = \"{}\": there is no provider file (*.toml) in it, so no",
            dir.path().display()
        );
        assert!(found.len() == 1 && found[0].starts_with(&start), "{found:?}");
        fs::write(dir.path().join("stripe.yaml"), "").unwrap();
        let found = warn_of_folders(&config, &[]);
        assert!(found[0].contains("in it (it holds stripe.yaml), so no command"), "{found:?}");
        let line = format!("providers.dir: {}/stripe.yaml is not read", dir.path().display());
        assert!(found.len() == 2 && found[1].starts_with(&line), "{found:?}");
        assert!(found[1].contains("rename it to stripe.toml"), "{found:?}");
    }

    #[test]
    fn a_misnamed_file_beside_providers_and_among_accounts_is_warned_of() {
        let (dir, accounts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut config = Config::default();
        config.providers.dir = dir.path().to_owned();
        let mut provider = fixture::messages();
        assert_eq!(warn_of_folders(&config, &[&provider]), Vec::<String>::new());
        fs::write(accounts.path().join("eu.tml"), "").unwrap();
        provider.accounts_dir = Some(accounts.path().to_owned());
        let found = warn_of_folders(&config, &[&provider]);
        let start = format!(
            "provider twilio: accounts_dir: {}/eu.tml is not read",
            accounts.path().display()
        );
        assert!(found.len() == 1 && found[0].starts_with(&start), "{found:?}");
    }
}
