//! Any octets: framed, decoded by every kind of session, and what they say sent on and read back.
#![no_main]

use anycaster::bgp::wire::{self, Codec, Frame, MAX_EXTENDED_MESSAGE, MAX_MESSAGE, Message, Update};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for bits in 0..16u8 {
        let codec = Codec {
            four_octet_asn: bits & 1 != 0,
            extended_message: bits & 2 != 0,
            extended_next_hop: bits & 4 != 0,
            internal: bits & 8 != 0,
        };
        let limit = if codec.extended_message { MAX_EXTENDED_MESSAGE } else { MAX_MESSAGE };
        let mut buffer = BytesMut::from(input);
        while let Ok(Some(frame)) = wire::frame(&mut buffer, limit) {
            one(&frame, &codec);
        }
        // Also as a body, so that mutation need not find out about markers first.
        if let Some((kind, body)) = input.split_first() {
            one(&Frame { kind: *kind, body: Bytes::copy_from_slice(body) }, &codec);
        }
    }
});

fn one(frame: &Frame, codec: &Codec) {
    match wire::decode(frame, codec) {
        Ok(Message::Open(open)) => {
            let mut sendable = open;
            sendable.capabilities.unknown.clear();
            sendable.capabilities.families.sort_unstable();
            sendable.capabilities.multiprotocol = !sendable.capabilities.families.is_empty();
            assert_eq!(reread(&wire::open(&sendable), codec), Message::Open(sendable));
        }
        Ok(Message::Update(update)) => again(&update, codec),
        Ok(Message::Notification(notification)) => drop(notification.to_string()),
        Ok(Message::RouteRefresh(refresh)) => {
            if let Some(family) = refresh.family.filter(|_| refresh.subtype <= 2) {
                assert_eq!(
                    reread(&wire::route_refresh(family, refresh.subtype), codec),
                    Message::RouteRefresh(refresh)
                );
            }
        }
        Ok(Message::Keepalive) => {}
        Err(reply) => {
            let mut cut = reply.clone();
            cut.data.truncate(MAX_MESSAGE - 21);
            assert_eq!(reread(&wire::notification(&reply), codec), Message::Notification(cut));
        }
    }
}

fn reread(octets: &[u8], codec: &Codec) -> Message {
    let frame = wire::frame(&mut BytesMut::from(octets), MAX_MESSAGE);
    wire::decode(&frame.expect("our own header").expect("a whole message"), codec).expect("our own message")
}

/// What was withdrawn or announced there, withdrawn by us, is the same prefixes.
fn again(update: &Update, codec: &Codec) {
    let mut prefixes = [&update.announced[..], &update.withdrawn[..]].concat();
    let mut out = BytesMut::new();
    wire::withdraw(&prefixes, codec.extended_next_hop, &mut out);
    let mut back = Vec::new();
    while let Some(frame) = wire::frame(&mut out, MAX_MESSAGE).expect("our own header") {
        let Ok(Message::Update(update)) = wire::decode(&frame, codec) else { panic!("our own UPDATE") };
        assert!(update.announced.is_empty() && update.malformed.is_empty());
        back.extend(update.withdrawn);
    }
    // Families go out one after the other.
    prefixes.sort_by_key(wire::Family::of);
    assert_eq!(back, prefixes);
}
