//! Connections between the daemon and its routers, and what each side may say on them.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;

use super::router::Door;
use super::talk::{Answer, Means, Phase, Say};
use super::world::World;
use crate::Time;
use crate::bgp::session::WINDOW;
use crate::bgp::wire::{self, Codec, Family, Message, Notification};
use crate::config::Neighbor;
use crate::engine::{Closed, ConnectionId, Input};

/// RFC 4271 §8.2.2: before the OPENs have agreed on one.
const LARGE_HOLD: Duration = Duration::from_secs(240);

/// No SYN is waited for longer.
const CONNECT: Duration = Duration::from_secs(5);

pub(super) struct Pipe {
    pub(super) neighbor: usize,
    pub(super) router: usize,
    /// Handed over and not yet written.
    pub(super) queue: VecDeque<u8>,
    closing: bool,
    /// The router has hung up, and the daemon's kernel will notice.
    leaves: bool,
    opened: Time,
    pub(super) phase: Phase,
    codec: Codec,
    /// Negotiated; zero: none.
    pub(super) hold: Duration,
    patience: Duration,
    /// When the engine heard something that restarts its hold timer, and when it said something that restarts ours.
    heard: Time,
    spoke: Time,
    /// Sent, and not reported as written.
    pub(super) unwritten: usize,
    progress: Time,
    /// When the window was full last.
    full: Time,
    /// What the daemon has said, written or not.
    pub(super) told: BTreeSet<IpNet>,
    farewell: Option<Notification>,
}

impl World {
    fn neighbor(&self, connection: ConnectionId) -> (usize, usize, &Neighbor) {
        let neighbor = usize::try_from(connection.0 >> 32).unwrap();
        (neighbor, self.slots[neighbor], &self.engine.config.neighbors[neighbor])
    }

    pub(super) fn dial(&mut self, connection: ConnectionId, to: SocketAddr) {
        let (neighbor, router, settings) = self.neighbor(connection);
        assert!(settings.enabled, "a neighbor that is not enabled is dialled");
        assert_eq!(to, SocketAddr::new(settings.address, settings.port));
        assert!(self.connections.values().all(|pipe| pipe.neighbor != neighbor), "two connections to one neighbor");
        let ours = settings.spoken_asn(self.engine.config.router.asn).get();
        let nature = &self.routers[router].nature;
        let codec = Codec {
            four_octet_asn: nature.capabilities.four_octet_asn.is_some(),
            extended_message: nature.capabilities.extended_message,
            extended_next_hop: to.is_ipv6() && settings.families.ipv4 && nature.capabilities.extended_next_hop,
            internal: nature.asn == ours,
        };
        let hold = Duration::from_secs(settings.hold_time.min(nature.hold).into());
        let patience = settings.send_hold_time.unwrap_or_else(|| Duration::from_secs(480).max(hold * 2));
        let shaky = self.faults.network && self.dice.one_in(5);
        let door = match self.routers[router].door {
            Door::Open if shaky && self.dice.one_in(2) => Door::Refuses,
            Door::Open if shaky => Door::Hangs,
            door @ (Door::Open | Door::Refuses | Door::Hangs) => door,
        };
        if door == Door::Refuses {
            return self.after(1, Input::Closed { connection, why: Closed::Refused("connection refused".into()) });
        }
        let now = self.now;
        self.connections.insert(
            connection,
            Pipe {
                neighbor,
                router,
                queue: VecDeque::new(),
                closing: false,
                leaves: false,
                opened: now,
                phase: Phase::Connect,
                codec,
                hold,
                patience,
                heard: now,
                spoke: now,
                unwritten: 0,
                progress: now,
                full: Time::default(),
                told: BTreeSet::new(),
                farewell: None,
            },
        );
        if door == Door::Open {
            self.routers[router].connected(now, codec);
            let local = if to.is_ipv4() { "10.0.0.10:40000" } else { "[fd00::10]:40000" };
            self.after(1, Input::Connected { connection, local: local.parse().unwrap() });
        }
    }

    /// What the world has to know of an input before the engine does; true where it changes a verdict.
    pub(super) fn about_to(&mut self, input: &Input) -> bool {
        match input {
            Input::Closed { connection, .. } => _ = self.cut.remove(connection),
            Input::Connected { connection, .. } => {
                if let Some(pipe) = self.connections.get_mut(connection) {
                    pipe.phase = Phase::OpenSent;
                    (pipe.heard, pipe.spoke) = (self.now, self.now);
                }
            }
            Input::Written { connection, bytes } => {
                if let Some(pipe) = self.connections.get_mut(connection) {
                    if pipe.unwritten >= WINDOW {
                        pipe.full = self.now;
                        self.judge.told_again();
                    }
                    pipe.unwritten -= bytes;
                    pipe.progress = self.now;
                }
            }
            Input::Probed { probe, outcome, .. } => return self.judge_result(*probe, outcome),
            Input::Fact(fact) => self.judge_fact(fact),
            Input::Received { .. }
            | Input::Pushed { .. }
            | Input::HookEnded { .. }
            | Input::Source { .. }
            | Input::ManageFailed { .. }
            | Input::Stop
            | Input::Tick => {}
        }
        false
    }

    /// The daemon says something: whole messages, each of them with a right to be said.
    pub(super) fn sent(&mut self, connection: ConnectionId, bytes: Bytes) {
        let now = self.now;
        let Some(pipe) = self.connections.get_mut(&connection) else {
            assert!(self.cut.contains(&connection), "sent on a connection that was reported closed");
            return;
        };
        assert!(!pipe.closing, "sent after close");
        if pipe.unwritten == 0 {
            pipe.progress = now;
        }
        pipe.unwritten += bytes.len();
        assert!(pipe.unwritten < WINDOW + 16 * 1024, "the window is not kept: {}", pipe.unwritten);
        if pipe.unwritten >= WINDOW {
            pipe.full = now;
        }
        pipe.queue.extend(&bytes);
        let codec = pipe.codec;
        let mut rest = BytesMut::from(bytes);
        while let Some(frame) = wire::frame(&mut rest, wire::MAX_MESSAGE).expect("what the daemon sends has frames") {
            match wire::decode(&frame, &codec).expect("what the daemon sends is well formed") {
                Message::Keepalive => self.connections.get_mut(&connection).unwrap().spoke = now,
                Message::Update(update) => self.judge_update(connection, &update),
                Message::Notification(notification) => self.judge_farewell(connection, notification),
                Message::Open(open) => {
                    let (_, _, settings) = self.neighbor(connection);
                    let ours = settings.spoken_asn(self.engine.config.router.asn).get();
                    assert_eq!((open.asn, open.hold_time), (ours, settings.hold_time));
                }
                Message::RouteRefresh(_) => {}
            }
        }
        assert!(rest.is_empty(), "half a message");
        if !self.faults.slow_writes {
            self.write(connection);
        }
    }

    fn judge_update(&mut self, connection: ConnectionId, update: &wire::Update) {
        let now = self.now;
        let pipe = self.connections.get_mut(&connection).unwrap();
        assert_eq!(pipe.phase, Phase::Established, "UPDATE too early");
        pipe.spoke = now;
        self.judge.told_again();
        let neighbor = pipe.neighbor;
        let nature = &self.routers[pipe.router].nature;
        for prefix in &update.withdrawn {
            assert!(pipe.told.remove(prefix), "{prefix} withdrawn, and never announced");
        }
        for prefix in &update.announced {
            let id = self.engine.index[prefix];
            let row = &self.engine.rows[id.row()];
            let service = &self.engine.config.services[row.service];
            assert!(row.judged.result.is_ok(), "{prefix} announced while held: {:?}", row.judged);
            assert!(self.judge.has_heard(&row.watches), "{prefix} announced before the kernel has answered");
            assert!(service.enabled && service.weight > 0, "{prefix} announced for a service that is switched off");
            assert!(service.neighbors.contains(&neighbor), "{prefix} announced to a neighbor it is not for");
            let family = Family::of(prefix);
            let spoken = self.engine.config.neighbors[neighbor].families.has(family) && nature.speaks(family);
            assert!(spoken, "{prefix} announced in a family that was not agreed on");
            assert_eq!(self.stops, 0, "{prefix} announced while stopping");
            pipe.told.insert(*prefix);
        }
        if let Some(family) = update.end_of_rib {
            assert!(self.engine.is_settled(), "End-of-RIB of {family:?} before everything is decided");
            assert!(self.engine.facts.known() || self.engine.sessions_started, "End-of-RIB before anything is known");
        }
    }

    /// A NOTIFICATION needs a reason: ours, the clock's or the stop's.
    fn judge_farewell(&mut self, connection: ConnectionId, said: Notification) {
        let now = self.now;
        let pipe = self.connections.get_mut(&connection).unwrap();
        let silence = now.since(pipe.heard);
        let wait = if pipe.phase >= Phase::OpenConfirm && !pipe.hold.is_zero() { pipe.hold } else { LARGE_HOLD };
        let right = match (said.code, said.subcode) {
            (4, 0) => silence >= wait,
            (8, 0) => pipe.unwritten > 0 && now.since(pipe.progress) >= pipe.patience,
            (6, 2) => self.stops > 0,
            _ => self.due.as_ref().is_some_and(|due| *due == (connection, Answer::Say(said.clone()))),
        };
        assert!(right, "{said:?} without a reason in {:?}; due was {:?}", pipe.phase, self.due);
        assert!(pipe.farewell.is_none(), "two NOTIFICATIONs");
        pipe.farewell = Some(said);
    }

    pub(super) fn close(&mut self, connection: ConnectionId) {
        if let Some(pipe) = self.connections.get_mut(&connection) {
            let gave_up = pipe.phase == Phase::Connect && self.now.since(pipe.opened) >= CONNECT;
            let refused = self.due.as_ref() == Some(&(connection, Answer::Close));
            let right = pipe.farewell.is_some() || gave_up || refused || self.stops > 0;
            assert!(right, "closed without a word and without a reason in {:?}", pipe.phase);
            assert!(!pipe.closing, "closed twice");
            pipe.closing = true;
            self.closed.insert(connection, pipe.farewell.clone());
            self.write(connection);
        }
        self.hang_up(connection, Closed::AsAsked);
        self.cut.remove(&connection);
    }

    /// What must be true of every connection after each input: nobody is waited for too long, nobody waits too long.
    pub(super) fn judge_connections(&self) {
        for pipe in self.connections.values() {
            let (now, hold) = (self.now, pipe.hold);
            match pipe.phase {
                Phase::Connect => assert!(now.since(pipe.opened) < CONNECT, "a connect that hangs is waited for"),
                Phase::OpenSent => assert!(now.since(pipe.heard) < LARGE_HOLD, "no OPEN, and no end"),
                Phase::OpenConfirm | Phase::Established if !hold.is_zero() => {
                    assert!(now.since(pipe.heard) < hold, "the hold timer does not expire");
                    let full = pipe.unwritten >= WINDOW;
                    let third = (hold / 3).max(Duration::from_secs(1));
                    assert!(
                        full || now.since(pipe.spoke.max(pipe.full)) <= third,
                        "no KEEPALIVE for longer than a third"
                    );
                }
                Phase::OpenConfirm | Phase::Established => {}
            }
            if pipe.phase == Phase::Established && pipe.unwritten > 0 {
                assert!(now.since(pipe.progress) < pipe.patience, "the send hold timer does not expire");
            }
        }
    }

    /// The kernel takes some octets, or all.
    fn write(&mut self, connection: ConnectionId) {
        let Some(pipe) = self.connections.get_mut(&connection) else { return };
        let (router, closing) = (pipe.router, pipe.closing);
        if pipe.leaves || pipe.phase == Phase::Connect {
            return;
        }
        if self.routers[router].silent || self.routers[router].stalls {
            self.routers[router].deaf_until = self.now;
            return;
        }
        let most = if self.faults.slow_writes && !closing {
            usize::try_from(self.dice.below(600)).unwrap()
        } else {
            usize::MAX
        };
        let taken: Vec<u8> = pipe.queue.drain(..pipe.queue.len().min(most)).collect();
        if taken.is_empty() {
            return;
        }
        let cut = usize::try_from(self.dice.below(taken.len() as u64 + 1)).unwrap();
        let (one, two) = taken.split_at(cut);
        let stays = self.routers[router].receive(self.now, one) && self.routers[router].receive(self.now, two);
        if !closing {
            self.after(0, Input::Written { connection, bytes: taken.len() });
        }
        if let Some(pipe) = self.connections.get_mut(&connection) {
            pipe.leaves |= !stays;
        }
    }

    /// Some router has octets to take or to give.
    pub(super) fn sending(&self) -> bool {
        let busy = |pipe: &Pipe| {
            let router = &self.routers[pipe.router];
            pipe.leaves
                || pipe.phase > Phase::Connect
                    && !router.silent
                    && (!pipe.queue.is_empty() && !router.stalls || router.has_words(self.now))
        };
        self.connections.values().any(busy)
    }

    pub(super) fn pump(&mut self) {
        for connection in self.connections.keys().copied().collect::<Vec<_>>() {
            self.write(connection);
            while let Some(pipe) = self.connections.get(&connection).filter(|pipe| pipe.phase > Phase::Connect) {
                let router = pipe.router;
                if pipe.leaves {
                    self.hang_up(connection, Closed::ByPeer);
                    break;
                }
                if self.routers[router].hold_is_over(self.now) {
                    let (heard_by, hold) =
                        (self.stalled.max(self.routers[router].deaf_until), self.routers[router].hold());
                    let excused = self.now.since(heard_by) <= hold * 2 || self.faults.slow_writes;
                    assert!(excused, "the daemon was silent for {hold:?}");
                    self.hang_up(connection, Closed::ByPeer);
                    break;
                }
                let Some(say) = self.routers[router].speak(self.now) else { break };
                self.deliver(connection, say);
            }
        }
    }

    /// In parts cut anywhere; then the daemon must have answered as it should.
    fn deliver(&mut self, connection: ConnectionId, say: Say) {
        let Some(pipe) = self.connections.get(&connection) else { return };
        let (neighbor, router, phase) = (pipe.neighbor, pipe.router, pipe.phase);
        let settings = &self.engine.config.neighbors[neighbor];
        let ours = settings.spoken_asn(self.engine.config.router.asn).get();
        let means = say.means.for_neighbor(settings, ours);
        let (answer, before) = (means.answer(phase), self.counted(neighbor));
        self.due = Some((connection, answer.clone()));
        let mut bytes = say.bytes;
        while let Some(pipe) = self.connections.get_mut(&connection)
            && !bytes.is_empty()
        {
            let part = bytes.split_to(1 + usize::try_from(self.dice.below(bytes.len() as u64)).unwrap());
            if bytes.is_empty() {
                pipe.phase = means.next(phase);
                if means.is_life() && answer == Answer::Nothing {
                    pipe.heard = self.now;
                }
                if let (Means::Refresh(Some(family)), Phase::Established) = (&means, phase) {
                    self.routers[router].forget(*family);
                }
            }
            self.input(Input::Received { connection, bytes: part });
        }
        self.due = None;
        let timed_out = |said: &Notification| matches!((said.code, said.subcode), (4 | 8, 0));
        match (self.closed.remove(&connection), &answer) {
            (Some(Some(said)), _) if timed_out(&said) => return,
            (closed, Answer::Nothing) => assert_eq!(closed, None, "{means:?} in {phase:?} is no reason to leave"),
            (closed, Answer::Close) => assert_eq!(closed, Some(None), "{means:?} in {phase:?} has no answer"),
            (closed, Answer::Say(said)) => assert_eq!(closed, Some(Some(said.clone())), "{means:?} in {phase:?}"),
        }
        if let (Means::Update { announced, malformed }, Phase::Established) = (&means, phase) {
            let expected = (before.0 + announced, before.1 + u64::from(*malformed));
            assert_eq!(self.counted(neighbor), expected, "routes and malformed UPDATEs counted");
        }
        if self.connections.contains_key(&connection) && self.routers[router].hangs_up_after(&means) {
            self.hang_up(connection, Closed::ByPeer);
        }
    }

    fn counted(&self, neighbor: usize) -> (u64, u64) {
        let neighbor = &self.engine.neighbors[neighbor];
        (neighbor.received_prefixes.ipv4 + neighbor.received_prefixes.ipv6, neighbor.malformed_updates)
    }

    /// The connection of this router, if there is one.
    pub(super) fn connection_of(&self, router: usize) -> Option<ConnectionId> {
        self.connections.iter().find(|(_, pipe)| pipe.router == router).map(|(connection, _)| *connection)
    }

    pub(super) fn reset(&mut self, router: usize) {
        if let Some(connection) = self.connection_of(router) {
            self.hang_up(connection, Closed::Failed("connection reset by peer".into()));
        }
    }
}

pub(super) fn next_hop_is_there(world: &World, neighbor: usize, prefix: &IpNet) -> bool {
    let link = world.engine.neighbors[neighbor].rib_out.link();
    let hop: Option<IpAddr> = link.and_then(|link| link.next_hops.of(Family::of(prefix)));
    hop.is_some() && link.is_some_and(|link| link.speaks(Family::of(prefix)))
}
