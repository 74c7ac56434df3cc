//! The daemon as a process: what it refuses to start with, what it says to the service manager, what it answers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;

use crate::lab::bgp::Open;
use crate::lab::daemon::{Daemon, Ended, command};
use crate::lab::namespace::Namespace;
use crate::lab::{seconds, wait_for};
use crate::scene::{EAGER, Scene, WEB, configuration, namespaces, ready};

/// Runs it until it ends by itself.
#[track_caller]
fn refused(host: &Namespace, config: &str, wrapper: &[&str]) -> Ended {
    Daemon::spawn(host, config, wrapper).wait(seconds(5))
}

/// Lines that say what is wrong, and no backtrace.
#[track_caller]
fn assert_one_sentence(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert!(!ended.said.contains("panicked"), "{}", ended.said);
    let line = ended.said.lines().find(|line| words.iter().all(|word| line.contains(word)));
    assert!(line.is_some(), "no line with {words:?} in:\n{}", ended.said);
    assert!(ended.said.lines().count() <= 3, "one sentence is enough:\n{}", ended.said);
}

#[test]
fn a_broken_file_has_every_problem_named_at_once_and_exit_code_2() {
    if !ready() {
        return;
    }
    let (host, _router) = namespaces();
    let broken = configuration("hold-tyme = \"9s\"\n", "[services.web]\nprefixes = [\"192.0.2.53/24\"]\nwait = 1\n");
    let ended = refused(&host, &broken, &[]);
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    for word in ["hold-tyme", "hold-time", "192.0.2.53/24", "192.0.2.0/24", "wait", "config.toml"] {
        assert!(ended.said.contains(word), "{word} is missing from:\n{}", ended.said);
    }
    let ended = refused(&host, "[router]\nasn = \n", &[]);
    assert_eq!(ended.code, Some(2), "{}", ended.said);
}

#[test]
fn a_file_that_is_not_there_is_one_sentence_and_exit_code_2() {
    if !ready() {
        return;
    }
    let (host, _router) = namespaces();
    let ended = command(&host, &["run", "-c", "/nonexistent/anycaster.toml"]);
    assert_one_sentence(&ended, &["/nonexistent/anycaster.toml"]);
}

#[test]
fn a_second_daemon_on_the_same_control_socket_is_refused_and_the_first_one_goes_on() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let connection = scene.tor.establish(&Open::default());
    connection.initial_updates();
    let config = scene.daemon.config().to_str().expect("a path").to_owned();
    let socket = scene.daemon.socket().to_str().expect("a path").to_owned();
    let ended = command(&scene.host, &["run", "-c", &config]);
    assert_one_sentence(&ended, &[&socket]);
    assert_eq!(scene.daemon.neighbor_state("tor-a"), "Established");
    assert_eq!(connection.collect(crate::lab::millis(100)), []);
    scene.finish();
}

#[test]
fn a_control_socket_that_a_crash_left_behind_is_taken_over() {
    if !ready() {
        return;
    }
    let (host, _router) = namespaces();
    let text = configuration(EAGER, WEB);
    let mut daemon = Daemon::start(&host, &text);
    daemon.signal(Signal::SIGKILL);
    daemon.wait(seconds(2));
    assert!(daemon.socket().exists(), "nobody could take it away");
    let config = daemon.config().to_str().expect("a path").to_owned();
    let mut again = std::process::Command::new(crate::lab::daemon::binary());
    let process = host.spawn(again.args(["run", "-c", &config]).stderr(std::process::Stdio::null()));
    wait_for("the new daemon to answer on the old path", seconds(5), || daemon.try_get("/status").map(|_| ()));
    drop(process);
}

#[test]
fn a_missing_permission_is_one_sentence_that_names_it() {
    if !crate::lab::ready(&["setpriv"]) {
        return;
    }
    let (host, _router) = namespaces();
    // Where the build lies may be closed to others.
    let scratch = crate::lab::Scratch::new();
    let binary = scratch.file("anycaster");
    fs::copy(crate::lab::daemon::binary(), &binary).expect("copy");
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("chmod");
    let run_as_nobody = |config: &str| {
        let path = scratch.write("config.toml", config);
        let mut words = vec!["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--no-new-privs"];
        words.extend([binary.to_str().expect("a path"), "run", "-c", path.to_str().expect("a path")]);
        let line = format!("timeout 5 {}", words.join(" "));
        let output = host.output(&line);
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Ended { code: output.status.code(), took: seconds(0), said }
    };
    let open = scratch.file("open");
    fs::create_dir(&open).expect("mkdir");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("chmod");

    let routes = configuration(EAGER, &format!("{WEB}[services.web.binding]\nmanage = true\n"));
    let keys = format!("[router]\ncontrol = \"{0}/control.sock\"\nstate-dir = \"{0}\"\n", open.display());
    let ended = run_as_nobody(&routes.replacen("[router]\n", &keys, 1));
    assert_one_sentence(&ended, &["CAP_NET_ADMIN"]);

    let closed = scratch.file("closed");
    fs::create_dir(&closed).expect("mkdir");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("chmod");
    let keys =
        format!("[router]\ncontrol = \"{}/control.sock\"\nstate-dir = \"{}\"\n", closed.display(), open.display());
    let ended = run_as_nobody(&configuration(EAGER, WEB).replacen("[router]\n", &keys, 1));
    assert_one_sentence(&ended, &[&format!("{}/control.sock", closed.display())]);
}

#[test]
fn the_service_manager_hears_ready_watchdog_and_stopping() {
    if !crate::lab::ready(&["env"]) {
        return;
    }
    let (host, router) = namespaces();
    let tor = crate::lab::fake::FakeNeighbor::listen(&router, "10.97.1.1");
    let other = crate::lab::fake::FakeNeighbor::listen(&router, "10.97.2.1");
    let text = configuration(EAGER, &format!("{WEB}[drain]\nwithdraw-settle = \"200ms\"\n"));
    let mut daemon = Daemon::spawn(&host, &text, &["env", "WATCHDOG_USEC=1000000"]);
    let _sessions = [&tor, &other].map(|neighbor| neighbor.establish(&Open::default()));
    let mut heard = Vec::new();
    let mut hear = |daemon: &Daemon, what: &str| {
        wait_for(what, seconds(5), || {
            heard.extend(daemon.notified());
            if heard.iter().any(|line| line == what) { Ok(()) } else { Err(format!("{heard:?}")) }
        });
    };
    hear(&daemon, "READY=1");
    hear(&daemon, "WATCHDOG=1");
    daemon.signal(Signal::SIGTERM);
    hear(&daemon, "STOPPING=1");
    assert_eq!(daemon.wait(seconds(6)).code, Some(0));
}

#[test]
fn every_address_of_the_control_socket_answers() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let connection = scene.tor.establish(&Open::default());
    connection.initial_updates();
    for path in ["/status", "/neighbors", "/services", "/routes", "/explain/192.0.2.53/32", "/explain/web"] {
        assert!(!scene.daemon.get(path).is_null(), "{path}");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(scene.daemon.try_get(path).expect("an answer").0, 200, "{path}");
    }
    assert_eq!(scene.daemon.try_get("/nothing").expect("an answer").0, 404);
    assert_eq!(scene.daemon.metric("anycaster_bgp_session_up{neighbor=\"tor-a\"}"), Some(1.0));

    // A neighbor that is configured and not up makes it not ready.
    connection.close();
    drop(scene.tor);
    wait_for("/readyz to say so", seconds(3), || match scene.daemon.try_get("/readyz") {
        Ok((503, _)) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn signals_of_later_versions_are_refused_and_end_nothing() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let connection = scene.tor.establish(&Open::default());
    connection.initial_updates();
    for (signal, word) in [(Signal::SIGHUP, "SIGHUP"), (Signal::SIGUSR2, "SIGUSR2")] {
        scene.daemon.signal(signal);
        wait_for("the log to refuse it", seconds(3), || {
            let log = scene.daemon.log();
            let said = log.lines().any(|line| line.contains(word) && line.contains("not supported yet"));
            if said { Ok(()) } else { Err(log) }
        });
    }
    assert_eq!(scene.daemon.metric("anycaster_bgp_session_up{neighbor=\"tor-a\"}"), Some(1.0));
}
