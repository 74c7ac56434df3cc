//! Floods that are aimed: at one client, or at one router.

use std::net::Ipv4Addr;

use super::*;
use crate::dice::Dice;

/// What the attacker repeats of a real error, and what it makes up.
#[derive(Clone, Copy, Debug)]
enum Aim {
    /// Knows the client's address: another port each time.
    Client,
    /// Knows the router: another client each time.
    Router,
}

/// When the error of one connection that hangs was relayed, after its first packets; it asks again as TCP does.
fn waited(aim: Aim, a_second: u64) -> Option<u64> {
    let mut relay = relay();
    let mut dice = Dice::new(3);
    let real = Error { router: ip("10.1.1.1"), client: ip("198.51.100.7"), ..Error::ipv4() };
    let mut asks: Vec<u64> = [0, 200, 600, 1400, 3000, 6200, 12_600].map(|after| 3000 + after).to_vec();
    asks.extend((1..10).map(|more| 3000 + more));
    let passed = |relay: &mut Relay, now: u64, error: &Error| {
        capture(relay, at(now), &error.octets(), Owner::Elsewhere) == Verdict::Relayed
    };
    for now in 0..20_000 {
        // Spread over each second.
        for _ in (now * a_second / 1000)..((now + 1) * a_second / 1000) {
            let random = dice.roll();
            let (client, ports) = match aim {
                Aim::Client => (real.client, ((random >> 8) as u16, random as u16)),
                Aim::Router => (
                    IpAddr::from(Ipv4Addr::from(0x1000_0000 | (random >> 16) as u32 & 0x0FFF_FFFF)),
                    (443, random as u16),
                ),
            };
            let forged = Error { client, ports, ..real.clone() };
            passed(&mut relay, now, &forged);
        }
        if asks.contains(&now) && passed(&mut relay, now, &real) {
            return Some(now - 3000);
        }
    }
    None
}

/// Before the halves were kept for what repeats, ten errors a second shut a client out for ever.
#[test]
fn who_knows_a_client_or_a_router_shuts_nobody_out() {
    for (aim, floods) in [(Aim::Client, [10, 100, 1000]), (Aim::Router, [100, 300, 1000])] {
        for a_second in floods {
            let waited = waited(aim, a_second);
            assert!(waited.is_some_and(|waited| waited <= 600), "{aim:?} {a_second}/s: {waited:?}");
        }
    }
}
