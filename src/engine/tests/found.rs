//! What random histories found.

use super::bench::{Bench, ip, probes};
use super::world::{LO, on};
use super::{SECOND, check, service};
use crate::config::Protocol;
use crate::engine::Input;
use crate::plan::{Held, Kept};

#[test]
fn a_new_address_takes_nothing_away_from_what_is_announced_although_it_fails() {
    let mut bench = Bench::new(|config| {
        config.services = vec![service("wide", &["192.0.2.0/24"], &[(Protocol::Tcp, 80)])];
        config.services[0].checks = vec![check("alive")];
        config.services[0].checks[0].fall = 1.try_into().unwrap();
        config.services[0].health.when_down = crate::config::WhenDown::Deprefer;
    });
    let first = probes(&bench.read(&[on(LO, ip("192.0.2.1"))]));
    bench.listener("192.0.2.1", Some(true));
    bench.probed(first[0], false);
    assert_eq!(bench.standing(0), Ok(Some(Kept::Deprefer)));
    let second = probes(&bench.address("192.0.2.2", true));
    assert_eq!(bench.standing(0), Ok(Some(Kept::Deprefer)), "neither its listener nor its verdict is known");
    bench.listener("192.0.2.2", Some(true));
    bench.probed(second[0], false);
    assert_eq!(bench.standing(0), Ok(Some(Kept::Deprefer)), "all fail, all stay");
}

#[test]
fn a_reason_does_not_change_by_being_asked_for_again() {
    let mut bench = Bench::new(|config| {
        config.services = vec![service("wide", &["192.0.2.0/24"], &[(Protocol::Tcp, 80)])];
        config.services[0].checks = vec![check("alive")];
        (config.services[0].checks[0].rise, config.services[0].checks[0].fall) =
            (1.try_into().unwrap(), 1.try_into().unwrap());
    });
    let first = probes(&bench.read(&[on(LO, ip("192.0.2.1"))]));
    bench.listener("192.0.2.1", Some(true));
    bench.probed(first[0], true);
    bench.address("192.0.2.2", true);
    assert_eq!(bench.standing(0), Ok(Some(Kept::Unknown)));
    bench.now = bench.now + 2 * SECOND;
    let due = probes(&bench.input(Input::Tick));
    let old = due.into_iter().find(|probe| probe.address == ip("192.0.2.1")).unwrap();
    bench.probed(old, false);
    assert_eq!(bench.standing(0), Err(Held::Unknown), "the kernel has not been asked about the second");
    assert_eq!(bench.engine.recompute(bench.now), [Err(Held::Unknown)]);
}
