//! Systemd checks, against a systemd that is process 1 of namespaces of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anycaster::config::{CheckKind, SystemdCheck, Target};
use anycaster::engine::Outcome;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::configured::check;
use crate::{Bench, V4, check_of, fail, once, pass, timed_out};

/// Which part of the test runs inside.
const INSIDE: &str = "ANYCASTER_INSIDE_SYSTEMD";

/// Booting takes a second; a busy machine may need more.
const PATIENCE: Duration = Duration::from_secs(20);

/// Before systemd there is nothing of the host in its reach: neither /run nor the other control groups.
const BOOT: &str = r#"
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/system /run/units
cd /run/units
unit() { printf '[Unit]\nDefaultDependencies=no\n%b\n' "$2" > "$1"; }
unit default.target ''
unit well.service '[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/sleep infinity'
unit broken.service '[Service]\nExecStart=/bin/false'
unit slow.service '[Service]\nType=oneshot\nExecStart=/bin/sleep infinity'
unit bad.service '[Service]\nType=simple'
ln -s /dev/null masked.service
exec env -i container=test PATH="$PATH" SYSTEMD_UNIT_PATH=/run/units \
    "$1" --log-target=console --show-status=no --unit=default.target
"#;

struct Booted {
    /// unshare(1), whose death ends everything inside.
    child: Child,
    init: Pid,
    group: PathBuf,
}

impl Booted {
    /// The error says what is missing.
    fn start() -> Result<Self, String> {
        if !nix::unistd::Uid::effective().is_root() {
            return Err("root".to_owned());
        }
        let systemd =
            ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"].into_iter().find(|path| Path::new(path).exists());
        let systemd = systemd.ok_or("systemd, the program")?;
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let groups = mounts.lines().find_map(|line| {
            let [_, place, "cgroup2", ..] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
            Some(PathBuf::from(place))
        });
        let group = groups.ok_or("a cgroup2 file system")?.join(format!("anycaster-test-{}", std::process::id()));
        fs::create_dir(&group).map_err(|error| format!("a control group of its own: {error}"))?;
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec unshare \"$@\""]).arg(&group);
        command.args([
            "--fork",
            "--pid",
            "--kill-child",
            "--mount",
            "--mount-proc",
            "--cgroup",
            "--uts",
            "--ipc",
            "--net",
        ]);
        command
            .args(["sh", "-c", BOOT, "sh", systemd])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("sh: {error}"))?;
        let mut booted = Self { child, init: Pid::from_raw(0), group };
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(init) = booted.init()
                && Path::new(&format!("/proc/{init}/root/run/systemd/private")).exists()
            {
                booted.init = init;
                return Ok(booted);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("systemd to boot in namespaces".to_owned())
    }

    fn init(&self) -> Option<Pid> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        children.trim().parse().ok().map(Pid::from_raw)
    }

    /// Runs this test again in there: systemd talks to nobody whose process it cannot see.
    fn inside_do(&self, part: &str) {
        let mut command = Command::new("nsenter");
        command.args(["--all", "--target", &self.init.to_string(), "--wd=/"]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", "systemd::a_unit_is_asked_about_where_systemd_runs", "--nocapture"]);
        let output = command.env(INSIDE, part).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success() && said.contains("ok. 1 passed"), "{part}: {said}");
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Processes leave a control group a moment after their death.
        let end = Instant::now() + PATIENCE;
        while self.group.exists() && Instant::now() < end {
            remove(&self.group);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn remove(group: &Path) {
    for below in fs::read_dir(group).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&below.path());
        }
    }
    let _ = fs::remove_dir(group);
}

fn unit(name: &str) -> CheckKind {
    CheckKind::Systemd(SystemdCheck { unit: name.to_owned() })
}

fn asked(name: &str) -> Outcome {
    once(check_of(Target::Service, unit(name)), V4)
}

fn systemctl(words: &[&str]) {
    let output = Command::new("systemctl").args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
}

/// A state that comes a moment later.
fn becomes(name: &str, outcome: &Outcome) {
    let end = Instant::now() + PATIENCE;
    loop {
        let now = asked(name);
        if now == *outcome {
            return;
        }
        assert!(Instant::now() < end, "{name}: {now:?}, not {outcome:?}");
    }
}

#[test]
fn a_unit_is_asked_about_where_systemd_runs() {
    match std::env::var(INSIDE).as_deref() {
        Ok("states") => return states(),
        Ok("hangs") => return hangs(),
        Ok(_) | Err(_) => {}
    }
    let booted = match Booted::start() {
        Ok(booted) => booted,
        Err(missing) => {
            eprintln!("SKIPPED: a systemd of its own needs {missing}, which is not here");
            return;
        }
    };
    booted.inside_do("states");
    kill(booted.init, Signal::SIGSTOP).unwrap();
    booted.inside_do("hangs");
}

fn states() {
    becomes("default.target", &pass("active (active)"));
    assert_eq!(asked("well.service"), fail("inactive (dead)"));
    assert_eq!(asked("none.service"), fail("there is no such unit"));
    assert_eq!(asked("masked.service"), fail("masked"));
    assert_eq!(asked("bad.service"), fail("its unit file cannot be used: bad-setting"));
    systemctl(&["start", "well.service"]);
    assert_eq!(asked("well.service"), pass("active (running)"));
    systemctl(&["reload", "--no-block", "well.service"]);
    becomes("well.service", &pass("reloading (reload)"));
    systemctl(&["start", "--no-block", "broken.service", "slow.service"]);
    becomes("broken.service", &fail("failed (exit-code)"));
    becomes("slow.service", &fail("activating (start)"));
    systemctl(&["kill", "--signal=KILL", "well.service"]);
    becomes("well.service", &fail("failed (signal)"));
}

/// A manager that hangs costs the timeout.
fn hangs() {
    let short = Duration::from_millis(400);
    let (outcome, took) = Bench::new(vec![check(Target::Service, short, unit("well.service"))]).once(V4);
    assert_eq!(outcome, timed_out("timed out: still running after 400ms, killed"));
    assert!((short..short + Duration::from_millis(500)).contains(&took), "{took:?}");
}

#[test]
fn without_systemd_it_is_said() {
    if Path::new("/run/systemd/system").exists() {
        eprintln!("SKIPPED: systemd is running here");
        return;
    }
    assert_eq!(asked("well.service"), fail("systemd is not running here"));
}
