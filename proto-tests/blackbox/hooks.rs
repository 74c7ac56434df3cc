//! Programs that follow a service: told after the routers, never in their way. And services that need each other.

use std::fs;

use nix::sys::signal::Signal;

use crate::lab::bgp::{Open, Update};
use crate::lab::daemon::{Daemon, command};
use crate::lab::fake::Connection;
use crate::lab::namespace::{Namespace, Process};
use crate::lab::{Scratch, millis, seconds, wait_equal, wait_for};
use crate::scene::{EAGER, Scene, WEB, namespaces, ready};

const PREFIX: &str = "198.51.100.1/32";

/// A service on 198.51.100.1 with a hook for each occasion, all of them this shell script with the occasion as its
/// argument. Beside it one that has nothing to do with it.
fn tables(scratch: &Scratch, script: &str) -> String {
    let path = scratch.write("hook.sh", &format!("#!/bin/sh\ncd {}\n{script}\n", scratch.path().display()));
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    let hook = |word: &str| format!("{word} = [\"{}\", \"{word}\"]", path.display());
    format!(
        "{WEB}[services.api]\nprefixes = [\"198.51.100.1\"]\nhealth.disable-file = \"{}\"\nhealth.hooks = {{ {} }}\n",
        scratch.file("off").display(),
        ["up", "down", "drain"].map(hook).join(", ")
    )
}

fn start(scratch: &Scratch, script: &str) -> (Scene, Connection) {
    let (host, router) = namespaces();
    host.add_address("lo", PREFIX);
    let scene = Scene::in_namespaces(host, router, EAGER, &tables(scratch, script));
    let connection = scene.tor.establish(&Open::default());
    connection.initial_updates();
    (scene, connection)
}

fn withdrawn() -> Update {
    Update { withdrawn: vec![PREFIX.to_owned()], ..Update::default() }
}

/// The lines that the hooks have written to a file beside them.
fn lines(scratch: &Scratch, file: &str) -> Vec<String> {
    fs::read_to_string(scratch.file(file)).unwrap_or_default().lines().map(str::to_owned).collect()
}

const TELL: &str = "echo \"$1 $SERVICE $ADDRESS $STATE [$REASON] $PREFIXES\" >>told";

#[test]
fn hooks_are_told_what_happened_each_time_and_in_order() {
    if !ready() {
        return;
    }
    let scratch = Scratch::new();
    let (scene, connection) = start(&scratch, TELL);
    let mut expected = vec![format!("up api 198.51.100.1 up [] {PREFIX}")];
    wait_equal("up", seconds(5), &expected, || lines(&scratch, "told"));
    scene.host.remove_address("lo", PREFIX);
    expected.push(format!("down api 198.51.100.1 down [no-address] {PREFIX}"));
    wait_equal("down", seconds(5), &expected, || lines(&scratch, "told"));
    scratch.write("off", "");
    expected.push(format!("drain api 198.51.100.1 drained [drained] {PREFIX}"));
    wait_equal("drained", seconds(5), &expected, || lines(&scratch, "told"));
    fs::remove_file(scratch.file("off")).expect("remove");
    scene.host.add_address("lo", PREFIX);
    let last = format!("up api 198.51.100.1 up [] {PREFIX}");
    wait_for("up again", seconds(5), || match lines(&scratch, "told") {
        told if told.last() == Some(&last) => Ok(()),
        told => Err(format!("{told:?}")),
    });
    assert_eq!(connection.update().1, withdrawn());
    let hooks = scene.daemon.service("api")["hooks"].clone();
    let ok: Vec<bool> = hooks.as_array().expect("hooks").iter().map(|hook| hook["ok"] == true).collect();
    assert_eq!(ok, [true; 3], "{hooks}");
    assert_eq!(scene.daemon.metric("anycaster_hook_failures_total{service=\"api\",hook=\"up\"}"), Some(0.0));
    let told = scene.witness().collect(millis(200));
    assert_eq!(told.len(), 2, "withdrawn and announced again: {told:?}");
    assert_eq!(scene.daemon.neighbor_state("tor-a"), "Established");
}

#[test]
fn addresses_that_the_daemon_brings_were_never_down() {
    if !ready() {
        return;
    }
    for _ in 0..20 {
        let scratch = Scratch::new();
        let (host, router) = namespaces();
        let file = format!("health.disable-file = \"{}\"", scratch.file("off").display());
        let tables = tables(&scratch, TELL).replace(&file, "binding.manage = true");
        let scene = Scene::in_namespaces(host, router, EAGER, &tables);
        scene.tor.establish(&Open::default()).initial_updates();
        wait_for("a hook", seconds(5), || lines(&scratch, "told").first().cloned().ok_or_else(|| "none".to_owned()));
        assert_eq!(lines(&scratch, "told"), [format!("up api 198.51.100.1 up [] {PREFIX}")]);
    }
}

#[test]
fn routers_hear_of_every_change_while_a_hook_hangs() {
    if !ready() {
        return;
    }
    let scratch = Scratch::new();
    let (scene, connection) = start(&scratch, "echo $$ >>began\ntest $1 = up || sleep 3600 & wait\nexit 3");
    wait_for("the first hook", seconds(5), || match lines(&scratch, "began").len() {
        1 => Ok(()),
        runs => Err(format!("{runs} runs")),
    });
    let change = |present: bool| {
        if present {
            scene.host.add_address("lo", PREFIX);
            assert_eq!(connection.update().1.announced, [PREFIX]);
        } else {
            scene.host.remove_address("lo", PREFIX);
            assert_eq!(connection.update().1, withdrawn());
        }
    };
    change(false);
    wait_for("the hook that hangs", seconds(5), || match lines(&scratch, "began").len() {
        2 => Ok(()),
        runs => Err(format!("{runs} runs")),
    });
    for _ in 0..4 {
        change(true);
        change(false);
    }
    let held = scene.daemon.held(PREFIX);
    assert_eq!(held.as_deref(), Some("no-address"), "the daemon answers");
    let failures = "anycaster_hook_failures_total{service=\"api\",hook=\"down\"}";
    wait_equal("the hook that hangs to be killed", seconds(14), &Some(1.0), || scene.daemon.metric(failures));
    let detail = scene.daemon.service("api")["hooks"][1]["detail"].as_str().unwrap_or_default().to_owned();
    assert_eq!(detail, "timed out: still running after 10s, killed");
    wait_for("what came last to be run", seconds(5), || match lines(&scratch, "began").len() {
        3 => Ok(()),
        runs => Err(format!("{runs} runs")),
    });
    // Eight changes while one hung are one run, and the one killed took its child along.
    let hung = lines(&scratch, "began")[1].clone();
    let fields =
        |line: &str| line.rsplit(')').next().unwrap_or_default().split(' ').map(str::to_owned).collect::<Vec<_>>();
    // State and process group; a zombie is init's affair.
    let group = |line: &str| matches!(&fields(line)[..], [_, state, _, group, ..] if state != "Z" && *group == hung);
    let stats = fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok().filter(|stat| group(stat)));
    assert_eq!(stats.collect::<Vec<_>>(), Vec::<String>::new());
    let Scene { mut daemon, .. } = scene;
    assert_eq!(daemon.stop().code, Some(0), "a stop does not wait for the hook that hangs now");
}

#[test]
fn a_hook_that_cannot_run_is_counted_and_said() {
    if !ready() {
        return;
    }
    let scratch = Scratch::new();
    let (scene, connection) = start(&scratch, "rm -f \"$0\"; echo all is lost >&2; exit 7");
    let failures = |hook: &str| format!("anycaster_hook_failures_total{{service=\"api\",hook=\"{hook}\"}}");
    let detail = |at: usize| scene.daemon.service("api")["hooks"][at]["detail"].as_str().unwrap_or_default().to_owned();
    wait_equal("the first to fail", seconds(5), &Some(1.0), || scene.daemon.metric(&failures("up")));
    assert_eq!(detail(0), "exit 7: all is lost");
    scene.host.remove_address("lo", PREFIX);
    assert_eq!(connection.update().1, withdrawn());
    wait_equal("the second to fail", seconds(5), &Some(1.0), || scene.daemon.metric(&failures("down")));
    let said = detail(1);
    assert!(said.starts_with("cannot run ") && said.ends_with(": no such file or directory"), "{said}");
    assert!(scene.daemon.log().contains("exit 7: all is lost"), "{}", scene.daemon.log());
    let events = scene.daemon.get("/events");
    let hooks: Vec<_> = events.as_array().expect("events").iter().filter(|event| event["kind"] == "hook").collect();
    let of = |event: &serde_json::Value| [&event["service"], &event["to"], &event["reason"]].map(ToString::to_string);
    let expected = ["up", "down"].map(|hook| ["\"api\"".into(), "\"failed\"".into(), format!("\"{hook}\"")]);
    assert_eq!(hooks.into_iter().map(of).collect::<Vec<_>>(), expected);
}

#[test]
fn what_needs_a_service_is_withdrawn_with_it() {
    if !ready() {
        return;
    }
    let (host, router) = namespaces();
    host.add_address("lo", PREFIX);
    let tables = "[services.web]\nprefixes = [\"192.0.2.53\"]\ndepends-on = [\"api\"]\n\
                  [services.api]\nprefixes = [\"198.51.100.1\"]\n";
    let scene = Scene::in_namespaces(host, router, EAGER, tables);
    let connection = scene.tor.establish(&Open::default());
    connection.initial_updates();
    scene.host.remove_address("lo", PREFIX);
    let both = vec!["192.0.2.53/32".to_owned(), PREFIX.to_owned()];
    let (_, mut update) = connection.update();
    update.withdrawn.sort();
    assert_eq!(update, Update { withdrawn: both, ..Update::default() });
    assert_eq!(scene.daemon.held("192.0.2.53/32").as_deref(), Some("depends-on"));
    let socket = scene.daemon.socket().display().to_string();
    let explained = command(&scene.host, &["explain", "192.0.2.53", "--socket", &socket]);
    assert_eq!(explained.code, Some(1));
    assert!(explained.said.contains("depends-on") && explained.said.contains("waits for api"), "{}", explained.said);
    scene.host.add_address("lo", PREFIX);
    let mut announced: Vec<String> = (0..2).flat_map(|_| connection.update().1.announced).take(2).collect();
    announced.sort();
    assert_eq!(announced, ["192.0.2.53/32", PREFIX]);
}

fn events(daemon: &Daemon, host: &Namespace, arguments: &[&str]) -> String {
    let socket = daemon.socket().display().to_string();
    let ended = command(host, &[&["events", "--socket", &socket], arguments].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    ended.said
}

#[test]
fn events_are_listed_and_followed() {
    if !ready() {
        return;
    }
    let scratch = Scratch::new();
    let (scene, _connection) = start(&scratch, "exit 0");
    let text = events(&scene.daemon, &scene.host, &[]);
    let line = text.lines().find(|line| line.contains(PREFIX) && line.contains("-> announced"));
    assert!(line.is_some_and(|line| line.contains("prefix") && line.contains("api")), "{text}");
    assert!(text.lines().any(|line| line.contains("session") && line.contains("tor-a")), "{text}");
    let listed: Vec<serde_json::Value> =
        serde_json::from_str(&events(&scene.daemon, &scene.host, &["--json"])).expect("JSON");
    assert_eq!(serde_json::Value::from(listed.clone()), scene.daemon.get("/events"));
    let since = events(&scene.daemon, &scene.host, &["--since", "1h", "--json"]);
    assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&since).expect("JSON"), listed);
    assert_eq!(events(&scene.daemon, &scene.host, &["--since", "0s"]), "");

    let file = scratch.file("followed");
    let mut follow = follow(&scene, &file);
    scene.host.remove_address("lo", PREFIX);
    let last = |word: &str| {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let parsed: Vec<serde_json::Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        parsed.into_iter().rev().find(|event| event["kind"] == word).ok_or(text)
    };
    let event = wait_for("the event to be followed", seconds(5), || {
        last("prefix").and_then(|event| if event["to"] == "held" { Ok(event) } else { Err(event.to_string()) })
    });
    assert_eq!((&event["reason"], &event["prefix"]), (&"no-address".into(), &PREFIX.into()));
    let hook = wait_for("the hook after it", seconds(5), || {
        last("hook").and_then(|event| if event["reason"] == "down" { Ok(event) } else { Err(event.to_string()) })
    });
    assert!(hook["id"].as_u64() > event["id"].as_u64(), "after the routers");
    scene.daemon.signal(Signal::SIGKILL);
    let ended = follow.wait(seconds(10)).expect("it goes when the daemon goes");
    assert_eq!(ended.code(), Some(2));
}

fn follow(scene: &Scene, file: &std::path::Path) -> Process {
    let output = fs::File::create(file).expect("file");
    let mut command = std::process::Command::new(crate::lab::daemon::binary());
    command.args(["events", "--follow", "--json", "--socket"]).arg(scene.daemon.socket());
    command.stdout(output.try_clone().expect("dup")).stderr(output);
    scene.host.spawn(&mut command)
}
