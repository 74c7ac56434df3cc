use super::*;

use Disposition::{AttributeDiscard as Discard, TreatAsWithdraw as Withdraw};

const EXTERNAL: Codec =
    Codec { four_octet_asn: true, extended_message: false, extended_next_hop: false, internal: false };
const INTERNAL: Codec = Codec { internal: true, ..EXTERNAL };
const OLD: Codec = Codec { four_octet_asn: false, ..EXTERNAL };
const ENH: Codec = Codec { extended_next_hop: true, ..EXTERNAL };

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xFD, 0xE9];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 1];
/// 10.0.0.0/8
const TEN: &[u8] = &[8, 10];

fn body(withdrawn: &[u8], attributes: &[&[u8]], nlri: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let length = |octets: &[u8]| u16::try_from(octets.len()).unwrap().to_be_bytes();
    [&length(withdrawn), withdrawn, &length(&attributes), &attributes, nlri].concat()
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn reset(subcode: u8, data: &[u8]) -> Result<Update, Notification> {
    Err(Notification::new(3, subcode, data))
}

/// 2001:db8::1 as next hop of 2001:db8::/32.
fn reach_v6() -> Vec<u8> {
    let mut octets = vec![0x80, 14, 26, 0, 2, 1, 16, 0x20, 1, 0x0d, 0xb8];
    octets.extend([0; 11]);
    octets.extend([1, 0, 32, 0x20, 1, 0x0d, 0xb8]);
    octets
}

fn reach(afi: u8, safi: u8, next_hop: usize, nlri: &[u8]) -> Vec<u8> {
    let mut octets = vec![0x80, 14, u8::try_from(5 + next_hop + nlri.len()).unwrap(), 0, afi, safi];
    octets.push(u8::try_from(next_hop).unwrap());
    octets.extend(vec![1; next_hop]);
    octets.push(0);
    octets.extend_from_slice(nlri);
    octets
}

/// RFC 7606 §7 and the RFCs that follow its model, for one attribute beside well-formed others.
#[test]
fn one_malformed_attribute() {
    type Row = (&'static str, Codec, &'static [u8], Option<(Disposition, u8)>);
    let table: &[Row] = &[
        ("MED", EXTERNAL, &[0x80, 4, 4, 0, 0, 0, 1], None),
        ("MED length", EXTERNAL, &[0x80, 4, 3, 0, 0, 0], Some((Withdraw, 5))),
        ("MED empty", EXTERNAL, &[0x80, 4, 0], Some((Withdraw, 5))),
        ("MED flags", EXTERNAL, &[0xC0, 4, 4, 0, 0, 0, 1], Some((Withdraw, 4))),
        ("partial and unused flag bits do not matter", EXTERNAL, &[0xAF, 4, 4, 0, 0, 0, 1], None),
        ("extended length", EXTERNAL, &[0x90, 4, 0, 4, 0, 0, 0, 1], None),
        ("LOCAL_PREF external", EXTERNAL, &[0x40, 5, 4, 0, 0, 0, 1], Some((Discard, 9))),
        ("LOCAL_PREF internal", INTERNAL, &[0x40, 5, 4, 0, 0, 0, 1], None),
        ("LOCAL_PREF internal length", INTERNAL, &[0x40, 5, 1, 0], Some((Withdraw, 5))),
        ("LOCAL_PREF flags", EXTERNAL, &[0xC0, 5, 4, 0, 0, 0, 1], Some((Withdraw, 4))),
        ("ATOMIC_AGGREGATE", EXTERNAL, &[0x40, 6, 0], None),
        ("ATOMIC_AGGREGATE length", EXTERNAL, &[0x40, 6, 1, 0], Some((Discard, 9))),
        ("ATOMIC_AGGREGATE flags", EXTERNAL, &[0xC0, 6, 0], Some((Withdraw, 4))),
        ("AGGREGATOR", EXTERNAL, &[0xC0, 7, 8, 0, 0, 0, 1, 1, 1, 1, 1], None),
        ("AGGREGATOR of two octets", EXTERNAL, &[0xC0, 7, 6, 0, 1, 1, 1, 1, 1], Some((Discard, 9))),
        ("AGGREGATOR old", OLD, &[0xC0, 7, 6, 0, 1, 1, 1, 1, 1], None),
        ("AGGREGATOR old of four octets", OLD, &[0xC0, 7, 8, 0, 0, 0, 1, 1, 1, 1, 1], Some((Discard, 9))),
        ("AGGREGATOR AS 0", EXTERNAL, &[0xC0, 7, 8, 0, 0, 0, 0, 1, 1, 1, 1], Some((Discard, 9))),
        ("AGGREGATOR empty", EXTERNAL, &[0xC0, 7, 0], Some((Discard, 9))),
        ("COMMUNITIES", EXTERNAL, &[0xC0, 8, 8, 0, 1, 0, 1, 0, 1, 0, 2], None),
        ("COMMUNITIES length", EXTERNAL, &[0xC0, 8, 6, 0, 1, 0, 1, 0, 1], Some((Withdraw, 5))),
        ("COMMUNITIES empty", EXTERNAL, &[0xC0, 8, 0], Some((Withdraw, 5))),
        ("ORIGINATOR_ID external", EXTERNAL, &[0x80, 9, 4, 1, 1, 1, 1], Some((Discard, 9))),
        ("ORIGINATOR_ID internal", INTERNAL, &[0x80, 9, 4, 1, 1, 1, 1], None),
        ("ORIGINATOR_ID internal length", INTERNAL, &[0x80, 9, 3, 1, 1, 1], Some((Withdraw, 5))),
        ("CLUSTER_LIST external", EXTERNAL, &[0x80, 10, 4, 1, 1, 1, 1], Some((Discard, 9))),
        ("CLUSTER_LIST internal", INTERNAL, &[0x80, 10, 4, 1, 1, 1, 1], None),
        ("CLUSTER_LIST internal length", INTERNAL, &[0x80, 10, 5, 1, 1, 1, 1, 1], Some((Withdraw, 5))),
        ("CLUSTER_LIST internal empty", INTERNAL, &[0x80, 10, 0], Some((Withdraw, 5))),
        ("EXTENDED COMMUNITIES", EXTERNAL, &[0xC0, 16, 8, 0, 4, 0, 1, 0, 0, 0, 0], None),
        ("EXTENDED COMMUNITIES length", EXTERNAL, &[0xC0, 16, 7, 0, 4, 0, 1, 0, 0, 0], Some((Withdraw, 5))),
        ("EXTENDED COMMUNITIES empty", EXTERNAL, &[0xC0, 16, 0], Some((Withdraw, 5))),
        ("AS4_PATH new", EXTERNAL, &[0xC0, 17, 6, 2, 1, 0, 0, 0, 1], Some((Discard, 9))),
        ("AS4_AGGREGATOR new", EXTERNAL, &[0xC0, 18, 8, 0, 0, 0, 1, 1, 1, 1, 1], Some((Discard, 9))),
        ("AS4_PATH", OLD, &[0xC0, 17, 6, 2, 1, 0, 0, 0, 1], None),
        ("AS4_PATH empty", OLD, &[0xC0, 17, 0], Some((Discard, 9))),
        ("AS4_PATH overrun", OLD, &[0xC0, 17, 6, 2, 2, 0, 0, 0, 1], Some((Discard, 9))),
        ("AS4_PATH AS 0", OLD, &[0xC0, 17, 6, 2, 1, 0, 0, 0, 0], Some((Discard, 9))),
        ("AS4_PATH confederation", OLD, &[0xC0, 17, 6, 3, 1, 0, 0, 0, 1], Some((Discard, 9))),
        ("AS4_PATH AS_SET", OLD, &[0xC0, 17, 6, 1, 1, 0, 0, 0, 1], Some((Withdraw, 11))),
        ("AS4_AGGREGATOR", OLD, &[0xC0, 18, 8, 0, 0, 0, 1, 1, 1, 1, 1], None),
        ("AS4_AGGREGATOR length", OLD, &[0xC0, 18, 6, 0, 1, 1, 1, 1, 1], Some((Discard, 9))),
        ("IPv6 EXTENDED COMMUNITIES length", EXTERNAL, &[0xC0, 25, 8, 0, 4, 0, 1, 0, 0, 0, 0], Some((Withdraw, 5))),
        ("LARGE COMMUNITIES", EXTERNAL, &[0xC0, 32, 12, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1], None),
        ("LARGE COMMUNITIES length", EXTERNAL, &[0xC0, 32, 8, 0, 0, 0, 1, 0, 0, 0, 1], Some((Withdraw, 5))),
        ("LARGE COMMUNITIES empty", EXTERNAL, &[0xC0, 32, 0], Some((Withdraw, 5))),
        ("OTC", EXTERNAL, &[0xC0, 35, 4, 0, 0, 0, 1], None),
        ("OTC length", EXTERNAL, &[0xC0, 35, 2, 0, 1], Some((Withdraw, 5))),
        ("unknown optional transitive", EXTERNAL, &[0xC0, 250, 1, 0], None),
        ("unknown optional", EXTERNAL, &[0x80, 250, 0], None),
    ];
    for (name, codec, attribute, fault) in table {
        let update = decode(&body(&[], &[ORIGIN, path_for(codec), NEXT_HOP, attribute], TEN), codec).unwrap();
        let found: Vec<_> = update.malformed.iter().map(|m| (m.disposition, m.attribute)).collect();
        assert_eq!(found, fault.iter().map(|(d, _)| (*d, attribute[1])).collect::<Vec<_>>(), "{name}");
        let withdrawn = matches!(fault, Some((Withdraw, _)));
        assert_eq!(update.withdrawn, if withdrawn { nets(&["10.0.0.0/8"]) } else { vec![] }, "{name}");
        assert_eq!(update.announced, if withdrawn { vec![] } else { nets(&["10.0.0.0/8"]) }, "{name}");

        // RFC 7606 §5.2: the same with nothing announced resets the session, with RFC 4271's subcode and the attribute.
        let alone = decode(&body(&[], &[attribute], &[]), codec);
        match fault {
            // RFC 4271 §6.3 names no data for a malformed AS path.
            Some((Withdraw, 11)) => assert_eq!(alone, reset(11, &[]), "{name}"),
            Some((Withdraw, subcode)) => assert_eq!(alone, reset(*subcode, attribute), "{name}"),
            Some((Discard, _)) | None => assert_eq!(alone.map(|update| update.announced), Ok(vec![]), "{name}"),
        }
    }
}

fn path_for(codec: &Codec) -> &'static [u8] {
    if codec.four_octet_asn { PATH } else { &[0x40, 2, 4, 2, 1, 0xFD, 0xE9] }
}

/// ORIGIN, AS_PATH and NEXT_HOP, each in place of the good one.
#[test]
fn the_mandatory_attributes() {
    type Row = (&'static str, Codec, [&'static [u8]; 3], Option<u8>);
    let table: &[Row] = &[
        ("good", EXTERNAL, [ORIGIN, PATH, NEXT_HOP], None),
        ("any order", EXTERNAL, [NEXT_HOP, PATH, ORIGIN], None),
        ("ORIGIN missing", EXTERNAL, [&[], PATH, NEXT_HOP], Some(1)),
        ("AS_PATH missing", EXTERNAL, [ORIGIN, &[], NEXT_HOP], Some(2)),
        ("NEXT_HOP missing", EXTERNAL, [ORIGIN, PATH, &[]], Some(3)),
        ("ORIGIN 2", EXTERNAL, [&[0x40, 1, 1, 2], PATH, NEXT_HOP], None),
        ("ORIGIN 3", EXTERNAL, [&[0x40, 1, 1, 3], PATH, NEXT_HOP], Some(1)),
        ("ORIGIN length", EXTERNAL, [&[0x40, 1, 2, 0, 0], PATH, NEXT_HOP], Some(1)),
        ("ORIGIN empty", EXTERNAL, [&[0x40, 1, 0], PATH, NEXT_HOP], Some(1)),
        ("ORIGIN flags", EXTERNAL, [&[0xC0, 1, 1, 0], PATH, NEXT_HOP], Some(1)),
        ("ORIGIN flags", EXTERNAL, [&[0x00, 1, 1, 0], PATH, NEXT_HOP], Some(1)),
        ("AS_PATH empty, external", EXTERNAL, [ORIGIN, &[0x40, 2, 0], NEXT_HOP], Some(2)),
        ("AS_PATH empty, internal", INTERNAL, [ORIGIN, &[0x40, 2, 0], NEXT_HOP], None),
        ("AS_PATH segment type", EXTERNAL, [ORIGIN, &[0x40, 2, 6, 5, 1, 0, 0, 0, 1], NEXT_HOP], Some(2)),
        ("AS_PATH overrun", EXTERNAL, [ORIGIN, &[0x40, 2, 6, 2, 2, 0, 0, 0, 1], NEXT_HOP], Some(2)),
        ("AS_PATH underrun", EXTERNAL, [ORIGIN, &[0x40, 2, 7, 2, 1, 0, 0, 0, 1, 2], NEXT_HOP], Some(2)),
        ("AS_PATH empty segment", EXTERNAL, [ORIGIN, &[0x40, 2, 2, 2, 0], NEXT_HOP], Some(2)),
        ("AS_PATH AS 0", EXTERNAL, [ORIGIN, &[0x40, 2, 6, 2, 1, 0, 0, 0, 0], NEXT_HOP], Some(2)),
        ("AS_PATH of two octets", EXTERNAL, [ORIGIN, &[0x40, 2, 4, 2, 1, 0, 1], NEXT_HOP], Some(2)),
        ("AS_PATH old", OLD, [ORIGIN, &[0x40, 2, 4, 2, 1, 0, 1], NEXT_HOP], None),
        ("AS_PATH old of four octets", OLD, [ORIGIN, PATH, NEXT_HOP], Some(2)),
        ("AS_PATH flags", EXTERNAL, [ORIGIN, &[0x80, 2, 6, 2, 1, 0, 0, 0, 1], NEXT_HOP], Some(2)),
        ("confederation, external", EXTERNAL, [ORIGIN, &[0x40, 2, 6, 3, 1, 0, 0, 0, 1], NEXT_HOP], Some(2)),
        ("confederation, internal", INTERNAL, [ORIGIN, &[0x40, 2, 6, 3, 1, 0, 0, 0, 1], NEXT_HOP], None),
        ("AS_SET", EXTERNAL, [ORIGIN, &[0x40, 2, 12, 2, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 2], NEXT_HOP], Some(2)),
        ("AS_SET, internal", INTERNAL, [ORIGIN, &[0x40, 2, 6, 1, 1, 0, 0, 0, 1], NEXT_HOP], Some(2)),
        ("AS_CONFED_SET, internal", INTERNAL, [ORIGIN, &[0x40, 2, 6, 4, 1, 0, 0, 0, 1], NEXT_HOP], Some(2)),
        ("NEXT_HOP length", EXTERNAL, [ORIGIN, PATH, &[0x40, 3, 5, 1, 1, 1, 1, 1]], Some(3)),
        ("NEXT_HOP 0.0.0.0", EXTERNAL, [ORIGIN, PATH, &[0x40, 3, 4, 0, 0, 0, 0]], Some(3)),
        ("NEXT_HOP multicast", EXTERNAL, [ORIGIN, PATH, &[0x40, 3, 4, 224, 0, 0, 5]], Some(3)),
        ("NEXT_HOP loopback", EXTERNAL, [ORIGIN, PATH, &[0x40, 3, 4, 127, 0, 0, 1]], Some(3)),
        ("NEXT_HOP broadcast", EXTERNAL, [ORIGIN, PATH, &[0x40, 3, 4, 255, 255, 255, 255]], Some(3)),
        ("NEXT_HOP flags", EXTERNAL, [ORIGIN, PATH, &[0xC0, 3, 4, 192, 0, 2, 1]], Some(3)),
    ];
    for (name, codec, attributes, fault) in table {
        let update = decode(&body(&[], attributes, TEN), codec).unwrap();
        let found: Vec<_> = update.malformed.iter().map(|m| (m.disposition, m.attribute)).collect();
        assert_eq!(found, fault.iter().map(|kind| (Withdraw, *kind)).collect::<Vec<_>>(), "{name}");
        let (gone, there) = if fault.is_some() { (TEN, &[][..]) } else { (&[][..], TEN) };
        let read = |field| nlri::read_all(Family::Ipv4, field).unwrap();
        assert_eq!((update.withdrawn, update.announced), (read(gone), read(there)), "{name}");
    }
}

#[test]
fn what_resets_the_session() {
    let v6 = reach_v6();
    let unreach: &[u8] = &[0x80, 15, 3, 0, 2, 1];
    let with = |at: usize, octet: u8| {
        let mut octets = reach_v6();
        octets[at] = octet;
        octets
    };
    let table: &[(&str, Vec<u8>, u8, &[u8])] = &[
        ("withdrawn length", vec![0, 3, 0, 0], 1, &[]),
        ("attributes' length", vec![0, 0, 0, 1], 1, &[]),
        ("no room for the attributes' length", vec![0, 2, 0, 0, 0], 1, &[]),
        ("NLRI longer than 32 bits", body(&[], &[ORIGIN, PATH, NEXT_HOP], &[33, 1, 1, 1, 1, 1]), 10, &[]),
        ("NLRI overrun", body(&[], &[ORIGIN, PATH, NEXT_HOP], &[24, 10, 0]), 10, &[]),
        ("withdrawn longer than 32 bits", body(&[33, 1, 1, 1, 1, 1], &[], &[]), 10, &[]),
        ("withdrawn overrun", body(&[8], &[], &[]), 10, &[]),
        ("MP_REACH twice", body(&[], &[&v6, &v6], &[]), 1, &[]),
        ("MP_UNREACH twice", body(&[], &[unreach, unreach], &[]), 1, &[]),
        ("MP_REACH flags, unreadable", body(&[], &[&[0xC0, 14, 3, 0, 2, 1]], &[]), 9, &[0xC0, 14, 3, 0, 2, 1]),
        ("MP_REACH overrun", body(&[], &[&with(2, 27)], &[]), 9, &with(2, 27)),
        ("MP_REACH next hop length", body(&[], &[&reach(2, 1, 4, &[])], &[]), 9, &reach(2, 1, 4, &[])),
        ("MP_REACH next hop overrun", body(&[], &[&with(6, 32)], &[]), 9, &with(6, 32)),
        ("MP_REACH prefix overrun", body(&[], &[&with(24, 33)], &[]), 9, &with(24, 33)),
        ("MP_REACH prefix too long", body(&[], &[&with(24, 129)], &[]), 9, &with(24, 129)),
        ("MP_REACH of 4 octets", body(&[], &[&[0x80, 14, 4, 0, 1, 128, 0]], &[]), 9, &[0x80, 14, 4, 0, 1, 128, 0]),
        ("MP_REACH v4 over v6 without RFC 8950", body(&[], &[&reach(1, 1, 16, TEN)], &[]), 9, &reach(1, 1, 16, TEN)),
        (
            "MP_UNREACH flags, beside others",
            body(&[], &[ORIGIN, &[0x40, 15, 3, 0, 2, 1]], &[]),
            4,
            &[0x40, 15, 3, 0, 2, 1],
        ),
        ("MP_UNREACH, octet behind", body(&[], &[unreach, &[0x40]], &[]), 1, &[]),
        ("AS_SET, nothing announced", body(TEN, &[&[0x40, 2, 6, 1, 1, 0, 0, 0, 1]], &[]), 11, &[]),
        ("MP_UNREACH of 2 octets", body(&[], &[&[0x80, 15, 2, 0, 2]], &[]), 9, &[0x80, 15, 2, 0, 2]),
        ("MP_UNREACH prefix", body(&[], &[&[0x80, 15, 4, 0, 1, 1, 33]], &[]), 9, &[0x80, 15, 4, 0, 1, 1, 33]),
        ("MP_UNREACH cut off", body(&[], &[&[0x80, 15]], TEN), 9, &[0x80, 15]),
        ("unrecognized well-known", body(&[], &[ORIGIN, PATH, NEXT_HOP, &[0x40, 99, 1, 7]], TEN), 2, &[0x40, 99, 1, 7]),
        ("attributes overrun, nothing announced", body(TEN, &[&[0x40, 1, 2, 0]], &[]), 1, &[]),
        ("malformed AS_PATH, nothing announced", body(TEN, &[&[0x40, 2, 2, 2, 0]], &[]), 11, &[]),
        ("bad NEXT_HOP, nothing announced", body(TEN, &[&[0x40, 3, 1, 0]], &[]), 5, &[0x40, 3, 1, 0]),
        ("MP_REACH without prefixes", body(&[], &[&[0x40, 1, 1, 9], &reach(2, 1, 16, &[])], &[]), 6, &[0x40, 1, 1, 9]),
    ];
    for (name, octets, subcode, data) in table {
        assert_eq!(decode(octets, &EXTERNAL), reset(*subcode, data), "{name}");
    }
}

#[test]
fn what_is_read() {
    let v6 = reach_v6();
    let v4_over_v6 = [reach(1, 1, 16, TEN), reach(1, 1, 32, TEN)];
    let announced = |texts: &[&str]| Update { announced: nets(texts), ..Update::default() };
    let withdrawn = |texts: &[&str]| Update { withdrawn: nets(texts), ..Update::default() };
    let rib = |family| Update { end_of_rib: Some(family), ..Update::default() };
    let overrun = Malformed { disposition: Withdraw, attribute: 8, why: "longer than the attributes' length" };
    let stray = Malformed { attribute: 0, ..overrun };
    let repeated =
        |attribute| Malformed { disposition: Discard, attribute, why: "more than once: all but the first ignored" };
    let table: &[(&str, Codec, Vec<u8>, Update)] = &[
        ("IPv4 End-of-RIB", EXTERNAL, body(&[], &[], &[]), rib(Family::Ipv4)),
        ("IPv6 End-of-RIB", EXTERNAL, body(&[], &[&[0x80, 15, 3, 0, 2, 1]], &[]), rib(Family::Ipv6)),
        ("IPv6 End-of-RIB, long", EXTERNAL, body(&[], &[&[0x90, 15, 0, 3, 0, 2, 1]], &[]), rib(Family::Ipv6)),
        ("IPv4 End-of-RIB in MP_UNREACH", EXTERNAL, body(&[], &[&[0x80, 15, 3, 0, 1, 1]], &[]), rib(Family::Ipv4)),
        ("another family's", EXTERNAL, body(&[], &[&[0x80, 15, 3, 0, 1, 128]], &[]), Update::default()),
        ("not alone", EXTERNAL, body(&[], &[&[0x80, 15, 3, 0, 2, 1], &[0xC0, 250, 0]], &[]), Update::default()),
        ("not alone", EXTERNAL, body(TEN, &[&[0x80, 15, 3, 0, 2, 1]], &[]), withdrawn(&["10.0.0.0/8"])),
        (
            "a default route first, and host bits",
            EXTERNAL,
            body(&[], &[ORIGIN, PATH, NEXT_HOP], &[0, 16, 10, 1, 20, 10, 1, 0x2F, 32, 192, 0, 2, 1]),
            announced(&["0.0.0.0/0", "10.1.0.0/16", "10.1.32.0/20", "192.0.2.1/32"]),
        ),
        ("only unknown attributes", EXTERNAL, body(&[], &[&[0xC0, 250, 0], &[0x80, 251, 0]], &[]), Update::default()),
        ("IPv6", EXTERNAL, body(&[], &[&v6, ORIGIN, PATH], &[]), announced(&["2001:db8::/32"])),
        ("IPv6, last", EXTERNAL, body(&[], &[ORIGIN, PATH, &v6], &[]), announced(&["2001:db8::/32"])),
        (
            "IPv6 with link-local",
            EXTERNAL,
            body(
                &[],
                &[&reach(2, 1, 32, &[0, 128, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]), ORIGIN, PATH],
                &[],
            ),
            announced(&["::/0", "101:101:101:101:101:101:101:101/128"]),
        ),
        (
            "IPv6, NEXT_HOP ignored",
            EXTERNAL,
            body(&[], &[&v6, ORIGIN, PATH, &[0x40, 3, 1, 0]], &[]),
            announced(&["2001:db8::/32"]),
        ),
        (
            "IPv4 in MP_REACH",
            EXTERNAL,
            body(&[], &[&reach(1, 1, 4, TEN), ORIGIN, PATH], &[]),
            announced(&["10.0.0.0/8"]),
        ),
        ("RFC 8950", ENH, body(&[], &[&v4_over_v6[0], ORIGIN, PATH], &[]), announced(&["10.0.0.0/8"])),
        ("RFC 8950, link-local", ENH, body(&[], &[&v4_over_v6[1], ORIGIN, PATH], &[]), announced(&["10.0.0.0/8"])),
        (
            "another family",
            EXTERNAL,
            body(&[], &[&reach(1, 128, 12, &[1, 2, 3]), ORIGIN, PATH], &[]),
            Update::default(),
        ),
        (
            "IPv6 withdrawn",
            EXTERNAL,
            body(&[], &[&[0x80, 15, 8, 0, 2, 1, 32, 0x20, 1, 0x0d, 0xb8]], &[]),
            withdrawn(&["2001:db8::/32"]),
        ),
        (
            "both at once",
            EXTERNAL,
            body(&[8, 11], &[&[0x80, 15, 8, 0, 2, 1, 32, 0x20, 1, 0x0d, 0xb9], &v6, ORIGIN, PATH, NEXT_HOP], TEN),
            Update {
                announced: nets(&["10.0.0.0/8", "2001:db8::/32"]),
                withdrawn: nets(&["11.0.0.0/8", "2001:db9::/32"]),
                ..Update::default()
            },
        ),
        (
            "attribute overrun",
            EXTERNAL,
            body(&[], &[ORIGIN, PATH, NEXT_HOP, &[0xC0, 8, 5, 0, 0, 0, 0]], TEN),
            Update { malformed: vec![overrun], ..withdrawn(&["10.0.0.0/8"]) },
        ),
        (
            "extended length cut off",
            EXTERNAL,
            body(&[], &[ORIGIN, PATH, NEXT_HOP, &[0xD0, 8, 0]], TEN),
            Update { malformed: vec![overrun], ..withdrawn(&["10.0.0.0/8"]) },
        ),
        (
            "one octet left",
            EXTERNAL,
            body(&[], &[&v6, ORIGIN, PATH, &[0x40]], &[]),
            Update { malformed: vec![stray], ..withdrawn(&["2001:db8::/32"]) },
        ),
        (
            "the first copy counts",
            EXTERNAL,
            body(
                &[],
                &[ORIGIN, &[0x40, 1, 1, 9], &[0x40, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9], PATH, NEXT_HOP, NEXT_HOP],
                TEN,
            ),
            Update { malformed: vec![repeated(1), repeated(3)], ..announced(&["10.0.0.0/8"]) },
        ),
        (
            "unknown ones too",
            EXTERNAL,
            body(&[], &[ORIGIN, PATH, NEXT_HOP, &[0x80, 250, 0], &[0x80, 250, 0]], TEN),
            Update { malformed: vec![repeated(250)], ..announced(&["10.0.0.0/8"]) },
        ),
    ];
    for (name, codec, octets, expected) in table {
        assert_eq!(decode(octets, codec).as_ref(), Ok(expected), "{name}");
    }
}

/// RFC 7606 §3 (c): flags do not keep anyone from reading the prefixes, so the session need not end.
#[test]
fn multiprotocol_attributes_with_wrong_flags() {
    let v6 = || nets(&["2001:db8::/32"]);
    for flags in [0x00, 0x40, 0xC0] {
        let mut reach = reach_v6();
        reach[0] = flags;
        let unreach = [flags, 15, 8, 0, 2, 1, 32, 0x20, 1, 0x0d, 0xb8];
        for (attributes, kind) in [(&[&reach[..], ORIGIN, PATH][..], 14), (&[&unreach[..]], 15)] {
            let update = decode(&body(&[], attributes, &[]), &EXTERNAL).unwrap();
            let fault = Malformed { disposition: Withdraw, attribute: kind, why: "wrong attribute flags" };
            assert_eq!(update, Update { withdrawn: v6(), malformed: vec![fault], ..Update::default() }, "{flags}");
        }
    }
}

/// RFC 7606 §3 (h): of several faults the strongest decides; all of them are told.
#[test]
fn the_strongest_fault_decides() {
    let attributes: &[&[u8]] = &[ORIGIN, PATH, NEXT_HOP, &[0x40, 5, 4, 0, 0, 0, 1], &[0xC0, 8, 3, 0, 0, 0]];
    let update = decode(&body(&[], attributes, TEN), &EXTERNAL).unwrap();
    let found: Vec<_> = update.malformed.iter().map(|m| (m.disposition, m.attribute)).collect();
    assert_eq!(found, [(Discard, 5), (Withdraw, 8)]);
    assert_eq!((update.announced, update.withdrawn), (vec![], nets(&["10.0.0.0/8"])));
}
