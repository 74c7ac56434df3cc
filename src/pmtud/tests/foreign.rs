//! A second opinion: etherparse writes errors that we read, and reads those that we believe.

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{
    Icmpv4Header, Icmpv4Type, Icmpv6Type, IpFragOffset, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header,
    Ipv6Extensions, Ipv6FlowLabel, Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, Ipv6RoutingExtensions, LaxIpSlice,
    PacketBuilder, SlicedPacket, TransportSlice,
};
use proptest::prelude::*;

use super::*;

fn ipv4(source: [u8; 4], destination: [u8; 4], options: usize) -> IpHeaders {
    let mut header = Ipv4Header { dont_fragment: true, source, destination, ..Ipv4Header::default() };
    header.options = (&[1u8; 40][..options * 4]).try_into().unwrap();
    IpHeaders::Ipv4(header, Ipv4Extensions::default())
}

/// `chain`: which of the four extension headers.
fn ipv6(source: [u8; 16], destination: [u8; 16], chain: [bool; 4]) -> IpHeaders {
    let raw = |there: bool, length| there.then(|| Ipv6RawExtHeader::new_raw(IpNumber(0), &vec![0; length]).unwrap());
    let header =
        Ipv6Header { source, destination, flow_label: Ipv6FlowLabel::try_new(7).unwrap(), ..Ipv6Header::default() };
    let extensions = Ipv6Extensions {
        hop_by_hop_options: raw(chain[0], 6),
        destination_options: raw(chain[1], 14),
        routing: raw(chain[2], 6)
            .map(|routing| Ipv6RoutingExtensions { routing, final_destination_options: raw(chain[0], 6) }),
        fragment: chain[3].then(|| Ipv6FragmentHeader::new(IpNumber(0), IpFragOffset::ZERO, false, 7)),
        auth: None,
    };
    IpHeaders::Ipv6(header, extensions)
}

/// What a router quotes of a TCP segment: its beginning.
fn quoted(headers: IpHeaders, ports: (u16, u16), payload: usize, octets: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ip(headers).tcp(ports.0, ports.1, 1, 1000);
    builder.write(&mut packet, &vec![0; payload]).unwrap();
    packet.truncate(octets);
    packet
}

fn flow(service: IpAddr, client: IpAddr, ports: (u16, u16)) -> Flow {
    Flow { service, client, protocol: 6, service_port: ports.0, client_port: ports.1 }
}

proptest! {
    #[test]
    fn what_it_writes_of_ipv4(router: [u8; 4], service: [u8; 4], client: [u8; 4], ports: (u16, u16), mtu: u16,
                              options in (0..=10usize, 0..=10usize), payload in 0..1400usize, more in 0..=400usize) {
        let headers = ipv4(service, client, options.0);
        let octets = 20 + options.0 * 4 + 8 + more;
        let quoted = quoted(headers, ports, payload, octets);
        let too_big = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu });
        let mut packet = Vec::new();
        PacketBuilder::ip(ipv4(router, service, options.1)).icmpv4(too_big).write(&mut packet, &quoted).unwrap();
        let expected = message::Message {
            router: router.into(),
            destination: service.into(),
            mtu: mtu.into(),
            quoted: flow(service.into(), client.into(), ports),
            quoted_length: u32::try_from(40 + options.0 * 4 + payload).unwrap(),
        };
        prop_assert_eq!(message::read(&packet), Ok(expected));
    }

    #[test]
    fn what_it_writes_of_ipv6(router: [u8; 16], service: [u8; 16], client: [u8; 16], ports: (u16, u16), mtu: u32,
                              chains: [[bool; 4]; 2], payload in 0..1400usize, more in 0..=400usize) {
        let extensions = |chain: [bool; 4]| match ipv6(router, service, chain) {
            IpHeaders::Ipv6(_, extensions) => extensions.header_len(),
            IpHeaders::Ipv4(..) => 0,
        };
        let quoted = quoted(ipv6(service, client, chains[0]), ports, payload, 40 + extensions(chains[0]) + 8 + more);
        let mut packet = Vec::new();
        let too_big = Icmpv6Type::PacketTooBig { mtu };
        PacketBuilder::ip(ipv6(router, service, chains[1])).icmpv6(too_big).write(&mut packet, &quoted).unwrap();
        let expected = message::Message {
            router: router.into(),
            destination: service.into(),
            mtu,
            quoted: flow(service.into(), client.into(), ports),
            quoted_length: u32::try_from(60 + extensions(chains[0]) + payload).unwrap(),
        };
        prop_assert_eq!(message::read(&packet), Ok(expected));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn what_we_believe_it_reads(packet in properties::damaged()) {
        let Ok(outer) = message::outer(&packet) else { return Ok(()) };
        let Ok(message) = outer.read() else { return Ok(()) };
        let theirs = SlicedPacket::from_ip(&packet).unwrap();
        let (mtu, quoted) = match theirs.transport.unwrap() {
            TransportSlice::Icmpv4(icmp) => {
                let Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::FragmentationNeeded { next_hop_mtu }) =
                    icmp.icmp_type()
                else {
                    panic!("{:?}", icmp.icmp_type())
                };
                // What RFC 4884 put in front of the MTU is in none of its fields.
                if icmp.slice()[4..6] == [0, 0] {
                    let again = Icmpv4Header::with_checksum(icmp.icmp_type(), icmp.payload());
                    prop_assert_eq!(again.checksum, icmp.checksum());
                }
                (u32::from(next_hop_mtu), icmp.payload())
            }
            TransportSlice::Icmpv6(icmp) => {
                let (IpAddr::V6(source), IpAddr::V6(destination)) = (message.router, message.destination) else {
                    panic!("families")
                };
                prop_assert!(icmp.is_checksum_valid(source.octets(), destination.octets()));
                // Whatever the code: there the types differ, the MTU is where it is.
                (u32::from_be_bytes(icmp.bytes5to8()), icmp.payload())
            }
            other @ (TransportSlice::Igmp(_) | TransportSlice::Udp(_) | TransportSlice::Tcp(_)) => panic!("{other:?}"),
        };
        prop_assert_eq!(message.mtu, mtu);
        let (quoted, _) = LaxIpSlice::from_slice(quoted).unwrap();
        prop_assert_eq!(quoted.source_addr(), message.quoted.service);
        prop_assert_eq!(quoted.destination_addr(), message.quoted.client);
        prop_assert_eq!(quoted.payload_ip_number().0, message.quoted.protocol);
        let ports = (message.quoted.service_port.to_be_bytes(), message.quoted.client_port.to_be_bytes());
        prop_assert_eq!(&quoted.payload().payload[..4], [ports.0, ports.1].concat());
    }
}
