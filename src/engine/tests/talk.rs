//! What routers say, right and wrong, and what the daemon must answer: by the RFCs, not by the daemon's own code.

use bytes::{BufMut, Bytes, BytesMut};

use super::router::{Nature, Router};
use crate::Time;
use crate::bgp::wire::{self, Family, Notification, Open};
use crate::config::{Neighbor, PeerAsn};

/// One thing to say.
#[derive(Clone, Debug)]
pub(super) struct Say {
    pub(super) bytes: Bytes,
    pub(super) means: Means,
    /// Not before.
    pub(super) at: Time,
}

/// What it is, for the one who judges the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Means {
    /// Well formed: the configuration decides.
    Offer {
        asn: u32,
        hold: u16,
    },
    /// `Some`: refused with this.
    Open(Option<Notification>),
    Keepalive,
    Notification,
    /// The family, where it is a request.
    Refresh(Option<Family>),
    /// RFC 7313 §5
    BadRefresh(Notification),
    Update {
        announced: u64,
        malformed: bool,
    },
    /// RFC 7606 leaves nothing but the end of the session.
    BadUpdate(Notification),
    /// Found whatever the state.
    BadHeader(Notification),
    /// The beginning of a message.
    Part,
}

/// How far the daemon has come with this router, as the router's own words tell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    Connect,
    OpenSent,
    OpenConfirm,
    Established,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Nothing,
    Close,
    Say(Notification),
}

impl Means {
    /// What an OPEN comes to for this neighbor (RFC 4271 §6.2; CONTRACT, `asn`, `min-hold-time`).
    pub(super) fn for_neighbor(&self, neighbor: &Neighbor, ours: u32) -> Self {
        let Self::Offer { asn, hold } = *self else { return self.clone() };
        let welcome = match neighbor.asn {
            PeerAsn::Is(is) => asn == is.get(),
            PeerAsn::External => asn != ours,
            PeerAsn::Internal => asn == ours,
        };
        let refused = |subcode| Self::Open(Some(Notification::new(2, subcode, [])));
        match hold {
            _ if !welcome => refused(2),
            1 | 2 => refused(6),
            hold if hold < neighbor.min_hold_time => refused(6),
            _ => Self::Open(None),
        }
    }

    /// RFC 4271 §6, §8.2.2; RFC 6608; RFC 7606; RFC 7313.
    pub(super) fn answer(&self, phase: Phase) -> Answer {
        let misplaced = |kind: u8| match phase {
            Phase::Connect => Answer::Nothing,
            Phase::OpenSent => Answer::Say(Notification::new(5, 1, [kind])),
            Phase::OpenConfirm => Answer::Say(Notification::new(5, 2, [kind])),
            Phase::Established => Answer::Say(Notification::new(5, 3, [kind])),
        };
        match (self, phase) {
            (Self::BadHeader(notification), _) => Answer::Say(notification.clone()),
            (Self::Notification, _) => Answer::Close,
            (Self::Part, _) => Answer::Nothing,
            (Self::Offer { .. }, _) => unreachable!("resolved before"),
            (Self::Open(refusal), Phase::OpenSent) => refusal.clone().map_or(Answer::Nothing, Answer::Say),
            (Self::Open(_), _) => misplaced(1),
            (Self::Keepalive, Phase::OpenConfirm | Phase::Established) => Answer::Nothing,
            (Self::Keepalive, _) => misplaced(4),
            (Self::Refresh(_) | Self::Update { .. }, Phase::Established) => Answer::Nothing,
            (Self::BadRefresh(error) | Self::BadUpdate(error), Phase::Established) => Answer::Say(error.clone()),
            (Self::Refresh(_) | Self::BadRefresh(_), _) => misplaced(5),
            (Self::Update { .. } | Self::BadUpdate(_), _) => misplaced(2),
        }
    }

    pub(super) fn next(&self, phase: Phase) -> Phase {
        match (self, phase) {
            (Self::Open(None), Phase::OpenSent) => Phase::OpenConfirm,
            (Self::Keepalive, Phase::OpenConfirm) => Phase::Established,
            (_, phase) => phase,
        }
    }

    /// RFC 4271 §8.2.2: what restarts the hold timer, beside the OPENs' agreement on it.
    pub(super) const fn is_life(&self) -> bool {
        matches!(self, Self::Open(None) | Self::Keepalive | Self::Update { .. })
    }
}

const fn say(bytes: Bytes, means: Means) -> Say {
    Say { bytes, means, at: Time::from_nanos(0) }
}

fn message(kind: u8, body: &[u8]) -> Bytes {
    sized(u16::try_from(19 + body.len()).unwrap(), kind, body)
}

fn sized(length: u16, kind: u8, body: &[u8]) -> Bytes {
    let mut out = BytesMut::from(&[0xFF; 16][..]);
    out.put_u16(length);
    out.put_u8(kind);
    out.put_slice(body);
    out.freeze()
}

pub(super) fn keepalive() -> Say {
    say(wire::keepalive(), Means::Keepalive)
}

pub(super) fn refresh(family: Family, subtype: u8) -> Say {
    say(wire::route_refresh(family, subtype), Means::Refresh((subtype == 0).then_some(family)))
}

/// Of a family nobody speaks.
pub(super) fn strange_refresh() -> Say {
    say(message(5, &[0, 25, 0, 70]), Means::Refresh(None))
}

pub(super) fn notification(code: u8, subcode: u8) -> Say {
    say(message(3, &[code, subcode, 3, b'b', b'y', b'e']), Means::Notification)
}

pub(super) fn end_of_rib() -> Say {
    say(message(2, &[0; 4]), Means::Update { announced: 0, malformed: false })
}

/// A KEEPALIVE whose second half comes a second later.
pub(super) fn halved(now: Time) -> [Say; 2] {
    let mut first = wire::keepalive();
    let second = first.split_off(10);
    let at = now + std::time::Duration::from_secs(1);
    [say(first, Means::Part), Say { at, ..say(second, Means::Keepalive) }]
}

/// An OPEN that the daemon refuses, or something else in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum WrongOpen {
    #[default]
    None,
    Version,
    As,
    AsZero,
    Hold,
    Id,
    Parameter,
    Capability,
    Update,
    Keepalive,
}

impl WrongOpen {
    pub(super) const ALL: [Self; 9] = [
        Self::Version,
        Self::As,
        Self::AsZero,
        Self::Hold,
        Self::Id,
        Self::Parameter,
        Self::Capability,
        Self::Update,
        Self::Keepalive,
    ];
}

pub(super) fn open(nature: &Nature, wrong: WrongOpen) -> Say {
    let open = Open {
        version: 4,
        asn: nature.asn,
        hold_time: nature.hold,
        id: nature.id,
        capabilities: nature.capabilities.clone(),
    };
    let bytes = wire::open(&open);
    let refused = |subcode, data: &[u8]| Some(Notification::new(2, subcode, data));
    let changed = |at: usize, octets: &[u8]| {
        let mut all = BytesMut::from(&bytes[..]);
        all[at..at + octets.len()].copy_from_slice(octets);
        all.freeze()
    };
    let offer = |asn, hold| Means::Offer { asn, hold };
    match wrong {
        WrongOpen::None => say(bytes, offer(open.asn, open.hold_time)),
        WrongOpen::Version => say(changed(19, &[3]), Means::Open(refused(1, &[0, 4]))),
        WrongOpen::As => {
            let mut other = Open { asn: 64_001, ..open };
            other.capabilities.four_octet_asn = other.capabilities.four_octet_asn.map(|_| 64_001);
            say(wire::open(&other), offer(64_001, other.hold_time))
        }
        WrongOpen::AsZero => say(changed(20, &[0, 0]), Means::Open(refused(2, &[]))),
        WrongOpen::Hold => say(changed(22, &[0, 2]), offer(open.asn, 2)),
        WrongOpen::Id => say(changed(24, &[0; 4]), Means::Open(refused(3, &[]))),
        WrongOpen::Parameter => {
            say(message(1, &[&bytes[19..28], &[3, 1, 1, 0][..]].concat()), Means::Open(refused(4, &[])))
        }
        WrongOpen::Capability => {
            say(message(1, &[&bytes[19..28], &[4, 2, 2, 65, 4][..]].concat()), Means::Open(refused(0, &[])))
        }
        WrongOpen::Update => end_of_rib(),
        WrongOpen::Keepalive => keepalive(),
    }
}

/// Messages no speaker may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bad {
    Marker,
    Length,
    Type,
    LongKeepalive,
    ShortUpdate,
    Refresh,
    SecondOpen,
    Lengths,
    Nlri,
    Reach,
    TwoReaches,
    WellKnown,
    Origin,
    NoPath,
    Med,
    Set,
    Aggregator,
}

impl Bad {
    pub(super) const ALL: [Self; 17] = [
        Self::Marker,
        Self::Length,
        Self::Type,
        Self::LongKeepalive,
        Self::ShortUpdate,
        Self::Refresh,
        Self::SecondOpen,
        Self::Lengths,
        Self::Nlri,
        Self::Reach,
        Self::TwoReaches,
        Self::WellKnown,
        Self::Origin,
        Self::NoPath,
        Self::Med,
        Self::Set,
        Self::Aggregator,
    ];
}

const ORIGIN: [u8; 4] = [0x40, 1, 1, 0];
const NEXT_HOP: [u8; 7] = [0x40, 3, 4, 10, 0, 0, 1];
const PREFIX: [u8; 4] = [24, 203, 0, 114];

fn update(attributes: &[&[u8]], nlri: &[u8]) -> Bytes {
    let attributes = attributes.concat();
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    message(2, &[&[0, 0], &length[..], &attributes, nlri].concat())
}

fn path(router: &Router, segment: u8) -> Vec<u8> {
    if router.codec.internal && segment == 2 {
        return vec![0x40, 2, 0];
    }
    let asn = 65_001_u32.to_be_bytes();
    let asn = if router.codec.four_octet_asn { &asn[..] } else { &asn[2..] };
    [&[0x40, 2, u8::try_from(2 + asn.len()).unwrap(), segment, 1], asn].concat()
}

fn preference(router: &Router) -> &'static [u8] {
    if router.codec.internal { &[0x40, 5, 4, 0, 0, 0, 100] } else { &[] }
}

/// Routes of its own, which we count and forget: one of IPv4, or as many of IPv6.
pub(super) fn routes(router: &Router, ipv6: u8) -> Say {
    let (path, preference) = (path(router, 2), preference(router));
    if ipv6 == 0 {
        let bytes = update(&[&ORIGIN, &path, &NEXT_HOP, preference], &PREFIX);
        return say(bytes, Means::Update { announced: 1, malformed: false });
    }
    let next_hop = [0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let mut reach = vec![0, 2, 1, 16];
    reach.extend(next_hop);
    reach.push(0);
    (0..ipv6).for_each(|number| reach.extend([32, 0x20, 1, 0xD, number]));
    let header = [0x80, 14, u8::try_from(reach.len()).unwrap()];
    let bytes = update(&[&header, &reach, &ORIGIN, &path, preference], &[]);
    say(bytes, Means::Update { announced: ipv6.into(), malformed: false })
}

pub(super) fn bad(router: &Router, bad: Bad) -> Say {
    let (path, preference) = (path(router, 2), preference(router));
    let header = |code, subcode, data: &[u8]| Means::BadHeader(Notification::new(code, subcode, data));
    let reset = |subcode, data: &[u8]| Means::BadUpdate(Notification::new(3, subcode, data));
    let withdrawn = Means::Update { announced: 0, malformed: true };
    match bad {
        Bad::Marker => say(Bytes::from_static(&[0xFE; 23]), header(1, 1, &[])),
        Bad::Length => say(sized(18, 4, &[]), header(1, 2, &[0, 18])),
        Bad::Type => say(sized(19, 9, &[]), header(1, 3, &[9])),
        Bad::LongKeepalive => say(message(4, &[0]), header(1, 2, &[0, 20])),
        Bad::ShortUpdate => say(message(2, &[0; 3]), header(1, 2, &[0, 22])),
        Bad::Refresh => {
            let bytes = message(5, &[0, 1, 0, 1, 0]);
            let error = Notification::new(7, 1, &bytes[..]);
            say(bytes, Means::BadRefresh(error))
        }
        Bad::SecondOpen => open(&router.nature, WrongOpen::None),
        Bad::Lengths => say(message(2, &[0, 9, 0, 0]), reset(1, &[])),
        Bad::Nlri => {
            let attributes: [&[u8]; 4] = [&ORIGIN, &path, &NEXT_HOP, preference];
            say(update(&attributes, &[33, 1, 2, 3, 4, 5]), reset(10, &[]))
        }
        Bad::Reach => {
            let reach = [0x80, 14, 3, 0, 2, 1];
            say(update(&[&reach, &ORIGIN, &path], &[]), reset(9, &reach))
        }
        Bad::TwoReaches => {
            let unreach = [0x80, 15, 3, 0, 2, 1];
            say(update(&[&unreach, &unreach], &[]), reset(1, &[]))
        }
        Bad::WellKnown => {
            let unknown = [0x40, 200, 1, 7];
            say(update(&[&ORIGIN, &path, &NEXT_HOP, preference, &unknown], &PREFIX), reset(2, &unknown))
        }
        Bad::Origin => say(update(&[&[0x40, 1, 1, 3], &path, &NEXT_HOP, preference], &PREFIX), withdrawn),
        Bad::NoPath => say(update(&[&ORIGIN, &NEXT_HOP, preference], &PREFIX), withdrawn),
        Bad::Med => say(update(&[&ORIGIN, &path, &NEXT_HOP, &[0x80, 4, 2, 0, 1], preference], &PREFIX), withdrawn),
        Bad::Set => {
            let set = self::path(router, 1);
            say(update(&[&ORIGIN, &set, &NEXT_HOP, preference], &PREFIX), withdrawn)
        }
        Bad::Aggregator => {
            let attributes: [&[u8]; 5] = [&ORIGIN, &path, &NEXT_HOP, preference, &[0xC0, 7, 1, 0]];
            say(update(&attributes, &PREFIX), Means::Update { announced: 1, malformed: true })
        }
    }
}
