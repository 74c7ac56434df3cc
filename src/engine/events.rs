//! The last events, numbered, for `/events`.

use std::collections::VecDeque;

use super::{Engine, Event, Output};
use crate::{Time, status};

/// About a megabyte. A daemon that is well says a few lines a day; after a bad hour this is still its whole story, and
/// what is older is in the log.
const KEPT: usize = 2048;

#[derive(Clone, Debug)]
pub(super) struct Events {
    /// When the input that is handled came.
    pub(super) now: Time,
    last: u64,
    kept: VecDeque<Numbered>,
}

#[derive(Clone, Debug)]
pub(super) struct Numbered {
    pub(super) at: Time,
    id: u64,
    event: Event,
}

impl Events {
    pub(super) const fn new(now: Time) -> Self {
        Self { now, last: 0, kept: VecDeque::new() }
    }

    /// Oldest first. A number that was not given yet is from before a restart: then all.
    pub(super) fn after(&self, id: Option<u64>) -> impl Iterator<Item = &Numbered> {
        let id = id.filter(|id| *id <= self.last).unwrap_or_default();
        let first = self.kept.partition_point(|kept| kept.id <= id);
        self.kept.range(first..)
    }

    fn push(&mut self, event: Event) {
        self.last += 1;
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Numbered { at: self.now, id: self.last, event });
    }
}

impl Numbered {
    /// `at`: as wall time.
    pub(super) fn view(&self, at: String) -> status::Event {
        let Event { kind, service, prefix, neighbor, from, to, reason, detail } = self.event.clone();
        status::Event { id: self.id, at, kind: kind.name().into(), service, prefix, neighbor, from, to, reason, detail }
    }
}

impl Engine {
    pub(super) fn event(&mut self, event: Event) {
        self.events.push(event.clone());
        self.out.push_back(Output::Event(event));
    }
}
