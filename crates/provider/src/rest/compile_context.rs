//! The surroundings of a provider file.

use std::path::Path;

use crate::registry::ProviderDefaults;

/// The context of a provider file: its folder, and the settings that the file may leave out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompileContext<'a> {
    /// The folder against which relative paths are resolved.
    pub(crate) folder: &'a Path,
    /// The daemon's settings.
    pub(crate) defaults: &'a ProviderDefaults,
    /// True where the file has an endpoint for webhooks, even if the endpoint is not compiled.
    pub(crate) has_endpoint: bool,
    /// True where the file names `command_token` anywhere.
    pub(crate) names_command_token: bool,
}
