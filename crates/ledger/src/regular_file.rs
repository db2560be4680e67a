//! Opens files by name in folders that other users may write to.
//!
//! Any user who may write to a folder can put a symbolic link, a FIFO or a device where ferryd
//! expects its own file. Opened by root, that would be another user's file. So no link is followed
//! and no FIFO waited for, and an action on a file, such as changing its owner, goes to the opened
//! file, by its descriptor.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;

use nix::fcntl::OFlag;

/// Opens a file without following a symbolic link in its place, and without waiting for the other
/// end of a FIFO.
///
/// # Errors
/// An error of the system's; or the file is not a regular one.
pub fn open_regular_file(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = options.custom_flags(flags).open(path).map_err(|error| explain(path, error))?;
    require_regular(&file.metadata()?)?;
    Ok(file)
}

/// Opens a file for writing, if it has no second name (a hard link), by which it may be another
/// user's.
///
/// # Errors
/// As of [`open_regular_file`]; or the file has a second name.
pub fn open_sole_file(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = open_regular_file(path, options)?;
    require_one_name(&file.metadata()?)?;
    Ok(file)
}

/// Checks a file that another program is going to open; the file may be absent.
///
/// # Errors
/// As of [`open_sole_file`].
pub fn require_sole_or_absent(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) => require_regular(&metadata).and_then(|()| require_one_name(&metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Gives a file to the owner of its folder, where this process may: the daemon has to be able to
/// open what root makes on the command line.
pub fn give_to_folder_owner(file: &File, folder: &Path) {
    let Ok((has, wants)) = file.metadata().and_then(|has| Ok((has, folder.metadata()?))) else {
        return;
    };
    if has.uid() != wants.uid() {
        // Only root may. Where it is refused, a later process that can't open the file reports
        // that.
        let _ = fchown(file, Some(wants.uid()), Some(wants.gid()));
    }
}

fn require_regular(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_symlink() {
        return Err(refuse("is a symbolic link, which is not followed"));
    }
    if kind.is_file() { Ok(()) } else { Err(refuse("is no regular file")) }
}

fn require_one_name(metadata: &Metadata) -> io::Result<()> {
    // A file that was deleted meanwhile has no name at all.
    if metadata.nlink() <= 1 { Ok(()) } else { Err(refuse("has a second name, a hard link")) }
}

fn refuse(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{why}; remove what is there"))
}

/// Adds the cause to an error where the system only reports that it does not open the file.
fn explain(path: &Path, error: io::Error) -> io::Error {
    match path.symlink_metadata() {
        Ok(metadata) if !metadata.is_file() => require_regular(&metadata).err().unwrap_or(error),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn only_a_regular_file_with_one_name_is_opened_to_be_written_to() {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("file"), "kept").unwrap();
        fs::write(path("linked"), "kept").unwrap();
        symlink(path("file"), path("link")).unwrap();
        symlink(path("nowhere"), path("dangling")).unwrap();
        fs::hard_link(path("linked"), path("hard")).unwrap();
        mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
        fs::create_dir(path("folder")).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        for (name, fault) in [
            ("file", None),
            ("new", None),
            ("link", Some("is a symbolic link")),
            ("dangling", Some("is a symbolic link")),
            ("hard", Some("has a second name")),
            ("fifo", Some("is no regular file")),
            ("folder", Some("is no regular file")),
            ("socket", Some("is no regular file")),
        ] {
            let mut options = OpenOptions::new();
            let opened =
                open_sole_file(&path(name), options.read(true).write(true).create(true)).map(drop);
            let checked = require_sole_or_absent(&path(name));
            for found in [opened, checked] {
                let text = found.as_ref().err().map(ToString::to_string).unwrap_or_default();
                assert_eq!(found.is_ok(), fault.is_none(), "{name}: {text}");
                assert!(fault.is_none_or(|fault| text.contains(fault)), "{name}: {text}");
            }
        }
        assert!(open_regular_file(&path("hard"), OpenOptions::new().read(true)).is_ok());
        assert!(!path("nowhere").exists());
        assert_eq!(fs::read_to_string(path("file")).unwrap(), "kept");
        assert!(require_sole_or_absent(&path("absent")).is_ok());
    }
}
