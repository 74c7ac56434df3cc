//! The other servers of the same prefixes.

use std::collections::HashMap;
use std::net::IpAddr;

use super::hash::{Seed, wide};
use super::replay::Window;
use super::totals;
use crate::Time;

/// One error in, so many datagrams out: beyond it, one stream of 5000 errors a second would be a flood of our own. What
/// is further down in the list is left out.
pub const MAX_MEMBERS: usize = 1024;

/// What is known of one, beside its [`totals::Member`] with the same index.
pub(super) struct Peer {
    pub(super) window: Window,
    /// Of what it asks us to inject.
    pub(super) bucket: Time,
}

pub(super) struct Members {
    /// Ours; `None`: broadcast, and there are no members.
    own: Option<IpAddr>,
    places: HashMap<u128, usize, Seed>,
    peers: Vec<Peer>,
}

impl Members {
    pub(super) fn new(own: Option<IpAddr>, seed: Seed) -> Self {
        Self { own, places: HashMap::with_hasher(seed), peers: Vec::new() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    pub(super) fn place(&self, address: u128) -> Option<usize> {
        self.places.get(&address).copied()
    }

    pub(super) fn peer(&mut self, place: usize) -> Option<&mut Peer> {
        self.peers.get_mut(place)
    }

    /// We ourselves, or one of them.
    pub(super) fn is_one_of_us(&self, address: IpAddr) -> bool {
        self.own == Some(address) || self.places.contains_key(&wide(address))
    }

    /// Who stays keeps its window, and so no datagram of before is new again; and its counters.
    pub(super) fn replace(&mut self, list: &[IpAddr], counted: &mut Vec<totals::Member>) {
        let Some(own) = self.own else { return };
        let places = HashMap::with_hasher(*self.places.hasher());
        let old = std::mem::replace(&mut self.places, places);
        let mut peers: Vec<Option<Peer>> = std::mem::take(&mut self.peers).into_iter().map(Some).collect();
        let before = std::mem::take(counted);
        for address in list.iter().map(IpAddr::to_canonical) {
            // A socket of ours is of one family.
            let wanted = address != own && address.is_ipv4() == own.is_ipv4() && is_host(address);
            if !wanted || self.places.contains_key(&wide(address)) || self.peers.len() == MAX_MEMBERS {
                continue;
            }
            self.places.insert(wide(address), self.peers.len());
            let place = old.get(&wide(address)).copied();
            let peer = place.and_then(|place| peers.get_mut(place)?.take());
            self.peers.push(peer.unwrap_or(Peer { window: Window::new(), bucket: Time::default() }));
            let member = place.and_then(|place| before.get(place).cloned());
            counted.push(member.unwrap_or(totals::Member { address, relayed: 0, send_errors: 0 }));
        }
    }
}

/// What a datagram for one host can be sent to.
const fn is_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || broadcast)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_the_fleet() {
        let mut members = Members::new(Some("192.0.2.1".parse().unwrap()), Seed::new(1));
        let mut counted = Vec::new();
        let mut replace = |list: &[&str], relayed: u64| {
            let list: Vec<IpAddr> = list.iter().map(|address| address.parse().unwrap()).collect();
            members.replace(&list, &mut counted);
            let shown: Vec<String> = counted.iter().map(|m| format!("{} {}", m.address, m.relayed)).collect();
            counted.iter_mut().for_each(|member| member.relayed += relayed);
            let fresh: Vec<bool> =
                (0..counted.len()).map(|place| members.peer(place).unwrap().window.accept(5)).collect();
            (shown.join(", "), fresh)
        };
        let all = [
            "192.0.2.3",
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.3",
            "2001:db8::2",
            "::ffff:192.0.2.2",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
        ];
        assert_eq!(replace(&all, 7), ("192.0.2.3 0, 192.0.2.2 0".into(), vec![true, true]));
        assert_eq!(replace(&["192.0.2.2", "192.0.2.4"], 0), ("192.0.2.2 7, 192.0.2.4 0".into(), vec![false, true]));
        assert_eq!(replace(&all, 0), ("192.0.2.3 0, 192.0.2.2 7".into(), vec![true, false]));
        assert_eq!(replace(&[], 0), (String::new(), vec![]));
        assert!(members.is_one_of_us("192.0.2.1".parse().unwrap()));
        assert!(!members.is_one_of_us("192.0.2.2".parse().unwrap()));
    }

    #[test]
    fn a_list_without_end() {
        let mut members = Members::new(Some("192.0.2.1".parse().unwrap()), Seed::new(1));
        let list: Vec<IpAddr> = (0..5000u32).map(|n| std::net::Ipv4Addr::from(0x0A00_0001 + n).into()).collect();
        let mut counted = Vec::new();
        members.replace(&list, &mut counted);
        assert_eq!((counted.len(), members.peers.len(), members.places.len()), (1024, 1024, 1024));
        assert_eq!(members.place(wide(list[1023])), Some(1023));
    }
}
