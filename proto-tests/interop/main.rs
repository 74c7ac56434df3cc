//! The daemon against routers that we did not write: FRR, BIRD, GoBGP and OpenBGPD as top-of-rack routers in network
//! namespaces, nginx as the service, and as the proof the kernel's own routes, or the RIB of those that install none.

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
mod tor;

/// Every scenario is one function of the router's kind, and so four tests.
macro_rules! with_each_router {
    ($($module:ident :: $scenario:ident),* $(,)?) => {
        with_router!(frr Frr $($module :: $scenario),*);
        with_router!(bird Bird $($module :: $scenario),*);
        with_router!(gobgp GoBgp $($module :: $scenario),*);
        with_router!(openbgpd OpenBgpd $($module :: $scenario),*);
    };
}
macro_rules! with_router {
    ($name:ident $kind:ident $($module:ident :: $scenario:ident),*) => {
        mod $name {
            $(#[test]
            fn $scenario() {
                let kind = crate::rack::Kind::$kind;
                if crate::lab::ready(kind.needs()) {
                    crate::$module::$scenario(kind);
                }
            })*
        }
    };
}

with_each_router!(
    attributes::three_hosts_are_three_next_hops_with_every_attribute,
    attributes::an_internal_session_carries_the_local_preference,
    attributes::an_ipv6_session_carries_ipv4_routes,
    attributes::a_link_without_ipv4_carries_ipv4_routes_where_the_router_can,
    attributes::a_non_transitive_bandwidth_is_what_the_router_makes_of_it,
    leaving::each_reason_takes_exactly_its_routes_and_recovery_brings_them_back,
    leaving::stop_withdraws_first_and_says_why_it_closes,
    health::when_down_deprefer_keeps_the_route_as_a_last_resort,
    health::a_shared_check_that_fails_only_deprefers,
    health::deprefer_on_an_internal_session_is_local_preference_0,
    health::quorum_any_needs_one_passing_check,
    health::managed_addresses_come_and_go_with_the_daemon,
    health::start_hold_waits_before_the_first_announcement,
    session::a_route_refresh_is_answered_without_a_flap,
    session::both_sides_say_the_same_of_what_was_negotiated,
    session::the_smaller_hold_time_is_used,
    tor::two_servers_are_one_weighted_route_and_nothing_else_gets_in_or_out,
    tor::graceful_shutdown_moves_the_traffic_and_the_last_resort_stays,
    tor::too_many_prefixes_end_this_session_only,
);
