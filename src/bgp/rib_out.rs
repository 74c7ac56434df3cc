//! What one neighbor was told, and the difference to what is wanted.
//!
//! ```text
//!   wanted (a column the whole group shares)     told (a column of this session)
//!                 \                               /
//!                  reconcile: withdraws first, then announcements, packed by attributes
//! ```
//!
//! Level-triggered: a touched prefix is compared, not "an event is sent", so nothing is lost when a flap ends where it
//! began and nothing is sent when nothing changed. Work is resumable: one call looks at a bounded number of prefixes and
//! fills a bounded room, so no step is long and a slow peer's flaps coalesce while it is slow.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use bytes::BytesMut;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use self::packer::Packer;
use super::wire::{self, Attributes, Codec, Family, RouteRefresh};
use crate::Time;

mod packer;

/// Dense number of a prefix: its row in every column.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct PrefixId(pub u32);

impl PrefixId {
    pub const fn row(self) -> usize {
        self.0 as usize
    }
}

/// Number of an interned attribute set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RouteId(u32);

/// Attribute sets, each once. They come from services × policies × deprefer, which the configuration bounds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Routes {
    ids: BTreeMap<Attributes, RouteId>,
    sets: Vec<Attributes>,
}

impl Routes {
    pub fn intern(&mut self, attributes: Attributes) -> RouteId {
        if let Some(id) = self.ids.get(&attributes) {
            return *id;
        }
        let id = RouteId(u32::try_from(self.sets.len()).unwrap_or(u32::MAX));
        self.ids.insert(attributes.clone(), id);
        self.sets.push(attributes);
        id
    }

    pub fn get(&self, id: RouteId) -> Option<&Attributes> {
        self.sets.get(id.0 as usize)
    }
}

/// What the peer believes of one prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
enum Told {
    #[default]
    Nothing,
    Route(RouteId),
    /// It was told this, and has to hear the truth again: it asked for a refresh, or the next hop moved.
    Again(RouteId),
}

/// What a session allows. Lives as long as the session does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Link {
    pub codec: Codec,
    /// Negotiated.
    pub ipv4: bool,
    pub ipv6: bool,
    /// RFC 7313: bracket the answer to a refresh.
    pub enhanced_route_refresh: bool,
    pub next_hops: NextHops,
}

/// `None`: `no-next-hop`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NextHops {
    pub ipv4: Option<IpAddr>,
    pub ipv6: Option<IpAddr>,
}

impl NextHops {
    pub const fn of(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }
}

impl Link {
    pub const fn speaks(&self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }

    fn next_hop(&self, family: Family) -> Option<IpAddr> {
        self.next_hops.of(family).filter(|_| self.speaks(family))
    }

    /// Routes of this family come and go in MP_REACH_NLRI and MP_UNREACH_NLRI. IPv4 ones only with RFC 8950, and also
    /// where their next hop is no longer there.
    const fn multiprotocol(&self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.codec.extended_next_hop && !matches!(self.next_hops.ipv4, Some(IpAddr::V4(_))),
            Family::Ipv6 => true,
        }
    }
}

/// One call's worth of messages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    pub bytes: BytesMut,
    pub withdrawn: Vec<PrefixId>,
    pub announced: Vec<PrefixId>,
}

/// Most prefixes looked at in one call: well under a millisecond of work.
const ROWS: usize = 16_384;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RibOut {
    told: Vec<Told>,
    since: Vec<Time>,
    counts: [u64; 2],
    /// Rows to compare, each once (`queued`).
    touched: VecDeque<PrefixId>,
    queued: Vec<bool>,
    /// The next row of a pass over everything: a new session, a refresh, a moved next hop.
    sweep: Option<usize>,
    /// Said once the pass is through: End-of-RIB for a new session, EoRR after a refresh. One for each family.
    closing: Vec<Closing>,
    /// Families to tell again once what is said of them now is through: a peer that asks again and again waits, and
    /// neither starves a pass nor fills a queue.
    asked: Vec<Family>,
    link: Option<Link>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Closing {
    EndOfRib(Family),
    /// RFC 7313 §3.2; nothing is said to a peer that does not know it.
    EndOfRefresh(Family),
}

impl Closing {
    const fn family(self) -> Family {
        match self {
            Self::EndOfRib(family) | Self::EndOfRefresh(family) => family,
        }
    }
}

impl RibOut {
    pub fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// A session is there: it gets everything, then End-of-RIB (RFC 4724 §2: useful without graceful restart too).
    pub fn up(&mut self, link: Link) {
        self.down();
        self.closing = Family::ALL.into_iter().filter(|family| link.speaks(*family)).map(Closing::EndOfRib).collect();
        self.sweep = Some(0);
        self.link = Some(link);
    }

    /// No session, nothing told.
    pub fn down(&mut self) {
        *self = Self::default();
    }

    /// What is wanted of this prefix may have changed.
    pub fn touch(&mut self, id: PrefixId) {
        if self.link.is_none() {
            return;
        }
        self.grow(id.row() + 1);
        if let Some(queued) = self.queued.get_mut(id.row())
            && !std::mem::replace(queued, true)
        {
            self.touched.push_back(id);
        }
    }

    /// RFC 2918: everything of this family once more, after its End-of-RIB (RFC 7313 §4).
    pub fn refresh(&mut self, family: Family) {
        if self.link.is_some_and(|link| link.speaks(family)) && !self.asked.contains(&family) {
            self.asked.push(family);
        }
    }

    /// Begins the answers that need not wait for an earlier one. Told stays as it was, or a prefix that goes meanwhile
    /// would never be withdrawn.
    fn answer(&mut self, link: &Link, prefixes: &[IpNet], out: &mut BytesMut) {
        for family in std::mem::take(&mut self.asked) {
            if self.closing.iter().any(|closing| closing.family() == family) {
                self.asked.push(family);
                continue;
            }
            self.tell_again(family, prefixes);
            if link.enhanced_route_refresh {
                out.extend_from_slice(&wire::route_refresh(family, RouteRefresh::BEGIN));
            }
            self.closing.push(Closing::EndOfRefresh(family));
        }
    }

    fn close(&mut self, link: &Link, out: &mut BytesMut) {
        for closing in std::mem::take(&mut self.closing) {
            match closing {
                Closing::EndOfRib(family) => wire::end_of_rib(family, out),
                Closing::EndOfRefresh(family) if link.enhanced_route_refresh => {
                    out.extend_from_slice(&wire::route_refresh(family, RouteRefresh::END));
                }
                Closing::EndOfRefresh(_) => {}
            }
        }
    }

    /// The interface's addresses changed: routes of a family whose next hop moved are told again, or withdrawn.
    pub fn set_next_hops(&mut self, next_hops: NextHops, prefixes: &[IpNet]) {
        let Some(link) = &mut self.link else { return };
        let before = std::mem::replace(&mut link.next_hops, next_hops);
        for family in Family::ALL {
            if before.of(family) != next_hops.of(family) {
                self.tell_again(family, prefixes);
            }
        }
    }

    fn tell_again(&mut self, family: Family, prefixes: &[IpNet]) {
        for (told, prefix) in self.told.iter_mut().zip(prefixes) {
            if let Told::Route(route) = *told
                && Family::of(prefix) == family
            {
                *told = Told::Again(route);
            }
        }
        self.sweep = Some(0);
    }

    /// There is something to compare or to say.
    pub fn pending(&self) -> bool {
        self.sweep.is_some() || !self.touched.is_empty() || !self.closing.is_empty() || !self.asked.is_empty()
    }

    /// The session has not heard everything once.
    pub fn is_new(&self) -> bool {
        self.closing.iter().any(|closing| matches!(closing, Closing::EndOfRib(_)))
    }

    pub fn is_told(&self, id: PrefixId) -> bool {
        self.route_told(id).is_some()
    }

    pub fn route_told(&self, id: PrefixId) -> Option<RouteId> {
        match self.told.get(id.row())? {
            Told::Nothing => None,
            Told::Route(route) | Told::Again(route) => Some(*route),
        }
    }

    /// When the peer was last told something new of this prefix; zero where it never was.
    pub fn since(&self, id: PrefixId) -> Time {
        self.since.get(id.row()).copied().unwrap_or_default()
    }

    pub const fn announced(&self, family: Family) -> u64 {
        let [ipv4, ipv6] = self.counts;
        match family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        }
    }

    /// Compares rows until `room` octets are filled, and takes what it writes as told. Goes beyond `room` by less than one
    /// message and what closes a pass: whatever the room, it moves on.
    pub fn reconcile(
        &mut self,
        now: Time,
        wanted: &[Option<RouteId>],
        prefixes: &[IpNet],
        routes: &Routes,
        room: usize,
    ) -> Batch {
        let Some(link) = self.link else { return Batch::default() };
        if room == 0 || !self.pending() {
            return Batch::default();
        }
        self.grow(prefixes.len());
        let mut batch = Batch::default();
        self.answer(&link, prefixes, &mut batch.bytes);
        let mut packer = Packer::new(link, routes);
        for _ in 0..ROWS {
            if batch.bytes.len() + packer.octets >= room {
                break;
            }
            let Some(row) = self.next_row(prefixes.len()) else { break };
            let (Some(prefix), Some(told)) = (prefixes.get(row), self.told.get(row)) else { continue };
            let target = wanted.get(row).copied().flatten().filter(|_| link.next_hop(Family::of(prefix)).is_some());
            let news = match (*told, target) {
                (Told::Nothing, None) => continue,
                (Told::Route(told), Some(route)) if told == route => continue,
                (Told::Nothing | Told::Route(_) | Told::Again(_), target) => target,
            };
            self.set_told(now, row, Family::of(prefix), news);
            packer.push(*prefix, news);
            let id = PrefixId(u32::try_from(row).unwrap_or(u32::MAX));
            if news.is_some() { &mut batch.announced } else { &mut batch.withdrawn }.push(id);
        }
        packer.pack(&mut batch.bytes);
        if self.sweep.is_none() && self.touched.is_empty() {
            self.close(&link, &mut batch.bytes);
        }
        batch
    }

    /// Touched rows first: a withdraw does not wait for a pass over everything.
    fn next_row(&mut self, rows: usize) -> Option<usize> {
        if let Some(id) = self.touched.pop_front() {
            if let Some(queued) = self.queued.get_mut(id.row()) {
                *queued = false;
            }
            return Some(id.row());
        }
        let row = self.sweep?;
        self.sweep = (row + 1 < rows).then_some(row + 1);
        (row < rows).then_some(row)
    }

    fn set_told(&mut self, now: Time, row: usize, family: Family, news: Option<RouteId>) {
        let Some(told) = self.told.get_mut(row) else { return };
        let before = std::mem::replace(told, news.map_or(Told::Nothing, Told::Route));
        let same = match before {
            Told::Nothing => news.is_none(),
            Told::Route(route) | Told::Again(route) => news == Some(route),
        };
        if !same && let Some(since) = self.since.get_mut(row) {
            *since = now;
        }
        let [ipv4, ipv6] = &mut self.counts;
        let count = match family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        };
        match (before == Told::Nothing, news.is_none()) {
            (true, false) => *count += 1,
            (false, true) => *count = count.saturating_sub(1),
            (true, true) | (false, false) => {}
        }
    }

    fn grow(&mut self, rows: usize) {
        if self.told.len() < rows {
            self.told.resize(rows, Told::Nothing);
            self.since.resize(rows, Time::default());
            self.queued.resize(rows, false);
        }
    }
}

#[cfg(test)]
mod tests;
