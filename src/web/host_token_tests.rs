use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::sync::Barrier;
use std::thread;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use super::*;

const TOKEN: &str = "0123456789abcdefghijklmnopqrstuvwxyz-_ABCDE";

fn write_file(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode_of(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o777
}

#[test]
fn the_first_start_makes_a_token_that_later_ones_and_the_commands_of_the_host_read() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("state/deeper/api-token");
    assert!(
        HostToken::load(&path).unwrap_err().to_string().contains("is missing: ferryd makes it")
    );
    let made = HostToken::load_or_create(&path, None).unwrap();
    assert!(made.token().expose().len() >= 43, "32 random bytes");
    assert_eq!((mode_of(&path), mode_of(path.parent().unwrap())), (0o600, 0o700));
    for again in [HostToken::load_or_create(&path, None).unwrap(), HostToken::load(&path).unwrap()]
    {
        assert_eq!(again.token(), made.token());
    }
    let names: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["api-token"], "nothing is left beside it");
    let other = HostToken::load_or_create(&dir.path().join("other"), None).unwrap();
    assert_ne!(other.token(), made.token());
    assert!(!format!("{made:?}").contains(made.token().expose()));
}

#[test]
fn instances_that_start_together_use_one_token() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("api-token");
    let barrier = Barrier::new(8);
    let tokens: BTreeSet<String> = thread::scope(|scope| {
        let start = || {
            barrier.wait();
            HostToken::load_or_create(&path, None).unwrap().token().expose().to_owned()
        };
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert_eq!(tokens.len(), 1, "{tokens:?}");
}

#[test]
fn a_group_may_read_the_file_where_it_is_named() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("api-token");
    let own = fs::metadata(dir.path()).unwrap().gid().to_string();
    HostToken::load_or_create(&path, Some(&own)).unwrap();
    assert_eq!(
        (mode_of(&path), fs::metadata(&path).unwrap().gid().to_string()),
        (0o640, own.clone())
    );
    HostToken::load_or_create(&path, Some(&own)).unwrap();
    let error = HostToken::load_or_create(&path, None).unwrap_err().to_string();
    assert!(error.contains("mode 0640"), "{error}");
    let error = HostToken::load_or_create(&path, Some("no-such-group")).unwrap_err().to_string();
    assert!(error.contains("`no-such-group`, which this host has not"), "{error}");
}

#[test]
fn a_file_whose_token_others_may_know_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    let good = format!("{TOKEN}\n");
    for (name, text, mode, fault) in [
        ("good", good.as_str(), 0o600, None),
        ("read-only", &good, 0o400, None),
        ("group", &good, 0o640, Some("can be read or written to by others (mode 0640): remove it")),
        ("others", &good, 0o604, Some("mode 0604")),
        ("writable", &good, 0o602, Some("mode 0602")),
        ("empty", "", 0o600, Some("holds no token of 32 to 512 characters")),
        ("blank", "\n", 0o600, Some("holds no token")),
        ("short", "0123456789abcdef0123456789abcde\n", 0o600, Some("holds no token")),
        ("two lines", &good.repeat(2), 0o600, Some("holds no token")),
        ("binary", "\u{0}0123456789abcdef0123456789abcdef", 0o600, Some("holds no token")),
    ] {
        write_file(&path(name), text, mode);
        let found = HostToken::load_or_create(&path(name), None);
        let error = found.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert_eq!(found.is_ok(), fault.is_none(), "{name}: {error}");
        assert!(
            fault.is_none_or(|fault| error.contains(fault) && error.contains(name)),
            "{name}: {error}"
        );
        assert!(!error.contains(TOKEN), "{error}");
    }
    symlink(path("good"), path("link")).unwrap();
    symlink(path("nowhere"), path("dangling")).unwrap();
    mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
    fs::create_dir(path("folder")).unwrap();
    for (name, fault) in [
        ("link", "is a symbolic link"),
        ("dangling", "is a symbolic link"),
        ("fifo", "is no regular file"),
        ("folder", "is no regular file"),
    ] {
        for found in [HostToken::load_or_create(&path(name), None), HostToken::load(&path(name))] {
            let error = found.unwrap_err().to_string();
            assert!(error.contains(fault), "{name}: {error}");
        }
    }
    assert!(!path("nowhere").exists());
}

#[test]
fn a_file_of_somebody_else_is_refused() {
    if !geteuid().is_root() {
        return; // Only root can make one.
    }
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("api-token");
    write_file(&path, TOKEN, 0o600);
    fchown(File::open(&path).unwrap(), Some(4711), None).unwrap();
    let error = HostToken::load_or_create(&path, None).unwrap_err().to_string();
    assert!(error.contains("belongs to the user 4711, who may know the token"), "{error}");
    // Root makes files for the owner of the folder.
    fchown(File::open(dir.path()).unwrap(), Some(4711), None).unwrap();
    HostToken::load_or_create(&path, None).unwrap();
    fs::remove_file(&path).unwrap();
    HostToken::load_or_create(&path, None).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().uid(), 4711);
}

#[test]
fn an_unwritable_folder_is_reported_with_what_to_do() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = HostToken::load_or_create(&dir.path().join("file/api-token"), None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("`api.token_file`") || error.contains("can't be read"), "{error}");
}
