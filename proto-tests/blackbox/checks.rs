//! Checks that misbehave hurt their own service, and nothing else notices.

use std::fs;

use crate::lab::bgp::{Open, Update};
use crate::lab::{Scratch, millis, seconds, stays_equal, wait_equal, wait_for};
use crate::scene::{EAGER, PREFIXES, Scene, WEB, namespaces, ready};

/// A service of its own on 198.51.100.1 whose one exec check is this shell script.
fn service(scratch: &Scratch, script: &str) -> String {
    let path = scratch.write("check.sh", &format!("#!/bin/sh\n{script}\n"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&path, mode).expect("chmod");
    format!(
        "{WEB}[services.bad]\nprefixes = [\"198.51.100.1\"]\n[[services.bad.checks]]\nname = \"script\"\ntype = \"exec\"\n\
         command = [\"{}\"]\ninterval = \"300ms\"\ntimeout = \"200ms\"\nfall = 1\nrise = 1\n\
         env = {{ LABORATORY = \"{}\" }}\n",
        path.display(),
        scratch.path().display()
    )
}

/// The other service is announced, the bad one is not, the daemon answers and has not grown.
fn only_its_own_service_is_held(script: &str, reason: &[&str]) {
    if !ready() {
        return;
    }
    let scratch = Scratch::new();
    let (host, router) = namespaces();
    host.add_address("lo", "198.51.100.1/32");
    let scene = Scene::in_namespaces(host, router, EAGER, &service(&scratch, script));
    let connection = scene.tor.establish(&Open::default());
    let updates = connection.initial_updates();
    let mut announced: Vec<String> = updates.into_iter().flat_map(|update| update.announced).collect();
    announced.sort();
    assert_eq!(announced, PREFIXES);
    wait_for("the check to fail", seconds(5), || {
        let check = scene.daemon.service("bad")["checks"][0].clone();
        let detail = check["detail"].as_str().unwrap_or_default().to_lowercase();
        let said = reason.iter().any(|word| detail.contains(word));
        if check["state"] == "down" && said { Ok(()) } else { Err(check.to_string()) }
    });
    let before = scene.daemon.resident();
    stays_equal("the other service", seconds(2), &[None, None], || PREFIXES.map(|prefix| scene.daemon.held(prefix)));
    let grown = scene.daemon.resident().saturating_sub(before);
    assert!(grown < 4 << 20, "memory grew by {grown} octets");
    assert_eq!(scene.daemon.held("198.51.100.1/32").as_deref(), Some("unhealthy"));
    assert_eq!(connection.collect(millis(50)), []);
    // Nothing that a check started outlives its timeout by much.
    let folder = scratch.path().to_str().expect("a path").to_owned();
    wait_for("no process of a check to be older than a second", seconds(3), || match old_processes(&folder) {
        old if old.is_empty() => Ok(()),
        old => Err(format!("{old:?}")),
    });
    scene.finish_and_stop();
    assert_eq!(old_processes(&folder), Vec::<String>::new(), "a stopped daemon leaves nothing behind");
}

/// Processes with `word` in their environment, there now and a second later.
fn old_processes(word: &str) -> Vec<String> {
    let list = || {
        let entries = fs::read_dir("/proc").expect("/proc").flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let line = |pid: u32| {
            let text = |name: &str| {
                let bytes = fs::read(format!("/proc/{pid}/{name}")).ok()?;
                Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
            };
            let word = format!("LABORATORY={word}");
            text("environ")?.contains(&word).then(|| format!("{pid} {}", text("cmdline").unwrap_or_default()))
        };
        numbers.filter_map(line).collect::<Vec<_>>()
    };
    let first = list();
    std::thread::sleep(seconds(1));
    list().into_iter().filter(|entry| first.contains(entry)).collect()
}

#[test]
fn a_check_that_hangs() {
    only_its_own_service_is_held("sleep 3600", &["tim"]);
}

#[test]
fn a_check_that_hangs_and_will_not_be_terminated() {
    only_its_own_service_is_held("trap '' TERM INT HUP; while :; do sleep 1; done", &["tim"]);
}

#[test]
fn a_check_that_floods_its_output() {
    only_its_own_service_is_held("exec yes \"$0 says a lot\"", &["tim", "output"]);
}

#[test]
fn a_check_that_forks_and_leaves() {
    only_its_own_service_is_held("(while :; do sleep 3600; done) & sleep 3600 & exit 1", &["exit", "status", "1"]);
}

#[test]
fn a_check_that_dies_of_a_signal() {
    only_its_own_service_is_held("kill -9 $$", &["signal", "kill", "9"]);
}

#[test]
fn a_check_that_is_not_there() {
    only_its_own_service_is_held("rm \"$0\"; exit 1", &["no such file", "not found", "exit"]);
}

#[test]
fn an_exec_check_sees_what_it_is_asked_about_and_its_verdict_counts() {
    if !ready() {
        return;
    }
    let scratch = Scratch::new();
    let (host, router) = namespaces();
    host.add_address("lo", "198.51.100.1/32");
    let folder = scratch.path().display().to_string();
    let tables = service(&scratch, &format!("echo \"$SERVICE $ADDRESS\" > {folder}/seen\ntest -e {folder}/well"));
    let scene = Scene::in_namespaces(host, router, EAGER, &tables);
    let connection = scene.tor.establish(&Open::default());
    connection.initial_updates();
    for connection in [&connection, scene.witness()] {
        assert_eq!(connection.collect(millis(400)), [], "announced before its check passed");
    }
    scratch.write("well", "");
    for connection in [&connection, scene.witness()] {
        assert_eq!(connection.update().1.announced, ["198.51.100.1/32"]);
    }
    wait_equal("its environment", seconds(2), &"bad 198.51.100.1\n".to_owned(), || {
        fs::read_to_string(scratch.file("seen")).expect("seen")
    });
    fs::remove_file(scratch.file("well")).expect("remove");
    for connection in [&connection, scene.witness()] {
        let withdrawn = Update { withdrawn: vec!["198.51.100.1/32".to_owned()], ..Update::default() };
        assert_eq!(connection.update().1, withdrawn);
    }
    wait_equal("unhealthy", seconds(1), &Some("unhealthy".to_owned()), || scene.daemon.held("198.51.100.1/32"));
    scene.finish();
}
