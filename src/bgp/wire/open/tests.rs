use super::super::AS_TRANS;
use super::*;

/// An OPEN of AS 65001, hold time 90, id 192.0.2.1, with these optional parameters behind their length octet.
fn body(parameters: &[u8]) -> Vec<u8> {
    let mut octets = vec![4, 0xFD, 0xE9, 0, 90, 192, 0, 2, 1, u8::try_from(parameters.len()).unwrap()];
    octets.extend_from_slice(parameters);
    octets
}

fn of_as_trans(parameters: &[u8]) -> Vec<u8> {
    let mut octets = body(parameters);
    octets[1..3].copy_from_slice(&AS_TRANS.to_be_bytes());
    octets
}

/// The same in RFC 9072's form.
fn extended(non_extended_length: u8, length: u16, parameters: &[u8]) -> Vec<u8> {
    let mut octets = body(&[]);
    octets.pop();
    octets.extend([non_extended_length, 255]);
    octets.extend(length.to_be_bytes());
    octets.extend_from_slice(parameters);
    octets
}

fn opened(capabilities: Capabilities) -> Result<Open, Notification> {
    let asn = capabilities.four_octet_asn.unwrap_or(65001);
    Ok(Open { version: 4, asn, hold_time: 90, id: Ipv4Addr::new(192, 0, 2, 1), capabilities })
}

const NONE: Capabilities = Capabilities {
    families: Vec::new(),
    multiprotocol: false,
    route_refresh: false,
    extended_next_hop: false,
    extended_message: false,
    four_octet_asn: None,
    enhanced_route_refresh: false,
    unknown: Vec::new(),
};

fn refused(subcode: u8) -> Result<Open, Notification> {
    Err(Notification::new(2, subcode, []))
}

#[test]
fn capabilities_however_they_are_laid_out() {
    let both = Capabilities { families: vec![Family::Ipv6, Family::Ipv4], multiprotocol: true, ..NONE };
    let all = Capabilities {
        families: vec![Family::Ipv4],
        multiprotocol: true,
        route_refresh: true,
        extended_next_hop: true,
        extended_message: true,
        four_octet_asn: Some(4_200_000_001),
        enhanced_route_refresh: true,
        unknown: vec![9, 64, 73],
    };
    let every: &[u8] = &[
        2, 48, 73, 2, 1, 65, 1, 4, 0, 1, 0, 1, 2, 0, 5, 12, 0, 1, 0, 128, 0, 2, 0, 1, 0, 1, 0, 2, 6, 0, 9, 1, 3, 64, 2,
        0, 120, 65, 4, 0xFA, 0x56, 0xEA, 0x01, 70, 0, 73, 0, 1, 4, 0,
    ];
    let every = &[every, &[1, 0, 1]].concat();
    let mut every_counted = every.clone();
    every_counted[1] = u8::try_from(every.len() - 2).unwrap();
    let table: &[(Vec<u8>, Result<Open, Notification>)] = &[
        (body(&[]), opened(NONE)),
        (body(&[2, 0]), opened(NONE)),
        (body(&[2, 6, 1, 4, 0, 2, 0, 1, 2, 6, 1, 4, 0, 1, 0, 1]), opened(both.clone())),
        (body(&[2, 12, 1, 4, 0, 2, 0, 1, 1, 4, 0, 1, 0, 1]), opened(both.clone())),
        (body(&[2, 12, 1, 4, 0, 2, 0, 1, 1, 4, 0, 2, 0, 1, 2, 6, 1, 4, 0, 1, 0, 1]), opened(both.clone())),
        // the reserved octet is not looked at
        (
            body(&[2, 6, 1, 4, 0, 1, 7, 1]),
            opened(Capabilities { families: vec![Family::Ipv4], multiprotocol: true, ..NONE }),
        ),
        (body(&[2, 6, 1, 4, 0, 1, 0, 128]), opened(Capabilities { multiprotocol: true, ..NONE })),
        (body(&[2, 6, 1, 4, 0x40, 4, 0, 71]), opened(Capabilities { multiprotocol: true, ..NONE })),
        (body(&[2, 2, 128, 0, 2, 3, 131, 1, 0]), opened(Capabilities { unknown: vec![128, 131], ..NONE })),
        (body(&[2, 2, 5, 0]), opened(NONE)),
        (body(&[2, 8, 5, 6, 0, 2, 0, 1, 0, 1]), opened(NONE)),
        (
            extended(255, 9, &[2, 0, 6, 1, 4, 0, 2, 0, 1]),
            opened(Capabilities { families: vec![Family::Ipv6], multiprotocol: true, ..NONE }),
        ),
        (extended(9, 3, &[2, 0, 0]), opened(NONE)),
        (extended(255, 0, &[]), opened(NONE)),
        (of_as_trans(&every_counted), opened(all)),
        (body(&[2, 6, 65, 4, 0, 0, 0xFD, 0xE9]), opened(Capabilities { four_octet_asn: Some(65001), ..NONE })),
    ];
    for (octets, expected) in table {
        assert_eq!(&decode(octets), expected, "{octets:?}");
    }
}

#[test]
fn what_is_refused() {
    let with = |at: usize, octets: &[u8]| {
        let mut open = body(&[]);
        open[at..at + octets.len()].copy_from_slice(octets);
        open
    };
    let short = |octets: &[u8]| Err(Notification::new(1, 2, [0, u8::try_from(19 + octets.len()).unwrap()]));
    let table: &[(Vec<u8>, Result<Open, Notification>)] = &[
        (with(0, &[3]), Err(Notification::new(2, 1, [0, 4]))),
        (with(0, &[5]), Err(Notification::new(2, 1, [0, 4]))),
        (with(1, &[0, 0]), refused(2)),
        (body(&[2, 6, 65, 4, 0, 0, 0, 0]), refused(2)),
        (of_as_trans(&[2, 6, 65, 4, 0, 0, 0, 0]), refused(2)),
        // RFC 6793 §4.2.1: the same number twice, or AS_TRANS
        (body(&[2, 6, 65, 4, 0, 0, 0xFD, 0xEA]), refused(2)),
        (body(&[2, 6, 65, 4, 0, 1, 0xFD, 0xE9]), refused(2)),
        (with(5, &[0, 0, 0, 0]), refused(3)),
        // RFC 6286: multicast and broadcast are fine
        (with(5, &[224, 0, 0, 1]), opened(NONE).map(|open| Open { id: Ipv4Addr::new(224, 0, 0, 1), ..open })),
        // hold time is the session's to judge
        (with(3, &[0, 1]), opened(NONE).map(|open| Open { hold_time: 1, ..open })),
        (body(&[1, 1, 0]), refused(4)),
        (body(&[99, 0]), refused(4)),
        (body(&[2, 0, 255, 0]), refused(4)),
        (extended(255, 3, &[1, 0, 0]), refused(4)),
        // lengths
        (with(9, &[1]), refused(0)),
        ([body(&[]), vec![0]].concat(), refused(0)),
        (body(&[2]), refused(0)),
        (body(&[2, 3, 2, 0]), refused(0)),
        (body(&[2, 1, 2]), refused(0)),
        (body(&[2, 2, 2, 1]), refused(0)),
        (body(&[2, 7, 2, 0, 1, 4, 0, 1, 0]), refused(0)),
        (extended(255, 4, &[2, 0, 0]), refused(0)),
        (extended(255, 2, &[2, 0, 0]), refused(0)),
        (extended(255, 2, &[2, 0]), refused(0)),
        (body(&[255]), refused(0)),
        // known capabilities of wrong length
        (body(&[2, 5, 1, 3, 0, 1, 0]), refused(0)),
        (body(&[2, 7, 1, 5, 0, 1, 0, 1, 0]), refused(0)),
        (body(&[2, 2, 1, 0]), refused(0)),
        (body(&[2, 3, 2, 1, 0]), refused(0)),
        (body(&[2, 7, 5, 5, 0, 1, 0, 1, 0]), refused(0)),
        (body(&[2, 3, 6, 1, 0]), refused(0)),
        (body(&[2, 4, 65, 2, 0xFD, 0xE9]), refused(0)),
        (body(&[2, 2, 65, 0]), refused(0)),
        (body(&[2, 3, 70, 1, 0]), refused(0)),
        (vec![], short(&[])),
        (vec![4, 0, 1, 0, 90, 1, 1, 1, 1], short(&[0; 9])),
    ];
    for (octets, expected) in table {
        assert_eq!(&decode(octets), expected, "{octets:?}");
    }
}
