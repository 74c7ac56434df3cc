//! Messages as whole conversations, BFD, packet-too-big and MRT.

use bytes::BytesMut;

use super::captures::{CLIENT, Capture, SERVER, SYN_ACK, ipv4, tcp, udp};
use super::{Entry, GOES_ON, decode, lines};
use crate::bgp::wire::{self, Asn, Attributes, Capabilities, Codec, Family, Notification, Open, Origin};
use crate::decode::{Kind, Reply, Value};

const CODEC: Codec = Codec { four_octet_asn: true, extended_message: false, extended_next_hop: false, internal: false };

fn open(asn: u32) -> Vec<u8> {
    let capabilities = Capabilities {
        families: Family::ALL.to_vec(),
        multiprotocol: true,
        route_refresh: true,
        four_octet_asn: Some(asn),
        ..Capabilities::default()
    };
    wire::open(&Open { version: 4, asn, hold_time: 9, id: CLIENT, capabilities }).to_vec()
}

pub(super) fn update() -> Vec<u8> {
    let attributes = Attributes {
        origin: Origin::Igp,
        as_path: [4_200_000_001, 65001].into_iter().filter_map(Asn::new).collect(),
        med: Some(5),
        local_preference: None,
        communities: vec![wire::Community::GRACEFUL_SHUTDOWN],
        large_communities: vec![],
        link_bandwidth: None,
    };
    let mut out = BytesMut::new();
    wire::announce(&attributes, CLIENT.into(), &["192.0.2.9/32".parse().unwrap()], &CODEC, &mut out);
    out.to_vec()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap().to_be_bytes();
    [&[0xFF; 16][..], &length, &[kind], body].concat()
}

/// Both OPENs, an UPDATE in two segments that come in the wrong order, its End-of-RIB, and a Cease.
pub(super) fn conversation() -> Capture {
    let (open_client, open_server) = (open(4_200_000_001), open(65001));
    let update = update();
    let mut end_of_rib = BytesMut::new();
    wire::end_of_rib(Family::Ipv6, &mut end_of_rib);
    let shutdown = wire::notification(&Notification::administrative_shutdown("bye"));
    let length = |octets: &[u8]| u32::try_from(octets.len()).unwrap();
    let client = |sequence, data: &[u8]| tcp(CLIENT, 40000, SERVER, 179, sequence, 501, 0x18, data);
    let server = |sequence, flags, data: &[u8]| tcp(SERVER, 179, CLIENT, 40000, sequence, 101, flags, data);
    let update_at = 101 + length(&open_client) + 19;
    Capture::new(101)
        .frame(0, &tcp(CLIENT, 40000, SERVER, 179, 100, 0, 0x02, &[]))
        .frame(1, &server(500, SYN_ACK, &[]))
        .frame(2, &client(101, &open_client))
        .frame(3, &server(501, 0x18, &[&open_server[..], &wire::keepalive()].concat()))
        .frame(4, &client(101 + length(&open_client), &wire::keepalive()))
        .frame(5, &client(update_at + 20, &[&update[20..], &end_of_rib].concat()))
        .frame(6, &client(update_at, &update[..20]))
        .frame(7, &server(501 + length(&open_server) + 19, 0x18, &shutdown))
        .frame(8, &server(501 + length(&open_server) + 19 + length(&shutdown), 0x14, &[]))
}

#[test]
fn a_conversation_reads_like_one() {
    assert_eq!(
        lines(&conversation().octets),
        [
            "TCP 10.0.0.2:40000 > 10.0.0.1:179 opened",
            "OPEN AS 4200000001 (AS_TRANS), id 10.0.0.2, hold time 9 s",
            "OPEN AS 65001, id 10.0.0.2, hold time 9 s",
            "KEEPALIVE",
            "KEEPALIVE",
            "UPDATE 1 announced, ipv4 unicast",
            "UPDATE End-of-RIB ipv6 unicast",
            "NOTIFICATION 6/2 Cease/Administrative Shutdown: bye",
            "TCP 10.0.0.1:179 > 10.0.0.2:40000 reset (RST)",
        ]
    );
    assert!(decode(&conversation().octets).0.iter().all(|entry| entry.said.faults.is_empty()));
}

/// Behind `before`, in one segment, without its entries.
fn after(before: &[Vec<u8>], octets: &[u8]) -> Vec<Entry> {
    let data = [&before.concat()[..], octets].concat();
    let syn = tcp(CLIENT, 40000, SERVER, 179, 0, 0, 0x02, &[]);
    let file = Capture::new(101).frame(0, &syn).frame(0, &tcp(CLIENT, 40000, SERVER, 179, 1, 1, 0x18, &data)).octets;
    decode(&file).0.split_off(1 + before.len())
}

/// Where, and what the answer is.
type Wrong = (Option<usize>, Reply);

fn faults(octets: &[u8]) -> Vec<Wrong> {
    let entries = after(&[], octets);
    entries.into_iter().flat_map(|entry| entry.said.faults).map(|fault| (fault.at, fault.reply)).collect()
}

fn attributes(list: &[&[u8]], routes: &[u8]) -> Vec<u8> {
    let section = list.concat();
    let length = u16::try_from(section.len()).unwrap().to_be_bytes();
    message(2, &[&[0, 0][..], &length, &section, routes].concat())
}

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xFD, 0xE9];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 10, 0, 0, 2];

#[test]
fn what_is_wrong_has_its_place_and_its_answer() {
    let reset = |code, subcode, data: &[u8]| Reply::Reset(Notification::new(code, subcode, data));
    let withdraw = |subcode, data: &[u8]| Reply::Withdraw(Some(Notification::new(3, subcode, data)));
    let bad_origin: &[u8] = &[0x40, 1, 1, 9];
    let route: &[u8] = &[8, 10];
    let mut unmarked = wire::keepalive().to_vec();
    unmarked[3] = 0;
    let table: &[(Vec<u8>, Vec<Wrong>)] = &[
        (wire::keepalive().to_vec(), vec![]),
        (message(4, &[0]), vec![(Some(16), reset(1, 2, &[0, 20]))]),
        (message(9, b"x"), vec![(Some(16), reset(1, 3, &[9]))]),
        (message(3, &[6]), vec![(Some(16), reset(1, 2, &[0, 20]))]),
        (message(1, &[3, 0, 1, 0, 9, 1, 1, 1, 1, 0]), vec![(None, reset(2, 1, &[0, 4]))]),
        (message(1, &[4, 0, 1, 0, 9, 1, 1, 1, 1, 4, 2, 9, 1, 4]), vec![(Some(28 + 1), reset(2, 0, &[]))]),
        (attributes(&[bad_origin, AS_PATH, NEXT_HOP], route), vec![(Some(23), withdraw(6, bad_origin))]),
        (attributes(&[ORIGIN, AS_PATH], route), vec![(None, withdraw(3, &[3]))]),
        (
            attributes(&[ORIGIN, AS_PATH, NEXT_HOP, &[0xC0, 8, 3, 0, 0, 1]], route),
            vec![(Some(23 + 4 + 9 + 7), withdraw(5, &[0xC0, 8, 3, 0, 0, 1]))],
        ),
        (attributes(&[ORIGIN, AS_PATH, NEXT_HOP, &[0x40, 6, 1, 0]], route), vec![(Some(43), Reply::Discard)]),
        (attributes(&[ORIGIN, AS_PATH, NEXT_HOP, ORIGIN], route), vec![(Some(43), Reply::Discard)]),
        (attributes(&[ORIGIN, AS_PATH, NEXT_HOP], &[33, 10, 0, 0, 0, 1]), vec![(Some(43), reset(3, 10, &[]))]),
        (message(2, &[0, 9, 1]), vec![(Some(16), reset(1, 2, &[0, 22]))]),
        (message(2, &[0, 9, 1, 1]), vec![(Some(19), reset(3, 1, &[]))]),
        (attributes(&[&[0x80, 14, 3, 0, 2, 1]], &[]), vec![(Some(23), reset(3, 9, &[0x80, 14, 3, 0, 2, 1]))]),
        // A family that the strict decoder does not read
        (
            attributes(&[&[0x80, 15, 5, 0, 1, 128, 200, 1]], &[]),
            vec![(Some(29), reset(3, 9, &[0x80, 15, 5, 0, 1, 128, 200, 1]))],
        ),
        (message(5, &[0, 1, 0]), vec![(Some(19), reset(7, 1, &message(5, &[0, 1, 0])))]),
        (message(3, &[6, 2, 9, b'x']), vec![(Some(21), Reply::Silence)]),
        (message(3, &[6, 2, 1, 0xFF]), vec![(Some(21), Reply::Silence)]),
        (message(3, &[6, 9]), vec![(Some(21), Reply::Silence)]),
        (unmarked, vec![(Some(0), reset(1, 1, &[]))]),
    ];
    for (octets, expected) in table {
        assert_eq!(&faults(octets), expected, "{octets:02x?}");
    }
}

/// On a stream whose begin was seen, what has no marker is an error, not the middle of something.
#[test]
fn a_lost_marker_is_an_error() {
    let mut bad = wire::keepalive().to_vec();
    bad[15] = 0;
    let octets = [&wire::keepalive()[..], &bad, &wire::keepalive()].concat();
    let file = Capture::new(101)
        .frame(0, &tcp(CLIENT, 40000, SERVER, 179, 0, 0, 0x02, &[]))
        .frame(1, &tcp(CLIENT, 40000, SERVER, 179, 1, 1, 0x18, &octets));
    assert_eq!(
        lines(&file.octets)[1..],
        [
            "KEEPALIVE",
            "BGP? no marker where a message should begin",
            "TCP 10.0.0.2:40000 > 10.0.0.1:179 19 octets before the next whole message are not shown",
            "KEEPALIVE"
        ]
    );
}

/// What was agreed on in the OPENs decides, and without them what the message itself can tell.
#[test]
fn path_identifiers_and_short_as_numbers() {
    let announced = |entries: &[Entry]| -> Vec<String> {
        let field = entries.iter().flat_map(|entry| &entry.said.fields).find(|field| field.key == "announced");
        match field.map(|field| &field.value) {
            Some(Value::List(list)) => list.clone(),
            other => panic!("{other:?}"),
        }
    };
    // Without OPENs: a default route first is no path identifier, two of them are.
    let plain = attributes(&[ORIGIN, AS_PATH, NEXT_HOP], &[0, 16, 10, 0, 8, 11]);
    assert_eq!(announced(&after(&[], &plain)), ["0.0.0.0/0", "10.0.0.0/16", "11.0.0.0/8"]);
    let paths = attributes(&[ORIGIN, AS_PATH, NEXT_HOP], &[0, 0, 0, 7, 16, 10, 0, 0, 0, 0, 8, 0]);
    let entries = after(&[], &paths);
    assert_eq!(announced(&entries), ["10.0.0.0/16 path 7", "0.0.0.0/0 path 8"]);
    assert_eq!(entries[0].said.headline, "2 announced, ipv4 unicast, taken for add-path");
    assert_eq!(entries[0].said.faults, []);
    let short = attributes(&[ORIGIN, &[0x40, 2, 6, 2, 2, 0xFD, 0xE9, 0xFD, 0xEA], NEXT_HOP], &[8, 10]);
    let entries = after(&[], &short);
    assert_eq!(entries[0].said.headline, "1 announced, ipv4 unicast, taken for 2-octet AS numbers");
    assert_eq!(entries[0].said.faults, []);
    // With OPENs that agree on path identifiers, in this direction.
    let offer = |mode| {
        let capabilities = [65, 4, 0, 0, 0xFD, 0xE9, 69, 4, 0, 1, 1, mode];
        message(1, &[&[4, 0xFD, 0xE9, 0, 9, 1, 1, 1, 1, 14, 2, 12][..], &capabilities].concat())
    };
    for (sender, receiver, expected) in [(2, 1, true), (3, 3, true), (1, 2, false), (2, 2, false)] {
        let data = [offer(sender), paths.clone()].concat();
        let file = Capture::new(101)
            .frame(0, &tcp(SERVER, 179, CLIENT, 40000, 1, 1, 0x18, &offer(receiver)))
            .frame(1, &tcp(CLIENT, 40000, SERVER, 179, 1, 1, 0x18, &data));
        let entries = decode(&file.octets).0.split_off(3);
        let good = entries[0].said.faults.is_empty() && announced(&entries).len() == 2;
        assert_eq!(good, expected, "{sender} {receiver}: {entries:?}");
    }
}

#[test]
fn bfd_says_its_state_and_what_is_wrong_with_it() {
    let packet = |first: u8, second: u8, multiplier: u8, mine: u8| {
        [
            &[first, second, multiplier, 24, 0, 0, 0, mine, 0, 0, 0, 2][..],
            &[0, 1, 0x86, 0xA0],
            &[0, 4, 0x93, 0xE0],
            &[0; 4],
        ]
        .concat()
    };
    let shown = |port, ttl, octets: &[u8]| {
        let file = Capture::new(101).frame(0, &udp(CLIENT, SERVER, ttl, port, octets)).octets;
        let (entries, totals) = decode(&file);
        let line = entries.first().map(|entry| entry.said.headline.clone()).unwrap_or_default();
        (line, totals.malformed)
    };
    let good = packet(0x20, 0xC0, 3, 1);
    let up = "Up, 3 × 100 ms, mine 0x00000001, yours 0x00000002".to_owned();
    assert_eq!(shown(3784, 255, &good), (up.clone(), 0));
    assert_eq!(shown(4784, 64, &good), (up.clone(), 0));
    assert_eq!(shown(3784, 254, &good), (up, 1));
    let down = "Down (poll, final), 1 control detection time expired, 3 × 100 ms, mine 0x00000001, yours 0x00000002";
    assert_eq!(shown(3784, 255, &packet(0x21, 0x70, 3, 1)), (down.to_owned(), 0));
    for wrong in
        [packet(0x40, 0xC0, 3, 1), packet(0x20, 0xC0, 0, 1), packet(0x20, 0xC0, 3, 0), packet(0x20, 0xC1, 3, 1)]
    {
        assert_eq!(shown(3784, 255, &wrong).1, 1, "{wrong:02x?}");
    }
    for end in 0..24 {
        assert_eq!(shown(3784, 255, &good[..end]).1, 1, "{end}");
    }
    assert_eq!(shown(3785, 255, &good), (String::new(), 0));
}

#[test]
fn packet_too_big_names_the_flow() {
    let quoted = tcp(SERVER, 443, CLIENT, 50000, 1, 1, 0x10, &[0; 100]);
    let shown =
        |icmp: &[u8], protocol| lines(&Capture::new(101).frame(0, &ipv4(CLIENT, SERVER, 64, protocol, icmp)).octets);
    let v4 = |code, mtu: u16, quoted: &[u8]| [&[3, code, 0, 0, 0, 0][..], &mtu.to_be_bytes(), quoted].concat();
    let flow = "about TCP 10.0.0.1:443 > 10.0.0.2:50000";
    assert_eq!(shown(&v4(4, 1400, &quoted[..28]), 1), [format!("TOO BIG MTU 1400, {flow}")]);
    assert_eq!(shown(&v4(4, 0, &quoted[..24]), 1), [format!("TOO BIG MTU not given (RFC 1191 §5), {flow}")]);
    assert_eq!(shown(&v4(1, 1400, &quoted[..28]), 1), [""; 0]);
    assert_eq!(shown(&[2, 0, 0, 0, 0, 0, 5, 0x14], 58), ["TOO BIG MTU 1300"]);
    let malformed =
        |icmp: &[u8]| decode(&Capture::new(101).frame(0, &ipv4(CLIENT, SERVER, 64, 1, icmp)).octets).1.malformed;
    assert_eq!(
        [malformed(&v4(4, 1400, &quoted)), malformed(&v4(4, 60, &quoted)), malformed(&v4(4, 1400, &[]))],
        [0, 1, 1]
    );
    assert_eq!([malformed(&[3, 4, 0]), malformed(&[3])], [1, 0]);
}

#[test]
fn a_snapshot_length_cuts_messages() {
    let packet = tcp(CLIENT, 40000, SERVER, 179, 1, 1, 0x18, &update());
    let next = tcp(CLIENT, 40000, SERVER, 179, 1 + u32::try_from(update().len()).unwrap(), 1, 0x18, &wire::keepalive());
    let file = Capture::new(101).cut(0, &packet, 70).frame(1, &next).octets;
    assert_eq!(
        lines(&file),
        [
            GOES_ON.to_owned(),
            format!(
                "TCP 10.0.0.2:40000 > 10.0.0.1:179 ends inside an UPDATE: 30 of {} octets are there",
                update().len()
            ),
            format!("TCP 10.0.0.2:40000 > 10.0.0.1:179 {} octets are not in the capture", update().len() - 30),
            "KEEPALIVE".to_owned(),
        ]
    );
}

/// Each record, as RFC 6396 draws it.
#[test]
fn mrt_messages_states_and_tables() {
    let record = |kind: u16, subtype: u16, body: &[u8]| {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[0x65, 0, 0, 0][..], &kind.to_be_bytes(), &subtype.to_be_bytes(), &length, body].concat()
    };
    let ends = [&[0, 0, 0xFD, 0xE9, 0, 0, 0xFD, 0xEA, 0, 0, 0, 1, 10, 0, 0, 2, 10, 0, 0, 1][..]].concat();
    let short_ends = [0xFD, 0xE9, 0xFD, 0xEA, 0, 0, 0, 1, 10, 0, 0, 2, 10, 0, 0, 1];
    let short = attributes(&[ORIGIN, &[0x40, 2, 4, 2, 1, 0xFD, 0xE9], NEXT_HOP], &[8, 10]);
    let paths = attributes(&[ORIGIN, AS_PATH, NEXT_HOP], &[0, 0, 0, 7, 8, 10]);
    let peers = [&[10, 9, 9, 9, 0, 0, 0, 1, 2, 10, 0, 0, 5][..], &[10, 0, 0, 2, 0, 0, 0xFD, 0xE9]].concat();
    let section = [ORIGIN, AS_PATH, NEXT_HOP].concat();
    let rib = [&[0, 0, 0, 1, 8, 10, 0, 1, 0, 0, 0x65, 0, 0, 0, 0, 20][..], &section].concat();
    let rib6 = [
        &[0, 0, 0, 2, 16, 0x20, 1, 0, 1, 0, 7, 0x65, 0, 0, 0, 0, 33][..],
        ORIGIN,
        AS_PATH,
        &[0x80, 14, 17, 16],
        &[0xFD; 16],
    ]
    .concat();
    let file = [
        record(16, 4, &[&ends[..], &update()].concat()),
        record(16, 7, &[&ends[..], &wire::keepalive()].concat()),
        record(16, 1, &[&short_ends[..], &short].concat()),
        record(16, 9, &[&ends[..], &paths].concat()),
        record(17, 5, &[&[0, 0, 0, 5][..], &ends, &[0, 5, 0, 6]].concat()),
        record(13, 1, &peers),
        record(13, 2, &rib),
        record(13, 4, &rib6),
        record(16, 4, &ends[..9]),
        record(16, 4, &[&ends[..], &update()[..30]].concat()),
        record(48, 1, b"OSPF"),
    ]
    .concat();
    let (entries, totals) = decode(&file);
    let shown: Vec<_> = entries
        .iter()
        .map(|entry| {
            let from = entry.from.map_or_else(|| "-".to_owned(), |from| from.address.to_string());
            format!("{from} {} {} {}", entry.said.kind.name(), entry.said.headline, entry.said.faults.len())
        })
        .collect();
    assert_eq!(
        shown,
        [
            "10.0.0.2 UPDATE 1 announced, ipv4 unicast 0",
            "10.0.0.1 KEEPALIVE  0",
            "10.0.0.2 UPDATE 1 announced, ipv4 unicast 0",
            "10.0.0.2 UPDATE 1 announced, ipv4 unicast 0",
            "10.0.0.2 STATE OpenConfirm to Established 0",
            "- PEERS 1 peers of collector 10.9.9.9 0",
            "- RIB 10.0.0.0/8, 1 entries, ipv4 unicast 0",
            "- RIB 2001::/16, 1 entries, ipv6 unicast 0",
            "- BGP?  1",
            "10.0.0.2 BGP? 30 octets of a message 1",
        ]
    );
    assert_eq!((totals.frames, totals.malformed), (11, 2));
    assert_eq!(entries[4].at, Some(0x6500_0000 * 1_000_000_000 + 5000));
    let Some(Value::Rows(rows)) = entries[6].said.fields.last().map(|field| &field.value) else { panic!("no rows") };
    assert_eq!(rows[0].headline, "from 10.0.0.2 AS 65001");
    let Some(Value::Rows(rows)) = entries[7].said.fields.last().map(|field| &field.value) else { panic!("no rows") };
    assert_eq!(rows[0].headline, "from peer 7");
    assert_eq!(entries[0].said.kind, Kind::Update);
}
