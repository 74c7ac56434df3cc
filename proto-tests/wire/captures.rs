//! Captures from elsewhere, among them deliberately broken ones: nothing in them may panic or loop.

use std::io::Write;
use std::path::Path;

use anycaster::bgp::wire::{self, Codec, MAX_EXTENDED_MESSAGE};
use bytes::BytesMut;

/// Every place where a marker stands is tried as the start of a stream: no need to know link layers and segments.
#[test]
fn captures_do_not_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return say(&format!("SKIPPED captures_do_not_panic: no captures at {}", folder.display()));
    };
    let (mut files, mut messages, mut notifications) = (0, 0, 0);
    for path in entries.map(|entry| entry.unwrap().path()) {
        if !path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng") {
            continue;
        }
        files += 1;
        let octets = std::fs::read(&path).unwrap();
        let starts = octets.windows(16).enumerate().filter(|(_, window)| window.iter().all(|octet| *octet == 0xFF));
        for (start, _) in starts {
            let (good, bad) = decode_from(&octets[start..]);
            messages += good;
            notifications += bad;
        }
    }
    say(&format!("{files} captures: {messages} messages, {notifications} notifications"));
    assert!(files > 0 && messages > files, "{files} captures with {messages} messages at {}", folder.display());
}

/// The first message there, as each kind of session reads it.
fn decode_from(octets: &[u8]) -> (usize, usize) {
    let mut buffer = BytesMut::from(octets);
    let Ok(Some(frame)) = wire::frame(&mut buffer, MAX_EXTENDED_MESSAGE) else { return (0, 1) };
    let codec =
        |four_octet_asn, internal| Codec { four_octet_asn, extended_message: true, extended_next_hop: true, internal };
    let codecs = [codec(true, false), codec(true, true), codec(false, false), codec(false, true)];
    let good = codecs.iter().filter(|codec| wire::decode(&frame, codec).is_ok()).count();
    (good, codecs.len() - good)
}

/// Past the test harness, which shows only what failing tests print.
fn say(line: &str) {
    let mut stderr = std::io::stderr();
    stderr.write_all(format!("{line}\n").as_bytes()).unwrap();
}
