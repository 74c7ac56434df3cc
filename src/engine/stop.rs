//! Leaving: withdraw, let the routers settle, say goodbye with a reason, take managed addresses off, exit.
//!
//! ```text
//!   No --SIGTERM--> Withdrawing --written--> Settling --withdraw-settle--> Closing --all closed--> Done
//! ```
//!
//! Each step is bounded, so the whole takes at most `withdraw-settle` and three seconds. A second signal skips what is
//! only waiting: routers still hear why, and managed addresses still go.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;

use super::tell::Neighbor;
use super::{Engine, Output};
use crate::Time;
use crate::bgp::rib_out::PrefixId;
use crate::bgp::session::WINDOW;
use crate::bgp::wire::{Family, Notification};

/// A peer that does not take a withdraw within a second takes it from the Cease that follows.
const WITHDRAW: Duration = Duration::from_secs(1);

/// For NOTIFICATIONs to be written and addresses to go.
const CLOSE: Duration = Duration::from_secs(2);

/// The same after a second signal: long enough for the kernel, too short for a person to notice.
const HURRY: Duration = Duration::from_millis(200);

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    No,
    Withdrawing { until: Time, had_routes: bool },
    Settling { until: Time },
    Closing { until: Time },
    Done,
}

impl Stop {
    pub(super) const fn is_stopping(&self) -> bool {
        !matches!(self, Self::No)
    }

    pub(super) const fn deadline(&self) -> Time {
        match self {
            Self::Withdrawing { until, .. } | Self::Settling { until } | Self::Closing { until } => *until,
            Self::No | Self::Done => Time::MAX,
        }
    }
}

impl Engine {
    pub(super) fn begin_stop(&mut self, now: Time) {
        match self.stop {
            Stop::No => {}
            Stop::Withdrawing { .. } | Stop::Settling { .. } => {
                self.stop = Stop::Closing { until: now + HURRY };
                self.say_goodbye(now);
                return self.stop_progress(now);
            }
            Stop::Closing { .. } | Stop::Done => return self.stop_now(),
        }
        let had_routes = self.announced_anywhere();
        self.stop = Stop::Withdrawing { until: now + WITHDRAW, had_routes };
        self.dirty.extend(self.ids().collect::<BTreeSet<PrefixId>>());
        self.out.push_back(Output::Stopping);
    }

    pub(super) fn stop_now(&mut self) {
        self.stop = Stop::Done;
        self.out.push_back(Output::Exit);
    }

    fn announced_anywhere(&self) -> bool {
        self.neighbors.iter().any(|neighbor| Family::ALL.iter().any(|family| neighbor.rib_out.announced(*family) > 0))
    }

    /// Every withdraw is with the kernel.
    fn withdrawn(&self) -> bool {
        let silent = |neighbor: &Neighbor| {
            neighbor.negotiated.is_none() || !neighbor.rib_out.pending() && neighbor.session.room() == WINDOW
        };
        !self.announced_anywhere() && self.neighbors.iter().all(silent)
    }

    pub(super) fn stop_progress(&mut self, now: Time) {
        match self.stop {
            Stop::Withdrawing { until, had_routes } if self.withdrawn() || now >= until => {
                let settle = if had_routes { self.config.withdraw_settle } else { Duration::ZERO };
                self.stop = Stop::Settling { until: now + settle };
                self.stop_progress(now);
            }
            Stop::Settling { until } if now >= until => {
                self.stop = Stop::Closing { until: now + CLOSE };
                self.say_goodbye(now);
                self.stop_progress(now);
            }
            Stop::Closing { until } if now >= until || self.is_gone() => self.stop_now(),
            Stop::No | Stop::Withdrawing { .. } | Stop::Settling { .. } | Stop::Closing { .. } | Stop::Done => {}
        }
    }

    fn say_goodbye(&mut self, now: Time) {
        for index in 0..self.neighbors.len() {
            if let Some(neighbor) = self.neighbors.get_mut(index) {
                neighbor.session.stop(now, Notification::administrative_shutdown("anycaster stops"));
            }
            self.drain_session(now, index);
        }
        for address in self.managed() {
            self.out.push_back(Output::Manage { address, present: false });
        }
    }

    fn is_gone(&self) -> bool {
        let off = |address| self.facts.addresses_in(&IpNet::from(address)).next().is_none();
        self.connections.is_empty() && self.managed().into_iter().all(off)
    }
}
