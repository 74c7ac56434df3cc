//! Which prefixes are announced right now, to whom it matters besides the routers: the relay of ICMP errors.
//!
//! Announced is what at least one neighbor has been told. Only changes go out, and only where somebody asked for them.

use std::collections::BTreeSet;

use super::{Engine, Output};
use crate::bgp::rib_out::PrefixId;
use crate::config::Config;

/// Most rows compared in one step.
const ROWS: usize = 4096;

/// What has been said, and what may not be true any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Announced {
    /// By row; empty where nobody asked.
    said: Vec<bool>,
    stirred: BTreeSet<PrefixId>,
    /// The next row of a pass over everything: a session has ended.
    sweep: Option<usize>,
}

impl Announced {
    pub(super) fn new(config: &Config, rows: usize) -> Self {
        let wanted = config.pmtud.as_ref().is_some_and(|pmtud| pmtud.prefixes.is_none());
        Self { said: if wanted { vec![false; rows] } else { vec![] }, ..Self::default() }
    }

    /// Some neighbor was told something else of these.
    pub(super) fn stir(&mut self, ids: &[PrefixId]) {
        if !self.said.is_empty() {
            self.stirred.extend(ids);
        }
    }

    /// A neighbor has forgotten everything.
    pub(super) fn stir_all(&mut self) {
        if !self.said.is_empty() {
            self.sweep = Some(0);
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.stirred.is_empty() && self.sweep.is_none()
    }

    fn next(&mut self) -> Option<PrefixId> {
        if let Some(id) = self.stirred.pop_first() {
            return Some(id);
        }
        let row = self.sweep?;
        self.sweep = (row + 1 < self.said.len()).then_some(row + 1);
        u32::try_from(row).ok().map(PrefixId)
    }
}

impl Engine {
    /// What is left of much goes on at the next call.
    pub(super) fn say_announced(&mut self) {
        for _ in 0..ROWS {
            let Some(id) = self.announced.next() else { break };
            let announced = self.neighbors.iter().any(|neighbor| neighbor.rib_out.is_told(id));
            let Some(prefix) = self.prefixes.get(id.row()) else { continue };
            if let Some(said) = self.announced.said.get_mut(id.row())
                && *said != announced
            {
                *said = announced;
                self.out.push_back(Output::Announced { prefix: *prefix, announced });
            }
        }
    }
}
