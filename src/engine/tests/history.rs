//! A history as data: where it starts, and what happens step by step. Debug output of both is Rust that can be pasted
//! into a test.

use std::time::Duration;

use super::draw;
use super::host::{ADDRESSES, LISTENERS, NAMES, ROUTES, SVC};
use super::router::{Door, Shuts};
use super::talk::{self, Bad, WrongOpen};
use super::world::{Faults, LO, World};
use crate::Time;
use crate::bgp::wire::Family;
use crate::dice::Dice;
use crate::engine::Input;

/// Where a history starts. All that can be left out is a bit: what remains is drawn as before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Start {
    pub(super) seed: u64,
    /// Of [`draw::config`]: which may be there.
    pub(super) neighbors: u8,
    pub(super) services: u8,
    pub(super) faults: u8,
    /// Nanoseconds on the clock.
    pub(super) clock: u64,
}

/// Its number, which feeds the chance inside of it, so that it stays what it is where others are taken out; what
/// happens; and how much time then passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step(pub(super) u32, pub(super) Action, pub(super) Wait);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Nothing,
    Address(usize, bool),
    /// To the services' interface, or back.
    Move(usize, bool),
    Tentative(usize, bool),
    Route(usize, bool),
    /// Number above lo and eth0, and a name or none.
    Interface(u32, usize),
    Listener(usize, bool),
    /// Gone and back, so many milliseconds later.
    Gap(usize, u64),
    Sick(usize, bool),
    SickCheck(usize, bool),
    DisableFile(bool),
    Read,
    /// All connections at once.
    Cut,
    /// A router, by its number.
    Router(usize, Does),
    /// SIGTERM or a crash, then another configuration.
    Restart(u64, bool),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Does {
    Behaves,
    Door(Door),
    Shuts(Shuts),
    Opens(WrongOpen),
    Resets,
    Stalls,
    FallsSilent,
    Dawdles,
    Refreshes {
        ipv6: bool,
        subtype: u8,
    },
    StrangeRefresh,
    /// So often that the answers fill the window where it does not read them.
    RefreshStorm(u16),
    Notifies(u8, u8),
    Says(Bad),
    Keepalives(u8),
    Routes(u8),
    EndOfRib,
    Halves,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    Millis(u64),
    /// Until so many nanoseconds after the engine's next deadline, which then is due and not run.
    Deadline(i64),
    /// The process does not run for so many seconds.
    Stall(u64),
}

/// A property that only a test has.
pub(super) type Planted = fn(&World, &[Step]);

impl Start {
    pub(super) const fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x5EED);
        // Half of all histories have no fault but what their steps do.
        let faults = if dice.below(2) == 0 { 0 } else { dice.below(64) as u8 };
        let clock = match dice.below(4) {
            0 => 0,
            1 => 1,
            2 => u64::MAX / 2,
            _ => 1_000_000_000,
        };
        Self { seed, neighbors: 15, services: 31, faults, clock }
    }

    pub(super) fn faults(&self) -> Faults {
        let has = |bit: u8| self.faults & bit > 0;
        Faults { reads: has(1), network: has(2), slow_writes: has(4), late: has(8), disorder: has(16), flaky: has(32) }
    }
}

/// Runs it, and panics where a property does not hold.
pub(super) fn run(start: &Start, steps: &[Step], planted: Option<Planted>) {
    let (config, slots) = draw::config(start, start.seed);
    let mut world = World::with(Time::from_nanos(start.clock), config, draw::routers(start), slots, start.seed);
    draw::host(start, &mut world);
    world.faults = start.faults();
    world.boot();
    for (number, Step(salt, action, wait)) in steps.iter().enumerate() {
        world.dice = Dice::new(draw::mix(start.seed, u64::from(*salt)));
        act(&mut world, start, *action);
        match wait {
            Wait::Millis(millis) => world.run(Duration::from_millis(*millis)),
            Wait::Deadline(nanoseconds) => world.run_to_deadline(*nanoseconds),
            Wait::Stall(seconds) => world.stall(Duration::from_secs(*seconds)),
        }
        if let Some(planted) = planted {
            planted(&world, &steps[..=number]);
        }
    }
    end(&mut world, start.seed.is_multiple_of(4));
}

/// All faults end; then everyone must agree, and nothing more be said.
fn end(world: &mut World, stop: bool) {
    world.faults = Faults::default();
    world.run(Duration::from_millis(50));
    for router in 0..world.routers.len() {
        act_router(world, router, Does::Behaves);
    }
    for address in world.tentative.clone() {
        world.set_tentative(address, false);
    }
    // Long enough for the longest back-off, and two reads that agree.
    for _ in 0..3 {
        world.boot();
        world.run(Duration::from_secs(11));
    }
    assert!(world.connections.values().all(|pipe| pipe.queue.is_empty()));
    world.assert_routers_have_the_plan();
    world.assert_hooks_have_followed();
    let updates: Vec<u64> = world.routers.iter().map(|router| router.updates).collect();
    let sessions: Vec<u64> = world.routers.iter().map(|router| router.sessions).collect();
    world.run(Duration::from_secs(10));
    let after: Vec<u64> = world.routers.iter().map(|router| router.updates).collect();
    assert_eq!(after, updates, "quiet is quiet");
    assert_eq!(world.routers.iter().map(|router| router.sessions).collect::<Vec<_>>(), sessions, "no fault, no flap");
    if stop {
        leave(world);
        assert!(world.routers.iter().all(|router| router.table.is_empty()));
    }
}

/// SIGTERM ends in Exit within its bound, whatever the routers do.
fn leave(world: &mut World) {
    world.input(Input::Stop);
    let bound = world.engine.config.withdraw_settle + Duration::from_secs(3) + Duration::from_millis(100);
    let deaf = world.routers.iter().any(|router| router.silent || router.stalls);
    let quick = !deaf && !world.faults.slow_writes;
    world.run(bound);
    assert!(world.exited, "no Exit within {bound:?}");
    assert_eq!(world.stops, 1);
    if quick && !world.faults.reads && !world.faults.disorder {
        let managed = |address| world.addresses.contains(&address);
        assert!(!world.engine.managed().into_iter().any(managed), "managed addresses are left behind");
    }
}

fn act(world: &mut World, start: &Start, action: Action) {
    let address = |at: usize| ADDRESSES[at].parse().unwrap();
    match action {
        Action::Nothing => {}
        Action::Address(at, present) => world.set_address(address(at), present),
        Action::Move(at, there) => world.move_address(address(at), if there { SVC } else { LO }),
        Action::Tentative(at, is) => world.set_tentative(address(at), is),
        Action::Route(at, present) => world.set_route(ROUTES[at].parse().unwrap(), present),
        Action::Interface(index, name) => world.set_interface(index, NAMES[name]),
        Action::Listener(at, present) => world.set_listening(LISTENERS[at].0, LISTENERS[at].1, present),
        Action::Gap(at, millis) => {
            let (protocol, port) = LISTENERS[at];
            let there = world.listening.contains(&(protocol, port));
            world.set_listening(protocol, port, false);
            world.run(Duration::from_millis(millis));
            world.set_listening(protocol, port, there);
        }
        Action::Sick(at, true) => _ = world.sick.insert(address(at)),
        Action::Sick(at, false) => _ = world.sick.remove(&address(at)),
        Action::SickCheck(at, true) => _ = world.sick_checks.insert(draw::CHECKS[at]),
        Action::SickCheck(at, false) => _ = world.sick_checks.remove(draw::CHECKS[at]),
        Action::DisableFile(exists) => {
            world.disable_file = exists;
            world.look_at_disable_file();
        }
        Action::Read => world.read_all(),
        Action::Cut => world.cut_connections(),
        Action::Router(router, does) => act_router(world, router, does),
        Action::Restart(seed, gracefully) => {
            if gracefully {
                leave(world);
            }
            let (config, slots) = draw::config(start, seed);
            world.restart(config, slots, seed);
        }
    }
}

fn act_router(world: &mut World, number: usize, does: Does) {
    let now = world.now;
    let router = &mut world.routers[number];
    match does {
        Does::Behaves => {
            router.confirm();
            router.behave();
        }
        Does::Door(door) => router.door = door,
        Does::Shuts(shuts) => router.shuts = shuts,
        Does::Opens(wrong) => router.next_open = wrong,
        Does::Resets => world.reset(number),
        Does::Stalls => router.stalls = true,
        Does::FallsSilent => router.silent = true,
        Does::Dawdles => router.dawdles = true,
        Does::Refreshes { ipv6, subtype } => {
            router.say(talk::refresh(if ipv6 { Family::Ipv6 } else { Family::Ipv4 }, subtype));
        }
        Does::StrangeRefresh => router.say(talk::strange_refresh()),
        Does::RefreshStorm(times) => (0..times).for_each(|_| router.say(talk::refresh(Family::Ipv4, 0))),
        Does::Notifies(code, subcode) => router.say(talk::notification(code, subcode)),
        Does::Says(bad) => {
            let say = talk::bad(router, bad);
            router.say(say);
        }
        Does::Keepalives(times) => (0..times).for_each(|_| router.say(talk::keepalive())),
        Does::Routes(ipv6) => {
            let say = talk::routes(router, ipv6);
            router.say(say);
        }
        Does::EndOfRib => router.say(talk::end_of_rib()),
        Does::Halves => talk::halved(now).into_iter().for_each(|say| router.say(say)),
    }
}
