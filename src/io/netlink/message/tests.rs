use super::*;

use netlink_packet_core::Emitable;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use proptest::prelude::*;

/// One message as the kernel would send it, by an encoder that is not ours.
fn bytes(kind: u16, flags: u16, body: &impl Emitable) -> Vec<u8> {
    let mut bytes = Vec::new();
    let length = u32::try_from(16 + body.buffer_len()).unwrap();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    let start = bytes.len();
    bytes.resize(start + body.buffer_len(), 0);
    body.emit(&mut bytes[start..]);
    bytes
}

fn said(kind: u16, body: &impl Emitable) -> Result<Option<Fact>, String> {
    let datagram = bytes(kind, 0, body);
    let all: Vec<Message<'_>> = messages(&datagram).collect::<Result<_, _>>().unwrap();
    assert_eq!(all.len(), 1);
    fact(&all[0]).map_err(|error| error.to_string())
}

fn lo(family: AddressFamily) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.interface_family = family;
    message.header.index = 1;
    message.header.flags = LinkFlags::Up | LinkFlags::Loopback;
    message.attributes = vec![LinkAttribute::Mtu(65_536), LinkAttribute::IfName("lo".to_owned())];
    message
}

fn address_of(text: &str, header: u8, attributes: Vec<AddressAttribute>) -> AddressMessage {
    let ip: IpAddr = text.parse().unwrap();
    let mut message = AddressMessage::default();
    (message.header.family, message.header.prefix_len) =
        if ip.is_ipv4() { (AddressFamily::Inet, 24) } else { (AddressFamily::Inet6, 64) };
    message.header.index = 7;
    message.header.flags = AddressHeaderFlags::from_bits_retain(header);
    message.attributes = attributes;
    message.attributes.push(AddressAttribute::Address(ip));
    message
}

fn known(text: &str, length: u8, usable: bool) -> Address {
    Address { interface: 7, address: text.parse().unwrap(), length, usable }
}

fn route_of(table: u8, kind: RouteType) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = 24;
    message.header.table = table;
    message.header.kind = kind;
    message.attributes =
        vec![RouteAttribute::Oif(1), RouteAttribute::Destination(RouteAddress::Inet(Ipv4Addr::new(192, 0, 2, 0)))];
    message
}

#[test]
fn a_link_is_its_index_name_and_kind() {
    let there = Fact::Interface { index: 1, name: Some("lo".to_owned()), loopback: true };
    assert_eq!(said(libc::RTM_NEWLINK, &lo(AddressFamily::Unspec)), Ok(Some(there)));
    let gone = Fact::Interface { index: 1, name: None, loopback: true };
    assert_eq!(said(libc::RTM_DELLINK, &lo(AddressFamily::Unspec)), Ok(Some(gone)));
}

#[test]
fn a_port_that_leaves_its_bridge_is_not_an_interface_that_goes() {
    assert_eq!(said(libc::RTM_DELLINK, &lo(AddressFamily::Bridge)), Ok(None));
}

#[test]
fn addresses_are_usable_unless_tentative_or_failed() {
    // header flags, IFA_FLAGS, usable
    let table = [
        (0x80, None, true),
        (0x40, None, false),
        (0x08, None, false),
        (0x20, None, true),
        (0x40, Some(AddressFlags::Permanent), true),
        (0x80, Some(AddressFlags::Permanent | AddressFlags::Tentative), false),
        (0x00, Some(AddressFlags::Noprefixroute), true),
    ];
    for (header, flags, usable) in table {
        let attributes = flags.map(AddressAttribute::Flags).into_iter().collect();
        let message = address_of("2001:db8::1", header, attributes);
        let expected = Fact::Address { address: known("2001:db8::1", 64, usable), present: true };
        assert_eq!(said(libc::RTM_NEWADDR, &message), Ok(Some(expected)), "{header:#x} {flags:?}");
    }
}

#[test]
fn of_two_ends_the_local_one_is_ours() {
    let local = AddressAttribute::Local("198.51.100.1".parse().unwrap());
    let message = address_of("198.51.100.2", 0x80, vec![local]);
    let address = known("198.51.100.1", 24, true);
    let expected = Fact::Address { address, present: false };
    assert_eq!(said(libc::RTM_DELADDR, &message), Ok(Some(expected)));
}

#[test]
fn only_local_routes_of_the_local_table_count() {
    let route = LocalRoute { interface: 1, prefix: "192.0.2.0/24".parse().unwrap() };
    let table = [
        (255, RouteType::Local, true),
        (254, RouteType::Local, false),
        (255, RouteType::Broadcast, false),
        (254, RouteType::Unicast, false),
    ];
    for (number, kind, counts) in table {
        for (event, present) in [(libc::RTM_NEWROUTE, true), (libc::RTM_DELROUTE, false)] {
            let expected = counts.then_some(Fact::LocalRoute { route, present });
            assert_eq!(said(event, &route_of(number, kind)), Ok(expected), "{number} {kind:?}");
        }
    }
}

#[test]
fn what_hides_more_is_a_link_that_goes_and_a_local_route_replaced() {
    let replace = u16::try_from(libc::NLM_F_REPLACE).unwrap();
    let up = lo(AddressFamily::Unspec);
    let local = route_of(255, RouteType::Local);
    let table = [
        (bytes(libc::RTM_NEWLINK, 0, &up), false),
        (bytes(libc::RTM_DELLINK, 0, &up), true),
        (bytes(libc::RTM_NEWROUTE, replace, &local), true),
        (bytes(libc::RTM_NEWROUTE, 0, &local), false),
        (bytes(libc::RTM_NEWROUTE, replace, &route_of(254, RouteType::Unicast)), false),
    ];
    for (datagram, expected) in table {
        let message = messages(&datagram).next().unwrap().unwrap();
        assert_eq!(hides_more(&message), expected, "{message:?}");
    }
}

#[test]
fn a_datagram_is_walked_to_its_last_whole_message() {
    let one = bytes(libc::RTM_NEWLINK, 0, &lo(AddressFamily::Unspec));
    let mut two = one.clone();
    two.extend(&one);
    assert_eq!(messages(&two).filter(Result::is_ok).count(), 2);
    two.pop();
    let walked: Vec<bool> = messages(&two).map(|message| message.is_ok()).collect();
    assert_eq!(walked, [true, false]);
}

#[test]
fn a_message_cut_short_is_an_error_and_not_absence() {
    let mut message = address_of("192.0.2.1", 0x80, vec![]);
    message.attributes.clear();
    assert!(said(libc::RTM_NEWADDR, &message).is_err());
}

proptest! {
    #[test]
    fn no_datagram_makes_it_panic(datagram in prop::collection::vec(any::<u8>(), 0..200), kind in 16_u16..32) {
        let mut framed = bytes(kind, 0, &Raw(&datagram));
        for datagram in [&datagram, &framed.clone()] {
            for message in messages(datagram).flatten() {
                let _ = (fact(&message), hides_more(&message));
            }
        }
        framed.truncate(framed.len() / 2);
        prop_assert!(messages(&framed).all(|message| message.is_err()));
    }
}

/// Any octets as a body.
struct Raw<'a>(&'a [u8]);

impl Emitable for Raw<'_> {
    fn buffer_len(&self) -> usize {
        self.0.len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(self.0);
    }
}
