//! `[pmtud]`: its defaults, that every key is heard, its warnings, and the table alone.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anycaster::config::{Members, MinMtu, Pmtud, PmtudLimits, PmtudMode, PmtudRelay, Rate, Source, load_pmtud};
use anycaster::io::files::read_sources;

use crate::{files, load_text};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What CONTRACT says of keys that are not in the file.
fn default(mode: PmtudMode) -> Pmtud {
    let rate = |per_second| Rate { per_second };
    Pmtud {
        interfaces: vec!["eth0".to_owned()],
        mode,
        prefixes: None,
        protocols: vec![6, 132],
        ports: vec![],
        min_mtu: MinMtu { ipv4: 552, ipv6: 1280 },
        dry_run: false,
        dedup: Duration::from_millis(100),
        limits: PmtudLimits { flow: rate(5), router: rate(200), prefix: rate(1000), total: rate(5000) },
    }
}

fn default_relay(members: &[&str]) -> PmtudRelay {
    PmtudRelay {
        address: ip("10.0.0.11"),
        port: 5141,
        members: Members::List(members.iter().map(|text| ip(text)).collect()),
        keys: vec![PathBuf::from("/etc/anycaster/pmtud-1.key")],
        insecure: false,
    }
}

/// What the reference shows: the defaults, and what has none.
pub(super) fn reference() -> Pmtud {
    default(PmtudMode::Relay(default_relay(&["10.0.0.11", "10.0.0.12"])))
}

fn alone(text: &str) -> Result<(Pmtud, String), String> {
    let loaded = load_pmtud(&[Source { path: PathBuf::from("config.toml"), text: text.to_owned() }]);
    loaded.map(|loaded| (loaded.pmtud, loaded.warnings.render(false))).map_err(|report| report.render(false))
}

const SPEAKER: &str = r#"
[router]
asn = 65010
[neighbors.tor]
address = "10.0.0.1"
asn = 65001
[services.dns]
prefixes = ["192.0.2.53"]
binding.listen = ["udp/53"]
"#;

const RELAY: &str = r#"
[pmtud]
interfaces = ["eth0"]
address = "10.0.0.11"
keys = ["/etc/anycaster/pmtud-1.key"]
"#;

const MEMBERS: &str = "members = [\"10.0.0.12\"]\n";
const BROADCAST: &str = "[pmtud]\ninterfaces = [\"eth0\"]\nmode = \"broadcast\"\n";

/// The table in a whole configuration, and its warnings.
fn read(text: &str) -> (Pmtud, String) {
    let loaded = load_text(&format!("{SPEAKER}{text}")).unwrap_or_else(|report| panic!("{}", report.render(false)));
    (loaded.config.pmtud.unwrap(), loaded.warnings.render(false))
}

#[test]
fn what_is_not_said_stands_at_its_default() {
    let relay = default(PmtudMode::Relay(default_relay(&["10.0.0.12"])));
    assert_eq!(read(&format!("{RELAY}{MEMBERS}")), (relay, String::new()));
    assert_eq!(read(BROADCAST), (default(PmtudMode::Broadcast), String::new()));
    assert_eq!(load_text(SPEAKER).unwrap().config.pmtud, None);
}

/// Never parsed and ignored.
#[test]
fn every_key_is_heard() {
    let set = |change: fn(&mut Pmtud)| {
        let mut pmtud = default(PmtudMode::Relay(default_relay(&["10.0.0.12"])));
        change(&mut pmtud);
        pmtud
    };
    let rate = |per_second| Rate { per_second };
    let changes: [(&str, Pmtud); 12] = [
        (r#"mode = "relay""#, set(|_| ())),
        (
            r#"prefixes = ["192.0.2.1", "2001:db8::/48"]"#,
            set(|p| p.prefixes = Some(vec!["192.0.2.1/32".parse().unwrap(), "2001:db8::/48".parse().unwrap()])),
        ),
        (r#"protocols = ["sctp", "udp", "tcp"]"#, set(|p| p.protocols = vec![6, 17, 132])),
        (r#"protocols = ["sctp"]"#, set(|p| p.protocols = vec![132])),
        ("ports = [443, 80, 65535, 1]", set(|p| p.ports = vec![1, 80, 443, 65535])),
        ("min-mtu = { ipv4 = 68 }", set(|p| p.min_mtu.ipv4 = 68)),
        ("min-mtu = { ipv4 = 0, ipv6 = 0 }", set(|p| p.min_mtu = MinMtu { ipv4: 0, ipv6: 0 })),
        ("min-mtu.ipv6 = 65535", set(|p| p.min_mtu.ipv6 = 65535)),
        ("dry-run = true", set(|p| p.dry_run = true)),
        (r#"dedup = "0ms""#, set(|p| p.dedup = Duration::ZERO)),
        (r#"dedup = "10s""#, set(|p| p.dedup = Duration::from_secs(10))),
        (
            r#"limits = { flow = "1/s", router = "10000000/s", prefix = "2/s", total = "3/s" }"#,
            Pmtud {
                limits: PmtudLimits { flow: rate(1), router: rate(10_000_000), prefix: rate(2), total: rate(3) },
                ..set(|_| ())
            },
        ),
    ];
    for (line, expected) in changes {
        assert_eq!(read(&format!("{RELAY}{MEMBERS}{line}\n")).0, expected, "{line}");
    }
    let relays: [(&str, PmtudRelay); 5] = [
        ("port = 1\nmembers = []", PmtudRelay { port: 1, ..default_relay(&[]) }),
        (
            "members-file = \"/etc/members\"",
            PmtudRelay { members: Members::File("/etc/members".into()), ..default_relay(&[]) },
        ),
        (
            "members-dns = \"members.example.net.\"",
            PmtudRelay { members: Members::Dns("members.example.net.".to_owned()), ..default_relay(&[]) },
        ),
        // One list serves the fleet.
        (
            "members = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.12\"]",
            default_relay(&["10.0.0.11", "10.0.0.12", "10.0.0.12"]),
        ),
        (MEMBERS, default_relay(&["10.0.0.12"])),
    ];
    for (lines, expected) in relays {
        let (pmtud, warnings) = read(&format!("{RELAY}{lines}\n"));
        let nobody = expected.members == Members::List(vec![]);
        assert_eq!((pmtud.mode, warnings.is_empty()), (PmtudMode::Relay(expected), !nobody), "{lines}");
    }
    let insecure = RELAY.replace("keys = [\"/etc/anycaster/pmtud-1.key\"]", "insecure = true");
    let expected = PmtudRelay { keys: vec![], insecure: true, ..default_relay(&["10.0.0.12"]) };
    assert_eq!(read(&format!("{insecure}{MEMBERS}")).0.mode, PmtudMode::Relay(expected));
}

#[test]
fn what_may_not_be_meant_is_a_warning() {
    let insecure = RELAY.replace("keys = [\"/etc/anycaster/pmtud-1.key\"]", "insecure = true");
    let text = format!("{insecure}protocols = [\"tcp\", \"udp\"]\ndedup = \"201ms\"\n");
    let expected = r#"warning: the relay has no members
  --> config.toml:11:2
   |
11 | [pmtud]
   |  ^^^^^ errors are counted, and go to nobody
   |
   = help: members, members-file or members-dns

warning: datagrams between members are not signed
  --> config.toml:14:12
   |
14 | insecure = true
   |            ^^^^ whoever can send to the port can inject ICMP errors here

warning: errors about UDP prove nothing
  --> config.toml:15:21
   |
15 | protocols = ["tcp", "udp"]
   |                     ^^^^^ whoever knows two ports can lower the path MTU
   |
   = help: a datagram has no sequence number that a forger would have to guess

warning: dedup above 200 ms
  --> config.toml:16:9
   |
16 | dedup = "201ms"
   |         ^^^^^^^ hides the error that answers a first retransmission

4 warnings
"#;
    assert_eq!(read(&text).1, expected);
    let (_, own) = read(&format!("{RELAY}members = [\"10.0.0.11\", \"10.0.0.11\"]\ndedup = \"200ms\"\n"));
    assert!(own.starts_with("warning: the relay has no other member\n"), "{own}");
    assert!(own.ends_with("\n1 warning\n"), "{own}");
}

/// The table of `anycaster pmtud`: the other tables need not even make sense.
#[test]
fn alone_it_is_read_without_the_others() {
    let table = format!("{RELAY}{MEMBERS}prefixes = [\"192.0.2.53\"]\n");
    let expected = Pmtud {
        prefixes: Some(vec!["192.0.2.53/32".parse().unwrap()]),
        ..default(PmtudMode::Relay(default_relay(&["10.0.0.12"])))
    };
    for around in ["", "[router]\nasn = \"none\"\n", "[rooter]\n", "services = 7\n", SPEAKER] {
        assert_eq!(alone(&format!("{around}{table}")), Ok((expected.clone(), String::new())), "{around}");
    }
    // Two files may both speak of what is not read; but not of what is.
    let file = |text: &str| Source { path: PathBuf::from("config.toml"), text: text.to_owned() };
    assert_eq!(load_pmtud(&[file(SPEAKER), file(SPEAKER), file(&table)]).map(|loaded| loaded.pmtud), Ok(expected));
    let twice = load_pmtud(&[file(&table), file(&table)]).unwrap_err().render(false);
    assert!(twice.starts_with("error: [pmtud] is defined twice\n"), "{twice}");

    let missing = alone(SPEAKER).unwrap_err();
    assert!(missing.starts_with("error: [pmtud] is missing\n"), "{missing}");
    let no_prefixes = alone(&format!("{RELAY}{MEMBERS}")).unwrap_err();
    let expected = r#"error: `prefixes` is required in [pmtud] for `anycaster pmtud`
 --> config.toml:2:2
  |
2 | [pmtud]
  |  ^^^^^ has no `prefixes`
  |
  = help: the anycast addresses of this host; only `anycaster run` knows what is announced

1 error
"#;
    assert_eq!(no_prefixes, expected);
    // What is not TOML says nothing certain about the table either.
    let broken = alone(&format!("[router]\nasn = = 1\n{table}")).unwrap_err();
    assert!(broken.contains("not TOML") && broken.contains("config.toml:2:"), "{broken}");
}

#[test]
fn members_and_keys_are_bounded() {
    let addresses: Vec<String> = (0..1025).map(|n| format!("\"10.1.{}.{}\"", n / 256, n % 256)).collect();
    let text =
        |count: usize| format!("{RELAY}members = [{}]\nprefixes = [\"192.0.2.1\"]\n", addresses[..count].join(","));
    assert!(alone(&text(1024)).is_ok());
    assert!(alone(&text(1025)).unwrap_err().starts_with("error: 1025 members\n"));
    let keys: Vec<String> = (0..9).map(|n| format!("\"/etc/{n}\"")).collect();
    let text = |count: usize| {
        let keys = format!("keys = [{}]", keys[..count].join(","));
        let relay = RELAY.replace("keys = [\"/etc/anycaster/pmtud-1.key\"]", &keys);
        format!("{relay}{MEMBERS}prefixes = [\"192.0.2.1\"]\n")
    };
    assert!(alone(&text(8)).is_ok());
    assert!(alone(&text(9)).unwrap_err().starts_with("error: 9 keys\n"));
}

/// As the comments of the example say, by taking away a "#".
#[test]
fn the_example_works_in_both_modes_and_alone() {
    let text = std::fs::read_to_string("config/pmtud.toml").unwrap();
    let (start, broadcast) = text.split_once("# Broadcast: ").unwrap();
    let uncommented = |text: &str| text.replace("\n# prefixes", "\nprefixes");
    let (relay, warnings) = alone(&uncommented(start)).unwrap();
    assert_eq!((matches!(relay.mode, PmtudMode::Relay(_)), warnings.as_str()), (true, ""));
    assert!(load_text(&uncommented(start)).unwrap().warnings.is_empty());
    let (_, broadcast) = broadcast.split_once('\n').unwrap();
    let broadcast = broadcast.replace("# ", "");
    let (broadcast, warnings) = alone(&broadcast).unwrap();
    assert_eq!((broadcast.mode, broadcast.prefixes, warnings.as_str()), (PmtudMode::Broadcast, relay.prefixes, ""));
}

/// A bad example is bad on its own too, but for what only the other tables say.
#[test]
fn bad_examples_are_bad_alone() {
    let names = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("pmtud-");
    let bad: Vec<PathBuf> = files("config/bad", "toml").into_iter().filter(names).collect();
    assert!(bad.len() > 10);
    for path in bad {
        assert!(load_pmtud(&read_sources(Path::new(&path)).unwrap()).is_err(), "{}", path.display());
    }
}

#[test]
fn check_shows_the_relay() {
    let shown = |text: &str| {
        let config = load_text(&format!("{SPEAKER}{text}")).unwrap().config;
        let table = anycaster::cli::check::render(&config);
        table.split_once("\n\n").unwrap().1.to_owned()
    };
    let insecure = RELAY.replace("keys = [\"/etc/anycaster/pmtud-1.key\"]", "insecure = true\nport = 7");
    for (text, expected) in [
        (
            format!("{RELAY}members = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.12\", \"10.0.0.13\"]"),
            "eth0 for what is announced are relayed from 10.0.0.11 to 2 other members, UDP port 5141, 1 key",
        ),
        (
            format!("{RELAY}members-dns = \"members.example\"\nprefixes = [\"192.0.2.53\", \"2001:db8::/48\"]"),
            "eth0 for 192.0.2.53/32, 2001:db8::/48 are relayed from 10.0.0.11 to the addresses of members.example, UDP \
             port 5141, 1 key",
        ),
        (
            format!("{insecure}members-file = \"/etc/members\"\ndry-run = true"),
            "eth0 for what is announced are relayed from 10.0.0.11 to the members in /etc/members, UDP port 7, unsigned \
             (dry-run: nothing is sent)",
        ),
        (BROADCAST.to_owned(), "eth0 for what is announced are sent on to the whole segment"),
    ] {
        assert_eq!(shown(&text), format!("ICMP errors from {expected}\n"));
    }
}
