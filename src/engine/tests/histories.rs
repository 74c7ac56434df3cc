//! Random histories, the proof that a failing one is made short, and those that failed once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::draw;
use super::history::{Action, Does, Start, Step};
use super::shrink::{failure, shrink};
use super::world::World;

/// `ANYCASTER_SEED` names the first, and alone the only one; `ANYCASTER_HISTORIES` how many follow.
#[test]
#[allow(clippy::disallowed_methods, reason = "the long tier asks for more histories")]
fn every_history_ends_with_the_plan_at_every_router() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seed, count) = (number("ANYCASTER_SEED"), number("ANYCASTER_HISTORIES"));
    let first = seed.unwrap_or(0);
    let count = count.unwrap_or(if seed.is_some() { 1 } else { 100 });
    let next = AtomicU64::new(first);
    let failed: Mutex<Option<u64>> = Mutex::new(None);
    let work = || {
        while let seed = next.fetch_add(1, Ordering::Relaxed)
            && seed < first + count
        {
            let start = Start::of(seed);
            if let Some(why) = failure(&start, &draw::steps(&start), None) {
                next.store(first + count, Ordering::Relaxed);
                failed.lock().unwrap().get_or_insert(seed);
                eprintln!("history {seed}: {why}");
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let failed = *failed.lock().unwrap();
    if let Some(seed) = failed {
        let start = Start::of(seed);
        let why = failure(&start, &draw::steps(&start), None).expect("a seed is a whole history");
        panic!("{}", shrink(seed, None).expect("it failed twice").show(seed, &why));
    }
}

#[test]
fn a_failing_history_is_shrunk_to_the_steps_that_matter() {
    fn planted(_: &World, steps: &[Step]) {
        let any = |kind: fn(&Action) -> bool| steps.iter().any(|Step(_, action, _)| kind(action));
        let both = any(|action| matches!(action, Action::DisableFile(_)))
            && any(|action| matches!(action, Action::Router(_, Does::Says(_))));
        assert!(!both, "planted");
    }
    let seeds = (0..).filter(|seed| {
        let start = Start::of(*seed);
        failure(&start, &draw::steps(&start), Some(planted)).is_some()
    });
    for seed in seeds.take(3) {
        let shrunk = shrink(seed, Some(planted)).unwrap();
        let kinds: Vec<Action> = shrunk.steps.iter().map(|Step(_, action, _)| *action).collect();
        let two = matches!(
            kinds[..],
            [Action::DisableFile(_), Action::Router(_, Does::Says(_))]
                | [Action::Router(_, Does::Says(_)), Action::DisableFile(_)]
        );
        assert!(two, "{}", shrunk.show(seed, "planted"));
        assert!(shrunk.why.contains("planted"));
        assert_eq!((shrunk.start.faults, shrunk.start.neighbors, shrunk.start.services), (0, 0, 0));
    }
}
