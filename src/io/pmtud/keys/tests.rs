use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use super::*;
use crate::config::{Members, MinMtu, PmtudLimits, PmtudRelay, Rate};

fn config(mode: PmtudMode) -> Pmtud {
    let rate = Rate { per_second: 1 };
    Pmtud {
        interfaces: vec!["eth0".to_owned()],
        mode,
        prefixes: None,
        protocols: vec![6],
        ports: vec![],
        min_mtu: MinMtu { ipv4: 552, ipv6: 1280 },
        dry_run: false,
        dedup: Duration::ZERO,
        limits: PmtudLimits { flow: rate, router: rate, prefix: rate, total: rate },
    }
}

/// How many keys, or why not, with the folder's name taken out.
fn outcome(folder: &Path, names: &[&str]) -> Result<usize, String> {
    let keys = names.iter().map(|name| folder.join(name)).collect();
    let relay = PmtudRelay {
        address: "10.0.0.11".parse().unwrap(),
        port: 5141,
        members: Members::List(vec![]),
        keys,
        insecure: false,
    };
    let read = read(&config(PmtudMode::Relay(relay)));
    read.map(|keys| keys.len()).map_err(|why| why.replace(&format!("{}/", folder.display()), ""))
}

fn put(folder: &Path, name: &str, text: &[u8], mode: u32) {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef\n";

#[test]
fn keys_that_only_the_daemon_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    put(folder, "1", SECRET, 0o600);
    put(folder, "2", b"another secret of 16 octets and more", 0o400);
    assert_eq!(outcome(folder, &["1", "2"]), Ok(2));
    assert_eq!(outcome(folder, &[]), Ok(0));
    assert_eq!(read(&config(PmtudMode::Broadcast)).map(|keys| keys.len()), Ok(0));
    // A link is followed: it is the file that counts.
    symlink(folder.join("1"), folder.join("link")).unwrap();
    assert_eq!(outcome(folder, &["link"]), Ok(1));
}

#[test]
fn each_problem_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let refused = |names: &[&str]| outcome(folder, names).unwrap_err();
    put(folder, "1", SECRET, 0o600);
    for mode in [0o640, 0o604, 0o620, 0o610, 0o601, 0o666] {
        put(folder, "open", SECRET, mode);
        assert_eq!(refused(&["1", "open"]), "open (pmtud.keys) is readable by others: chmod 600 it", "{mode:o}");
    }
    assert_eq!(refused(&["absent"]), "pmtud.keys: cannot read absent: No such file or directory (os error 2)");
    fs::create_dir(folder.join("folder")).unwrap();
    assert_eq!(refused(&["folder"]), "pmtud.keys: folder is not a regular file");
    nix::unistd::mkfifo(&folder.join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert_eq!(refused(&["pipe"]), "pmtud.keys: pipe is not a regular file");
    put(folder, "short", b"fifteen octets!\n", 0o600);
    let short = refused(&["short"]);
    assert!(short.starts_with("pmtud.keys: short: ") && short.contains("15"), "{short}");
    put(folder, "empty", b"", 0o600);
    assert!(refused(&["empty"]).starts_with("pmtud.keys: empty: "));
    put(folder, "large", &[b'a'; 4097], 0o600);
    assert_eq!(refused(&["large"]), "pmtud.keys: large is larger than 4096 octets");
    put(folder, "largest", &[b'a'; 4096], 0o600);
    assert_eq!(outcome(folder, &["largest"]), Ok(1));
}

#[test]
fn one_key_has_one_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    put(folder, "1", SECRET, 0o600);
    put(folder, "2", b"another secret of 16 octets and more", 0o600);
    let expected = |second: &str| Err(format!("pmtud.keys: 1 and {second} hold the same key"));
    symlink(folder.join("1"), folder.join("link")).unwrap();
    assert_eq!(outcome(folder, &["1", "2", "link"]), expected("link"));
    fs::hard_link(folder.join("1"), folder.join("hard")).unwrap();
    assert_eq!(outcome(folder, &["1", "hard"]), expected("hard"));
    put(folder, "copy", SECRET, 0o600);
    assert_eq!(outcome(folder, &["1", "copy"]), expected("copy"));
}

/// A file of somebody else's could change while nobody looks; only root can make one for the test.
#[test]
fn a_key_belongs_to_root_or_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "1", SECRET, 0o600);
    let path = folder.path().join("1");
    let own = fs::metadata(&path).unwrap().uid();
    assert!(one(&path, own).is_ok());
    if std::os::unix::fs::chown(&path, Some(1234), None).is_ok() {
        let why = one(&path, own).unwrap_err();
        assert!(why.ends_with("belongs to user 1234: chown it to root or to the daemon's user"), "{why}");
        assert!(one(&path, 1234).is_ok());
    }
}
