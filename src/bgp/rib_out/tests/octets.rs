//! What is said down to its octets, and when it was said.

use super::*;

fn host(number: u32) -> IpNet {
    IpNet::from(IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0A00_0000 + number)))
}

/// The path attributes that each message has, by type.
fn attribute_types(mut bytes: BytesMut) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(frame) = wire::frame(&mut bytes, MAX_MESSAGE).unwrap() {
        let number = |at: usize| usize::from(u16::from_be_bytes([frame.body[at], frame.body[at + 1]]));
        let (mut at, mut types) = (4 + number(0), Vec::new());
        let end = at + number(at - 2);
        while at < end {
            types.push(frame.body[at + 1]);
            let length =
                if frame.body[at] & 0x10 == 0 { 3 + usize::from(frame.body[at + 2]) } else { 4 + number(at + 2) };
            at += length;
        }
        all.push(types);
    }
    all
}

/// RFC 8950 §4: with an IPv6 next hop in MP_REACH_NLRI, and gone from where they came; else as ever.
#[test]
fn ipv4_routes_are_multiprotocol_where_their_next_hop_is_ipv6() {
    const REACH: &[u8] = &[14, 1, 2, 4];
    const CLASSIC: &[u8] = &[1, 2, 3, 4];
    const UNREACH: &[u8] = &[15];
    for (extended_next_hop, hop, announced, withdrawn) in [
        (true, Some(V6_HOP), REACH, UNREACH),
        (true, Some(V4_HOP), CLASSIC, &[][..]),
        (false, Some(V4_HOP), CLASSIC, &[]),
    ] {
        let mut world = World::of(&["198.51.100.1/32"]);
        let codec = Codec { extended_next_hop, ..CODEC };
        world.up(Link { codec, ipv6: false, next_hops: NextHops { ipv4: hop, ..HOPS }, ..LINK });
        let said = |world: &mut World| {
            let (wanted, now) = (world.wanted.clone(), Time::from_nanos(7));
            attribute_types(world.rib.reconcile(now, &wanted, &world.prefixes, &world.routes, 4096).bytes)
        };
        assert_eq!(said(&mut world), [announced, &[]], "{hop:?}, then End-of-RIB");
        world.want(0, None);
        assert_eq!(said(&mut world), [withdrawn], "{hop:?}");
        world.want(0, Some(0));
        assert_eq!(said(&mut world), [announced]);
        world.set_next_hops(NextHops { ipv4: None, ..HOPS });
        assert_eq!(said(&mut world), [if extended_next_hop { UNREACH } else { &[] }], "{hop:?} is gone");
    }
}

#[test]
fn nothing_is_said_where_there_is_no_room() {
    let mut world = World::of(&TWO);
    world.up(LINK);
    assert!(world.rib.is_new() && world.rib.link() == Some(&LINK));
    world.reconcile(0);
    assert_eq!(world.peer.heard, Vec::<String>::new());
    world.settle();
    assert!(!world.rib.is_new());
    world.rib.refresh(Family::Ipv4);
    world.reconcile(0);
    assert_eq!((world.peer.heard.as_slice(), world.rib.pending()), (&[][..], true), "not even a marker");
    world.down();
    assert_eq!((world.rib.link(), world.rib.is_new()), (None, false));
}

#[test]
fn a_prefix_was_told_when_it_was_told_something_new() {
    let mut world = World::of(&["198.51.100.1/32", "198.51.100.2/32"]);
    let mut clock = 0;
    let mut tell = |world: &mut World| {
        clock += 1;
        let wanted = world.wanted.clone();
        while world.rib.pending() {
            world.rib.reconcile(Time::from_nanos(clock), &wanted, &world.prefixes, &world.routes, 4096);
        }
        [0, 1].map(|row| world.rib.since(PrefixId(row)).as_nanos())
    };
    world.wanted[1] = None;
    world.up(LINK);
    assert_eq!(tell(&mut world), [1, 0], "never told is never");
    world.want(1, Some(0));
    assert_eq!(tell(&mut world), [1, 2]);
    world.rib.refresh(Family::Ipv4);
    assert_eq!(tell(&mut world), [1, 2], "said again is not new");
    world.want(0, Some(1));
    assert_eq!(tell(&mut world), [4, 2]);
    world.want(1, None);
    assert_eq!(tell(&mut world), [4, 5], "withdrawn is news");
    world.want(1, None);
    assert_eq!(tell(&mut world), [4, 5]);
}

/// What the packer measures while it collects is what goes out, but for an octet of each message that depends on how
/// much is in it: a length of one octet or two.
#[test]
fn octets_are_measured_before_they_are_packed() {
    let world = World::of(&TWO);
    let zero: IpNet = "0.0.0.0/0".parse().unwrap();
    // One octet each: 4073 of them fill a withdraw to the last one.
    for (count, messages) in [(4073, 1), (4074, 2)] {
        let mut packer = Packer::new(LINK, &world.routes);
        (0..count).for_each(|_| packer.push(zero, None));
        let (measured, mut out) = (packer.octets, BytesMut::new());
        packer.pack(&mut out);
        assert_eq!((measured, out.len()), (count + messages * 23, count + messages * 23));
    }
    for (count, news, hop) in [
        (1, None, V4_HOP),
        (814, None, V4_HOP),
        (815, None, V4_HOP),
        (5000, None, V6_HOP),
        (809, Some(world.ids[0]), V4_HOP),
        (810, Some(world.ids[0]), V4_HOP),
        (5000, Some(world.ids[2]), V4_HOP),
        (5000, Some(world.ids[1]), V6_HOP),
    ] {
        let link = Link { next_hops: NextHops { ipv4: Some(hop), ..HOPS }, ..LINK };
        let mut packer = Packer::new(link, &world.routes);
        (0..count).for_each(|number| packer.push(host(number), news));
        let (measured, mut out) = (packer.octets, BytesMut::new());
        packer.pack(&mut out);
        let messages = attribute_types(out.clone()).len();
        assert!((measured - messages..=measured).contains(&out.len()), "{count}: {measured} measured, {}", out.len());
    }
}

/// A row that was never compared is not known, and asking for it again before that changes nothing.
#[test]
fn a_row_is_compared_once_however_often_it_is_touched() {
    let mut world = World::new((0..3).map(host).collect());
    world.up(LINK);
    world.settle();
    (0..3).for_each(|_| world.want(2, Some(0)));
    assert_eq!(world.rib.touched, [PrefixId(2)]);
    let batch = world.rib.reconcile(Time::from_nanos(1), &world.wanted, &world.prefixes, &world.routes, 4096);
    assert_eq!((batch.announced, world.rib.touched.len()), (vec![PrefixId(2)], 0));
    world.want(2, None);
    assert_eq!(world.rib.touched, [PrefixId(2)], "after it was compared it may be touched again");
}
