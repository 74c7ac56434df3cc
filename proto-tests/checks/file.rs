//! File checks.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anycaster::config::{Check, CheckKind, FileCheck, Look, Target, TcpCheck};
use anycaster::engine::Outcome;
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;

use crate::configured::check;
use crate::{Bench, TIMEOUT, V4, check_of, fail, once, pass, server, timed_out};

const SHORT: Duration = Duration::from_millis(300);
const MINUTE: Look = Look::Younger(Duration::from_secs(60));

fn file(path: &Path, look: Look) -> CheckKind {
    CheckKind::File(FileCheck { path: path.to_owned(), look })
}

fn looked(path: &Path, look: Look) -> Outcome {
    once(check_of(Target::Service, file(path, look)), V4)
}

#[test]
fn a_file_is_there_or_not() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("zones-loaded");
    assert_eq!(looked(&path, Look::There), fail("no such file"));
    assert_eq!(looked(&path, Look::Absent), pass("no such file"));
    assert_eq!(looked(&path, MINUTE), fail("no such file"));
    assert_eq!(looked(&path.join("below"), Look::Absent), pass("no such file"));
    let link = home.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(looked(&link, Look::There), fail("no such file"), "a link to nothing");
    fs::write(&path, "").unwrap();
    for there in [&path, &link, &home.path().to_owned()] {
        assert_eq!(looked(there, Look::There), pass("it is there"));
        assert_eq!(looked(there, Look::Absent), fail("it is there"));
    }
    assert_eq!(looked(&path.join("below"), Look::There), fail("no such file"), "a file is no directory");
    assert_eq!(looked(Path::new(&format!("/{}", "x".repeat(5000))), Look::Absent), fail("file name too long"));
}

#[test]
fn a_file_has_an_age() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("heartbeat");
    let file = File::create(&path).unwrap();
    let mut seen = Vec::new();
    // Half a second from the next whole one, so that a slow run says the same.
    for age in [12.2, 91.2, -30.0, -3600.8_f64] {
        let span = Duration::from_secs_f64(age.abs());
        let now = SystemTime::now();
        file.set_modified(if age < 0.0 { now + span } else { now - span }).unwrap();
        seen.push(looked(&path, MINUTE));
    }
    let future = fail("from the future: changed in 3600 s");
    assert_eq!(seen, [pass("12 s old"), fail("91 s old, more than 1m"), pass("0 ms old"), future]);
}

#[test]
fn one_file_for_a_thousand_addresses_at_once() {
    let mut bench = Bench::new(vec![check_of(Target::Service, file(Path::new("/proc/self/stat"), Look::There))]);
    for number in 0..1000_u32 {
        bench.ask(0, std::net::Ipv4Addr::from(0x7f01_0000 + number).into(), 1);
    }
    for _ in 0..1000 {
        assert_eq!(bench.next().1, pass("it is there"));
    }
}

/// Threads of this process that look at files.
fn looks() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks.filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "look")).count()
}

fn wait_for_looks(number: usize) {
    let end = Instant::now() + Duration::from_secs(5);
    while looks() != number {
        assert!(Instant::now() < end, "{} looks, not {number}", looks());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// As a dead file server: whatever is asked below this folder is never answered, until the file is closed.
fn dead_file_system(folder: &Path) -> Option<File> {
    // The threads of the runner are children of this one, and nobody else sees the mount.
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).ok()?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).ok()?;
    let device = File::options().read(true).write(true).open("/dev/fuse").ok()?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    mount(Some("dead"), folder, Some("fuse"), MsFlags::empty(), Some(options.as_str())).ok()?;
    Some(device)
}

/// One test, because it counts the threads of the process.
#[test]
fn a_file_system_that_hangs_costs_the_timeout_and_nothing_else() {
    let hangs = std::thread::spawn(|| {
        let home = tempfile::tempdir().unwrap();
        let Some(device) = dead_file_system(home.path()) else {
            eprintln!("SKIPPED: a file system that hangs needs root and /dev/fuse");
            return;
        };
        let dead = |name: &str| check(Target::Service, SHORT, file(&home.path().join(name), Look::There));
        let alive = file(Path::new("/proc/self/stat"), Look::There);
        let tcp = CheckKind::Tcp(TcpCheck { port: server(V4, drop), send: None, expect: None });
        let mut checks: Vec<Check> = (0..70).map(|number| dead(&number.to_string())).collect();
        checks.extend([check(Target::Service, SHORT, alive), check(Target::Service, TIMEOUT, tcp)]);
        let (alive, tcp) = (70, 71);
        let mut bench = Bench::new(checks);
        let here = V4.parse().unwrap();
        let mut ask = |number: usize| {
            bench.ask(number, here, 1);
            let (_, outcome, took) = bench.next();
            (outcome, took)
        };
        let (first, took) = ask(0);
        assert_eq!(first, timed_out("timed out: the file system has not answered for 300ms"));
        assert!((SHORT..SHORT + Duration::from_millis(500)).contains(&took), "{took:?}");
        for _ in 0..5 {
            let (again, took) = ask(0);
            assert_eq!(again, timed_out("timed out: an earlier look at the file hangs"));
            assert!((SHORT..SHORT + Duration::from_millis(500)).contains(&took), "{took:?}");
            assert_eq!(ask(alive).0, pass("it is there"));
            assert_eq!(ask(tcp).0, pass("connected"));
        }
        wait_for_looks(1);
        // Many of them: as many threads as are allowed, and the check thread goes on.
        for number in 0..70 {
            bench.ask(number, here, 2);
        }
        let mut outcomes: Vec<String> = (0..70)
            .map(|_| {
                let (_, Outcome::TimedOut { detail }, _) = bench.next() else { panic!("not timed out") };
                detail
            })
            .collect();
        outcomes.sort();
        outcomes.dedup();
        let all = [
            "timed out: an earlier look at the file hangs",
            "timed out: the file system has not answered for 300ms",
            "timed out: too many looks at other files hang",
        ];
        assert_eq!(outcomes, all);
        wait_for_looks(64);
        bench.ask(alive, here, 3);
        assert_eq!(bench.next().1, timed_out(all[2]));
        bench.ask(tcp, here, 3);
        assert_eq!(bench.next().1, pass("connected"));
        // The server is back, and says so in its way.
        drop(device);
        wait_for_looks(0);
        bench.ask(alive, here, 4);
        assert_eq!(bench.next().1, pass("it is there"));
        bench.ask(0, here, 4);
        assert_eq!(bench.next().1, fail("transport endpoint is not connected"));
    });
    hangs.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}
