use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn octets(out: &[Piece]) -> Vec<u8> {
    out.iter()
        .flat_map(|piece| match piece {
            Piece::Octets(octets) => octets.to_vec(),
            Piece::Missing(count) => format!("<{count}>").into_bytes(),
        })
        .collect()
}

/// A position and octets.
type Sent = (u32, &'static str);

/// Segments one after the other; what came out, then what came out at the end.
fn story(segments: &[Sent]) -> (String, String) {
    let mut side = Side::default();
    side.begin(0xFFFF_FFFB);
    let (mut out, mut last) = (Vec::new(), Vec::new());
    for (position, data) in segments {
        side.take(0xFFFF_FFFC_u32.wrapping_add(*position), data.as_bytes(), 0, &mut out);
    }
    side.finish(&mut last);
    assert_eq!(side.pending_octets(), 0);
    (String::from_utf8(octets(&out)).unwrap(), String::from_utf8(octets(&last)).unwrap())
}

#[test]
fn segments_are_put_in_order() {
    let table: &[(&[Sent], &str, &str)] = &[
        (&[(0, "abc"), (3, "def")], "abcdef", ""),
        (&[(3, "def"), (0, "abc")], "abcdef", ""),
        (&[(6, "ghi"), (3, "def"), (0, "abc")], "abcdefghi", ""),
        // Retransmissions, whole, in part, and with more
        (&[(0, "abc"), (0, "abc"), (3, "def")], "abcdef", ""),
        (&[(0, "abc"), (1, "bcdef")], "abcdef", ""),
        (&[(0, "abc"), (0, "ab")], "abc", ""),
        (&[(0, "abc"), (0, "abcd")], "abcd", ""),
        // Overlaps among those that wait: the longer one at the same place
        (&[(4, "ef"), (4, "efgh"), (2, "cde"), (0, "ab")], "abcdefgh", ""),
        (&[(4, "efgh"), (4, "ef"), (0, "abcd")], "abcdefgh", ""),
        // A keepalive of TCP's own: the octet before
        (&[(0, "abc"), (2, "c"), (3, "d")], "abcd", ""),
        // Gaps
        (&[(0, "ab"), (4, "ef")], "ab", "<2>ef"),
        (&[(1, "b"), (5, "f")], "", "<1>b<3>f"),
        (&[(0, "")], "", ""),
    ];
    for (segments, now, last) in table {
        assert_eq!(story(segments), ((*now).to_owned(), (*last).to_owned()), "{segments:?}");
    }
}

#[test]
fn without_a_begin_the_first_octets_are_the_first() {
    let mut side = Side::default();
    let mut out = Vec::new();
    side.take(1000, b"cd", 0, &mut out);
    side.take(998, b"ab", 0, &mut out);
    side.take(1002, b"ef", 0, &mut out);
    assert_eq!(octets(&out), b"cdef");
}

#[test]
fn what_the_snapshot_length_cut_off_is_missing() {
    let mut side = Side::default();
    side.begin(0);
    let mut out = Vec::new();
    side.take(1, b"ab", 3, &mut out);
    side.take(6, b"f", 0, &mut out);
    assert_eq!(octets(&out), b"ab<3>f");
    // The whole of it again, in part known: nothing new, and nothing missing twice.
    side.take(1, b"ab", 3, &mut out);
    assert_eq!(octets(&out), b"ab<3>f");
}

#[test]
fn an_acknowledged_gap_is_given_up_after_a_second() {
    let mut side = Side::default();
    side.begin(0);
    let mut out = Vec::new();
    side.take(3, b"cd", 0, &mut out);
    side.acknowledged(1, 0, &mut out);
    side.acknowledged(5, 1_000_000_000, &mut out);
    side.acknowledged(5, 1_999_999_999, &mut out);
    assert_eq!(octets(&out), b"");
    side.acknowledged(5, 2_000_000_000, &mut out);
    assert_eq!(octets(&out), b"<2>cd");
}

#[test]
fn what_waits_is_bounded() {
    let mut side = Side::default();
    side.begin(0);
    let mut out = Vec::new();
    let segment = vec![b'x'; 1000];
    for number in 0..5000 {
        side.take(10 + number * 1000, &segment, 0, &mut out);
        assert!(side.pending_octets() <= MAX_PENDING);
    }
    assert!(matches!(out.first(), Some(Piece::Missing(9))), "{:?}", out.first());
    let mut side = Side::default();
    side.begin(0);
    for number in 0..5000 {
        side.take(10 + number * 2, b"x", 0, &mut out);
        assert!(side.pending.len() <= MAX_PENDING_SEGMENTS);
    }
}

proptest! {
    /// Whatever the segments, in whatever order, as often as one likes: once all is there, it comes out as it was sent.
    #[test]
    fn any_segments_make_the_stream(
        start in any::<u32>(),
        stream in vec(any::<u8>(), 1..200),
        cuts in vec((any::<u16>(), 1..60usize), 0..60),
        rotate in any::<usize>(),
    ) {
        let mut segments: Vec<(usize, usize)> = cuts
            .iter()
            .map(|(at, length)| (usize::from(*at) % stream.len(), *length))
            .map(|(at, length)| (at, (at + length).min(stream.len())))
            .collect();
        segments.extend((0..stream.len()).step_by(7).map(|at| (at, (at + 7).min(stream.len()))));
        let middle = rotate % segments.len();
        segments.rotate_left(middle);
        let mut side = Side::default();
        side.begin(start);
        let mut out = Vec::new();
        for (from, to) in segments {
            let sequence = start.wrapping_add(1).wrapping_add(u32::try_from(from).unwrap());
            side.take(sequence, &stream[from..to], 0, &mut out);
        }
        prop_assert_eq!(octets(&out), stream);
        prop_assert_eq!(side.pending_octets(), 0);
    }
}
