//! Sessions and what their peers are told.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::schedule::Timer;
use super::{Column, ConnectionId, Engine, Event, EventKind, Output, RouterId};
use crate::Time;
use crate::bgp::rib_out::{Batch, Link, NextHops, PrefixId, RibOut, RouteId};
use crate::bgp::session::{Action, Kind, Negotiated, Received, Session, Settings};
use crate::config::{self, Config, Policy};
use crate::facts::Facts;
use crate::plan::Held;
use crate::status::{Announced, Messages};

/// Connections of neighbor n are numbered from n << 32 on: what is said of one finds its session by that.
const CONNECTIONS_PER_NEIGHBOR: u32 = 32;

/// Prefixes that fill five UPDATEs: then the one that is not full adds less than a percent.
const TOGETHER: usize = 4096;

/// The first read of the kernel takes milliseconds.
const FIRST_READ: Duration = Duration::from_secs(1);

/// Neighbors that are told the same: equal policy, equal services. They share the judgement and its column.
#[derive(Clone, Debug)]
pub(super) struct Group {
    key: GroupKey,
    /// By service: is it for these neighbors?
    pub(super) services: Vec<bool>,
    pub(super) members: Vec<usize>,
    pub(super) wanted: Column,
    /// By service and deprefer.
    pub(super) told_as: BTreeMap<(usize, bool), RouteId>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct GroupKey {
    local_asn: u32,
    internal: bool,
    policy: Policy,
    link_bandwidth: config::LinkBandwidthMode,
}

#[derive(Clone, Debug)]
pub(super) struct Neighbor {
    pub(super) session: Session,
    pub(super) rib_out: RibOut,
    pub(super) group: usize,
    pub(super) flaps: u64,
    pub(super) sent: Messages,
    pub(super) received: Messages,
    pub(super) received_prefixes: Announced,
    pub(super) malformed_updates: u64,
    /// Of the session that is up.
    pub(super) negotiated: Option<Negotiated>,
    /// Why the attempts since the last session have failed, as it was said last.
    last_failure: String,
    /// Since when what is wanted differs from what the peer was told: changes that reconcile has not looked at yet.
    waiting: BTreeMap<PrefixId, Time>,
    /// Oldest changes inside what was handed to the session, by mark.
    marks: BTreeMap<u64, Mark>,
    next_mark: u64,
    /// The last call stopped for want of time, not of room.
    pub(super) unfinished: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    withdraw: Option<Time>,
    announce: Option<Time>,
}

impl Neighbor {
    pub(super) fn deadline(&self) -> Time {
        if self.unfinished { Time::default() } else { self.session.deadline() }
    }
}

/// Groups and neighbors of a configuration, all sessions Idle.
pub(super) fn neighbors(config: &Config, rows: usize, seed: u64) -> (Vec<Group>, Vec<Neighbor>) {
    let mut groups: Vec<Group> = Vec::new();
    let mut neighbors = Vec::new();
    for (index, neighbor) in config.neighbors.iter().enumerate() {
        let key = GroupKey {
            local_asn: neighbor.spoken_asn(config.router.asn).get(),
            internal: neighbor.is_internal(config.router.asn),
            policy: neighbor.policy.clone(),
            link_bandwidth: neighbor.link_bandwidth,
        };
        let services: Vec<bool> = config.services.iter().map(|service| service.neighbors.contains(&index)).collect();
        let group = groups.iter().position(|group| group.key == key && group.services == services);
        let group = group.unwrap_or_else(|| {
            groups.push(Group { key, services, members: vec![], wanted: vec![None; rows], told_as: BTreeMap::new() });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(group) {
            group.members.push(index);
        }
        neighbors.push(Neighbor {
            session: Session::new(settings(config, neighbor, index, seed)),
            rib_out: RibOut::default(),
            group,
            flaps: 0,
            sent: Messages::default(),
            received: Messages::default(),
            received_prefixes: Announced::default(),
            malformed_updates: 0,
            negotiated: None,
            last_failure: String::new(),
            waiting: BTreeMap::new(),
            marks: BTreeMap::new(),
            next_mark: 0,
            unfinished: false,
        });
    }
    (groups, neighbors)
}

fn settings(config: &Config, neighbor: &config::Neighbor, index: usize, seed: u64) -> Settings {
    let number = u64::try_from(index).unwrap_or_default();
    Settings {
        name: neighbor.name.clone(),
        peer_asn: neighbor.asn,
        local_asn: neighbor.spoken_asn(config.router.asn),
        address: SocketAddr::new(neighbor.address, neighbor.port),
        families: neighbor.families,
        hold_time: neighbor.hold_time,
        min_hold_time: neighbor.min_hold_time,
        connect_retry: neighbor.connect_retry,
        idle_hold: neighbor.idle_hold,
        idle_hold_max: neighbor.idle_hold_max,
        send_hold_time: neighbor.send_hold_time,
        extended_next_hop: neighbor.address.is_ipv6() && neighbor.families.ipv4,
        connections: number << CONNECTIONS_PER_NEIGHBOR,
        seed: seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
    }
}

impl Engine {
    /// Once, when the router id is known and the kernel has been read: a router that hears End-of-RIB (RFC 4724 §2) has
    /// then heard what this host has to say. A read that does not come is not waited for long.
    pub(super) fn start_sessions(&mut self, now: Time) {
        let RouterId::Known(id) = self.router_id else { return };
        let latest = self.started + FIRST_READ;
        if !self.facts.known() && now < latest {
            return self.schedule.set(Timer::Sessions, latest);
        }
        if std::mem::replace(&mut self.sessions_started, true) {
            return;
        }
        for index in 0..self.neighbors.len() {
            if self.config.neighbors.get(index).is_some_and(|neighbor| neighbor.enabled) && !self.stop.is_stopping() {
                if let Some(neighbor) = self.neighbors.get_mut(index) {
                    neighbor.session.start(now, id);
                }
                self.drain_session(now, index);
            }
        }
    }

    /// Hands what a connection says to the session it belongs to; the session knows a stale one by its number.
    pub(super) fn session(&mut self, now: Time, connection: ConnectionId, act: impl FnOnce(&mut Session)) {
        let Ok(index) = usize::try_from(connection.0 >> CONNECTIONS_PER_NEIGHBOR) else { return };
        if let Some(neighbor) = self.neighbors.get_mut(index) {
            act(&mut neighbor.session);
            self.drain_session(now, index);
        }
    }

    /// Sessions whose time has come, then every neighbor with something to hear.
    ///
    /// While more waits to be judged, what has been judged waits too, up to some UPDATEs' worth: prefixes that change
    /// together go out packed together, at the price of a few steps.
    pub(super) fn tell(&mut self, now: Time) {
        let packed = self.is_settled() || self.judged_untold >= TOGETHER;
        if packed {
            self.judged_untold = 0;
        }
        for index in 0..self.neighbors.len() {
            let Some(neighbor) = self.neighbors.get_mut(index) else { continue };
            if neighbor.session.deadline() <= now {
                neighbor.session.tick(now);
                self.drain_session(now, index);
            }
            let Some(neighbor) = self.neighbors.get(index) else { continue };
            // Nor does a new session hear End-of-RIB before everything is judged.
            if packed && (self.is_settled() || !neighbor.rib_out.is_new()) {
                self.reconcile(now, index);
            }
        }
    }

    fn reconcile(&mut self, now: Time, index: usize) {
        let Some(neighbor) = self.neighbors.get_mut(index) else { return };
        let Some(group) = self.groups.get(neighbor.group) else { return };
        let room = neighbor.session.room();
        let batch = neighbor.rib_out.reconcile(now, &group.wanted, &self.prefixes, &self.routes, room);
        if batch.bytes.is_empty() && !neighbor.rib_out.pending() {
            neighbor.waiting.clear();
        }
        neighbor.unfinished = neighbor.rib_out.pending() && neighbor.session.room() > batch.bytes.len();
        self.announced.stir(&batch.announced);
        self.announced.stir(&batch.withdrawn);
        if !batch.bytes.is_empty() {
            let mark = neighbor.mark(&batch);
            neighbor.session.send(now, batch.bytes.freeze(), mark);
            self.drain_session(now, index);
        }
    }

    pub(super) fn drain_session(&mut self, now: Time, index: usize) {
        while let Some(action) = self.neighbors.get_mut(index).and_then(|neighbor| neighbor.session.poll()) {
            self.act(now, index, action);
        }
    }

    fn act(&mut self, now: Time, index: usize, action: Action) {
        let Some(neighbor) = self.neighbors.get_mut(index) else { return };
        match action {
            Action::Dial { connection, to } => {
                self.connections.insert(connection);
                self.out.push_back(Output::Dial { connection, to });
            }
            Action::Send { connection, bytes } => self.out.push_back(Output::Send { connection, bytes }),
            Action::Close { connection } => self.out.push_back(Output::Close { connection }),
            Action::Up(negotiated) => {
                neighbor.last_failure.clear();
                self.session_up(index, &negotiated);
            }
            Action::Down { why } => {
                neighbor.flaps += 1;
                neighbor.negotiated = None;
                neighbor.rib_out.down();
                self.announced.stir_all();
                neighbor.marks.clear();
                neighbor.waiting.clear();
                self.session_event(index, "up", "down", why);
            }
            // Said once, not at every dial: a router that is down for a day is one line.
            Action::Failed { why } if neighbor.last_failure != why => {
                neighbor.last_failure.clone_from(&why);
                self.session_event(index, "down", "down", why);
            }
            Action::Failed { .. } => {}
            Action::Refresh { family } => neighbor.rib_out.refresh(family),
            Action::Flushed { mark } => {
                if let Some(Mark { withdraw, announce }) = neighbor.marks.remove(&mark) {
                    withdraw.into_iter().for_each(|since| self.counters.withdraw_latency.observe(now.since(since)));
                    announce.into_iter().for_each(|since| self.counters.announce_latency.observe(now.since(since)));
                }
            }
            Action::Received(received) => neighbor.count_received(&received),
            Action::Sent { kind, messages } => count(&mut neighbor.sent, kind, messages),
        }
    }

    fn session_up(&mut self, index: usize, negotiated: &Negotiated) {
        let Some(settings) = self.config.neighbors.get(index) else { return };
        let next_hops = next_hops(settings, negotiated, &self.facts, &self.prefixes);
        let link = Link {
            codec: negotiated.codec,
            ipv4: negotiated.ipv4,
            ipv6: negotiated.ipv6,
            enhanced_route_refresh: negotiated.enhanced_route_refresh,
            next_hops,
        };
        let Some(neighbor) = self.neighbors.get_mut(index) else { return };
        neighbor.rib_out.up(link);
        neighbor.negotiated = Some(*negotiated);
        let hold = negotiated.hold_time.map_or_else(|| "none".into(), |hold| format!("{} s", hold.as_secs()));
        self.session_event(index, "down", "up", format!("AS {}, hold time {hold}", negotiated.peer_asn));
    }

    fn session_event(&mut self, index: usize, from: &str, to: &str, detail: String) {
        let reason = if self.stop.is_stopping() { Held::Stopping.name() } else { "" };
        let event = Event {
            kind: EventKind::Session,
            neighbor: self.config.neighbors.get(index).map(|neighbor| neighbor.name.clone()),
            from: from.into(),
            to: to.into(),
            reason: reason.into(),
            detail,
            ..Event::default()
        };
        self.event(event);
    }

    /// The host's addresses changed, and with them perhaps the next hop of a family.
    pub(super) fn refresh_next_hops(&mut self) {
        for (neighbor, settings) in self.neighbors.iter_mut().zip(&self.config.neighbors) {
            if let Some(negotiated) = &neighbor.negotiated {
                let next_hops = next_hops(settings, negotiated, &self.facts, &self.prefixes);
                neighbor.rib_out.set_next_hops(next_hops, &self.prefixes);
            }
        }
    }
}

impl Neighbor {
    /// What is wanted of this prefix changed.
    pub(super) fn touch(&mut self, now: Time, id: PrefixId) {
        self.rib_out.touch(id);
        if self.negotiated.is_some() {
            self.waiting.entry(id).or_insert(now);
        }
    }

    /// Remembers since when the changes of a batch have waited. What is said for another reason has not waited for us:
    /// a new session, a refresh, a next hop that moved.
    fn mark(&mut self, batch: &Batch) -> u64 {
        let waiting = &mut self.waiting;
        let mut oldest = |ids: &[PrefixId]| ids.iter().filter_map(|id| waiting.remove(id)).min();
        let mark = Mark { withdraw: oldest(&batch.withdrawn), announce: oldest(&batch.announced) };
        self.next_mark += 1;
        if !self.rib_out.pending() {
            // Looked at, and as the peer knows it: a flap that ended where it began.
            self.waiting.clear();
        }
        if mark.withdraw.or(mark.announce).is_some() {
            self.marks.insert(self.next_mark, mark);
        }
        self.next_mark
    }

    fn count_received(&mut self, received: &Received) {
        count(&mut self.received, received.kind(), 1);
        match received {
            Received::Update { announced, malformed, .. } => {
                self.received_prefixes.ipv4 += announced.ipv4;
                self.received_prefixes.ipv6 += announced.ipv6;
                self.malformed_updates += u64::from(!malformed.is_empty());
            }
            Received::Open | Received::Notification(_) | Received::Keepalive | Received::RouteRefresh => {}
        }
    }
}

const fn count(messages: &mut Messages, kind: Kind, by: u64) {
    let counter = match kind {
        Kind::Open => &mut messages.open,
        Kind::Update => &mut messages.update,
        Kind::Notification => &mut messages.notification,
        Kind::Keepalive => &mut messages.keepalive,
        Kind::RouteRefresh => &mut messages.route_refresh,
    };
    *counter = counter.saturating_add(by);
}

/// CONTRACT, `families`: the session's own address for its own family; for the other one, what the session's interface
/// has, or IPv6 for both where RFC 8950 was agreed on.
fn next_hops(neighbor: &config::Neighbor, session: &Negotiated, facts: &Facts, services: &[IpNet]) -> NextHops {
    let local = session.local.ip();
    let beside = |ipv4: bool| beside(local, ipv4, facts, services);
    let own = |family_is_ipv4: bool| (local.is_ipv4() == family_is_ipv4).then_some(local);
    let extended = (session.codec.extended_next_hop && local.is_ipv6()).then_some(local);
    NextHops {
        ipv4: neighbor.next_hop.ipv4.map(IpAddr::V4).or(own(true)).or(extended).or_else(|| beside(true)),
        ipv6: neighbor.next_hop.ipv6.map(IpAddr::V6).or(own(false)).or_else(|| beside(false)),
    }
}

/// The lowest address of the other family on the interface that has `local`: never a service's own, which every host has.
fn beside(local: IpAddr, ipv4: bool, facts: &Facts, services: &[IpNet]) -> Option<IpAddr> {
    let interface = facts.addresses_in(&IpNet::from(local)).next()?.interface;
    let on_interface = facts.addresses().filter(|address| address.interface == interface);
    let usable = |address: &IpAddr| match address {
        IpAddr::V4(v4) => ipv4 && !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !ipv4 && !v6.is_loopback() && !v6.is_unicast_link_local(),
    };
    let not_a_service = |address: &IpAddr| !services.iter().any(|net| net.contains(address));
    on_interface.map(|address| address.address).filter(usable).find(not_a_service)
}
