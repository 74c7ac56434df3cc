//! The daemon against routers that we did not write: FRR and BIRD as top-of-rack routers in network namespaces, nginx
//! as the service, and the kernel's own routes as the proof.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "tests drive real processes, files and clocks; each test binary uses a part of the laboratory"
)]

#[path = "../lab/mod.rs"]
mod lab;

mod attributes;
mod health;
mod leaving;
mod rack;
mod session;

/// Every scenario is one function of the router's kind, and so two tests.
macro_rules! with_each_router {
    ($($module:ident :: $scenario:ident),* $(,)?) => {
        mod frr {
            $(#[test]
            fn $scenario() {
                if crate::lab::ready(&["zebra", "bgpd", "vtysh", "nginx"]) {
                    crate::$module::$scenario(crate::rack::Kind::Frr);
                }
            })*
        }
        mod bird {
            $(#[test]
            fn $scenario() {
                if crate::lab::ready(&["bird", "birdc", "nginx"]) {
                    crate::$module::$scenario(crate::rack::Kind::Bird);
                }
            })*
        }
    };
}

with_each_router!(
    attributes::three_hosts_are_three_next_hops_with_every_attribute,
    attributes::an_internal_session_carries_the_local_preference,
    attributes::an_ipv6_session_carries_ipv4_routes,
    leaving::each_reason_takes_exactly_its_routes_and_recovery_brings_them_back,
    leaving::stop_withdraws_first_and_says_why_it_closes,
    health::when_down_deprefer_keeps_the_route_as_a_last_resort,
    health::a_shared_check_that_fails_only_deprefers,
    health::quorum_any_needs_one_passing_check,
    health::managed_addresses_come_and_go_with_the_daemon,
    health::start_hold_waits_before_the_first_announcement,
    session::a_route_refresh_is_answered_without_a_flap,
    session::the_smaller_hold_time_is_used,
);
