//! One wake after the other.

use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

use super::frame::{self, Header};
use super::inject::Injector;
use super::local::Locals;
use super::members::Members;
use super::owner::Owners;
use super::report::Report;
use super::uplinks::{Uplink, Uplinks};
use super::{Mail, Shared, lock};
use crate::Time;
use crate::config::{self, PmtudMode};
use crate::io::clock;
use crate::io::packet::{BATCH, Batch, Message, Outbox};
use crate::pmtud::{Candidate, Flow, Injection, Owner, Relay, Totals};

/// Everything that can be refused at the start.
pub(super) struct Sockets {
    uplinks: Uplinks,
    owners: Owners,
    way: Way,
}

/// How the others get it.
enum Way {
    Relay(Box<Relayed>),
    Broadcast,
}

struct Relayed {
    members: Members,
    injector: Injector,
    locals: Locals,
}

impl Sockets {
    pub(super) fn open(config: &config::Pmtud) -> Result<Self, String> {
        let broken = |error: std::io::Error| match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM) => "[pmtud] needs CAP_NET_RAW to capture ICMP errors and to inject them".to_owned(),
            Some(_) | None => format!("[pmtud] cannot start: {error}"),
        };
        // Also where there is nothing to capture from yet.
        Socket::new(Domain::PACKET, Type::RAW, None).map_err(broken)?;
        let way = match &config.mode {
            PmtudMode::Relay(relay) => Way::Relay(Box::new(Relayed {
                members: Members::open(relay)?,
                injector: Injector::open().map_err(broken)?,
                locals: Locals::open().map_err(broken)?,
            })),
            PmtudMode::Broadcast => Way::Broadcast,
        };
        let uplinks = Uplinks::open(&config.interfaces).map_err(broken)?;
        Ok(Self { uplinks, owners: Owners::open().map_err(broken)?, way })
    }
}

pub(super) struct Running {
    relay: Relay,
    uplinks: Uplinks,
    owners: Owners,
    way: Way,
    shared: Arc<Shared>,
    report: Report,
    batch: Batch,
    outbox: Outbox,
    /// Reused for each batch; none grows beyond it.
    found: Vec<Found>,
    flows: Vec<Flow>,
    datagrams: Vec<u8>,
    spans: Vec<Range<usize>>,
}

/// A captured error on its way through the pipeline.
struct Found {
    /// Its place in the batch.
    place: usize,
    candidate: Candidate,
    copies: usize,
}

/// What a poll found.
#[derive(Default)]
struct Ready {
    mail: bool,
    links: bool,
    members: bool,
    /// One bit for each interface; beyond 64 they are looked at in every wake.
    captures: u64,
}

impl Running {
    pub(super) fn new(relay: Relay, sockets: Sockets, shared: Arc<Shared>) -> Self {
        let Sockets { uplinks, owners, way } = sockets;
        Self {
            relay,
            uplinks,
            owners,
            way,
            shared,
            report: Report::default(),
            batch: Batch::new(),
            outbox: Outbox::new(),
            found: Vec::with_capacity(BATCH),
            flows: Vec::with_capacity(BATCH),
            datagrams: Vec::new(),
            spans: Vec::with_capacity(BATCH),
        }
    }

    /// With the members that are known from the start. From then on errors are captured.
    pub(super) fn begin(&mut self, members: &[IpAddr]) {
        self.set_members(members);
        if let Way::Relay(relayed) = &mut self.way {
            let address = relayed.members.address;
            if relayed.locals.ask(std::iter::once(address)).first() == Some(&false) {
                tracing::warn!("pmtud: {address} (address) is no address of this host yet: no member can reach it");
            }
        }
        self.look();
        for name in self.uplinks.list().iter().filter_map(Uplink::missing) {
            tracing::warn!("pmtud: there is no interface {name} yet: nothing is captured there until it comes");
        }
        self.publish();
    }

    /// Until it is told to stop.
    pub(super) fn run(mut self) {
        while let Some(ready) = self.wait() {
            if ready.mail && !self.read_mail() {
                return;
            }
            if ready.links {
                self.uplinks.clear_events(&mut self.batch);
                self.look();
            }
            if ready.members {
                self.hear();
            }
            for uplink in 0..self.uplinks.list().len() {
                let bit = u32::try_from(uplink).unwrap_or(u32::MAX);
                if ready.captures.checked_shr(bit).is_none_or(|rest| rest & 1 == 1) {
                    self.capture(uplink);
                }
            }
            self.report.look(clock::now(), self.relay.totals());
            self.publish();
        }
    }

    /// `None`: poll(2) itself is broken, and would make us spin.
    fn wait(&self) -> Option<Ready> {
        let read = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = vec![read(self.shared.bell.as_fd()), read(self.uplinks.events())];
        let members = match &self.way {
            Way::Relay(relayed) => Some(relayed.members.socket.as_fd()),
            Way::Broadcast => None,
        };
        fds.extend(members.map(read));
        let captures = || self.uplinks.list().iter().enumerate().filter_map(|(i, u)| Some((i, u.capture.as_ref()?)));
        fds.extend(captures().map(|(_, socket)| read(socket.as_fd())));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Some(Ready::default()),
            Err(error) => {
                tracing::error!("pmtud: no longer relaying: {error}");
                return None;
            }
        }
        let mut events = fds.iter().map(|fd| fd.any().unwrap_or(true));
        let mut next = || events.next().unwrap_or_default();
        let mut ready = Ready { mail: next(), links: next(), members: members.is_some() && next(), captures: 0 };
        for (uplink, _) in captures() {
            let bit = u32::try_from(uplink).unwrap_or(u32::MAX);
            ready.captures |= u64::from(next()).checked_shl(bit).unwrap_or_default();
        }
        Some(ready)
    }

    /// False: the end.
    fn read_mail(&mut self) -> bool {
        // Before the mail is taken: what is posted later rings again.
        let _ = self.shared.bell.read();
        let Mail { announced, members, stop } = std::mem::take(&mut *lock(&self.shared.mail));
        for (prefix, announced) in announced {
            self.relay.set_announced(prefix, announced);
        }
        if let Some(list) = members {
            self.set_members(&list);
        }
        !stop
    }

    fn set_members(&mut self, list: &[IpAddr]) {
        self.relay.set_members(list);
        if let Way::Relay(relayed) = &mut self.way {
            relayed.members.set(self.relay.members());
        }
    }

    fn look(&mut self) {
        let (relay, mtus) = (&mut self.relay, &mut *lock(&self.shared.mtus));
        self.uplinks.look(|uplink, mtu| {
            relay.set_uplink(uplink, mtu);
            if let Some(place) = mtus.get_mut(uplink) {
                *place = mtu;
            }
        });
    }

    fn publish(&self) {
        copy(self.relay.totals(), &mut lock(&self.shared.totals));
    }

    /// A batch of frames: examined, asked for, decided, sent.
    fn capture(&mut self, uplink: usize) {
        let Some(capture) = self.uplinks.capture(uplink) else { return };
        let Ok(received) = capture.receive(BATCH) else {
            // Down or deleted: the event of that may be behind us already.
            return self.look();
        };
        self.pass_on(uplink, received);
        if let Some(capture) = self.uplinks.capture(uplink) {
            capture.release();
        }
    }

    fn pass_on(&mut self, uplink: usize, received: usize) {
        let Some((mac, capture)) = self.uplinks.get(uplink).and_then(|it| Some((it.link?.mac, it.capture.as_ref()?)))
        else {
            return;
        };
        let now = clock::now();
        self.found.clear();
        self.flows.clear();
        for place in 0..received {
            let Some(frame) = capture.frame(place) else { continue };
            let Some(packet) = frame::packet(&frame) else { continue };
            if mac.is_some() && frame::source(&frame) == mac {
                self.relay.looped(uplink, packet);
            } else if let Some(candidate) = self.relay.examine(now, uplink, packet) {
                self.found.push(Found { place, candidate, copies: 0 });
                self.flows.push(candidate.flow);
            }
        }
        if self.found.is_empty() {
            return;
        }
        let mut owners = self.owners.ask_if_worth_it(now, &self.flows).iter().copied();
        let relay = &mut self.relay;
        self.found.retain(|found| {
            let owner = owners.next().unwrap_or(Owner::Unknown);
            relay.decide(now, uplink, &found.candidate, owner)
        });
        if self.found.is_empty() {
            return;
        }
        match &self.way {
            Way::Relay(_) => self.send_to_members(now, uplink),
            Way::Broadcast => self.send_to_everybody(now, uplink),
        }
        for found in &self.found {
            self.relay.sent(uplink, &found.candidate, found.copies);
            self.report.relayed(now, &found.candidate.flow, found.copies);
        }
    }

    fn send_to_members(&mut self, now: Time, uplink: usize) {
        let Way::Relay(relayed) = &self.way else { return };
        let Some(capture) = self.uplinks.get(uplink).and_then(|it| it.capture.as_ref()) else { return };
        self.datagrams.clear();
        self.spans.clear();
        for found in &self.found {
            let start = self.datagrams.len();
            let packet = capture.frame(found.place).and_then(|frame| frame::packet(&frame));
            if let Some(packet) = packet.and_then(|packet| packet.get(..found.candidate.length)) {
                self.relay.datagram(packet, &mut self.datagrams);
            }
            self.spans.push(start..self.datagrams.len());
        }
        let (relay, found, datagrams) = (&mut self.relay, &mut self.found, &self.datagrams);
        let report = &mut self.report;
        let each = self.spans.iter().map(|span| datagrams.get(span.clone()).unwrap_or_default());
        relayed.members.send(&mut self.outbox, each, |datagram, member, result| {
            relay.copied(member, result.is_ok());
            if let Some(found) = found.get_mut(datagram) {
                found.copies += usize::from(result.is_ok());
            }
            if let Some((error, to)) = result.err().zip(relay.members().nth(member)) {
                report.refused(now, format_args!("send to {to}"), &error);
            }
        });
    }

    /// The frame again, to everybody on the segment, through the socket that captured it.
    fn send_to_everybody(&mut self, now: Time, uplink: usize) {
        let uplink = self.uplinks.get(uplink);
        let Some((mac, capture)) = uplink.and_then(|it| Some((it.link?.mac?, it.capture.as_ref()?))) else { return };
        let frames: Vec<(usize, Header, &[u8])> = (self.found.iter().enumerate())
            .filter_map(|(index, found)| {
                let frame = capture.frame(found.place)?;
                let packet = frame::packet(&frame)?.get(..found.candidate.length)?;
                Some((index, Header::broadcast(&frame, mac)?, packet))
            })
            .collect();
        let messages = frames.iter().map(|(_, header, packet)| Message { to: None, parts: [header, packet] });
        let (found, mut places) = (&mut self.found, frames.iter().map(|(index, _, _)| *index));
        let report = &mut self.report;
        self.outbox.send(capture.as_fd(), messages, |result| {
            if let Err(error) = &result {
                report.refused(now, format_args!("broadcast"), error);
            }
            if let Some(found) = places.next().and_then(|index| found.get_mut(index)) {
                found.copies = usize::from(result.is_ok());
            }
        });
    }

    /// A batch of datagrams: heard, asked for, admitted, injected.
    fn hear(&mut self) {
        let Way::Relay(relayed) = &mut self.way else { return };
        // An error that waited at the socket is taken by reading it.
        let received = self.batch.receive(relayed.members.socket.as_fd(), BATCH).unwrap_or_default();
        let now = clock::now();
        self.flows.clear();
        let mut injections: Vec<Injection<'_>> = Vec::new();
        for place in 0..received {
            let Some((from, datagram)) = self.batch.datagram(place) else { continue };
            if let Some(injection) = self.relay.hear(now, from, datagram) {
                self.flows.push(injection.flow);
                injections.push(injection);
            }
        }
        if injections.is_empty() {
            return;
        }
        let owners = self.owners.ask(&self.flows).iter().copied();
        let locals = relayed.locals.ask(self.flows.iter().map(|flow| flow.service)).iter().copied();
        for (injection, (owner, local)) in injections.iter().zip(owners.zip(locals)) {
            if self.relay.admit(now, injection, owner, local) {
                let result = relayed.injector.inject(injection.flow.service, injection.packet);
                self.relay.injected(result.is_ok());
                if let Err(error) = result {
                    self.report.refused(now, format_args!("inject"), &error);
                }
            }
        }
    }
}

/// Into what is there already: nothing is allocated, unless there is more than before.
fn copy(from: &Totals, to: &mut Totals) {
    let Totals { uplinks, heard, unjudged, members, mtus, other_mtus, send_errors } = to;
    uplinks.clone_from(&from.uplinks);
    members.clone_from(&from.members);
    mtus.clone_from(&from.mtus);
    (*heard, *unjudged) = (from.heard, from.unjudged);
    (*other_mtus, *send_errors) = (from.other_mtus, from.send_errors);
}
