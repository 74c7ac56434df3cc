//! The laboratory of the black-box tests: network namespaces, real routers, a fake neighbor, real services, and the
//! real binary as a process. Nothing here uses the crate: what it says about bytes and JSON is a second opinion.
//!
//! ```text
//!   host namespace                    router namespace
//!   Daemon, Service, lo: 192.0.2.53   Frr | Bird | GoBgp | OpenBgpd | FakeNeighbor
//!          eth1 10.97.1.2  ----------  h1 10.97.1.1
//! ```

pub mod bgp;
pub mod bird;
pub mod daemon;
pub mod fake;
pub mod frr;
pub mod gobgp;
pub mod namespace;
pub mod openbgpd;
pub mod router;
pub mod service;

use std::fmt::Debug;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Asks again and again until the answer is `Ok`; what was last wrong is part of the panic.
#[track_caller]
pub fn wait_for<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    let mut pause = millis(5);
    loop {
        match probe() {
            Ok(value) => return value,
            Err(why) if start.elapsed() >= within => {
                panic!("waited {within:?} for {what}; at last: {why}")
            }
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(millis(100));
    }
}

/// `wait_for` two values to be equal.
#[track_caller]
pub fn wait_equal<T: PartialEq + Debug>(what: &str, within: Duration, wanted: &T, mut probe: impl FnMut() -> T) {
    wait_for(what, within, || {
        let got = probe();
        if got == *wanted { Ok(()) } else { Err(format!("got {got:?}, want {wanted:?}")) }
    });
}

/// The opposite: the answer must be the same all the time.
#[track_caller]
pub fn stays_equal<T: PartialEq + Debug>(what: &str, during: Duration, wanted: &T, mut probe: impl FnMut() -> T) {
    let start = Instant::now();
    while start.elapsed() < during {
        let got = probe();
        assert_eq!(got, *wanted, "{what}, after {:?}", start.elapsed());
        std::thread::sleep(millis(50));
    }
}

/// False, said loudly, where this test cannot run: not root, or a program is missing. With `SKIPPED_TESTS=FILE` each
/// skipped test is also a line in that file, because test runners hide the output of tests that pass.
pub fn ready(programs: &[&str]) -> bool {
    let missing = if nix::unistd::geteuid().is_root() {
        programs.iter().copied().chain(["ip"]).find(|name| find_program(name).is_none())
    } else {
        Some("root")
    };
    let Some(missing) = missing else { return true };
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let line = format!("SKIPPED: {test}: needs {missing}, which is not here");
    eprintln!("{line}");
    if let Some(path) = std::env::var_os("SKIPPED_TESTS") {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        writeln!(file.expect("SKIPPED_TESTS cannot be opened"), "{line}").expect("SKIPPED_TESTS cannot be written");
    }
    false
}

/// Where Debian puts programs; FRR's come first, because OpenBGPD has a bgpd too.
pub fn find_program(name: &str) -> Option<PathBuf> {
    ["/usr/lib/frr", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin", "/usr/local/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
}

/// A folder that goes away with its owner, readable by every user: routers and checks run as others.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("anycaster-").tempdir().expect("no scratch folder");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}
