mod octets;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::wire::{Asn, Community, LargeCommunity, MAX_MESSAGE, Message, Origin, RouteRefresh};
use super::*;

const CODEC: Codec = Codec { four_octet_asn: true, extended_message: false, extended_next_hop: true, internal: false };
const HOPS: NextHops = NextHops { ipv4: Some(V4_HOP), ipv6: Some(V6_HOP) };
const V4_HOP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const V6_HOP: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
const LINK: Link = Link { codec: CODEC, ipv4: true, ipv6: true, enhanced_route_refresh: true, next_hops: HOPS };
/// Markers and End-of-RIBs of both families.
const BOUNDARIES: usize = 2 * 23 + 23 + 30;

/// A router that does what it hears, and objects to what makes no sense.
#[derive(Default)]
struct Peer {
    /// MED and next hop, which tell our routes apart.
    routes: BTreeMap<IpNet, (u32, IpAddr)>,
    complete: BTreeSet<Family>,
    /// Not yet heard again, by the family being refreshed.
    stale: BTreeMap<Family, BTreeSet<IpNet>>,
    /// One line for each thing said.
    heard: Vec<String>,
    updates: usize,
}

impl Peer {
    fn hears(&mut self, mut bytes: BytesMut) {
        while let Some(frame) = wire::frame(&mut bytes, MAX_MESSAGE).unwrap() {
            match wire::decode(&frame, &CODEC).unwrap() {
                Message::Update(update) => {
                    assert_eq!(update.malformed, []);
                    self.updates += 1;
                    for prefix in update.withdrawn {
                        assert!(self.routes.remove(&prefix).is_some(), "{prefix} was never announced");
                        self.stale.values_mut().for_each(|stale| _ = stale.remove(&prefix));
                        self.heard.push(format!("-{prefix}"));
                    }
                    for prefix in update.announced {
                        let (med, hop) = med_and_hop(&frame.body);
                        self.routes.insert(prefix, (med, hop));
                        self.stale.values_mut().for_each(|stale| _ = stale.remove(&prefix));
                        self.heard.push(format!("+{prefix} med {med} via {hop}"));
                    }
                    if let Some(family) = update.end_of_rib {
                        assert!(self.complete.insert(family), "a second End-of-RIB");
                        self.heard.push(format!("EoR {}", family.name()));
                    }
                }
                Message::RouteRefresh(RouteRefresh { family: Some(family), subtype: 1 }) => {
                    assert!(self.complete.contains(&family), "RFC 7313 §4: not before the End-of-RIB");
                    let all = self.routes.keys().copied().filter(|prefix| Family::of(prefix) == family);
                    assert_eq!(self.stale.insert(family, all.collect()), None, "a refresh in a refresh");
                    self.heard.push(format!("BoRR {}", family.name()));
                }
                Message::RouteRefresh(RouteRefresh { family: Some(family), subtype: 2 }) => {
                    assert_eq!(self.stale.remove(&family), Some(BTreeSet::new()), "left out of the refresh");
                    self.heard.push(format!("EoRR {}", family.name()));
                }
                other @ (Message::Open(_)
                | Message::Notification(_)
                | Message::Keepalive
                | Message::RouteRefresh(_)) => panic!("{other:?}"),
            }
        }
        assert!(bytes.is_empty(), "half a message");
    }
}

/// MED and next hop out of an UPDATE of ours without withdrawn routes.
fn med_and_hop(body: &[u8]) -> (u32, IpAddr) {
    let number = |at: usize| usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    let (mut at, end) = (4, 4 + number(2));
    let (mut med, mut hop) = (None, None);
    while at < end {
        let (value, length) =
            if body[at] & 0x10 == 0 { (at + 3, usize::from(body[at + 2])) } else { (at + 4, number(at + 2)) };
        match body[at + 1] {
            3 => hop = Some(IpAddr::from(<[u8; 4]>::try_from(&body[value..value + 4]).unwrap())),
            4 => med = Some(u32::from_be_bytes(body[value..value + 4].try_into().unwrap())),
            14 => hop = Some(IpAddr::from(<[u8; 16]>::try_from(&body[value + 4..value + 20]).unwrap())),
            _ => {}
        }
        at = value + length;
    }
    (med.unwrap(), hop.unwrap())
}

/// A RIB, what is wanted of it, and the peer that hears of it.
struct World {
    rib: RibOut,
    prefixes: Vec<IpNet>,
    routes: Routes,
    ids: Vec<RouteId>,
    wanted: Vec<Option<RouteId>>,
    link: Option<Link>,
    peer: Peer,
}

impl World {
    /// Routes of MED 0, 1, 2; the last with as many communities as there may be.
    fn new(prefixes: Vec<IpNet>) -> Self {
        let mut routes = Routes::default();
        let large = |n| LargeCommunity { global: n, local1: 0, local2: 0 };
        let ids = [0, 1, 2].map(|med| {
            routes.intern(Attributes {
                origin: Origin::Igp,
                as_path: vec![Asn::new(65010).unwrap()],
                med: Some(med),
                local_preference: None,
                communities: if med == 2 { (0..255).map(Community).collect() } else { vec![] },
                large_communities: if med == 2 { (0..100).map(large).collect() } else { vec![] },
                link_bandwidth: None,
            })
        });
        let wanted = vec![None; prefixes.len()];
        let rib = RibOut::default();
        Self { rib, prefixes, routes, ids: ids.to_vec(), wanted, link: None, peer: Peer::default() }
    }

    fn of(prefixes: &[&str]) -> Self {
        let mut world = Self::new(prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect());
        world.wanted.fill(Some(world.ids[0]));
        world
    }

    fn want(&mut self, row: usize, route: Option<usize>) {
        self.wanted[row] = route.map(|route| self.ids[route]);
        self.rib.touch(PrefixId(u32::try_from(row).unwrap()));
    }

    fn up(&mut self, link: Link) {
        self.rib.up(link);
        self.link = Some(link);
        self.peer = Peer::default();
    }

    fn down(&mut self) {
        self.rib.down();
        self.link = None;
        self.peer = Peer::default();
    }

    fn set_next_hops(&mut self, next_hops: NextHops) {
        self.rib.set_next_hops(next_hops, &self.prefixes);
        if let Some(link) = &mut self.link {
            link.next_hops = next_hops;
        }
    }

    fn reconcile(&mut self, room: usize) {
        let now = Time::from_nanos(7);
        let batch = self.rib.reconcile(now, &self.wanted, &self.prefixes, &self.routes, room);
        assert!(batch.bytes.len() <= room + MAX_MESSAGE + BOUNDARIES, "{} in {room}", batch.bytes.len());
        let before = self.peer.heard.len();
        self.peer.hears(batch.bytes);
        let said = |sign| self.peer.heard[before..].iter().filter(|line| line.starts_with(sign)).count();
        assert_eq!((said('+'), said('-')), (batch.announced.len(), batch.withdrawn.len()));
    }

    /// Until nothing is left to say; returns what was said.
    fn settle(&mut self) -> Vec<String> {
        for _ in 0..1000 {
            if !self.rib.pending() {
                return std::mem::take(&mut self.peer.heard);
            }
            self.reconcile(usize::MAX / 2);
        }
        panic!("never through");
    }

    fn reachable(&self) -> BTreeMap<IpNet, (u32, IpAddr)> {
        let mut all = BTreeMap::new();
        for (prefix, wanted) in self.prefixes.iter().zip(&self.wanted) {
            let hop = self.link.and_then(|link| link.next_hop(Family::of(prefix)));
            if let (Some(route), Some(hop)) = (wanted, hop) {
                all.insert(*prefix, (self.routes.get(*route).unwrap().med.unwrap(), hop));
            }
        }
        all
    }

    fn assert_true(&mut self) {
        self.peer.heard.clear();
        let right = self.reachable();
        assert_eq!(self.peer.routes, right);
        for family in Family::ALL {
            let count = right.keys().filter(|prefix| Family::of(prefix) == family).count();
            assert_eq!(self.rib.announced(family), u64::try_from(count).unwrap());
            assert_eq!(self.peer.complete.contains(&family), self.link.is_some_and(|link| link.speaks(family)));
        }
        assert_eq!(self.peer.stale, BTreeMap::new());
        for row in 0..self.prefixes.len() {
            let id = PrefixId(u32::try_from(row).unwrap());
            assert_eq!(self.rib.is_told(id), right.contains_key(&self.prefixes[row]));
            self.rib.touch(id);
        }
        // Nothing changed, so nothing is said.
        assert_eq!(self.settle(), Vec::<String>::new());
    }
}

const TWO: [&str; 2] = ["198.51.100.1/32", "2001:db8:a::1/128"];

#[test]
fn a_session_hears_all_once() {
    let mut world = World::of(&TWO);
    world.up(LINK);
    let all =
        ["+198.51.100.1/32 med 0 via 192.0.2.1", "+2001:db8:a::1/128 med 0 via 2001:db8::1", "EoR ipv4", "EoR ipv6"];
    assert_eq!(world.settle(), all);
    world.assert_true();
    world.want(0, Some(1));
    world.want(1, None);
    assert_eq!(world.settle(), ["-2001:db8:a::1/128", "+198.51.100.1/32 med 1 via 192.0.2.1"]);
    // There and back before anybody looked.
    world.want(0, Some(2));
    world.want(0, Some(1));
    assert_eq!(world.settle(), Vec::<String>::new());
    world.assert_true();
}

#[test]
fn an_answer_waits_for_the_end_of_rib_and_for_the_answer_before_it() {
    let mut world = World::of(&TWO);
    world.up(LINK);
    world.reconcile(1);
    (0..1000).for_each(|_| world.rib.refresh(Family::Ipv4));
    let all = [
        "+198.51.100.1/32 med 0 via 192.0.2.1",
        "+2001:db8:a::1/128 med 0 via 2001:db8::1",
        "EoR ipv4",
        "EoR ipv6",
        "BoRR ipv4",
        "+198.51.100.1/32 med 0 via 192.0.2.1",
        "EoRR ipv4",
    ];
    assert_eq!(world.settle(), all);

    // Both families, and IPv4 once more in the middle of its answer.
    world.rib.refresh(Family::Ipv6);
    world.rib.refresh(Family::Ipv4);
    world.reconcile(1);
    world.rib.refresh(Family::Ipv4);
    let all = [
        "BoRR ipv6",
        "BoRR ipv4",
        "+198.51.100.1/32 med 0 via 192.0.2.1",
        "+2001:db8:a::1/128 med 0 via 2001:db8::1",
        "EoRR ipv6",
        "EoRR ipv4",
        "BoRR ipv4",
        "+198.51.100.1/32 med 0 via 192.0.2.1",
        "EoRR ipv4",
    ];
    assert_eq!(world.settle(), all);
    world.assert_true();
}

#[test]
fn an_answer_without_markers_and_none_for_a_family_not_spoken() {
    let mut world = World::of(&TWO);
    world.up(Link { enhanced_route_refresh: false, ipv6: false, ..LINK });
    assert_eq!(world.settle(), ["+198.51.100.1/32 med 0 via 192.0.2.1", "EoR ipv4"]);
    world.rib.refresh(Family::Ipv6);
    assert!(!world.rib.pending());
    world.rib.refresh(Family::Ipv4);
    assert_eq!(world.settle(), ["+198.51.100.1/32 med 0 via 192.0.2.1"]);
    world.assert_true();
}

#[test]
fn what_goes_during_an_answer_is_withdrawn_before_its_end() {
    let mut world = World::of(&["198.51.100.1/32", "198.51.100.2/32"]);
    world.up(LINK);
    world.settle();
    world.rib.refresh(Family::Ipv4);
    // The marker fills the room: nothing is told again yet.
    world.reconcile(23);
    world.want(1, None);
    let all = ["BoRR ipv4", "-198.51.100.2/32", "+198.51.100.1/32 med 0 via 192.0.2.1", "EoRR ipv4"];
    assert_eq!(world.settle(), all);
    world.assert_true();
}

#[test]
fn routes_follow_their_next_hop() {
    let mut world = World::of(&TWO);
    world.up(LINK);
    world.settle();
    let table: &[(NextHops, &[&str])] = &[
        (NextHops { ipv6: None, ..HOPS }, &["-2001:db8:a::1/128"]),
        (NextHops { ipv4: None, ipv6: None }, &["-198.51.100.1/32"]),
        (NextHops { ipv4: Some(V6_HOP), ipv6: None }, &["+198.51.100.1/32 med 0 via 2001:db8::1"]),
        (NextHops { ipv4: None, ipv6: None }, &["-198.51.100.1/32"]),
        (HOPS, &["+198.51.100.1/32 med 0 via 192.0.2.1", "+2001:db8:a::1/128 med 0 via 2001:db8::1"]),
        (NextHops { ipv4: Some(V6_HOP), ..HOPS }, &["+198.51.100.1/32 med 0 via 2001:db8::1"]),
        (NextHops { ipv4: Some(V6_HOP), ..HOPS }, &[]),
    ];
    for (hops, said) in table {
        world.set_next_hops(*hops);
        assert_eq!(&world.settle(), said, "{hops:?}");
        world.assert_true();
    }
}

#[test]
fn updates_are_packed_full_and_the_room_is_kept() {
    let host = |n: u32| IpNet::from(IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0A00_0000 + n)));
    let mut world = World::new((0..5000).map(host).collect());
    world.wanted.fill(Some(world.ids[0]));
    world.up(LINK);
    world.reconcile(usize::MAX / 2);
    // 4096 less 23 for the header and 28 of attributes hold 809 prefixes of five octets; and two End-of-RIBs.
    assert_eq!(world.peer.updates, 5000_usize.div_ceil(809) + 2);
    world.settle();
    // Large attributes leave little of each message: `reconcile` holds the batch to its room.
    world.wanted.fill(Some(world.ids[2]));
    (0..5000).for_each(|row| world.rib.touch(PrefixId(row)));
    while world.rib.pending() {
        world.reconcile(64 * 1024);
    }
    world.assert_true();
}

#[derive(Clone, Debug)]
enum Step {
    Want(usize, Option<usize>),
    Touch(usize),
    Refresh(Family),
    NextHops(Option<bool>, bool),
    Down,
    Up { ipv4: bool, ipv6: bool, enhanced: bool },
    Reconcile(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let family = prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)];
    prop_oneof![
        8 => (0..24_usize, proptest::option::of(0..3_usize)).prop_map(|(row, route)| Step::Want(row, route)),
        2 => (0..24_usize).prop_map(Step::Touch),
        3 => family.prop_map(Step::Refresh),
        2 => (proptest::option::of(any::<bool>()), any::<bool>()).prop_map(|(v4, v6)| Step::NextHops(v4, v6)),
        1 => Just(Step::Down),
        2 => any::<(bool, bool, bool)>().prop_map(|(ipv4, ipv6, enhanced)| Step::Up { ipv4, ipv6, enhanced }),
        8 => prop_oneof![Just(0), 1..200_usize, Just(64 * 1024)].prop_map(Step::Reconcile),
    ]
}

proptest! {
    /// Whatever happened and however little fitted at a time, in the end the peer has what is wanted and reachable.
    #[test]
    fn the_peer_ends_with_the_truth(steps in proptest::collection::vec(step(), 0..60)) {
        let net = |row: u32| -> IpNet {
            let text = if row.is_multiple_of(2) { format!("10.{row}.0.0/16") } else { format!("2001:db8:{row}::/48") };
            text.parse().unwrap()
        };
        let mut world = World::new((0..24).map(net).collect());
        for step in steps {
            match step {
                Step::Want(row, route) => world.want(row, route),
                Step::Touch(row) => world.rib.touch(PrefixId(u32::try_from(row).unwrap())),
                Step::Refresh(family) => world.rib.refresh(family),
                Step::NextHops(ipv4, ipv6) => world.set_next_hops(NextHops {
                    ipv4: ipv4.map(|classic| if classic { V4_HOP } else { V6_HOP }),
                    ipv6: ipv6.then_some(V6_HOP),
                }),
                Step::Down => world.down(),
                Step::Up { ipv4, ipv6, enhanced } => {
                    world.up(Link { ipv4, ipv6, enhanced_route_refresh: enhanced, ..LINK });
                }
                Step::Reconcile(room) => world.reconcile(room),
            }
        }
        world.settle();
        world.assert_true();
    }
}
