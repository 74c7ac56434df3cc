//! What we say of ourselves, and what is counted of what the peer says.

use super::*;
use crate::bgp::wire::{Codec, Message};

/// RFC 5492: everything we can, and nothing else.
#[test]
fn our_open_whole() {
    for (extended_next_hop, families) in [
        (false, Families { ipv4: true, ipv6: true }),
        (true, Families { ipv4: true, ipv6: false }),
        (true, Families { ipv4: false, ipv6: true }),
    ] {
        let named = [(Family::Ipv4, families.ipv4), (Family::Ipv6, families.ipv6)];
        let capabilities = Capabilities {
            families: named.into_iter().filter_map(|(family, spoken)| spoken.then_some(family)).collect(),
            multiprotocol: true,
            route_refresh: true,
            // RFC 8950 is about IPv4 routes.
            extended_next_hop: extended_next_hop && families.ipv4,
            extended_message: true,
            four_octet_asn: Some(65010),
            enhanced_route_refresh: true,
            unknown: vec![],
        };
        let mut session = Session::new(Settings { families, extended_next_hop, ..settings() });
        session.start(at(0), US);
        session.connected(at(0), FIRST, local());
        let sent = drain(&mut session).into_iter().find_map(|action| match action {
            Action::Send { bytes, .. } => Some(bytes),
            _ => None,
        });
        let mut bytes = BytesMut::from(&sent.unwrap()[..]);
        let frame = wire::frame(&mut bytes, wire::MAX_MESSAGE).unwrap().unwrap();
        let codec = Codec { four_octet_asn: true, extended_message: false, extended_next_hop: false, internal: false };
        let open = Open { version: 4, asn: 65010, hold_time: 9, id: US, capabilities };
        assert_eq!(wire::decode(&frame, &codec), Ok(Message::Open(open)));
    }
}

#[test]
fn what_a_peer_announces_and_withdraws_is_counted_by_family() {
    let mut session = led_to(settings(), At::Established);
    let (three, two) = (
        ["203.0.113.1/32", "203.0.113.2/32", "203.0.113.0/24"].map(|text| text.parse().unwrap()),
        ["2001:db8::1/128", "2001:db8::/32"].map(|text| text.parse().unwrap()),
    );
    let mut bytes = BytesMut::new();
    wire::withdraw(&three, false, &mut bytes);
    wire::withdraw(&two, true, &mut bytes);
    drain(&mut session);
    session.received(at(1), FIRST, &bytes);
    let counts: Vec<(Count, Count)> = drain(&mut session)
        .into_iter()
        .filter_map(|action| match action {
            Action::Received(Received::Update { announced, withdrawn, .. }) => Some((announced, withdrawn)),
            _ => None,
        })
        .collect();
    let none = Count::default();
    assert_eq!(counts, [(none, Count { ipv4: 3, ipv6: 0 }), (none, Count { ipv4: 0, ipv6: 2 })]);
}
