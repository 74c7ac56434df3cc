//! An engine driven by hand, one input after the other.

use std::net::IpAddr;
use std::time::Duration;

use super::world::{ETH0, LO, on};
use super::{config, service};
use crate::Time;
use crate::config::{Config, Protocol};
use crate::engine::{Engine, Input, Outcome, Output, ProbeId};
use crate::facts::{Address, Fact, Interface, Snapshot, Watch};
use crate::plan::{Held, Kept};

pub(super) fn at(millis: u64) -> Time {
    Time::from_nanos(1_000_000_000) + Duration::from_millis(millis)
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An engine with one service, driven by hand.
pub(super) struct Bench {
    pub(super) engine: Engine,
    pub(super) now: Time,
}

impl Bench {
    pub(super) fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        config.services = vec![service("one", &["192.0.2.1/32"], &[])];
        change(&mut config);
        Self { engine: Engine::new(at(0), config, 7), now: at(0) }
    }

    pub(super) fn fact(&mut self, fact: Fact) -> Vec<Output> {
        self.input(Input::Fact(fact))
    }

    pub(super) fn input(&mut self, input: Input) -> Vec<Output> {
        self.engine.handle(self.now, input);
        std::iter::from_fn(|| self.engine.poll()).collect()
    }

    pub(super) fn read(&mut self, addresses: &[Address]) -> Vec<Output> {
        let interface = |(index, name): (u32, &str)| Interface { index, name: name.into(), loopback: index == LO };
        let mut all = vec![on(ETH0, ip("10.0.0.10"))];
        all.extend(addresses);
        let interfaces = [(LO, "lo"), (ETH0, "eth0")].map(interface).into();
        self.fact(Fact::Snapshot(Snapshot { interfaces, addresses: all, routes: vec![] }))
    }

    pub(super) fn address(&mut self, text: &str, present: bool) -> Vec<Output> {
        self.fact(Fact::Address { address: on(LO, ip(text)), present })
    }

    pub(super) fn listener(&mut self, address: &str, listening: Option<bool>) -> Vec<Output> {
        self.fact(Fact::Listener { watch: watch(address), listening })
    }

    pub(super) fn probed(&mut self, probe: ProbeId, pass: bool) -> Vec<Output> {
        let detail = "said so".to_owned();
        let outcome = if pass { Outcome::Pass { detail } } else { Outcome::Fail { detail } };
        self.input(Input::Probed { probe, outcome, took: Duration::from_millis(1) })
    }

    /// Lets every check that starts pass until `span` is over.
    pub(super) fn pass_all(&mut self, mut outputs: Vec<Output>, span: Duration) {
        let end = self.now + span;
        loop {
            for probe in probes(&outputs) {
                outputs.extend(self.probed(probe, true));
            }
            let next = self.engine.deadline();
            if next > end {
                self.now = end;
                return;
            }
            self.now = next.max(self.now);
            outputs = self.input(Input::Tick);
        }
    }

    pub(super) fn standing(&self, row: usize) -> Result<Option<Kept>, Held> {
        self.engine.rows[row].judged.result
    }
}

pub(super) fn watch(address: &str) -> Watch {
    Watch { protocol: Protocol::Tcp, address: ip(address), port: 80 }
}

pub(super) fn probes(outputs: &[Output]) -> Vec<ProbeId> {
    let probe = |output: &Output| if let Output::Probe { probe } = output { Some(*probe) } else { None };
    outputs.iter().filter_map(probe).collect()
}

pub(super) fn wanted(bench: &Bench) -> Vec<bool> {
    bench.engine.groups[0].wanted.iter().map(Option::is_some).collect()
}
