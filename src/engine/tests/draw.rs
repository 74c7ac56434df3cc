//! Everything a seed decides: configurations, routers, the host at the start, and the steps.

use std::time::Duration;

use super::history::{Action, Does, Start, Step, Wait};
use super::host::{ADDRESSES, LISTENERS, ROUTES, SVC};
use super::router::{Door, Nature, Router, Shuts};
use super::talk::{Bad, WrongOpen};
use super::world::World;
use super::{SECOND, check, config as plain, neighbor, service};
use crate::bgp::wire::{Asn, Capabilities, Community, Families, Family, LargeCommunity, Origin};
use crate::config::{
    Bandwidth, Config, Hooks, LinkBandwidthMode, Listen, Neighbor, PeerAsn, Policy, Protocol, Quorum, Service, Target,
    WhenDown,
};
use crate::dice::Dice;

pub(super) const CHECKS: [&str; 3] = ["alive", "deep", "database"];

const ROUTERS: [&str; 4] = ["10.0.0.1", "fd00::1", "10.0.0.2", "fd00::2"];

/// Name, prefixes, listeners.
type Sketch = (&'static str, &'static [&'static str], &'static [(Protocol, u16)]);

const SERVICES: [Sketch; 5] = [
    ("web", &["192.0.2.80/32", "2001:db8::80/128"], &[(Protocol::Tcp, 80)]),
    ("dns", &["192.0.2.53/32", "198.51.100.0/24"], &[(Protocol::Udp, 53), (Protocol::Tcp, 53)]),
    ("api", &["192.0.2.81/32", "203.0.113.0/24"], &[]),
    ("wide", &["192.0.2.0/24", "2001:db8::/64"], &[(Protocol::Tcp, 443)]),
    ("inner", &["198.51.100.128/25", "198.51.100.8/32"], &[(Protocol::Tcp, 80)]),
];

/// Another seed for each purpose.
pub(super) const fn mix(seed: u64, purpose: u64) -> u64 {
    Dice::new(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ purpose.wrapping_mul(0x9E37_79B9_7F4A_7C15)).roll()
}

fn pick<T: Copy>(dice: &mut Dice, from: &[T]) -> T {
    from[usize::try_from(dice.below(from.len() as u64)).unwrap()]
}

fn index(dice: &mut Dice, below: usize) -> usize {
    usize::try_from(dice.below(below as u64)).unwrap()
}

/// One AS number for as long as the routers live.
fn asn(start: &Start) -> Asn {
    let big = mix(start.seed, 1).is_multiple_of(5);
    Asn::new(if big { 4_200_000_010 } else { 65010 }).unwrap()
}

pub(super) fn routers(start: &Start) -> Vec<Router> {
    let one = |slot: usize| {
        let mut dice = Dice::new(mix(start.seed, 100 + slot as u64));
        let asn = match dice.below(4) {
            0 => asn(start).get(),
            1 => 4_200_000_001,
            _ => 65001,
        };
        let old = asn < 65536 && dice.one_in(4);
        let silent_on_families = dice.one_in(8);
        let families = pick(&mut dice, &[&Family::ALL[..], &Family::ALL[..], &Family::ALL[..1], &Family::ALL[1..]]);
        let capabilities = Capabilities {
            families: if silent_on_families { vec![] } else { families.to_vec() },
            multiprotocol: !silent_on_families,
            route_refresh: !dice.one_in(6),
            four_octet_asn: (!old).then_some(asn),
            extended_message: dice.one_in(2),
            enhanced_route_refresh: dice.one_in(2),
            extended_next_hop: dice.one_in(2),
            ..Capabilities::default()
        };
        let nature = Nature {
            asn,
            id: std::net::Ipv4Addr::from(0x0A00_0001 + u32::try_from(slot).unwrap()),
            hold: pick(&mut dice, &[9, 9, 9, 30, 30, 9, 3, 0]),
            capabilities,
            talkative: dice.one_in(4),
            end_of_rib: dice.one_in(2),
        };
        Router::new(nature)
    };
    (0..ROUTERS.len()).map(one).collect()
}

/// Which of so many: a run of them from somewhere on, of those that are allowed; never none.
fn chosen(dice: &mut Dice, of: usize, allowed: u8) -> Vec<usize> {
    let (first, count) = (index(dice, of), 1 + index(dice, of));
    let mut all: Vec<usize> = (first..first + count).map(|number| number % of).collect();
    let first = all[0];
    all.sort_unstable();
    all.retain(|number| allowed & (1 << number) > 0);
    if all.is_empty() { vec![first] } else { all }
}

pub(super) fn config(start: &Start, seed: u64) -> (Config, Vec<usize>) {
    let mut dice = Dice::new(mix(seed, 2));
    let slots = chosen(&mut dice, ROUTERS.len(), start.neighbors);
    let services = chosen(&mut dice, SERVICES.len(), start.services);
    let natures = routers(start);
    let mut config = plain();
    config.router.asn = asn(start);
    config.withdraw_settle = pick(&mut dice, &[Duration::ZERO, SECOND, 3 * SECOND]);
    config.neighbors = slots.iter().map(|slot| one_neighbor(seed, *slot, &natures[*slot].nature, asn(start))).collect();
    let no_ipv4 = config.neighbors.iter().all(|neighbor| neighbor.address.is_ipv6());
    config.router.id = (no_ipv4 || dice.one_in(3)).then(|| "10.0.0.10".parse().unwrap());
    config.services = services.iter().map(|number| one_service(seed, *number, &slots)).collect();
    for (place, number) in services.iter().enumerate() {
        config.services[place].depends_on = needs(seed, *number, &services);
    }
    (config, slots)
}

fn policy(dice: &mut Dice, number: u32) -> Policy {
    let community = |value: u32| Community(65010 << 16 | value);
    let large = LargeCommunity { global: 65010, local1: number, local2: 0 };
    Policy {
        communities: if dice.one_in(2) { vec![community(number), community(7)] } else { vec![] },
        large_communities: if dice.one_in(3) { vec![large] } else { vec![] },
        med: dice.one_in(3).then_some(number),
        prepend: pick(dice, &[0, 0, 0, 2]),
    }
}

fn one_neighbor(seed: u64, slot: usize, nature: &Nature, ours: Asn) -> Neighbor {
    let mut dice = Dice::new(mix(seed, 200 + slot as u64));
    let millis = Duration::from_millis;
    let internal = nature.asn == ours.get();
    let theirs = PeerAsn::Is(Asn::new(nature.asn).unwrap());
    let wrong = PeerAsn::Is(Asn::new(64999).unwrap());
    let hold_time = pick(&mut dice, &[9, 9, 9, 3, 30, 0]);
    // No wait at all means a dial every other millisecond: allowed, and slow to follow.
    let (least, hold) = (if dice.one_in(100) { 0 } else { 300 }, if dice.one_in(300) { 0 } else { 100 });
    let retry = pick(&mut dice, &[1000, 2000, 5000, least]);
    let max = pick(&mut dice, &[2000, 4000, 8000]);
    Neighbor {
        asn: match dice.below(24) {
            0 => wrong,
            1..=4 if internal => PeerAsn::Internal,
            1..=4 => PeerAsn::External,
            _ => theirs,
        },
        enabled: !dice.one_in(10),
        local_asn: (!internal && dice.one_in(6)).then(|| Asn::new(64512).unwrap()),
        families: pick(
            &mut dice,
            &[(true, true), (true, true), (true, true), (true, false), (false, true)]
                .map(|(ipv4, ipv6)| Families { ipv4, ipv6 }),
        ),
        hold_time,
        min_hold_time: if hold_time == 0 { 0 } else { pick(&mut dice, &[0, 0, 3, 3, 3, 9]) },
        connect_retry: millis(retry),
        idle_hold: millis(pick(&mut dice, &[hold, 300, 1000])),
        idle_hold_max: millis(max),
        send_hold_time: dice.one_in(2).then(|| pick(&mut dice, &[SECOND, 4 * SECOND, 15 * SECOND])),
        link_bandwidth: pick(
            &mut dice,
            &[LinkBandwidthMode::Transitive, LinkBandwidthMode::NonTransitive, LinkBandwidthMode::Off],
        ),
        policy: policy(&mut dice, 1000 + u32::try_from(slot).unwrap()),
        next_hop: crate::config::NextHopPolicy {
            ipv4: dice.one_in(6).then(|| "10.0.0.77".parse().unwrap()),
            ipv6: dice.one_in(6).then(|| "fd00::77".parse().unwrap()),
        },
        ..neighbor(&format!("tor-{slot}"), ROUTERS[slot])
    }
}

/// Services of lower numbers, so that there is no circle; in any order in the file.
fn needs(seed: u64, number: usize, services: &[usize]) -> Vec<usize> {
    let mut dice = Dice::new(mix(seed, 400 + number as u64));
    let some = if dice.one_in(3) { dice.below(32) } else { 0 };
    let needed = |other: &usize| *other < number && some & (1 << other) > 0;
    services.iter().enumerate().filter(|(_, other)| needed(other)).map(|(place, _)| place).collect()
}

fn one_service(seed: u64, number: usize, slots: &[usize]) -> Service {
    let mut dice = Dice::new(mix(seed, 300 + number as u64));
    let (name, prefixes, listen) = SERVICES[number];
    let mut service = service(name, prefixes, listen);
    // By router and not by place, so that a neighbor which is taken out takes nothing else with it.
    let told = 1 + dice.below(15);
    let some = dice.one_in(4);
    let for_it = |slot: &usize| !some || told & (1 << slot) > 0;
    service.neighbors = slots.iter().enumerate().filter(|(_, slot)| for_it(slot)).map(|(place, _)| place).collect();
    service.enabled = !dice.one_in(12);
    service.bandwidth = dice.one_in(2).then_some(Bandwidth { bytes_per_second: 1_250_000_000 });
    service.weight = match dice.below(12) {
        0 => 0,
        1..=4 if service.bandwidth.is_some() => 35,
        _ => 100,
    };
    service.policy = policy(&mut dice, u32::try_from(number).unwrap());
    service.local_preference = pick(&mut dice, &[100, 200]);
    service.origin = pick(&mut dice, &[Origin::Igp, Origin::Egp, Origin::Incomplete]);
    service.binding.interface =
        pick(&mut dice, &[None, None, None, None, None, Some("lo"), Some("lo"), Some("svc0")]).map(str::to_owned);
    service.binding.manage = number < 3 && service.binding.interface.is_none() && dice.one_in(6);
    if dice.one_in(6) {
        let address = Some("127.0.0.1".parse().unwrap());
        service.binding.listen.push(Listen { protocol: Protocol::Tcp, port: 443, address });
    }
    let millis = |dice: &mut Dice, of: &[u64]| Duration::from_millis(pick(dice, of));
    service.binding.grace = millis(&mut dice, &[0, 0, 200, 1000, 2500]);
    service.health.start_hold = millis(&mut dice, &[0, 0, 500, 3000]);
    service.health.per_prefix = !dice.one_in(3);
    service.health.when_down = pick(&mut dice, &[WhenDown::Withdraw, WhenDown::Withdraw, WhenDown::Deprefer]);
    service.health.disable_file = dice.one_in(3).then(|| "/run/disable".into());
    let argv = || Some(vec!["/hook".to_owned()]);
    service.health.hooks = Hooks { up: argv(), down: argv(), drain: argv() };
    service.health.quorum =
        pick(&mut dice, &[Quorum::All, Quorum::All, Quorum::Any, Quorum::AtLeast(2.try_into().unwrap())]);
    for name in &CHECKS[..index(&mut dice, CHECKS.len() + 1)] {
        let mut one = check(name);
        one.interval = millis(&mut dice, &[500, 1000, 2000]);
        one.timeout = millis(&mut dice, &[100, 500]);
        one.fast_interval = dice.one_in(3).then_some(SECOND / 4);
        one.rise = pick(&mut dice, &[1, 2, 3]).try_into().unwrap();
        one.fall = pick(&mut dice, &[1, 2, 3]).try_into().unwrap();
        if *name == "database" || dice.one_in(6) {
            one.on_fail = WhenDown::Deprefer;
        }
        if dice.one_in(4) {
            one.target = Target::Address("10.9.9.9".parse().unwrap());
        }
        service.checks.push(one);
    }
    service
}

/// Most of what is needed is there.
pub(super) fn host(start: &Start, world: &mut World) {
    let mut dice = Dice::new(mix(start.seed, 3));
    let there = |dice: &mut Dice| !dice.one_in(8);
    world
        .addresses
        .extend(ADDRESSES.iter().filter(|_| there(&mut dice)).map(|text| text.parse::<std::net::IpAddr>().unwrap()));
    world.listening.extend(LISTENERS.iter().filter(|_| there(&mut dice)));
    if there(&mut dice) {
        world.interfaces.insert(SVC, "svc0");
    }
}

pub(super) fn steps(start: &Start) -> Vec<Step> {
    let mut dice = Dice::new(mix(start.seed, 4));
    let count = 20 + dice.below(60);
    let calm = dice.one_in(4);
    let mut steps: Vec<(Action, Wait)> = (0..count).map(|_| (action(&mut dice, calm), wait(&mut dice))).collect();
    // Half of all histories end well, so that much is announced in the end.
    if dice.one_in(2) {
        let addresses = (0..ADDRESSES.len()).flat_map(|at| [Action::Address(at, true), Action::Sick(at, false)]);
        let listeners = (0..LISTENERS.len()).map(|at| Action::Listener(at, true));
        let checks = (0..CHECKS.len()).map(|at| Action::SickCheck(at, false));
        let mended = addresses.chain(listeners).chain(checks).chain([Action::DisableFile(false)]);
        steps.extend(mended.map(|action| (action, Wait::Millis(0))));
    }
    (0..).zip(steps).map(|(number, (action, wait))| Step(number, action, wait)).collect()
}

fn wait(dice: &mut Dice) -> Wait {
    match dice.below(40) {
        0..=3 => Wait::Millis(0),
        4..=6 => Wait::Deadline(pick(dice, &[-1, 0, 1])),
        7 => Wait::Stall(pick(dice, &[1, 10, 3600, 3 * 86400])),
        8 => Wait::Millis(10_000),
        9..=20 => Wait::Millis(dice.below(50)),
        _ => Wait::Millis(dice.below(3000)),
    }
}

fn action(dice: &mut Dice, calm: bool) -> Action {
    let (at, yes) = (index(dice, ADDRESSES.len()), dice.below(4) > 0);
    let listener = index(dice, LISTENERS.len());
    match dice.below(if calm { 24 } else { 48 }) {
        0..=4 => Action::Address(at, yes),
        5 => Action::Move(at, yes),
        6 => Action::Tentative(at, yes),
        7 => Action::Route(index(dice, ROUTES.len()), dice.one_in(2)),
        8 => Action::Interface(SVC + u32::from(dice.one_in(3)), index(dice, 3)),
        9..=13 => Action::Listener(listener, yes),
        14..=15 => Action::Gap(listener, dice.below(3000)),
        16 => Action::Sick(at, !yes),
        17 => Action::Sick(at, false),
        18 => Action::SickCheck(index(dice, CHECKS.len()), dice.one_in(2)),
        19 => Action::SickCheck(index(dice, CHECKS.len()), false),
        20 => Action::DisableFile(dice.one_in(3)),
        21 => Action::Read,
        22 => Action::Nothing,
        23 => Action::Router(index(dice, ROUTERS.len()), Does::Refreshes { ipv6: dice.one_in(2), subtype: 0 }),
        24 => Action::Cut,
        25 if dice.one_in(3) => Action::Restart(dice.roll() % 1000, dice.one_in(2)),
        _ => Action::Router(index(dice, ROUTERS.len()), does(dice)),
    }
}

fn does(dice: &mut Dice) -> Does {
    match dice.below(26) {
        0..=3 => Does::Behaves,
        4 => Does::Door(pick(dice, &[Door::Refuses, Door::Hangs])),
        5 => Does::Shuts(pick(dice, &[Shuts::AtOpen, Shuts::AfterOpen])),
        6 => Does::Opens(pick(dice, &WrongOpen::ALL)),
        7..=8 => Does::Resets,
        9..=10 => Does::Stalls,
        11 => Does::FallsSilent,
        12 => Does::Dawdles,
        13..=14 => Does::Refreshes { ipv6: dice.one_in(2), subtype: pick(dice, &[0, 0, 0, 1, 2, 9]) },
        15 => Does::StrangeRefresh,
        16 => Does::RefreshStorm(pick(dice, &[10, 400])),
        17 => Does::Notifies(1 + dice.below(9) as u8, dice.below(12) as u8),
        18..=20 => Does::Says(pick(dice, &Bad::ALL)),
        21 => Does::Keepalives(50),
        22 => Does::Routes(dice.below(3) as u8),
        23 => Does::EndOfRib,
        24 => Does::Halves,
        _ => Does::Refreshes { ipv6: false, subtype: 0 },
    }
}
