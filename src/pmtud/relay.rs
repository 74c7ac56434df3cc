//! The machine.

use std::net::IpAddr;

use ipnet::IpNet;

use super::datagram::{self, Key};
use super::hash::{Seed, wide};
use super::judge::{From, Rules};
use super::limits::{Incoming, Keys, Outgoing};
use super::members::Members;
use super::message::{self, Message};
use super::prefixes::{Prefix, Prefixes};
use super::repeats::Repeats;
use super::table::Table;
use super::totals::{Family, Totals, Uplink};
use super::{Flow, Heard, Owner, Verdict};
use crate::Time;
use crate::config::{self, PmtudMode};

/// What never changes while it runs.
pub struct Settings {
    pub config: config::Pmtud,
    /// The first signs, all verify. Empty in broadcast mode, and where `insecure`.
    pub keys: Vec<Key>,
    /// For the hashes: nobody outside may know which errors share a bucket.
    pub seed: u64,
    /// Of the first datagram: nanoseconds of wall time, so that a restarted sender is no replay (it sends fewer than one a
    /// nanosecond).
    pub first_sequence: u64,
}

/// An error that passed everything that costs no question to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// To ask the kernel for.
    pub flow: Flow,
    /// Of the message in the octets that were examined: without what an Ethernet frame was padded with.
    pub length: usize,
    mtu: u32,
    prefix: Prefix,
    keys: Keys,
    seen: u64,
    /// It came before, and limits ran short.
    repeated: bool,
}

/// A datagram of a member that passed everything that costs no question to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Injection<'a> {
    pub flow: Flow,
    /// The original IP packet, byte for byte.
    pub packet: &'a [u8],
    member: u128,
    key: u64,
}

/// 65,536 errors in 1 MiB: ten times what the default limits let pass within `dedup`. One that is forgotten costs one more
/// copy, for which there are limits.
const SEEN_BITS: u32 = 14;

pub struct Relay {
    config: config::Pmtud,
    keys: Vec<Key>,
    seed: Seed,
    /// Of the next datagram.
    number: u64,
    /// Their MTUs.
    uplinks: Vec<Option<u32>>,
    prefixes: Prefixes,
    members: Members,
    /// Until when an error is a duplicate.
    seen: Table,
    repeats: Repeats,
    outgoing: Outgoing,
    incoming: Incoming,
    totals: Totals,
}

impl Relay {
    /// All memory that a flood can touch is allocated here: 8 MiB.
    pub fn new(_now: Time, settings: Settings) -> Self {
        let Settings { config, keys, seed, first_sequence } = settings;
        let seed = Seed::new(seed);
        let mut prefixes = Prefixes::new(seed);
        config.prefixes.iter().flatten().for_each(|prefix| prefixes.insert(*prefix));
        let own = match &config.mode {
            PmtudMode::Relay(relay) => Some(relay.address.to_canonical()),
            PmtudMode::Broadcast => None,
        };
        let uplinks = config.interfaces.len();
        Self {
            keys,
            seed,
            number: first_sequence,
            uplinks: vec![None; uplinks],
            prefixes,
            members: Members::new(own, seed),
            seen: Table::new(SEEN_BITS),
            repeats: Repeats::new(config.dedup),
            outgoing: Outgoing::new(&config.limits),
            incoming: Incoming::new(&config.limits),
            totals: Totals { uplinks: vec![Uplink::default(); uplinks], ..Totals::default() },
            config,
        }
    }

    /// The uplink with this index in `interfaces` has come, gone (`None`) or changed.
    pub fn set_uplink(&mut self, uplink: usize, mtu: Option<u32>) {
        if let Some(known) = self.uplinks.get_mut(uplink) {
            *known = mtu;
        }
    }

    /// Where `prefixes` is not configured: one prefix is announced from now on, or not any more.
    pub fn set_announced(&mut self, prefix: IpNet, announced: bool) {
        match (&self.config.prefixes, announced) {
            (Some(_), _) => {}
            (None, true) => self.prefixes.insert(prefix),
            (None, false) => self.prefixes.remove(prefix),
        }
    }

    /// The whole list. Our own address, duplicates and other families are skipped.
    pub fn set_members(&mut self, members: &[IpAddr]) {
        self.members.replace(members, &mut self.totals.members);
    }

    /// Whom a datagram goes to, in the order of [`Totals::members`].
    pub fn members(&self) -> impl ExactSizeIterator<Item = IpAddr> + '_ {
        self.totals.members.iter().map(|member| member.address)
    }

    /// `packet`: from the IP header on, as captured from this uplink. `None`: rejected, and counted.
    pub fn examine(&mut self, now: Time, uplink: usize, packet: &[u8]) -> Option<Candidate> {
        match self.weigh(now, uplink, packet) {
            Ok(candidate) => Some(candidate),
            Err(verdict) => {
                self.totals.count(uplink, message::family(packet), verdict);
                None
            }
        }
    }

    /// A frame that we sent ourselves came in again.
    pub fn looped(&mut self, uplink: usize, packet: &[u8]) {
        self.totals.count(uplink, message::family(packet), Verdict::Loop);
    }

    /// After the kernel was asked. True: it is to be sent now, and [`Relay::sent`] called.
    pub fn decide(&mut self, now: Time, uplink: usize, candidate: &Candidate, owner: Owner) -> bool {
        self.totals.believed(candidate.family(), candidate.mtu);
        let decided = self.settle(now, candidate, owner);
        if let Err(verdict) = decided {
            self.totals.count(uplink, candidate.family(), verdict);
        }
        decided.is_ok()
    }

    /// Appends the datagram for all members, with the next number.
    pub fn datagram(&mut self, packet: &[u8], out: &mut Vec<u8>) {
        let PmtudMode::Relay(relay) = &self.config.mode else { return };
        datagram::write(self.keys.first(), relay.address, self.number, packet, out);
        self.number = self.number.wrapping_add(1);
    }

    /// Counts one message that was to be sent: to how many members it went (broadcast: 1 or 0).
    pub fn sent(&mut self, uplink: usize, candidate: &Candidate, copies: usize) {
        let verdict = if copies > 0 { Verdict::Relayed } else { Verdict::SendError };
        if copies == 0 {
            // Nobody got it: the next one like it is none too many.
            self.seen.set(candidate.seen, Time::default());
            // In relay mode each copy was counted.
            self.totals.send_errors += u64::from(matches!(self.config.mode, PmtudMode::Broadcast));
        }
        self.totals.count(uplink, candidate.family(), verdict);
    }

    /// One copy to the member with this index.
    pub fn copied(&mut self, member: usize, accepted: bool) {
        if let Some(member) = self.totals.members.get_mut(member) {
            *(if accepted { &mut member.relayed } else { &mut member.send_errors }) += 1;
        }
        self.totals.send_errors += u64::from(!accepted);
    }

    /// A datagram from a member. `None`: rejected, and counted.
    pub fn hear<'a>(&mut self, now: Time, from: IpAddr, datagram: &'a [u8]) -> Option<Injection<'a>> {
        match self.open(now, from.to_canonical(), datagram) {
            Ok(injection) => Some(injection),
            Err(heard) => {
                self.totals.count_heard(heard);
                None
            }
        }
    }

    /// After the kernel was asked; `local`: the destination is an address of this host. True: inject it, then call
    /// [`Relay::injected`].
    pub fn admit(&mut self, now: Time, injection: &Injection<'_>, owner: Owner, local: bool) -> bool {
        let admitted = self.let_in(now, injection, owner, local);
        if let Err(heard) = admitted {
            self.totals.count_heard(heard);
        }
        admitted.is_ok()
    }

    pub fn injected(&mut self, accepted: bool) {
        self.totals.count_heard(if accepted { Heard::Injected } else { Heard::SendError });
        self.totals.send_errors += u64::from(!accepted);
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    fn rules(&self, from: From) -> Rules<'_> {
        Rules { config: &self.config, prefixes: &self.prefixes, members: &self.members, from }
    }

    fn weigh(&mut self, now: Time, uplink: usize, packet: &[u8]) -> Result<Candidate, Verdict> {
        let mtu = self.uplinks.get(uplink).copied().flatten();
        let judged = self.rules(From::Uplink { mtu }).judge(packet)?;
        let prefix = judged.prefix.ok_or(Verdict::NotAnnounced)?;
        let message = &judged.message;
        let keys = Keys { flow: self.flow_key(message), router: self.router_key(message.router) };
        let mut candidate = Candidate {
            flow: message.quoted,
            length: judged.packet.len(),
            mtu: message.mtu,
            prefix,
            keys,
            seen: self.error_key(message),
            repeated: false,
        };
        if self.seen.until(candidate.seen) > now {
            return Err(Verdict::Duplicate);
        }
        // An error that would be limited anyway is not worth asking the kernel for.
        let bucket = self.prefixes.bucket(prefix).ok_or(Verdict::NotAnnounced)?;
        self.outgoing.ask(now, keys, bucket).ok_or(Verdict::Limited)?;
        if self.outgoing.are_low(now, keys, bucket) {
            candidate.repeated = self.repeats.again(now, candidate.seen);
            if !candidate.repeated {
                return Err(Verdict::Limited);
            }
        }
        Ok(candidate)
    }

    /// Whoever asks the kernel for many at once examines many first: what has changed since is looked at again.
    fn settle(&mut self, now: Time, candidate: &Candidate, owner: Owner) -> Result<(), Verdict> {
        if self.seen.until(candidate.seen) > now {
            return Err(Verdict::Duplicate);
        }
        let done = now + self.config.dedup;
        match owner {
            Owner::Here => {
                self.seen.set(candidate.seen, done);
                return Err(Verdict::Owned);
            }
            Owner::Elsewhere | Owner::Unknown => {}
        }
        let bucket = self.prefixes.bucket(candidate.prefix).ok_or(Verdict::NotAnnounced)?;
        let charge = self.outgoing.ask(now, candidate.keys, bucket).ok_or(Verdict::Limited)?;
        if !candidate.repeated
            && self.outgoing.are_low(now, candidate.keys, bucket)
            && !self.repeats.again(now, candidate.seen)
        {
            return Err(Verdict::Limited);
        }
        self.outgoing.charge(candidate.keys, &charge);
        self.prefixes.set_bucket(candidate.prefix, charge.prefix);
        if self.members.is_empty() && matches!(self.config.mode, PmtudMode::Relay(_)) {
            return Err(Verdict::NoMember);
        }
        self.seen.set(candidate.seen, done);
        if self.config.dry_run { Err(Verdict::DryRun) } else { Ok(()) }
    }

    fn open<'a>(&mut self, now: Time, from: IpAddr, octets: &'a [u8]) -> Result<Injection<'a>, Heard> {
        let datagram = datagram::read(octets).ok_or(Heard::Malformed)?;
        let from = wide(from);
        let place = self.members.place(from).filter(|_| datagram.sender == from).ok_or(Heard::NotMember)?;
        if !datagram.is_signed_by(&self.keys) {
            return Err(Heard::BadKey);
        }
        let peer = self.members.peer(place).ok_or(Heard::NotMember)?;
        // A number that nobody signed proves nothing, and one near the last would close the window for ever.
        if !self.keys.is_empty() && !peer.window.accept(datagram.number) {
            return Err(Heard::Replay);
        }
        let bucket = peer.bucket;
        let judged = self.rules(From::Member).judge(datagram.packet).map_err(|_| Heard::Refused)?;
        let key = self.flow_key(&judged.message);
        self.incoming.ask(now, key, bucket).ok_or(Heard::Limited)?;
        Ok(Injection { flow: judged.message.quoted, packet: judged.packet, member: from, key })
    }

    fn let_in(&mut self, now: Time, injection: &Injection<'_>, owner: Owner, local: bool) -> Result<(), Heard> {
        if !local {
            return Err(Heard::NotLocal);
        }
        match owner {
            Owner::Here | Owner::Unknown => {}
            Owner::Elsewhere => return Err(Heard::NotOwned),
        }
        let place = self.members.place(injection.member).ok_or(Heard::NotMember)?;
        let peer = self.members.peer(place).ok_or(Heard::NotMember)?;
        let charge = self.incoming.ask(now, injection.key, peer.bucket).ok_or(Heard::Limited)?;
        peer.bucket = charge.member;
        self.incoming.charge(injection.key, &charge);
        self.totals.unjudged += u64::from(owner == Owner::Unknown);
        if self.config.dry_run { Err(Heard::DryRun) } else { Ok(()) }
    }

    /// The same error again. UDP has no sequence number that a socket could check (and whoever forges one changes the MTU
    /// at will), so there another MTU is no other error.
    fn error_key(&self, message: &Message) -> u64 {
        let Flow { service, client, protocol, service_port, client_port } = message.quoted;
        let mtu = if protocol == UDP { 0 } else { message.mtu };
        let rest = u64::from(protocol) << 32 | u64::from(service_port) << 16 | u64::from(client_port);
        self.seed.hash().word(0).wide(wide(service)).wide(wide(client)).word(rest).word(u64::from(mtu)).end()
    }

    /// The client and the MTU. Of IPv6 the whole address: who makes up clients is no poorer by 64 bits of it, and an office
    /// in one /64 is many clients.
    fn flow_key(&self, message: &Message) -> u64 {
        self.seed.hash().word(1).wide(wide(message.quoted.client)).word(u64::from(message.mtu)).end()
    }

    /// Its /24 or /48.
    fn router_key(&self, router: IpAddr) -> u64 {
        let network = match router {
            IpAddr::V4(_) => wide(router) >> 8 << 8,
            IpAddr::V6(_) => wide(router) >> 80 << 80,
        };
        self.seed.hash().word(2).wide(network).end()
    }
}

const UDP: u8 = 17;

impl Candidate {
    const fn family(&self) -> Family {
        Family::of(self.flow.service)
    }
}
