use super::*;

const EXTERNAL: Codec =
    Codec { four_octet_asn: true, extended_message: false, extended_next_hop: false, internal: false };
const INTERNAL: Codec = Codec { internal: true, ..EXTERNAL };

/// RFC 7606 §3 (c): Optional and Transitive as specified, whatever Partial and Extended Length say.
#[test]
fn each_attribute_has_its_own_flags() {
    let (transitive, optional, both) = (0x40, 0x80, 0xc0);
    for (kinds, right) in
        [(&[1, 2, 3, 5, 6][..], transitive), (&[4, 9, 10, 14, 15], optional), (&[7, 8, 16, 17, 18, 25, 32, 35], both)]
    {
        for kind in kinds {
            for flags in [0x00, 0x40, 0x80, 0xc0] {
                for ignored in [0x00, 0x20, 0x10, 0x0f] {
                    // The value is wrong for most: what is asked is only whether the flags are what is wrong with it.
                    let fault = check(*kind, flags | ignored, &[0; 4], &EXTERNAL).err();
                    let wrong = fault == Some(withdraw(subcode::ATTRIBUTE_FLAGS, "wrong attribute flags"));
                    assert_eq!(wrong, flags != right, "type {kind} with flags {flags:#04x} and {ignored:#04x}");
                }
            }
        }
    }
    for unknown in [0, 11, 12, 13, 19, 24, 26, 31, 33, 34, 36, 128, 255] {
        assert_eq!((specified_flags(unknown), check(unknown, 0, &[1], &EXTERNAL)), (None, Ok(())), "type {unknown}");
    }
}

#[test]
fn paths_of_each_kind_of_segment() {
    let path = |kind: u8| [kind, 1, 0, 0, 0xfd, 0xe9];
    let why = |result: Result<(), Fault>| result.err().map(|fault| fault.why);
    let (set, confederation) = ("AS_SET or AS_CONFED_SET", "confederation segment from an external neighbor");
    for (kind, external, internal, as4) in [
        (segment::AS_SEQUENCE, None, None, None),
        (segment::AS_SET, Some(set), Some(set), Some(set)),
        (segment::CONFED_SEQUENCE, Some(confederation), None, Some("confederation segment in AS4_PATH")),
        (segment::CONFED_SET, Some(confederation), Some(set), Some(set)),
        (5, Some("unrecognized segment type"), Some("unrecognized segment type"), Some("unrecognized segment type")),
    ] {
        assert_eq!(why(as_path(&path(kind), &EXTERNAL)), external, "type {kind}, external");
        assert_eq!(why(as_path(&path(kind), &INTERNAL)), internal, "type {kind}, internal");
        assert_eq!(why(as4_path(&path(kind))), as4, "type {kind}, AS4_PATH");
    }
}
