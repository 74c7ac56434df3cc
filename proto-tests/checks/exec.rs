//! Exec checks.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use anycaster::config::{CheckKind, ExecCheck, Target};
use anycaster::engine::Outcome;

use crate::configured::{check, configured};
use crate::{Bench, V4, check_of, fail, once, pass, timed_out};

const SHORT: Duration = Duration::from_millis(400);

fn exec(command: &[&str], user: Option<&str>) -> ExecCheck {
    ExecCheck {
        command: command.iter().map(|argument| (*argument).to_owned()).collect(),
        user: user.map(str::to_owned),
        env: BTreeMap::new(),
    }
}

fn shell(script: &str) -> CheckKind {
    CheckKind::Exec(exec(&["/bin/sh", "-c", script], None))
}

fn run(script: &str) -> Outcome {
    once(check_of(Target::Service, shell(script)), V4)
}

/// Is the process still there, and not a zombie either?
fn gone(pid: &str) -> bool {
    let end = Instant::now() + Duration::from_secs(3);
    while fs::metadata(format!("/proc/{pid}")).is_ok() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

fn read(path: &std::path::Path) -> String {
    fs::read_to_string(path).unwrap().trim().to_owned()
}

#[test]
fn the_exit_status_decides_and_the_last_line_tells() {
    for (script, outcome) in [
        ("exit 0", pass("exit 0")),
        ("echo first; echo '3 of 3'; echo", pass("3 of 3")),
        ("exit 1", fail("exit 1")),
        ("echo out; echo 'disk full' >&2; exit 2", fail("exit 2: disk full")),
        ("printf '\\033[31mred\\007'", pass("[31mred")),
        ("kill -SEGV $$", fail("killed by SIGSEGV")),
        ("kill -KILL $$", fail("killed by SIGKILL")),
        ("cat; echo end of input", pass("end of input")),
    ] {
        assert_eq!(run(script), outcome, "{script}");
    }
}

#[test]
fn what_cannot_be_run_fails_in_the_kernels_words() {
    let home = tempfile::tempdir().unwrap();
    let plain = home.path().join("plain");
    fs::write(&plain, "no program").unwrap();
    let plain = plain.to_str().unwrap();
    let broken = home.path().join("broken");
    fs::write(&broken, "no program").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
    let broken = broken.to_str().unwrap();
    for (program, words) in [
        ("/no/such/program", "no such file or directory"),
        ("no-such-program", "no such file or directory"),
        (plain, "permission denied"),
        (broken, "exec format error"),
    ] {
        let outcome = once(check_of(Target::Service, CheckKind::Exec(exec(&[program], None))), V4);
        assert_eq!(outcome, fail(&format!("cannot run {program}: {words}")));
    }
}

#[test]
fn a_program_is_told_what_it_checks_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("env");
    let env = BTreeMap::from([("EXTRA".to_owned(), path.to_str().unwrap().to_owned())]);
    let command = exec(&["/bin/sh", "-c", "/usr/bin/env | grep -Ev '^(PWD|SHLVL|_|OLDPWD)=' | sort > $EXTRA"], None);
    let kind = CheckKind::Exec(ExecCheck { env, ..command });
    assert_eq!(once(check_of(Target::Service, kind), "127.0.0.7"), pass("exit 0"));
    let expected = format!(
        "ADDRESS=127.0.0.7\nEXTRA={}\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         PREFIXES=0.0.0.0/0 0.0.0.0/0 0.0.0.0/0 0.0.0.0/0\nREASON=unhealthy\nSERVICE=service\nSTATE=up",
        path.display()
    );
    assert_eq!(read(&path), expected);
}

#[test]
fn a_program_inherits_three_descriptors() {
    // As if the daemon's parent had left it open for all to inherit.
    let left_open = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    left_open.set_cloexec(false).unwrap();
    let mut bench = Bench::new(vec![check_of(Target::Service, shell("ls /proc/self/fd | tr '\\n' ' '"))]);
    for _ in 0..5 {
        // 3 is the directory that ls reads.
        assert_eq!(bench.once(V4).0, pass("0 1 2 3"));
    }
}

/// Whatever the daemon was started with: here by a thread with a mask and a umask of its own.
#[test]
fn a_program_starts_as_from_a_login_shell() {
    for (script, said) in [
        ("pwd", "/"),
        ("umask", "0022"),
        ("echo $(grep SigBlk /proc/self/status)", "SigBlk: 0000000000000000"),
        // Process group, session, terminal.
        ("set -- $(cut -d')' -f2 /proc/$$/stat); echo $(($3 - $$)) $(($4 - $$)) $5", "0 0 0"),
        ("(: > /dev/tty) 2>/dev/null || echo no terminal", "no terminal"),
    ] {
        let started = std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
            nix::sys::stat::umask(nix::sys::stat::Mode::all());
            let mut usr2 = nix::sys::signal::SigSet::empty();
            usr2.add(nix::sys::signal::Signal::SIGUSR2);
            usr2.thread_block().unwrap();
            run(script)
        });
        assert_eq!(started.join().unwrap(), pass(said), "{script}");
    }
}

#[test]
fn a_flood_neither_blocks_nor_grows() {
    assert_eq!(run("head -c 20000000 /dev/zero | tr '\\0' x; echo; echo done"), pass("done"));
    let endless = check(Target::Service, SHORT, shell("exec yes"));
    assert_eq!(once(endless, V4), timed_out("timed out: still running after 400ms, killed"));
}

#[test]
fn a_child_that_outlives_its_parent_delays_nothing_and_is_killed() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("pid");
    let script = format!("sleep 60 & echo $! > {}; echo started", path.display());
    let (outcome, took) = Bench::new(vec![check_of(Target::Service, shell(&script))]).once(V4);
    assert_eq!(outcome, pass("started"));
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(gone(&read(&path)), "the child runs on");
    // One that leaves the group lives, as a daemon must, and holds the pipe: still nobody waits.
    let script = format!("setsid sleep 60 & echo $! > {}; sleep 0.1; echo started", path.display());
    let (outcome, took) = Bench::new(vec![check_of(Target::Service, shell(&script))]).once(V4);
    assert_eq!(outcome, pass("started"));
    assert!(took < Duration::from_secs(2), "{took:?}");
    let pid = nix::unistd::Pid::from_raw(read(&path).parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
}

#[test]
fn the_timeout_kills_the_whole_group() {
    let home = tempfile::tempdir().unwrap();
    let (leader, child) = (home.path().join("leader"), home.path().join("child"));
    let script = format!(
        "trap '' TERM INT HUP; echo $$ > {}; sleep 60 & echo $! > {}; wait; sleep 60",
        leader.display(),
        child.display()
    );
    let mut bench = Bench::new(vec![check(Target::Service, SHORT, shell(&script))]);
    let (outcome, took) = bench.once(V4);
    assert_eq!(outcome, timed_out("timed out: still running after 400ms, killed"));
    assert!((SHORT..SHORT + Duration::from_millis(500)).contains(&took), "{took:?}");
    assert!(gone(&read(&leader)), "the leader is there, or a zombie");
    assert!(gone(&read(&child)), "the child runs on");
}

#[test]
fn programs_do_not_outlive_the_runner() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("pid");
    let bench = Bench::new(vec![check_of(Target::Service, shell(&format!("echo $$ > {}; sleep 60", path.display())))]);
    bench.ask(0, V4.parse().unwrap(), 1);
    let end = Instant::now() + Duration::from_secs(2);
    while fs::read_to_string(&path).unwrap_or_default().is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    let before = Instant::now();
    drop(bench);
    assert!(before.elapsed() < Duration::from_secs(1));
    assert!(gone(&read(&path)), "the program runs on");
}

#[test]
fn a_user_is_switched_to_whole() {
    let as_nobody = |script| {
        let command = exec(&["/bin/sh", "-c", script], Some("nobody"));
        once(check_of(Target::Service, CheckKind::Exec(command)), V4)
    };
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("SKIPPED: switching users needs root");
        return;
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let own = format!("{0} {0} {1} {1}", nobody.uid, nobody.gid);
    assert_eq!(as_nobody("echo $(id -ru) $(id -u) $(id -rg) $(id -g)"), pass(&own));
    assert_eq!(as_nobody("id -G"), pass(&nobody.gid.to_string()));
    assert_eq!(as_nobody("kill -0 1 2>/dev/null"), fail("exit 1"));
    assert_eq!(as_nobody("grep CapEff /proc/self/status"), pass("CapEff: 0000000000000000"));
    assert_eq!(once(check_of(Target::Service, CheckKind::Exec(exec(&["id", "-un"], Some("root")))), V4), pass("root"));
}

#[test]
fn an_unknown_user_is_an_error_of_the_configuration() {
    let (inputs, _results) = tokio::sync::mpsc::channel(1);
    let kind = CheckKind::Exec(exec(&["/bin/true"], Some("no-such-user")));
    let error = anycaster::io::checks::Runner::new(&configured(vec![check_of(Target::Service, kind)]), inputs).err();
    let words = "service service, check check: there is no user \"no-such-user\"";
    assert_eq!(error.map(|error| error.to_string()), Some(words.to_owned()));
}

#[test]
fn five_hundred_programs_at_once() {
    let kind = shell("sleep 0.5; echo $ADDRESS");
    let mut bench = Bench::new(vec![check(Target::Service, Duration::from_secs(60), kind)]);
    let addresses: Vec<std::net::IpAddr> =
        (0..500u32).map(|i| std::net::Ipv4Addr::from(0x7f01_0000 + i).into()).collect();
    for address in &addresses {
        bench.ask(0, *address, 1);
    }
    let mut answered: Vec<_> = addresses
        .iter()
        .map(|_| {
            let (probe, outcome, _) = bench.next();
            assert_eq!(outcome, pass(&probe.address.to_string()));
            probe.address
        })
        .collect();
    answered.sort();
    assert_eq!(answered, addresses);
}

/// As on a dead file server: a lease makes who opens the file wait until it is given back.
fn leased(path: &std::path::Path) -> Option<std::process::Child> {
    use std::io::Read;
    let script = "import fcntl, os, signal, sys, time\n\
                  signal.signal(signal.SIGIO, signal.SIG_IGN)\n\
                  file = os.open(sys.argv[1], os.O_RDONLY)\n\
                  fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n\
                  print('x', end='', flush=True)\n\
                  time.sleep(60)";
    let mut command = std::process::Command::new("python3");
    let mut holder = command.args(["-c", script]).arg(path).stdout(std::process::Stdio::piped()).spawn().ok()?;
    let mut said = [0; 1];
    holder.stdout.take()?.read_exact(&mut said).ok()?;
    Some(holder)
}

#[test]
fn programs_on_a_dead_file_server_do_not_keep_others_from_being_run() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("program");
    fs::copy("/bin/true", &path).unwrap();
    let Some(mut holder) = leased(&path) else {
        eprintln!("SKIPPED: needs python3 and a file system with leases");
        return;
    };
    let dead = CheckKind::Exec(exec(&[path.to_str().unwrap()], None));
    let mut bench = Bench::new(vec![
        check(Target::Service, SHORT, dead),
        check(Target::Service, SHORT, CheckKind::Exec(exec(&["/bin/true"], None))),
    ]);
    let addresses: Vec<std::net::IpAddr> =
        (0..20u32).map(|i| std::net::Ipv4Addr::from(0x7f01_0000 + i).into()).collect();
    for run in 0..3 {
        for address in &addresses {
            bench.ask(0, *address, run);
        }
        for _ in &addresses {
            assert_eq!(bench.next().1, timed_out("timed out: the program has not been started within 400ms"));
        }
        bench.ask(1, V4.parse().unwrap(), run);
        assert_eq!(bench.next().1, pass("exit 0"));
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    drop(bench);
}
