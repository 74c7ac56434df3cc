//! Any octets as a capture file: read whole or in two pieces, it is the same, and text and JSON can be made of it.
#![no_main]

use std::path::Path;

use anycaster::cli::decode::{Options, whole};
use anycaster::decode::{Decoder, Entry};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let at = input.first().map_or(0, |first| usize::from(*first) * input.len() / 256);
    let (head, tail) = input.split_at(at);
    assert_eq!(entries(&[input]), entries(&[head, tail]));
    for json in [false, true] {
        drop(whole(Path::new("input"), input, &Options { ports: vec![1790], json, colour: true }));
    }
});

fn entries(pieces: &[&[u8]]) -> Vec<Entry> {
    let mut decoder = Decoder::new(&[1790]);
    let mut entries = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        entries.extend(std::iter::from_fn(|| decoder.poll()));
    }
    decoder.end();
    entries.extend(std::iter::from_fn(|| decoder.poll()));
    entries
}
