//! Reads the configuration from its file and the environment.

use std::path::{Path, PathBuf};

use super::environment::{self, EnvironmentVariables};
use super::layers::ConfigLayers;
use super::{Config, ConfigError, DEFAULT_PATH};

impl Config {
    /// Reads the configuration of this process: the file at `path`, or the one that is found
    /// without it, and the environment.
    ///
    /// # Errors
    /// Every fault found, each with file and line or variable, key, value and what to write
    /// instead.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let environment = environment::of_process()?;
        match Self::find(path, &environment) {
            None => Self::from_parts(None, &environment),
            Some(path) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| ConfigError::unreadable(&path, &error))?;
                Self::from_parts(Some((&path, &text)), &environment)
            }
        }
    }

    /// The file that [`Config::load`] reads; `None` where there is none and the defaults and the
    /// environment say everything.
    ///
    /// # Errors
    /// Where `$FERRYD_CONFIG` is not UTF-8.
    pub fn file(path: Option<&Path>) -> Result<Option<PathBuf>, ConfigError> {
        Ok(Self::find(path, &environment::of_process()?))
    }

    pub(super) fn find(path: Option<&Path>, environment: &EnvironmentVariables) -> Option<PathBuf> {
        let named = environment.get("FERRYD_CONFIG").filter(|path| !path.is_empty());
        let default = Path::new(DEFAULT_PATH);
        path.map(Path::to_owned).or_else(|| named.map(PathBuf::from)).or_else(|| {
            // A path that cannot be examined is read all the same, so that the failure is reported.
            default.try_exists().unwrap_or(true).then(|| default.into())
        })
    }

    /// Reads a configuration from the path and text of a file, from environment variables and from
    /// the files that `${file:…}` names. Nothing else is read.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_parts(
        file: Option<(&Path, &str)>,
        environment: &EnvironmentVariables,
    ) -> Result<Self, ConfigError> {
        let mut layers = ConfigLayers::new(file, environment)?;
        let mut config = layers.read();
        layers.place_paths(&mut config);
        layers.finish(config)
    }
}
