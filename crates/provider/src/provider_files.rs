//! The provider files of a folder.

use std::fs;
use std::path::{Path, PathBuf};

use ferryd_settings::diagnostic::Diagnostic;

/// The provider files of a folder, sorted.
///
/// # Errors
/// The folder can't be read.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
    let refuse = |error: std::io::Error| {
        let message = format!("the folder of provider files cannot be read ({error}); create it");
        Diagnostic::of_file(&dir.display().to_string(), None, message)
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(refuse)? {
        let path = entry.map_err(refuse)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden
            && path.extension().is_some_and(|extension| extension == "toml")
            && path.is_file()
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
