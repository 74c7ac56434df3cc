//! Any octets, and any error that was changed on its way.

use proptest::prelude::*;

use super::*;

/// Some are cut, some are changed in a few places, and some have the right lengths and checksums afterwards.
pub(super) fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let error =
        (any::<bool>(), 0..60usize, any::<bool>(), any::<bool>()).prop_map(|(ipv6, transport, outer, quoted)| {
            let error = if ipv6 { Error::ipv6() } else { Error::ipv4() };
            let options = if ipv6 { vec![255, 0, 0, 0, 0, 0, 0, 0] } else { vec![1; 8] };
            let some = |wanted: bool| if wanted { options.clone() } else { vec![] };
            Error { transport, outer_options: some(outer), quoted_options: some(quoted), ..error }.octets()
        });
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (error, changes, any::<bool>(), any::<Option<prop::sample::Index>>()).prop_map(
        |(mut packet, changes, mend, cut)| {
            if let Some(cut) = cut {
                packet.truncate(20 + cut.index(packet.len()));
            }
            for (place, octet) in changes {
                let place = place.index(packet.len());
                packet[place] = octet;
            }
            if mend && can_be_mended(&packet) {
                packet::mend(&mut packet);
            }
            packet
        },
    )
}

fn can_be_mended(packet: &[u8]) -> bool {
    match packet[0] >> 4 {
        4 => (20..=packet.len()).contains(&(usize::from(packet[0] & 15) * 4)),
        6 => packet.len() >= 40,
        _ => false,
    }
}

proptest! {
    #[test]
    fn any_octets_are_judged(packet in prop::collection::vec(any::<u8>(), 0..200), version in 0..3u8) {
        let mut packet = packet;
        if let Some(first) = packet.first_mut().filter(|_| version > 0) {
            *first = if version == 1 { 0x45 } else { 0x60 };
        }
        let mut relay = relay();
        prop_assert_eq!(relay.examine(at(1000), UPLINK, &packet), None);
        prop_assert_eq!(relay.hear(at(1000), ip(MEMBERS[0]), &packet), None);
        prop_assert_eq!(relay.totals().uplinks[UPLINK].verdicts.iter().flatten().sum::<u64>(), 1);
        prop_assert_eq!(relay.totals().heard.iter().sum::<u64>(), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    /// Whatever is believed is about a packet from the address that it was sent to, of which we announce the prefix, with
    /// checksums that hold.
    #[test]
    fn what_is_believed_is_about_our_packets(packet in damaged()) {
        let mut relay = relay_with(Pmtud { dedup: Duration::ZERO, ..config() }, &[SECRET]);
        let Some(candidate) = relay.examine(at(1000), UPLINK, &packet) else { return Ok(()) };
        let ipv6 = packet[0] >> 4 == 6;
        let destination = if ipv6 { &packet[24..40] } else { &packet[16..20] };
        let service = if ipv6 { ip("2001:db8::53") } else { ip("192.0.2.53") };
        prop_assert_eq!(candidate.flow.service, service);
        match service {
            IpAddr::V4(address) => prop_assert_eq!(destination, address.octets()),
            IpAddr::V6(address) => prop_assert_eq!(destination, address.octets()),
        }
        prop_assert!(candidate.length <= packet.len());
        let mut mended = packet[..candidate.length].to_vec();
        packet::mend(&mut mended);
        prop_assert_eq!(&mended[..], &packet[..candidate.length]);
    }

    /// What one member sends, another takes, and nothing that was changed on the way.
    #[test]
    fn there_and_nowhere_else(ipv6: bool, transport in 8..500usize, number: u64, place: prop::sample::Index, bit in 0..8u8) {
        let packet = Error { transport, ..if ipv6 { Error::ipv6() } else { Error::ipv4() } }.octets();
        let mut config = config();
        let PmtudMode::Relay(ours) = &mut config.mode else { unreachable!() };
        ours.address = ip(MEMBERS[1]);
        let keys = vec![Key::new(SECRET).unwrap()];
        let mut sender = Relay::new(at(0), Settings { config, keys, seed: 3, first_sequence: number });
        let (mut relay, mut datagram) = (relay(), Vec::new());
        sender.datagram(&packet, &mut datagram);
        let mut broken = datagram.clone();
        let place = place.index(broken.len());
        broken[place] ^= 1 << bit;
        prop_assert_eq!(relay.hear(at(1000), ip(MEMBERS[1]), &broken), None);
        let injection = relay.hear(at(1000), ip(MEMBERS[1]), &datagram);
        prop_assert_eq!(injection.map(|injection| injection.packet), Some(&packet[..]));
        prop_assert_eq!(relay.hear(at(1000), ip(MEMBERS[1]), &datagram), None);
        prop_assert_eq!(relay.totals().heard(Heard::Replay), 1);
    }
}
