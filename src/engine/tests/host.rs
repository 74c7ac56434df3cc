//! The host of the world: addresses, interfaces, routes, listeners and files, and how the daemon hears of them.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::world::{ETH0, LO, World};
use crate::config::Protocol;
use crate::engine::{Input, Outcome, ProbeId};
use crate::facts::{Address, Fact, Interface, LocalRoute, Snapshot, Watch};

/// What can be on this host: addresses of services, then its own, some of which are lower than those it always has.
pub(super) const ADDRESSES: [&str; 13] = [
    "192.0.2.80",
    "2001:db8::80",
    "192.0.2.53",
    "198.51.100.7",
    "192.0.2.81",
    "192.0.2.200",
    "2001:db8::99",
    "198.51.100.130",
    "198.51.100.8",
    "203.0.113.9",
    "fd00::10",
    "fd00::9",
    "10.0.0.9",
];

/// Local routes without an address, one of them for a host.
pub(super) const ROUTES: [&str; 4] = ["198.51.100.0/24", "192.0.2.53/32", "2001:db8::80/128", "203.0.113.0/24"];

pub(super) const LISTENERS: [(Protocol, u16); 4] =
    [(Protocol::Tcp, 80), (Protocol::Udp, 53), (Protocol::Tcp, 53), (Protocol::Tcp, 443)];

/// An interface for services; its number may be another's tomorrow.
pub(super) const SVC: u32 = 3;

/// By number of an action: none, and two names.
pub(super) const NAMES: [Option<&str>; 3] = [None, Some("svc0"), Some("other0")];

impl World {
    /// Everything the kernel would tell a daemon that just started.
    pub(super) fn boot(&mut self) {
        self.read_all();
        self.look_at_disable_file();
    }

    pub(super) fn place(&self, address: IpAddr) -> u32 {
        let own = ["10.0.0.", "fd00::"].iter().any(|start| address.to_string().starts_with(start));
        self.placed.get(&address).copied().unwrap_or(if own { ETH0 } else { LO })
    }

    pub(super) fn usable(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address) && !self.tentative.contains(&address)
    }

    fn as_read(&self, address: IpAddr) -> Address {
        Address { usable: !self.tentative.contains(&address), ..on(self.place(address), address) }
    }

    pub(super) fn set_address(&mut self, address: IpAddr, present: bool) {
        let changed = if present { self.addresses.insert(address) } else { self.addresses.remove(&address) };
        if changed {
            self.tell(Fact::Address { address: self.as_read(address), present });
        }
        if !present {
            self.tentative.remove(&address);
            self.placed.remove(&address);
        }
    }

    /// To the services' interface, or back to where it is by nature.
    pub(super) fn move_address(&mut self, address: IpAddr, to: u32) {
        let before = self.place(address);
        if !self.addresses.contains(&address) || !self.interfaces.contains_key(&to) || before == to || before == ETH0 {
            return;
        }
        self.tell(Fact::Address { address: self.as_read(address), present: false });
        self.placed.insert(address, to);
        self.tell(Fact::Address { address: self.as_read(address), present: true });
    }

    /// Duplicate address detection begins anew, or is done.
    pub(super) fn set_tentative(&mut self, address: IpAddr, tentative: bool) {
        if !self.addresses.contains(&address) || address.is_ipv4() {
            return;
        }
        let changed = if tentative { self.tentative.insert(address) } else { self.tentative.remove(&address) };
        if changed {
            self.tell(Fact::Address { address: self.as_read(address), present: true });
        }
    }

    pub(super) fn set_route(&mut self, prefix: IpNet, present: bool) {
        let changed = if present { self.routes.insert(prefix) } else { self.routes.remove(&prefix) };
        if changed {
            self.tell(Fact::LocalRoute { route: LocalRoute { interface: LO, prefix }, present });
        }
    }

    /// Comes, goes with all its addresses, or takes another name.
    pub(super) fn set_interface(&mut self, index: u32, name: Option<&'static str>) {
        let before = match name {
            Some(name) => self.interfaces.insert(index, name),
            None => self.interfaces.remove(&index),
        };
        if name.is_none() {
            let gone = self.placed.iter().filter(|(_, on)| **on == index).map(|(address, _)| *address);
            for address in gone.collect::<Vec<_>>() {
                self.set_address(address, false);
            }
        }
        if before != name {
            self.tell(Fact::Interface { index, name: name.map(str::to_owned), loopback: index == LO });
        }
    }

    pub(super) fn set_listening(&mut self, protocol: Protocol, port: u16, present: bool) {
        if present {
            self.listening.insert((protocol, port));
        } else if self.listening.remove(&(protocol, port)) {
            let gone = |watch: &&Watch| (watch.protocol, watch.port) == (protocol, port);
            let lost = self.faults.late && self.dice.one_in(4);
            for watch in self.watches.iter().filter(gone).filter(|_| !lost).copied().collect::<Vec<_>>() {
                self.after(0, Input::Fact(Fact::Listener { watch, listening: Some(false) }));
            }
        }
    }

    pub(super) fn look_at_disable_file(&mut self) {
        if self.faults.late && self.dice.one_in(4) {
            return;
        }
        let exists = if self.faults.reads && self.dice.one_in(3) { None } else { Some(self.disable_file) };
        for service in 0..self.engine.config.services.len() {
            self.after(0, Input::Fact(Fact::DisableFile { service, exists }));
        }
    }

    pub(super) fn read_all(&mut self) {
        if self.faults.reads && self.dice.one_in(3) {
            let failed = Fact::ReadFailed { detail: "interrupted".into() };
            let empty = self.dice.one_in(4);
            return self.after(0, Input::Fact(if empty { Fact::Snapshot(Snapshot::default()) } else { failed }));
        }
        let interface =
            |(index, name): (&u32, &&str)| Interface { index: *index, name: (*name).into(), loopback: *index == LO };
        let snapshot = Snapshot {
            interfaces: self.interfaces.iter().map(interface).collect(),
            addresses: self.addresses.iter().map(|address| self.as_read(*address)).collect(),
            routes: self.routes.iter().map(|prefix| LocalRoute { interface: LO, prefix: *prefix }).collect(),
        };
        self.after(0, Input::Fact(Fact::Snapshot(snapshot)));
    }

    /// An event of netlink's: in order and once, or (events were lost, and read again) neither.
    fn tell(&mut self, fact: Fact) {
        if !self.faults.disorder {
            return self.after(0, Input::Fact(fact));
        }
        if self.dice.one_in(8) {
            let read_soon = self.now + Duration::from_millis(100);
            self.read_at = self.read_at.min(read_soon);
            return;
        }
        for _ in 0..1 + u32::from(self.dice.one_in(6)) {
            let late = if self.dice.one_in(3) { self.dice.below(50) } else { 0 };
            self.after(late, Input::Fact(fact.clone()));
        }
    }

    /// The kernel would give a packet for it to this host.
    pub(super) fn is_local(&self, address: IpAddr) -> bool {
        let routed = |route: &IpNet| route.contains(&address) && !self.addresses.contains(&address);
        address.is_loopback() || self.usable(address) || self.routes.iter().any(routed)
    }

    pub(super) fn heard_at(&self, watch: &Watch) -> bool {
        self.listening.contains(&(watch.protocol, watch.port)) && self.is_local(watch.address)
    }

    pub(super) fn asked(&mut self, watch: Watch) {
        let failed = self.faults.reads && self.dice.one_in(4);
        let listening = (!failed).then_some(self.heard_at(&watch));
        if self.faults.late && self.dice.one_in(16) {
            // Sometimes the answer is late, and sometimes it never comes.
            if self.dice.one_in(2) {
                let late = self.dice.below(3000);
                self.after(late, Input::Fact(Fact::Listener { watch, listening }));
            }
        } else {
            self.answers.push_back(Input::Fact(Fact::Listener { watch, listening }));
        }
    }

    pub(super) fn probe_asked(&mut self, probe: ProbeId) {
        let fails = self.is_sick(probe.service, probe.check, probe.address) || self.faults.flaky && self.dice.one_in(3);
        let outcome = if fails {
            match self.dice.below(8) {
                0 => Outcome::NoAddress,
                1 => Outcome::TimedOut { detail: "no answer".into() },
                _ => Outcome::Fail { detail: "HTTP 503".into() },
            }
        } else {
            Outcome::Pass { detail: "ok".into() }
        };
        let mut took = 1 + self.dice.below(20);
        if self.faults.late && self.dice.one_in(8) {
            if self.dice.one_in(2) {
                return;
            }
            took += self.dice.below(4000);
        }
        self.after(took, Input::Probed { probe, outcome, took: Duration::from_millis(took) });
    }

    /// An address may be sick, and a check everywhere.
    pub(super) fn is_sick(&self, service: usize, check: usize, address: IpAddr) -> bool {
        let name = &self.engine.config.services[service].checks[check].name;
        self.sick.contains(&address) || self.sick_checks.contains(name.as_str())
    }

    pub(super) fn manage(&mut self, address: IpAddr, present: bool) {
        if self.faults.reads && self.dice.one_in(4) {
            let detail = "RTM_NEWADDR: no buffer space available".into();
            return self.after(1, Input::ManageFailed { address, detail });
        }
        self.set_address(address, present);
    }
}

pub(super) fn on(interface: u32, address: IpAddr) -> Address {
    Address { interface, address, length: if address.is_ipv4() { 32 } else { 128 }, usable: true }
}
