//! A model of a top-of-rack router at the other end of one neighbor: enough BGP to keep a table, its own clock, and many
//! ways to misbehave.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::BytesMut;
use ipnet::IpNet;

use super::talk::{self, Means, Say, WrongOpen};
use crate::Time;
use crate::bgp::wire::{self, Capabilities, Codec, Family, Message, Open, RouteRefresh};

/// Attributes as they stand on the wire, NLRI taken out: what two routes must have in common to be the same.
pub(super) type Said = Vec<(u8, Vec<u8>)>;

/// What a router is, for as long as the world lasts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Nature {
    pub(super) asn: u32,
    pub(super) id: Ipv4Addr,
    pub(super) hold: u16,
    pub(super) capabilities: Capabilities,
    /// Says UPDATEs where others say KEEPALIVEs: both keep a session up.
    pub(super) talkative: bool,
    /// Says End-of-RIB itself.
    pub(super) end_of_rib: bool,
}

impl Default for Nature {
    fn default() -> Self {
        Self {
            asn: 65001,
            id: "10.0.0.1".parse().unwrap(),
            hold: 9,
            capabilities: Capabilities {
                families: vec![Family::Ipv4, Family::Ipv6],
                multiprotocol: true,
                route_refresh: true,
                four_octet_asn: Some(65001),
                extended_message: true,
                enhanced_route_refresh: true,
                ..Capabilities::default()
            },
            talkative: false,
            end_of_rib: false,
        }
    }
}

impl Nature {
    pub(super) fn speaks(&self, family: Family) -> bool {
        let theirs = &self.capabilities;
        theirs.families.contains(&family) || !theirs.multiprotocol && family == Family::Ipv4
    }
}

/// What a SYN meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Door {
    #[default]
    Open,
    Refuses,
    Hangs,
}

/// When it closes a connection without a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Shuts {
    #[default]
    Never,
    AtOpen,
    AfterOpen,
}

#[derive(Clone, Debug)]
pub(super) struct Router {
    pub(super) nature: Nature,
    pub(super) table: BTreeMap<IpNet, Said>,
    /// In the table or forgotten for a refresh: what may be withdrawn.
    known: BTreeSet<IpNet>,
    /// Between BoRR and EoRR: what has not been said again.
    stale: BTreeMap<Family, BTreeSet<IpNet>>,
    pub(super) end_of_ribs: Vec<Family>,
    /// UPDATEs over all sessions.
    pub(super) updates: u64,
    pub(super) sessions: u64,
    /// NOTIFICATIONs we were sent.
    pub(super) notifications: Vec<(u8, u8)>,
    inbox: BytesMut,
    outbox: VecDeque<Say>,
    pub(super) codec: Codec,
    pub(super) established: bool,
    /// Its OPEN is said.
    greeted: bool,
    hold: Duration,
    heard: Time,
    spoke: Time,
    /// Neither reads nor writes, but holds the connection.
    pub(super) silent: bool,
    /// Takes no octets, but speaks.
    pub(super) stalls: bool,
    /// Keeps its KEEPALIVE to itself: OpenConfirm.
    pub(super) dawdles: bool,
    pub(super) door: Door,
    pub(super) shuts: Shuts,
    pub(super) next_open: WrongOpen,
    /// Until when it did not read.
    pub(super) deaf_until: Time,
}

pub(super) const CODEC: Codec =
    Codec { four_octet_asn: true, extended_message: true, extended_next_hop: false, internal: false };

impl Default for Router {
    fn default() -> Self {
        Self::new(Nature::default())
    }
}

impl Router {
    pub(super) fn new(nature: Nature) -> Self {
        Self {
            nature,
            table: BTreeMap::new(),
            known: BTreeSet::new(),
            stale: BTreeMap::new(),
            end_of_ribs: vec![],
            updates: 0,
            sessions: 0,
            notifications: vec![],
            inbox: BytesMut::new(),
            outbox: VecDeque::new(),
            codec: CODEC,
            established: false,
            greeted: false,
            hold: Duration::ZERO,
            heard: Time::default(),
            spoke: Time::default(),
            silent: false,
            stalls: false,
            dawdles: false,
            door: Door::Open,
            shuts: Shuts::Never,
            next_open: WrongOpen::None,
            deaf_until: Time::default(),
        }
    }

    pub(super) fn connected(&mut self, now: Time, codec: Codec) {
        self.disconnected();
        self.end_of_ribs.clear();
        self.notifications.clear();
        (self.codec, self.heard, self.spoke) = (codec, now, now);
    }

    /// The session is gone, and so is what it brought.
    pub(super) fn disconnected(&mut self) {
        self.table.clear();
        self.known.clear();
        self.stale.clear();
        self.greeted = false;
        self.inbox.clear();
        self.outbox.clear();
        self.established = false;
        self.hold = Duration::ZERO;
    }

    /// As it was made.
    pub(super) fn behave(&mut self) {
        (self.silent, self.stalls, self.dawdles) = (false, false, false);
        (self.door, self.shuts, self.next_open) = (Door::Open, Shuts::Never, WrongOpen::None);
    }

    /// Takes octets cut anywhere; `false` hangs up.
    pub(super) fn receive(&mut self, now: Time, bytes: &[u8]) -> bool {
        self.inbox.extend_from_slice(bytes);
        loop {
            let frame = match wire::frame(&mut self.inbox, wire::MAX_MESSAGE) {
                Ok(Some(frame)) => frame,
                Ok(None) => return true,
                Err(error) => panic!("the daemon sent garbage: {error}"),
            };
            self.heard = now;
            match wire::decode(&frame, &self.codec).expect("what the daemon sends is well formed") {
                Message::Open(open) => {
                    if self.shuts == Shuts::AtOpen {
                        return false;
                    }
                    self.answer(now, &open);
                }
                Message::Keepalive => {
                    if !self.established {
                        self.established = true;
                        self.sessions += 1;
                        if self.nature.end_of_rib {
                            self.say(talk::end_of_rib());
                        }
                    }
                }
                Message::Update(update) => {
                    assert!(self.established, "UPDATE before KEEPALIVE");
                    assert_eq!(update.malformed, [], "RFC 7606");
                    self.learn(&frame.body, update);
                }
                Message::Notification(notification) => {
                    self.notifications.push((notification.code, notification.subcode));
                    return false;
                }
                Message::RouteRefresh(refresh) => self.bracket(refresh),
            }
        }
    }

    fn answer(&mut self, now: Time, open: &Open) {
        let hold = self.nature.hold.min(open.hold_time);
        self.hold = Duration::from_secs(hold.into());
        self.say(talk::open(&self.nature, self.next_open));
        self.greeted = true;
        self.spoke = now;
        if !self.dawdles {
            self.say(talk::keepalive());
        }
    }

    fn learn(&mut self, body: &[u8], update: wire::Update) {
        self.updates += 1;
        self.end_of_ribs.extend(update.end_of_rib);
        for prefix in &update.withdrawn {
            assert!(self.known.remove(prefix), "withdraw of {prefix}, which was never announced");
            self.table.remove(prefix);
        }
        let said = said(body);
        for prefix in &update.announced {
            self.known.insert(*prefix);
            self.table.insert(*prefix, said.clone());
        }
        for stale in self.stale.values_mut() {
            update.withdrawn.iter().chain(&update.announced).for_each(|prefix| _ = stale.remove(prefix));
        }
    }

    /// RFC 7313 §4: what is not said between begin and end of a refresh is gone; the daemon says so itself.
    fn bracket(&mut self, refresh: RouteRefresh) {
        assert!(self.nature.capabilities.enhanced_route_refresh, "a marker that was not agreed on");
        let family = refresh.family.expect("a family of ours");
        match refresh.subtype {
            RouteRefresh::BEGIN => {
                let of = |prefix: &&IpNet| Family::of(prefix) == family;
                self.stale.insert(family, self.known.iter().filter(of).copied().collect());
            }
            RouteRefresh::END => {
                let stale = self.stale.remove(&family).expect("an end has a beginning");
                assert_eq!(stale, BTreeSet::new(), "told before the refresh, and neither told again nor withdrawn");
            }
            other => panic!("a ROUTE-REFRESH of subtype {other}"),
        }
    }

    /// Forgets what it knows of the family, and wants it again.
    pub(super) fn refresh(&mut self, family: Family) {
        if self.established {
            self.say(talk::refresh(family, RouteRefresh::REQUEST));
        }
    }

    /// The request is with the daemon: what comes now is the answer, or on its way and not forgotten twice.
    pub(super) fn forget(&mut self, family: Family) {
        self.table.retain(|prefix, _| Family::of(prefix) != family);
    }

    pub(super) fn say(&mut self, say: Say) {
        self.outbox.push_back(say);
    }

    pub(super) fn has_words(&self, now: Time) -> bool {
        self.outbox.front().is_some_and(|say| say.at <= now)
    }

    /// Mends its ways: a KEEPALIVE that it held back.
    pub(super) fn confirm(&mut self) {
        if std::mem::take(&mut self.dawdles) && self.greeted {
            self.say(talk::keepalive());
        }
    }

    /// Nothing was heard for longer than it waits.
    pub(super) fn hold_is_over(&self, now: Time) -> bool {
        !self.silent && !self.stalls && self.established && !self.hold.is_zero() && now.since(self.heard) > self.hold
    }

    pub(super) fn hold(&self) -> Duration {
        self.hold
    }

    /// What it has to say by now, one after the other.
    pub(super) fn speak(&mut self, now: Time) -> Option<Say> {
        if self.silent {
            return None;
        }
        if self.established && !self.hold.is_zero() && now.since(self.spoke) >= self.hold / 3 && !self.dawdles {
            self.spoke = now;
            self.say(if self.nature.talkative { talk::routes(self, 0) } else { talk::keepalive() });
        }
        if self.has_words(now) { self.outbox.pop_front() } else { None }
    }

    /// After its own OPEN.
    pub(super) fn hangs_up_after(&self, means: &Means) -> bool {
        matches!(means, Means::Open(None)) && self.shuts == Shuts::AfterOpen
    }
}

/// The attributes of an UPDATE's body, MP_REACH_NLRI cut before its NLRI and MP_UNREACH_NLRI left out.
pub(super) fn said(body: &[u8]) -> Said {
    let number = |at: usize| usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    let start = 2 + number(0);
    let mut rest = &body[start + 2..start + 2 + number(start)];
    let mut said = Vec::new();
    while let [flags, kind, tail @ ..] = rest {
        let (length, tail) = if flags & 0x10 == 0 {
            (usize::from(tail[0]), &tail[1..])
        } else {
            (usize::from(u16::from_be_bytes([tail[0], tail[1]])), &tail[2..])
        };
        let (value, next) = tail.split_at(length);
        match kind {
            14 => said.push((*kind, value[..4 + usize::from(value[3])].to_vec())),
            15 => {}
            _ => said.push((*kind, value.to_vec())),
        }
        rest = next;
    }
    said
}
