//! A service as a whole: its state, who needs it, and what is run when it changes.

use std::collections::BTreeSet;

use super::{Engine, Event, EventKind, Hook, Output};
use crate::Time;
use crate::config::Config;
use crate::plan::{Held, Judged};

/// The prefixes of one service, counted by how they stand, so that its state costs the same however many it has.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    announced: usize,
    disabled: usize,
    /// By an operator: drained or stopping.
    asked_for: usize,
    depends_on: usize,
    starting: usize,
    down: usize,
    /// Beside the others: those that another service may rely on.
    serving: usize,
    /// Services that need this one.
    needed_by: Vec<usize>,
    /// What hooks were told last; `None` until there is something to say.
    phase: Option<Hook>,
}

/// What became of the last run of a hook.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct HookRuns {
    /// When it ended, and how; `None` before the first.
    pub(super) last: Option<(Time, Result<String, String>)>,
    pub(super) failures: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Up,
    Partial,
    Starting,
    Down,
    Drained,
    Disabled,
}

impl State {
    /// The word in JSON and in a program's environment.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Partial => "partial",
            Self::Starting => "starting",
            Self::Down => "down",
            Self::Drained => "drained",
            Self::Disabled => "disabled",
        }
    }
}

impl Tally {
    /// Every prefix begins as nothing is known of it.
    pub(super) fn all(config: &Config) -> Vec<Self> {
        let mut tallies: Vec<Self> = (config.services.iter())
            .map(|service| Self { starting: service.prefixes.len(), ..Self::default() })
            .collect();
        for (index, service) in config.services.iter().enumerate() {
            for needed in &service.depends_on {
                if let Some(tally) = tallies.get_mut(*needed) {
                    tally.needed_by.push(index);
                }
            }
        }
        tallies
    }

    pub(super) const fn serves(&self) -> bool {
        self.serving > 0
    }

    fn cell(&mut self, judged: &Judged) -> &mut usize {
        match judged.result {
            Ok(_) => &mut self.announced,
            Err(Held::Disabled) => &mut self.disabled,
            Err(Held::Drained | Held::Stopping) => &mut self.asked_for,
            Err(Held::DependsOn) => &mut self.depends_on,
            Err(Held::Unknown | Held::Unproven | Held::StartHold) => &mut self.starting,
            Err(Held::NoAddress | Held::NotListening | Held::Unhealthy) => &mut self.down,
        }
    }

    fn recount(&mut self, before: &Judged, after: &Judged) {
        let cell = self.cell(before);
        *cell = cell.saturating_sub(1);
        *self.cell(after) += 1;
        self.serving = (self.serving + usize::from(after.serves)).saturating_sub(usize::from(before.serves));
    }
}

impl Engine {
    /// One prefix was judged anew. Those who need its service are judged again when the service comes or goes.
    pub(super) fn count(&mut self, service: usize, before: &Judged, after: &Judged) {
        let Some(tally) = self.tallies.get_mut(service) else { return };
        let served = tally.serves();
        tally.recount(before, after);
        if tally.serves() != served {
            for dependent in tally.needed_by.clone() {
                self.judge_service(dependent);
            }
        }
        if before.result != after.result {
            self.stir(service);
        }
    }

    /// With those that wait for it: their state may change although none of their prefixes does.
    fn stir(&mut self, service: usize) {
        let mut open = vec![service];
        while let Some(service) = open.pop() {
            if self.stirred.insert(service) {
                open.extend(self.tallies.get(service).into_iter().flat_map(|tally| &tally.needed_by));
            }
        }
    }

    /// The first service that this one needs and that is down. `serves`: by service.
    pub(super) fn missing(&self, service: usize, serves: impl Fn(usize) -> bool) -> Option<&str> {
        let needs = &self.config.services.get(service)?.depends_on;
        let down = needs.iter().find(|needed| !serves(**needed))?;
        self.config.services.get(*down).map(|service| service.name.as_str())
    }

    pub(super) fn serves(&self, service: usize) -> bool {
        self.tallies.get(service).is_some_and(Tally::serves)
    }

    pub(super) fn service_state(&self, service: usize) -> State {
        let Some(Tally { announced, disabled, asked_for, depends_on, starting, down, .. }) = self.tallies.get(service)
        else {
            return State::Down;
        };
        let held = disabled + asked_for + depends_on + starting + down;
        match (*announced, held) {
            (1.., 0) => State::Up,
            (1.., _) => State::Partial,
            (0, held) if held == *disabled => State::Disabled,
            (0, held) if held == disabled + asked_for => State::Drained,
            (0, held) if held == depends_on + starting && self.only_waits(service) => State::Starting,
            (0, _) => State::Down,
        }
    }

    /// What it needs is not down, but finding out, and so is what that needs.
    fn only_waits(&self, service: usize) -> bool {
        let mut seen = BTreeSet::from([service]);
        let mut open = vec![service];
        while let Some(service) = open.pop() {
            let Some(settings) = self.config.services.get(service) else { return false };
            for needed in settings.depends_on.iter().filter(|needed| !self.serves(**needed)) {
                let Some(Tally { disabled: 0, down: 0, .. }) = self.tallies.get(*needed) else { return false };
                if seen.insert(*needed) {
                    open.push(*needed);
                }
            }
        }
        true
    }

    /// After the routers were told, so that no program can be in the way: hooks of what came up, went down or was drained
    /// since the last time. What only flickered in between runs none.
    pub(super) fn run_hooks(&mut self) {
        if !self.is_settled() || self.neighbors.iter().any(|neighbor| neighbor.unfinished) || self.stop.is_stopping() {
            return;
        }
        while let Some(service) = self.stirred.pop_first() {
            let state = self.service_state(service);
            let Some(tally) = self.tallies.get_mut(service) else { continue };
            let phase = match (state, tally.phase) {
                (State::Up | State::Partial, _) => Some(Hook::Up),
                (State::Drained, _) => Some(Hook::Drain),
                // At the start: a part of it is not known yet.
                (State::Down, None) if tally.starting > 0 => None,
                // What was announced and starts anew was withdrawn.
                (State::Down, _) | (State::Starting, Some(Hook::Up)) => Some(Hook::Down),
                (State::Disabled | State::Starting, before) => before,
            };
            let Some(hook) = phase.filter(|_| phase != tally.phase) else { continue };
            tally.phase = phase;
            let hooks = self.config.services.get(service).map(|service| &service.health.hooks);
            if hooks.is_some_and(|hooks| hook.command(hooks).is_some()) {
                self.out.push_back(Output::Hook { service, hook });
            }
        }
    }

    pub(super) fn hook_ended(&mut self, now: Time, service: usize, hook: Hook, result: Result<String, String>) {
        let Some(settings) = self.config.services.get(service) else { return };
        let runs = self.hook_runs.entry((service, hook)).or_default();
        runs.failures += u64::from(result.is_err());
        runs.last = Some((now, result.clone()));
        let (to, detail) = match result {
            Ok(detail) => ("ok", detail),
            Err(detail) => ("failed", detail),
        };
        let event = Event {
            kind: EventKind::Hook,
            service: Some(settings.name.clone()),
            to: to.into(),
            reason: hook.name().into(),
            detail,
            ..Event::default()
        };
        self.event(event);
    }
}
