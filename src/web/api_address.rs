//! The address file of this host: the address at which the daemon's API listens, for the
//! subcommands of this host, where `api.bind` leaves the port open.
//!
//! The file stands beside the file of the host's token and has the same readers. Of several daemons
//! that share the token the file names the first, until that one ends: the named daemon holds a
//! lock on the token file, which the system releases even when the daemon is killed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use ferryd_ledger::regular_file::open_regular_file;

/// The time after which a daemon tries again to write the file.
const RETRY: Duration = Duration::from_millis(500);
/// The most bytes of the file that are read.
const MAX_FILE_SIZE: u64 = 128;
const OWNER_MODE: u32 = 0o600;

/// The address file that goes with a token file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiAddressFile {
    path: PathBuf,
    token_file: PathBuf,
}

/// The address file as this daemon's own. Dropping removes the file, and then releases the lock.
#[derive(Debug)]
struct OwnAddress {
    path: PathBuf,
    text: String,
    _lock: File,
}

impl ApiAddressFile {
    /// Returns the file beside this token file.
    #[must_use]
    pub fn beside(token_file: &Path) -> Self {
        let mut name = token_file.file_name().unwrap_or_default().to_owned();
        name.push(".address");
        Self { path: token_file.with_file_name(name), token_file: token_file.to_owned() }
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the address of the running daemon; `None` where no daemon has written one.
    ///
    /// # Errors
    /// The file can't be read, or holds no address.
    pub fn read(&self) -> io::Result<Option<SocketAddr>> {
        let file = match open_regular_file(&self.path, OpenOptions::new().read(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut text = String::new();
        file.take(MAX_FILE_SIZE).read_to_string(&mut text)?;
        text.trim_end()
            .parse()
            .map(Some)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it holds no address"))
    }

    /// Writes the address of this daemon to the file as soon as no other daemon is named there, and
    /// removes it when `stop` is cancelled. The first try happens before this returns.
    pub fn announce(
        self,
        address: SocketAddr,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send {
        // Before the first await: a process that starts the daemon reads the file as soon as it
        // runs.
        let mut own = self.take(address);
        async move {
            loop {
                match own {
                    Ok(Some(own)) => {
                        stop.cancelled().await;
                        return drop(own);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        let path = self.path.display();
                        return warn!(%path, %error, "failed to write where the API listens: the command line needs --url");
                    }
                }
                if stop.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
                    return;
                }
                own = self.take(address);
            }
        }
    }

    /// Writes the file for this daemon; `None` where it names another.
    fn take(&self, address: SocketAddr) -> io::Result<Option<OwnAddress>> {
        let lock = open_regular_file(&self.token_file, OpenOptions::new().read(true))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {}
        }
        let text = format!("{address}\n");
        self.replace(&text, &lock)?;
        Ok(Some(OwnAddress { path: self.path.clone(), text, _lock: lock }))
    }

    /// Writes the whole file atomically, for the readers of the token.
    fn replace(&self, text: &str, token: &File) -> io::Result<()> {
        let unfinished =
            self.path.with_file_name(format!(".api-address.{}", Uuid::new_v4().simple()));
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = open_regular_file(
                &unfinished,
                options.write(true).create_new(true).mode(OWNER_MODE),
            )?;
            let owner = token.metadata()?;
            // Where the system refuses that, the default owner and group remain.
            if fchown(&file, Some(owner.uid()), Some(owner.gid())).is_ok() {
                file.set_permissions(fs::Permissions::from_mode(owner.mode() & 0o640))?;
            }
            file.write_all(text.as_bytes())?;
            fs::rename(&unfinished, &self.path)
        };
        let written = write();
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written
    }
}

impl Drop for OwnAddress {
    fn drop(&mut self) {
        // A daemon with another token file of the same name may have written its own address.
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_file(folder: &Path, mode: u32) -> PathBuf {
        let path = folder.join("api-token");
        fs::write(&path, "token").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[tokio::test]
    async fn the_file_names_the_daemon_that_was_first_until_it_ends_and_then_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let file = ApiAddressFile::beside(&token_file(dir.path(), 0o600));
        assert_eq!(file.read().unwrap(), None);
        let (first, second) = (CancellationToken::new(), CancellationToken::new());
        let ended = tokio::spawn(file.clone().announce(address(1), first.clone()));
        assert_eq!(file.read().unwrap(), Some(address(1)));
        let next = tokio::spawn(file.clone().announce(address(2), second.clone()));
        assert_eq!(file.read().unwrap(), Some(address(1)));
        first.cancel();
        ended.await.unwrap();
        while file.read().unwrap() != Some(address(2)) {
            tokio::task::yield_now().await;
        }
        second.cancel();
        next.await.unwrap();
        assert_eq!(file.read().unwrap(), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn whoever_may_read_the_token_may_read_the_address_and_nobody_else() {
        for mode in [0o600, 0o640] {
            let dir = tempfile::tempdir().unwrap();
            let file = ApiAddressFile::beside(&token_file(dir.path(), mode));
            let own = file.take(address(1)).unwrap().unwrap();
            assert_eq!(file.path().metadata().unwrap().mode() & 0o777, mode);
            drop(own);
            assert!(!file.path().exists());
        }
    }

    #[test]
    fn a_file_that_holds_no_address_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = ApiAddressFile::beside(&token_file(dir.path(), 0o600));
        fs::write(file.path(), "nowhere\n").unwrap();
        assert!(file.read().is_err());
    }
}
