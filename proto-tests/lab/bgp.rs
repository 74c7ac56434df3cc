//! BGP messages as octets, written and read by hand: knows nothing of the crate's codec, and is meant to disagree with
//! it wherever either is wrong.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub const OPEN: u8 = 1;
pub const UPDATE: u8 = 2;
pub const NOTIFICATION: u8 = 3;
pub const KEEPALIVE: u8 = 4;
pub const ROUTE_REFRESH: u8 = 5;

/// A whole message with a right header.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).expect("a message has at most 65535 octets");
    [&[0xFF; 16][..], &length.to_be_bytes(), &[kind], body].concat()
}

pub fn keepalive() -> Vec<u8> {
    message(KEEPALIVE, &[])
}

pub fn notification(code: u8, subcode: u8, data: &[u8]) -> Vec<u8> {
    message(NOTIFICATION, &[&[code, subcode], data].concat())
}

pub fn route_refresh(family: Family, subtype: u8) -> Vec<u8> {
    message(ROUTE_REFRESH, &[0, family as u8, subtype, 1])
}

/// The number is the AFI.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Family {
    Ipv4 = 1,
    Ipv6 = 2,
}

/// What a router offers; `Default` is a plain, modern one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub version: u8,
    pub asn: u32,
    pub hold: u16,
    pub id: Ipv4Addr,
    /// Code and value.
    pub capabilities: Vec<(u8, Vec<u8>)>,
}

impl Default for Open {
    fn default() -> Self {
        Self { version: 4, asn: 65001, hold: 90, id: Ipv4Addr::new(10, 97, 0, 1), capabilities: modern() }
    }
}

/// Both families and route refresh. The 4-octet AS number is added by [`Open::encode`].
pub fn modern() -> Vec<(u8, Vec<u8>)> {
    vec![(1, vec![0, 1, 0, 1]), (1, vec![0, 2, 0, 1]), (2, vec![])]
}

impl Open {
    /// With capability 65 last.
    pub fn encode(&self) -> Vec<u8> {
        let mut capabilities = self.capabilities.clone();
        capabilities.push((65, self.asn.to_be_bytes().to_vec()));
        let mut values = Vec::new();
        for (code, value) in &capabilities {
            values.extend([*code, u8::try_from(value.len()).expect("short")]);
            values.extend(value);
        }
        let parameter = [&[2, u8::try_from(values.len()).expect("short")], &values[..]].concat();
        self.encode_with(&parameter)
    }

    /// With optional parameters as given, so that they can be wrong.
    pub fn encode_with(&self, parameters: &[u8]) -> Vec<u8> {
        let short = u16::try_from(self.asn).unwrap_or(23456);
        let mut body = vec![self.version];
        body.extend(short.to_be_bytes());
        body.extend(self.hold.to_be_bytes());
        body.extend(self.id.octets());
        body.push(u8::try_from(parameters.len()).expect("short"));
        body.extend(parameters);
        message(OPEN, &body)
    }

    pub fn decode(body: &[u8]) -> Self {
        let mut open = Self {
            version: body[0],
            asn: u32::from(u16::from_be_bytes([body[1], body[2]])),
            hold: u16::from_be_bytes([body[3], body[4]]),
            id: Ipv4Addr::new(body[5], body[6], body[7], body[8]),
            capabilities: Vec::new(),
        };
        let mut parameters = &body[10..];
        assert_eq!(parameters.len(), usize::from(body[9]), "length of the optional parameters");
        while let [kind, length, rest @ ..] = parameters {
            assert_eq!(*kind, 2, "only capabilities are known");
            let (mut values, rest) = rest.split_at(usize::from(*length));
            while let [code, length, more @ ..] = values {
                let (value, more) = more.split_at(usize::from(*length));
                open.capabilities.push((*code, value.to_vec()));
                values = more;
            }
            parameters = rest;
        }
        let four = open.capabilities.iter().find(|(code, _)| *code == 65);
        if let Some([a, b, c, d]) = four.map(|(_, value)| &value[..]) {
            open.asn = u32::from_be_bytes([*a, *b, *c, *d]);
        }
        open.capabilities.sort();
        open
    }
}

/// An UPDATE of the daemon, taken apart. Prefixes as text; lists in the order of the message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Update {
    pub announced: Vec<String>,
    pub withdrawn: Vec<String>,
    pub end_of_rib: Option<Family>,
    /// By type; next hop and MP attributes are not among them.
    pub attributes: BTreeMap<u8, Vec<u8>>,
    pub next_hop: Option<IpAddr>,
}

impl Update {
    pub fn decode(body: &[u8]) -> Self {
        let mut update = Self::default();
        let (withdrawn, rest) = sized(body);
        let (mut attributes, nlri) = sized(rest);
        if body == [0, 0, 0, 0] {
            update.end_of_rib = Some(Family::Ipv4);
        }
        update.withdrawn = prefixes(withdrawn, Family::Ipv4);
        update.announced = prefixes(nlri, Family::Ipv4);
        while let [flags, kind, rest @ ..] = attributes {
            let (value, rest) = if flags & 0x10 == 0 { rest[1..].split_at(usize::from(rest[0])) } else { sized(rest) };
            update.attribute(*kind, value);
            attributes = rest;
        }
        update
    }

    fn attribute(&mut self, kind: u8, value: &[u8]) {
        match kind {
            3 => self.next_hop = Some(address(value)),
            14 => {
                let (hop, rest) = value[4..].split_at(usize::from(value[3]));
                self.next_hop = Some(address(hop));
                assert_eq!(rest[0], 0, "reserved octet of MP_REACH_NLRI");
                self.announced.extend(prefixes(&rest[1..], family(value)));
            }
            15 if value.len() == 3 => self.end_of_rib = Some(family(value)),
            15 => self.withdrawn.extend(prefixes(&value[3..], family(value))),
            _ => assert!(self.attributes.insert(kind, value.to_vec()).is_none(), "attribute {kind} twice"),
        }
    }
}

fn family(value: &[u8]) -> Family {
    match value[..3] {
        [0, 1, 1] => Family::Ipv4,
        [0, 2, 1] => Family::Ipv6,
        _ => panic!("neither IPv4 nor IPv6 unicast: {value:?}"),
    }
}

/// Of 4, 16 or (global and link-local) 32 octets.
fn address(value: &[u8]) -> IpAddr {
    match value.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(value).expect("four")).into(),
        16 | 32 => Ipv6Addr::from(<[u8; 16]>::try_from(&value[..16]).expect("sixteen")).into(),
        length => panic!("a next hop of {length} octets"),
    }
}

/// A field behind its length of two octets, and what follows it.
fn sized(bytes: &[u8]) -> (&[u8], &[u8]) {
    let length = u16::from_be_bytes([bytes[0], bytes[1]]);
    bytes[2..].split_at(usize::from(length))
}

fn prefixes(mut bytes: &[u8], family: Family) -> Vec<String> {
    let mut found = Vec::new();
    while let [length, rest @ ..] = bytes {
        let (octets, rest) = rest.split_at(usize::from(*length).div_ceil(8));
        let mut whole = [0; 16];
        whole[..octets.len()].copy_from_slice(octets);
        let address = match family {
            Family::Ipv4 => address(&whole[..4]),
            Family::Ipv6 => address(&whole),
        };
        found.push(format!("{address}/{length}"));
        bytes = rest;
    }
    found
}

/// An UPDATE put together from its three parts, each with its right length in front.
pub fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).expect("short").to_be_bytes();
    let body = [&length(withdrawn)[..], withdrawn, &length(attributes), attributes, nlri].concat();
    message(UPDATE, &body)
}

pub fn attribute(flags: u8, kind: u8, value: &[u8]) -> Vec<u8> {
    match u8::try_from(value.len()) {
        Ok(length) => [&[flags, kind, length], value].concat(),
        Err(_) => {
            let length = u16::try_from(value.len()).expect("short").to_be_bytes();
            [&[flags | 0x10, kind], &length[..], value].concat()
        }
    }
}
