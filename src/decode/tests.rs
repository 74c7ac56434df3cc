use std::net::IpAddr;

use super::*;
use crate::bgp::wire::{self, Family, Notification};

mod captures;
mod messages;

use captures::{CLIENT, Capture, SERVER, SYN_ACK, tcp};

/// All that comes out, with the totals.
fn decode(octets: &[u8]) -> (Vec<Entry>, Totals) {
    let mut decoder = Decoder::new(&[]);
    decoder.feed(octets);
    let mut entries: Vec<Entry> = std::iter::from_fn(|| decoder.poll()).collect();
    decoder.end();
    entries.extend(std::iter::from_fn(|| decoder.poll()));
    (entries, decoder.totals().clone())
}

/// "KIND headline" of each.
fn lines(octets: &[u8]) -> Vec<String> {
    let line = |entry: &Entry| format!("{} {}", entry.said.kind.name(), entry.said.headline).trim_end().to_owned();
    decode(octets).0.iter().map(line).collect()
}

fn keepalive() -> Vec<u8> {
    tcp(CLIENT, 40000, SERVER, 179, 1, 1, 0x18, &wire::keepalive())
}

const GOES_ON: &str = "TCP 10.0.0.2:40000 > 10.0.0.1:179 goes on from before the capture";

/// The same packet in each of them.
#[test]
fn every_link_layer() {
    let mac = [0; 12];
    let packet = keepalive();
    let tagged = [&mac[..], &[0x88, 0xA8, 0x20, 0x0A, 0x81, 0, 0, 7, 8, 0], &packet].concat();
    let cooked = [&[0; 14][..], &[8, 0], &packet].concat();
    let cooked2 = [&[8, 0][..], &[0; 18], &packet].concat();
    let table: &[(u32, Vec<u8>, &[u16])] = &[
        (1, [&mac[..], &[8, 0], &packet].concat(), &[]),
        (1, tagged, &[10, 7]),
        (0, [&[2, 0, 0, 0][..], &packet].concat(), &[]),
        (0, [&[0, 0, 0, 2][..], &packet].concat(), &[]),
        (108, [&[0, 0, 0, 2][..], &packet].concat(), &[]),
        (101, packet.clone(), &[]),
        (12, packet.clone(), &[]),
        (228, packet.clone(), &[]),
        (113, cooked, &[]),
        (276, cooked2, &[]),
    ];
    for (link, frame, vlans) in table {
        let (entries, _) = decode(&Capture::new(*link).frame(0, frame).octets);
        let kinds: Vec<Kind> = entries.iter().map(|entry| entry.said.kind).collect();
        assert_eq!(kinds, [Kind::Connection, Kind::Keepalive], "link type {link}");
        assert_eq!(&entries[1].vlans, vlans);
        // Cut off anywhere, it is no message and no panic.
        for end in 0..frame.len() {
            let cut = decode(&Capture::new(*link).frame(0, &frame[..end]).octets).0;
            assert!(!cut.iter().any(|entry| entry.said.kind == Kind::Keepalive), "link type {link}, {end}");
        }
    }
    let totals = decode(&Capture::new(127).frame(0, &packet).octets).1;
    let why = "its link layer is not decoded: 802.11 with radiotap";
    assert_eq!(totals.unreadable.as_deref(), Some(why));
}

#[test]
fn every_kind_of_pcap_has_the_same_time() {
    let at = 1_700_000_000_123_456_000;
    for (magic, big, unit, longer) in [
        (0xA1B2_C3D4_u32, true, 1000, 0),
        (0xA1B2_C3D4, false, 1000, 0),
        (0xA1B2_3C4D, true, 1, 0),
        (0xA1B2_3C4D, false, 1, 0),
        (0xA1B2_CD34, false, 1000, 8),
    ] {
        let word = |number: u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
        let packet = keepalive();
        let length = u32::try_from(packet.len()).unwrap();
        let mut file = [word(magic), word(0x0002_0004), word(0), word(0), word(65535), word(101)].concat();
        for number in [1_700_000_000, 123_456_000 / unit, length, length] {
            file.extend(word(number));
        }
        file.extend(vec![0; longer]);
        file.extend(packet);
        let (entries, totals) = decode(&file);
        assert_eq!((entries.len(), entries[1].at, totals.damaged), (2, Some(at), false), "{magic:#x} {big}");
    }
}

#[test]
fn every_kind_of_pcapng_packet() {
    for big in [false, true] {
        let word = |number: u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
        let half = |number: u16| if big { number.to_be_bytes() } else { number.to_le_bytes() };
        let block = |kind: u32, body: Vec<u8>| {
            let padded = body.len().next_multiple_of(4);
            let length = u32::try_from(12 + padded).unwrap();
            let padding = vec![0; padded - body.len()];
            [&word(kind)[..], &word(length), &body, &padding, &word(length)].concat()
        };
        let section = block(0x0A0D_0D0A, [word(0x1A2B_3C4D), word(1), word(u32::MAX), word(u32::MAX)].concat());
        let interface = |options: &[u8]| block(1, [&half(101)[..], &half(0), &word(0), options].concat());
        let option = |code, value: &[u8]| {
            let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
            [&half(code)[..], &half(u16::try_from(value.len()).unwrap()), value, &padding].concat()
        };
        let packet = keepalive();
        let length = u32::try_from(packet.len()).unwrap();
        let enhanced = |number: u32, units: u64| {
            let (high, low) = (u32::try_from(units >> 32).unwrap(), u32::try_from(units & 0xFFFF_FFFF).unwrap());
            let numbers = [word(number), word(high), word(low), word(length), word(length)].concat();
            block(6, [&numbers[..], &packet].concat())
        };
        let obsolete = {
            let numbers = [word(0), word(7), word(length), word(length)].concat();
            block(2, [&half(0)[..], &half(0), &numbers, &packet].concat())
        };
        let offset = if big { 100_i64.to_be_bytes() } else { 100_i64.to_le_bytes() };
        let file = [
            section.clone(),
            interface(&[]),
            interface(&option(9, &[9])),
            interface(&option(9, &[0x80 | 10])),
            interface(&[option(2, b"eth0"), option(9, &[0]), option(14, &offset), option(0, &[])].concat()),
            block(5, vec![1, 2, 3]),
            enhanced(0, 5_000_001),
            enhanced(1, 5_000_001),
            enhanced(2, 1024 + 512),
            enhanced(3, 6),
            obsolete,
            block(3, [&word(length)[..], &packet].concat()),
            // Interfaces are a section's own.
            section,
            interface(&[]),
            enhanced(0, 9_000_000),
        ]
        .concat();
        let mut decoder = Decoder::new(&[]);
        decoder.feed(&file);
        let times: Vec<Option<u64>> = std::iter::from_fn(|| decoder.poll())
            .filter(|entry| entry.said.kind != Kind::Connection)
            .map(|entry| entry.at)
            .collect();
        // The same segment again and again is one message.
        assert_eq!(times, [Some(5_000_001_000)], "{big}");
        assert_eq!((decoder.totals().frames, decoder.first()), (7, Some(5_000_001_000)));
        let again = |number, units| {
            let head = [interface(&[]), interface(&option(9, &[9])), interface(&option(9, &[0x8A]))].concat();
            let last = interface(&[option(9, &[0]), option(14, &offset)].concat());
            let file = [
                block(0x0A0D_0D0A, [word(0x1A2B_3C4D), word(1), word(0), word(0)].concat()),
                head,
                last,
                enhanced(number, units),
            ];
            decode(&file.concat()).0[1].at
        };
        assert_eq!(again(1, 5_000_001), Some(5_000_001));
        assert_eq!(again(2, 1024 + 512), Some(1_500_000_000));
        assert_eq!(again(3, 6), Some(106_000_000_000));
        let unknown = [&file[..28], &enhanced(9, 0)].concat();
        let totals = decode(&unknown).1;
        assert_eq!((totals.damaged, totals.unreadable.is_some()), (true, true));
    }
}

#[test]
fn a_file_that_is_none_says_so() {
    let why = |octets: &[u8]| decode(octets).1.unreadable.unwrap_or_default();
    assert_eq!(why(b""), "it is empty");
    assert_eq!(why(b"#!/bin/sh\necho this is no capture\n"), "it is neither pcap nor pcapng nor MRT");
    assert_eq!(why(&[0x1F, 0x8B, 8, 0]), "it is compressed: try gzip -dc FILE | anycaster decode -");
    assert_eq!(why(&Capture::new(101).octets), "");
}

/// What was there is shown, then why there is no more.
#[test]
fn a_file_that_is_cut_off_or_damaged_shows_what_was_there() {
    let whole = Capture::new(101).frame(0, &keepalive()).frame(1, &keepalive()).octets;
    for end in whole.len() - 40..whole.len() {
        let (entries, totals) = decode(&whole[..end]);
        assert_eq!((totals.frames, totals.damaged), (1, true));
        let there = end - (24 + 16 + keepalive().len());
        let said = format!("the file is cut off: it ends inside a frame, of which {there} octets are there");
        assert_eq!(entries.iter().map(|entry| entry.said.headline.clone()).next_back(), Some(said));
    }
    let mut damaged = whole;
    let second = 24 + 16 + keepalive().len();
    damaged[second + 8..second + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(
        lines(&damaged),
        [
            GOES_ON,
            "KEEPALIVE",
            "NOTE the file is damaged behind frame 1: a frame of 4294967295 octets: no capture has that"
        ]
    );
}

/// However the file's octets arrive, what comes out is the same.
#[test]
fn pieces_of_any_size_make_the_same() {
    let file = messages::conversation().octets;
    let whole = decode(&file);
    for size in [1, 2, 3, 7, 64, 1000] {
        let mut decoder = Decoder::new(&[]);
        let mut entries = Vec::new();
        for piece in file.chunks(size) {
            decoder.feed(piece);
            entries.extend(std::iter::from_fn(|| decoder.poll()));
        }
        decoder.end();
        entries.extend(std::iter::from_fn(|| decoder.poll()));
        assert_eq!((entries, decoder.totals().clone()), whole, "{size}");
    }
}

#[test]
fn a_stream_may_begin_anywhere_and_have_holes() {
    let update = messages::update();
    let stream: Vec<u8> = [&update[..], &wire::keepalive(), &update, &wire::keepalive()].concat();
    let first = update.len();
    let cut = |from: usize, to: usize| {
        let sequence = 1000 + u32::try_from(from).unwrap();
        tcp(CLIENT, 40000, SERVER, 179, sequence, 1, 0x18, &stream[from..to])
    };
    // It begins inside the first message.
    let middle = Capture::new(101).frame(0, &cut(10, first + 19)).frame(1, &cut(first + 19, stream.len())).octets;
    let skipped =
        format!("TCP 10.0.0.2:40000 > 10.0.0.1:179 {} octets before the next whole message are not shown", first - 10);
    let announced = "UPDATE 1 announced, ipv4 unicast";
    assert_eq!(lines(&middle), [GOES_ON, &skipped, "KEEPALIVE", announced, "KEEPALIVE"]);
    // A hole inside the third one; the fourth is whole.
    let third = first + 19;
    let hole = Capture::new(101)
        .frame(0, &tcp(CLIENT, 40000, SERVER, 179, 999, 0, 0x02, &[]))
        .frame(1, &cut(0, third + 21))
        .frame(2, &cut(third + 30, stream.len()))
        .octets;
    let left = stream.len() - 19 - third - 30;
    assert_eq!(
        lines(&hole),
        [
            "TCP 10.0.0.2:40000 > 10.0.0.1:179 opened".to_owned(),
            announced.to_owned(),
            "KEEPALIVE".to_owned(),
            format!("TCP 10.0.0.2:40000 > 10.0.0.1:179 ends inside an UPDATE: 21 of {first} octets are there"),
            "TCP 10.0.0.2:40000 > 10.0.0.1:179 9 octets are not in the capture".to_owned(),
            format!("TCP 10.0.0.2:40000 > 10.0.0.1:179 {left} octets before the next whole message are not shown"),
            "KEEPALIVE".to_owned(),
        ]
    );
}

#[test]
fn a_port_used_again_is_another_connection() {
    let syn = |sequence| tcp(CLIENT, 40000, SERVER, 179, sequence, 0, 0x02, &[]);
    let data = |sequence| tcp(CLIENT, 40000, SERVER, 179, sequence, 1, 0x18, &wire::keepalive());
    let fin = |sequence| tcp(CLIENT, 40000, SERVER, 179, sequence, 1, 0x11, &[]);
    let answer = tcp(SERVER, 179, CLIENT, 40000, 500, 101, SYN_ACK, &[]);
    let file = Capture::new(101)
        .frame(0, &syn(100))
        .frame(1, &syn(100))
        .frame(2, &answer)
        .frame(3, &data(101))
        .frame(4, &fin(120))
        .frame(5, &fin(120))
        .frame(6, &syn(7000))
        .frame(7, &data(7001))
        .octets;
    let (entries, _) = decode(&file);
    let numbers: Vec<_> = entries.iter().map(|entry| (entry.connection, entry.said.kind)).collect();
    let (one, two) = (Some(1), Some(2));
    use Kind::{Connection, Keepalive};
    assert_eq!(numbers, [(one, Connection), (one, Keepalive), (one, Connection), (two, Connection), (two, Keepalive)]);
}

#[test]
fn connections_are_bounded() {
    let mut capture = Capture::new(101);
    for number in 0..3000_u16 {
        let half = &wire::keepalive()[..10];
        capture = capture.frame(number.into(), &tcp(CLIENT, 10_000 + number, SERVER, 179, 1, 1, 0x18, half));
    }
    let mut decoder = Decoder::new(&[]);
    decoder.feed(&capture.octets);
    assert_eq!(decoder.connections.count(), (3000, connections::MAX_CONNECTIONS));
}

#[test]
fn extension_headers_are_passed_and_fragments_named() {
    let segment = &keepalive()[20..];
    let v6 = |next: u8, payload: &[u8]| {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&[0x60, 0, 0, 0][..], &length, &[next, 64], &[0xFD; 16], &[0xFE; 16], payload].concat()
    };
    let options = [&[60, 0][..], &[0; 6], &[43, 1], &[0; 14], &[51, 0], &[0; 6], &[6, 1], &[0; 10], segment].concat();
    let atomic = [&[6, 0, 0, 0, 0, 0, 0, 9][..], segment].concat();
    for packet in [v6(0, &options), v6(44, &atomic), v6(6, segment)] {
        let kinds: Vec<Kind> =
            decode(&Capture::new(101).frame(0, &packet).octets).0.iter().map(|e| e.said.kind).collect();
        assert_eq!(kinds, [Kind::Connection, Kind::Keepalive]);
    }
    let first = [&[6, 0, 0, 1, 0, 0, 0, 9][..], segment].concat();
    let second = [&[6, 0, 0, 0x28, 0, 0, 0, 9][..], b"more"].concat();
    let other = [&[17, 0, 0, 1, 0, 0, 0, 8][..], &[0; 40]].concat();
    let file = Capture::new(101).frame(0, &v6(44, &first)).frame(1, &v6(44, &second)).frame(2, &v6(44, &other)).octets;
    assert_eq!(
        lines(&file),
        [
            "NOTE IP fragment 0x9 at offset 0: not decoded",
            "NOTE IP fragment 0x9 at offset 40: not decoded",
            "NOTE 1 IP fragments were not put together"
        ]
    );
}

#[test]
fn other_ports_only_when_named() {
    let packet = tcp(CLIENT, 40000, SERVER, 1790, 1, 1, 0x18, &wire::keepalive());
    let file = Capture::new(101).frame(0, &packet).octets;
    assert_eq!(lines(&file), [""; 0]);
    let mut decoder = Decoder::new(&[1790]);
    decoder.feed(&file);
    let kinds: Vec<Kind> = std::iter::from_fn(|| decoder.poll()).map(|entry| entry.said.kind).collect();
    assert_eq!(kinds, [Kind::Connection, Kind::Keepalive]);
}

#[test]
fn addresses_stand_with_their_direction() {
    let (entries, _) = decode(&messages::conversation().octets);
    let end = |address: IpAddr, port| Some(Endpoint { address, port: Some(port) });
    let opens: Vec<_> = entries.iter().filter(|e| e.said.kind == Kind::Open).map(|e| (e.from, e.to)).collect();
    let (client, server) = (end(CLIENT.into(), 40000), end(SERVER.into(), 179));
    assert_eq!(opens, [(client, server), (server, client)]);
}

/// The names are part of what programs read.
#[test]
fn families_have_names() {
    for known in Family::ALL {
        let (afi, safi) = known.numbers();
        assert_eq!(family::name(afi, safi), format!("{} unicast", known.name()));
    }
    assert_eq!(family::name(7, 9), "afi 7 safi 9");
    assert_eq!(Notification::cease(2).to_string(), "Cease/Administrative Shutdown");
}
