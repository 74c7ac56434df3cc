//! Makes a failing history short: steps are taken out, then waits, faults, neighbors and services, as long as it still
//! fails.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use super::draw;
use super::history::{Action, Planted, Start, Step, Wait, run};

/// A history takes some ten milliseconds: shrinking is over in seconds, and in tens of seconds without optimization.
const RUNS: u32 = 1500;

/// A history that fails, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failure {
    pub(super) start: Start,
    pub(super) steps: Vec<Step>,
    pub(super) why: String,
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static WHY: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What it panics with, if it does; nothing is printed.
pub(super) fn failure(start: &Start, steps: &[Step], planted: Option<Planted>) -> Option<String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = take_hook();
        set_hook(Box::new(move |info| {
            if QUIET.get() {
                WHY.set(info.to_string());
            } else {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| run(start, steps, planted)));
    QUIET.set(false);
    result.is_err().then(|| WHY.take())
}

struct Shrinker {
    best: Failure,
    planted: Option<Planted>,
    runs: u32,
}

impl Shrinker {
    /// Keeps it where it fails as well: any failure will do, the first one found is seldom the simplest.
    fn take(&mut self, start: Start, steps: Vec<Step>) -> bool {
        if self.runs >= RUNS || (start, &steps) == (self.best.start, &self.best.steps) {
            return false;
        }
        self.runs += 1;
        let why = failure(&start, &steps, self.planted);
        why.map(|why| self.best = Failure { start, steps, why }).is_some()
    }

    fn fewer_steps(&mut self) {
        let mut size = self.best.steps.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < self.best.steps.len() {
                let mut steps = self.best.steps.clone();
                steps.drain(at..steps.len().min(at + size));
                if !self.take(self.best.start, steps) {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    fn simpler_start(&mut self) {
        for bit in (0..6).map(|bit| 1_u8 << bit) {
            let start = self.best.start;
            let without = [
                Start { faults: start.faults & !bit, ..start },
                Start { neighbors: start.neighbors & !bit, ..start },
                Start { services: start.services & !bit, ..start },
            ];
            for start in without {
                // One after the other, each on top of what could be left out before.
                let best = self.best.start;
                let faults = best.faults & start.faults;
                let (neighbors, services) = (best.neighbors & start.neighbors, best.services & start.services);
                self.take(Start { faults, neighbors, services, ..best }, self.best.steps.clone());
            }
        }
        let start = Start { clock: 1_000_000_000, ..self.best.start };
        self.take(start, self.best.steps.clone());
    }

    fn simpler_steps(&mut self) {
        for at in 0..self.best.steps.len() {
            let Step(number, action, wait) = self.best.steps[at];
            let mut waits = vec![Wait::Millis(0)];
            match wait {
                Wait::Millis(millis) => waits.extend([Wait::Millis(millis / 10), Wait::Millis(millis / 2)]),
                Wait::Stall(_) | Wait::Deadline(_) => waits.extend([1000, 100].map(Wait::Millis)),
            }
            let mut others = vec![Step(number, Action::Nothing, wait)];
            others.extend(waits.into_iter().map(|wait| Step(number, action, wait)));
            for step in others {
                let mut steps = self.best.steps.clone();
                steps[at] = step;
                if self.take(self.best.start, steps) {
                    break;
                }
            }
        }
    }
}

/// `None` where it does not fail.
pub(super) fn shrink(seed: u64, planted: Option<Planted>) -> Option<Failure> {
    let start = Start::of(seed);
    let steps = draw::steps(&start);
    let why = failure(&start, &steps, planted)?;
    let mut shrinker = Shrinker { best: Failure { start, steps, why }, planted, runs: 0 };
    loop {
        let before = shrinker.best.clone();
        shrinker.fewer_steps();
        shrinker.simpler_start();
        shrinker.simpler_steps();
        let same = (shrinker.best.start, &shrinker.best.steps) == (before.start, &before.steps);
        if same || shrinker.runs >= RUNS {
            return Some(shrinker.best);
        }
    }
}

impl Failure {
    /// For people, and to be pasted into a test.
    pub(super) fn show(&self, seed: u64, first: &str) -> String {
        let steps: String = self.steps.iter().map(|step| format!("        {step:?},\n")).collect();
        let Self { start, why, .. } = self;
        format!(
            "history {seed} violates: {first}\n\
             shrunk to {} steps: {why}\n\n    \
             history::run(\n    &{start:?},\n    &[\n{steps}    ],\n    None);\n\n\
             again: ANYCASTER_SEED={seed} cargo test --lib every_history\n",
            self.steps.len(),
        )
    }
}
