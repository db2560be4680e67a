//! The token of this host: a file with a random token, which ferryd makes at its first start, and
//! which the subcommands on the host read.
//!
//! Any user who can read the file may operate ferryd, so the file has to be kept secret. All
//! instances that share the file share the token.

use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::unistd::{Group, geteuid};
use ring::rand::{SecureRandom as _, SystemRandom};
use uuid::Uuid;

use crate::config::{SecretText, is_bearer_token};
use ferryd_ledger::regular_file::{give_to_folder_owner, open_regular_file};

/// The number of random bytes of a token.
const RANDOM_BYTES: usize = 32;
/// The shortest accepted token, in characters: 128 bits in hexadecimal digits.
const MIN_LENGTH: usize = 32;
/// The most bytes of the file that are read.
const MAX_FILE_SIZE: u64 = 1024;

const FOLDER_MODE: u32 = 0o700;
const OWNER_MODE: u32 = 0o600;
const GROUP_MODE: u32 = 0o640;

/// The token of this host, and the file that holds it.
#[derive(Debug, Clone)]
pub struct HostToken {
    path: PathBuf,
    token: SecretText,
}

/// The token file can't be made or used.
#[derive(Debug, thiserror::Error)]
#[error("the token file {} {problem}", path.display())]
pub struct HostTokenError {
    path: PathBuf,
    problem: FileProblem,
}

/// The fault of the token file.
#[derive(Debug)]
enum FileProblem {
    /// The file can't be made.
    Unmakeable(io::Error),
    /// The file can't be opened or read. Where the path is no file, the error says so.
    Unreadable(io::Error),
    /// The file does not exist.
    Missing,
    /// The file belongs to another user, who could have written a token into it.
    Foreign { owner: u32 },
    /// Other users can read or write the file.
    Open { mode: u32 },
    /// The file holds no token.
    NoToken,
    /// The host has no such group.
    UnknownGroup(String),
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmakeable(error) => write!(
                f,
                "can't be made ({error}): let `api.token_file` name a file in a folder that ferryd may write to"
            ),
            Self::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(
                    f,
                    "can't be read ({error}): its owner, root, and the members of `api.token_group` may read it"
                )
            }
            Self::Unreadable(error) => write!(f, "can't be read ({error})"),
            Self::Missing => f.write_str(
                "is missing: ferryd makes it at its first start with this configuration",
            ),
            Self::Foreign { owner } => write!(
                f,
                "belongs to the user {owner}, who may know the token: remove it, and ferryd makes a new one at its next start"
            ),
            Self::Open { mode } => write!(
                f,
                "can be read or written to by others (mode {mode:04o}): remove it, and ferryd makes a new one with the mode \
                 0600, or 0640 with `api.token_group`, at its next start"
            ),
            Self::NoToken => write!(
                f,
                "holds no token of {MIN_LENGTH} to 512 characters of A-Z a-z 0-9 - . _ ~ + / =: remove it, and ferryd makes \
                 a new one at its next start"
            ),
            Self::UnknownGroup(group) => {
                write!(
                    f,
                    "is to be read by the group `{group}`, which this host has not: mend `api.token_group`"
                )
            }
        }
    }
}

impl HostToken {
    /// Reads the token of a daemon, and makes the file where there is none. The members of `group`
    /// may read the file.
    ///
    /// # Errors
    /// The file can't be made; or it can't be trusted, because others can read it or could have
    /// written it.
    pub fn load_or_create(path: &Path, group: Option<&str>) -> Result<Self, HostTokenError> {
        let at = |problem| HostTokenError { path: path.to_owned(), problem };
        let group = group.map(find_group).transpose().map_err(at)?;
        let file = match open(path) {
            Err(FileProblem::Missing) => {
                create(path, group).map_err(|error| at(FileProblem::Unmakeable(error)))?;
                // Another instance may have made the file first.
                open(path).map_err(at)?
            }
            opened => opened.map_err(at)?,
        };
        require_private(path, &file, group).map_err(at)?;
        Ok(Self { path: path.to_owned(), token: read(file).map_err(at)? })
    }

    /// Reads the token for a subcommand on this host.
    ///
    /// # Errors
    /// The file does not exist, this user may not read it, or it holds no token.
    pub fn load(path: &Path) -> Result<Self, HostTokenError> {
        let token = open(path).and_then(read);
        let token = token.map_err(|problem| HostTokenError { path: path.to_owned(), problem })?;
        Ok(Self { path: path.to_owned(), token })
    }

    /// Makes a token for tests, without a file.
    #[cfg(test)]
    pub(crate) fn without_file(token: &str) -> Self {
        Self { path: PathBuf::new(), token: token.into() }
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the token.
    #[must_use]
    pub fn token(&self) -> &SecretText {
        &self.token
    }
}

/// Finds the number of a group that is given by its name or number.
fn find_group(text: &str) -> Result<u32, FileProblem> {
    let unknown = || FileProblem::UnknownGroup(text.to_owned());
    let named = || Group::from_name(text).ok().flatten().map(|group| group.gid.as_raw());
    text.parse().ok().or_else(named).ok_or_else(unknown)
}

fn open(path: &Path) -> Result<File, FileProblem> {
    open_regular_file(path, OpenOptions::new().read(true)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => FileProblem::Missing,
        _ => FileProblem::Unreadable(error),
    })
}

fn read(file: File) -> Result<SecretText, FileProblem> {
    let mut text = String::new();
    file.take(MAX_FILE_SIZE).read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => FileProblem::NoToken,
        _ => FileProblem::Unreadable(error),
    })?;
    let token = text.trim_end();
    if token.len() < MIN_LENGTH || !is_bearer_token(token) {
        return Err(FileProblem::NoToken);
    }
    Ok(token.into())
}

/// Refuses a file whose token another user may have read or written.
fn require_private(path: &Path, file: &File, group: Option<u32>) -> Result<(), FileProblem> {
    let metadata = file.metadata().map_err(FileProblem::Unreadable)?;
    if !is_trusted_owner(path, metadata.uid()) {
        return Err(FileProblem::Foreign { owner: metadata.uid() });
    }
    let for_group = if group == Some(metadata.gid()) { GROUP_MODE } else { OWNER_MODE };
    let mode = metadata.mode() & 0o777;
    // The owner's own permissions do not matter.
    if mode & 0o077 & !for_group != 0 { Err(FileProblem::Open { mode }) } else { Ok(()) }
}

/// Returns true for this process's own user, for root, and for the owner of the folder where root
/// has made the file.
fn is_trusted_owner(path: &Path, owner: u32) -> bool {
    let own = geteuid().as_raw();
    let folder = || folder(path).metadata().as_ref().map(Metadata::uid).ok();
    owner == own || owner == 0 || (own == 0 && folder() == Some(owner))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the file as a whole, or not at all. An existing file stays.
fn create(path: &Path, group: Option<u32>) -> io::Result<()> {
    let folder = folder(path);
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    let unfinished = folder.join(format!(".api-token.{}", Uuid::new_v4().simple()));
    let written = write(&unfinished, folder, group);
    // One of several instances is the first.
    let made = written.and_then(|()| match fs::hard_link(&unfinished, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let _ = fs::remove_file(&unfinished);
    made.and_then(|()| File::open(folder)?.sync_all())
}

fn write(path: &Path, folder: &Path, group: Option<u32>) -> io::Result<()> {
    let mut random = [0; RANDOM_BYTES];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let mut options = OpenOptions::new();
    let mut file = open_regular_file(path, options.write(true).create_new(true).mode(OWNER_MODE))?;
    writeln!(file, "{}", URL_SAFE_NO_PAD.encode(random))?;
    give_to_folder_owner(&file, folder);
    if let Some(group) = group {
        fchown(&file, None, Some(group))?;
        file.set_permissions(Permissions::from_mode(GROUP_MODE))?;
    }
    file.sync_all()
}

#[cfg(test)]
#[path = "host_token_tests.rs"]
mod tests;
