//! The simulator: the engine, model routers and a virtual clock. A seed is a whole history; one that fails is made short
//! and printed.
//!
//! ```text
//!   seed --draw--> Start, Steps --history--> World (host, pipes, routers) <--> Engine
//!                        ^                     |  judge: at every instant, truth: when all is quiet
//!                        |______ shrink _______|  a property does not hold
//! ```

mod bench;
mod cost;
mod draw;
mod found;
mod histories;
mod history;
mod host;
mod judge;
mod lifecycles;
mod pipe;
mod push;
mod router;
mod services;
mod shrink;
mod talk;
mod truth;
mod world;

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use super::Input;
use crate::bgp::wire::{Asn, Community, Family, Origin};
use crate::config::{
    Bandwidth, Binding, Check, CheckKind, Config, Families, Health, Hooks, LinkBandwidthMode, Listen, Log, LogFormat,
    LogLevel, Metrics, MinMtu, Neighbor, NextHopPolicy, PeerAsn, Pmtud, PmtudLimits, PmtudMode, Policy, Protocol,
    Quorum, Rate, Router, Service, Target, TcpCheck, WhenDown,
};
use world::{Faults, World};

const SECOND: Duration = Duration::from_secs(1);

fn neighbor(name: &str, address: &str) -> Neighbor {
    Neighbor {
        name: name.into(),
        address: address.parse().unwrap(),
        asn: PeerAsn::Is(Asn::new(65001).unwrap()),
        enabled: true,
        port: 179,
        local_asn: None,
        families: Families { ipv4: true, ipv6: true },
        hold_time: 9,
        min_hold_time: 3,
        connect_retry: 5 * SECOND,
        idle_hold: SECOND,
        idle_hold_max: 20 * SECOND,
        send_hold_time: None,
        link_bandwidth: LinkBandwidthMode::Transitive,
        policy: Policy::default(),
        next_hop: NextHopPolicy::default(),
    }
}

fn service(name: &str, prefixes: &[&str], listen: &[(Protocol, u16)]) -> Service {
    Service {
        name: name.into(),
        prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
        enabled: true,
        neighbors: vec![0, 1],
        weight: 100,
        bandwidth: Some(Bandwidth { bytes_per_second: 1_250_000_000 }),
        policy: Policy { communities: vec![Community(65010 << 16 | 1)], med: Some(10), ..Policy::default() },
        local_preference: 100,
        origin: Origin::Igp,
        depends_on: vec![],
        binding: Binding {
            interface: None,
            manage: false,
            listen: listen
                .iter()
                .map(|(protocol, port)| Listen { protocol: *protocol, port: *port, address: None })
                .collect(),
            grace: Duration::ZERO,
        },
        health: Health {
            quorum: Quorum::All,
            per_prefix: true,
            start_hold: Duration::ZERO,
            when_down: WhenDown::Withdraw,
            disable_file: None,
            hooks: Hooks::default(),
        },
        checks: vec![],
    }
}

fn check(name: &str) -> Check {
    Check {
        name: name.into(),
        interval: SECOND,
        timeout: SECOND / 2,
        fast_interval: None,
        jitter: 10,
        rise: NonZeroU8::new(2).unwrap(),
        fall: NonZeroU8::new(2).unwrap(),
        on_fail: WhenDown::Withdraw,
        target: Target::Service,
        kind: CheckKind::Tcp(TcpCheck { port: 80, send: None, expect: None }),
    }
}

fn config() -> Config {
    let mut web = service("web", &["192.0.2.80/32", "2001:db8::80/128"], &[(Protocol::Tcp, 80)]);
    web.checks = vec![check("alive")];
    let mut dns = service("dns", &["192.0.2.53/32", "198.51.100.0/24"], &[(Protocol::Udp, 53), (Protocol::Tcp, 53)]);
    dns.health.disable_file = Some("/run/dns.disable".into());
    let mut api = service("api", &["192.0.2.81/32"], &[]);
    api.checks = vec![check("shared")];
    api.health.when_down = WhenDown::Deprefer;
    Config {
        path: "test.toml".into(),
        hash: 1,
        router: Router {
            asn: Asn::new(65010).unwrap(),
            id: None,
            bandwidth: None,
            state_dir: "/nowhere".into(),
            control: "/nowhere".into(),
            control_group: None,
            http: None,
            log: Log { format: LogFormat::Text, level: LogLevel::Info },
        },
        neighbors: vec![neighbor("tor-a", "10.0.0.1"), neighbor("tor-b", "10.0.0.2")],
        services: vec![web, dns, api],
        withdraw_settle: 3 * SECOND,
        metrics: Metrics { max_prefixes: 1000 },
        pmtud: Some(relay()),
    }
}

/// What is announced is said to it.
fn relay() -> Pmtud {
    let rate = Rate { per_second: 1 };
    Pmtud {
        interfaces: vec!["eth0".into()],
        mode: PmtudMode::Broadcast,
        prefixes: None,
        protocols: vec![6],
        ports: vec![],
        min_mtu: MinMtu { ipv4: 552, ipv6: 1280 },
        dry_run: false,
        dedup: Duration::ZERO,
        limits: PmtudLimits { flow: rate, router: rate, prefix: rate, total: rate },
    }
}

const SERVICE_ADDRESSES: [&str; 5] = ["192.0.2.80", "2001:db8::80", "192.0.2.53", "198.51.100.7", "192.0.2.81"];

/// A host where everything is as it should be, thirty seconds after the daemon started.
fn well(seed: u64) -> World {
    let mut world = World::new(config(), seed);
    for address in SERVICE_ADDRESSES {
        world.addresses.insert(address.parse().unwrap());
    }
    world.listening.extend([(Protocol::Tcp, 80), (Protocol::Udp, 53), (Protocol::Tcp, 53)]);
    world.boot();
    world.run(30 * SECOND);
    world
}

#[test]
fn a_well_host_announces_everything_then_end_of_rib() {
    let world = well(1);
    assert_eq!(world.expected(0).len(), 5);
    world.assert_routers_have_the_plan();
    for router in &world.routers {
        assert_eq!(router.end_of_ribs, [Family::Ipv4, Family::Ipv6]);
        assert_eq!(router.sessions, 1);
    }
}

#[test]
fn without_a_fault_nothing_is_sent_for_a_day() {
    let mut world = well(2);
    let before: Vec<u64> = world.routers.iter().map(|router| router.updates).collect();
    for _ in 0..24 {
        world.run(3600 * SECOND / 20);
        world.boot();
    }
    assert_eq!(world.routers.iter().map(|router| router.updates).collect::<Vec<_>>(), before);
    assert!(world.routers.iter().all(|router| router.sessions == 1));
    world.assert_routers_have_the_plan();
}

#[test]
fn failed_reads_change_nothing() {
    let mut world = well(3);
    let before: Vec<u64> = world.routers.iter().map(|router| router.updates).collect();
    world.faults = Faults { reads: true, ..Faults::default() };
    for _ in 0..200 {
        world.boot();
        world.run(SECOND);
    }
    assert_eq!(world.routers.iter().map(|router| router.updates).collect::<Vec<_>>(), before);
    world.assert_routers_have_the_plan();
}

#[test]
fn each_loss_takes_exactly_its_own_and_recovery_brings_it_back() {
    let mut world = well(4);
    let all = world.expected(0);
    let mut step = |what: &str, change: &dyn Fn(&mut World), gone: &[&str]| {
        change(&mut world);
        world.run(5 * SECOND);
        let left: Vec<String> = world.routers[0].table.keys().map(ToString::to_string).collect();
        let lost: Vec<&str> = gone.to_vec();
        for prefix in all.keys().map(ToString::to_string) {
            assert_eq!(left.contains(&prefix), !lost.contains(&prefix.as_str()), "{what}: {prefix}");
        }
        world.assert_routers_have_the_plan();
        assert!(world.routers.iter().all(|router| router.sessions == 1), "{what}");
    };
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    step(
        "listener gone",
        &|world| world.set_listening(Protocol::Tcp, 80, false),
        &["192.0.2.80/32", "2001:db8::80/128"],
    );
    step("listener back", &|world| world.set_listening(Protocol::Tcp, 80, true), &[]);
    step("address gone", &|world| world.set_address(ip("198.51.100.7"), false), &["198.51.100.0/24"]);
    step("address back", &|world| world.set_address(ip("198.51.100.7"), true), &[]);
    step("sick", &|world| _ = world.sick.insert(ip("2001:db8::80")), &["2001:db8::80/128"]);
    step("well", &|world| _ = world.sick.remove(&ip("2001:db8::80")), &[]);
    step("shared check fails: depreferred, not withdrawn", &|world| _ = world.sick.insert(ip("192.0.2.81")), &[]);
    step("shared check is back", &|world| _ = world.sick.remove(&ip("192.0.2.81")), &[]);
    let disable = |exists| {
        move |world: &mut World| {
            world.disable_file = exists;
            world.look_at_disable_file();
        }
    };
    step("disable-file", &disable(true), &["192.0.2.53/32", "198.51.100.0/24"]);
    step("disable-file gone", &disable(false), &[]);
}

#[test]
fn stopping_withdraws_waits_says_goodbye_and_exits() {
    let mut world = well(5);
    world.input(Input::Stop);
    world.run(SECOND);
    assert!(world.routers.iter().all(|router| router.table.is_empty() && router.notifications.is_empty()));
    world.run(SECOND);
    assert!(!world.exited);
    world.run(2 * SECOND);
    assert!(world.exited);
    assert!(world.routers.iter().all(|router| router.notifications == [(6, 2)]));
    let said = world.session_event.map(|event| (event.neighbor, event.to, event.reason));
    assert_eq!(said, Some((Some("tor-b".into()), "down".into(), "stopping".into())), "asked for, so no warning");
}

#[test]
fn managed_addresses_come_at_start_and_go_after_the_withdraw() {
    let mut config = config();
    config.services.truncate(1);
    config.services[0].binding.manage = true;
    let mut world = World::new(config, 6);
    world.listening.insert((Protocol::Tcp, 80));
    world.boot();
    world.run(10 * SECOND);
    let managed: [IpAddr; 2] = ["192.0.2.80", "2001:db8::80"].map(|text| text.parse().unwrap());
    assert!(managed.iter().all(|address| world.addresses.contains(address)));
    world.assert_routers_have_the_plan();
    assert_eq!(world.routers[0].table.len(), 2);
    world.input(Input::Stop);
    world.run(2 * SECOND);
    assert!(managed.iter().all(|address| world.addresses.contains(address)), "not before withdraw-settle");
    world.run(2 * SECOND);
    assert!(!managed.iter().any(|address| world.addresses.contains(address)));
    assert!(world.exited);
}

#[test]
fn start_hold_waits_and_grace_bridges_a_gap() {
    let mut config = config();
    config.services[0].health.start_hold = 20 * SECOND;
    config.services[0].binding.grace = 2 * SECOND;
    let mut world = World::new(config, 7);
    world.addresses.extend(SERVICE_ADDRESSES.map(|address| address.parse::<IpAddr>().unwrap()));
    world.listening.insert((Protocol::Tcp, 80));
    world.boot();
    let web = "192.0.2.80/32".parse().unwrap();
    world.run(15 * SECOND);
    assert!(!world.routers[0].table.contains_key(&web));
    world.run(15 * SECOND);
    assert!(world.routers[0].table.contains_key(&web));
    world.set_listening(Protocol::Tcp, 80, false);
    world.run(SECOND);
    assert!(world.routers[0].table.contains_key(&web), "grace");
    world.set_listening(Protocol::Tcp, 80, true);
    world.run(4 * SECOND);
    assert!(world.routers[0].table.contains_key(&web), "a gap shorter than grace is none");
    world.set_listening(Protocol::Tcp, 80, false);
    world.run(3 * SECOND);
    assert!(!world.routers[0].table.contains_key(&web));
}
