//! BFD control packets (RFC 5880 §4.1).

use super::entry::{Fault, Field, Kind, Reply, Said, Value};
use crate::bgp::wire::reader::Reader;

/// Single hop, multihop, on members of a link aggregate, seamless (RFC 5881, 5883, 7130, 7881).
pub(super) const PORTS: [u16; 4] = [3784, 4784, 6784, 7784];

const DIAGNOSTICS: [&str; 10] = [
    "no diagnostic",
    "control detection time expired",
    "echo function failed",
    "neighbor signaled session down",
    "forwarding plane reset",
    "path down",
    "concatenated path down",
    "administratively down",
    "reverse concatenated path down",
    "mis-connectivity defect",
];

const FLAGS: [(u8, &str); 6] = [
    (0x20, "poll"),
    (0x10, "final"),
    (0x08, "control-plane-independent"),
    (0x04, "authentication"),
    (0x02, "demand"),
    (0x01, "multipoint"),
];

pub(super) fn control(octets: &[u8], port: u16, ttl: u8) -> Said {
    let mut said = Said::plain(Kind::Bfd);
    said.length = octets.len();
    let mut fault =
        |at, what: &str| said.faults.push(Fault { at: Some(at), what: what.to_owned(), reply: Reply::Silence });
    let Some(packet) = Packet::read(octets) else {
        fault(0, "shorter than a BFD control packet");
        said.fields = vec![Field::line("body", "body", Value::text(super::bgp::hex(octets)))];
        return said;
    };
    // RFC 5880 §6.8.6: each of these discards the packet.
    let authentication = packet.flags & 0x04 != 0;
    if packet.version != 1 {
        fault(0, "RFC 5880 §6.8.6: version is not 1");
    }
    if usize::from(packet.length) < if authentication { 26 } else { 24 } || usize::from(packet.length) > octets.len() {
        fault(3, "RFC 5880 §6.8.6: wrong length");
    }
    if packet.multiplier == 0 {
        fault(2, "RFC 5880 §6.8.6: multiplier 0");
    }
    if packet.flags & 0x01 != 0 {
        fault(1, "RFC 5880 §6.8.6: multipoint");
    }
    if packet.mine == 0 {
        fault(4, "RFC 5880 §6.8.6: my discriminator is 0");
    }
    if packet.yours == 0 && packet.state > 1 {
        fault(8, "RFC 5880 §6.8.6: your discriminator is 0 in this state");
    }
    if port == 3784 && ttl != 255 && !authentication {
        fault(0, "RFC 5881 §5: TTL is not 255");
    }
    packet.show(&mut said, ttl);
    said
}

struct Packet {
    version: u8,
    diagnostic: u8,
    state: u8,
    flags: u8,
    multiplier: u8,
    length: u8,
    mine: u32,
    yours: u32,
    transmit: u32,
    receive: u32,
    echo: u32,
    authentication: Option<u8>,
}

impl Packet {
    fn read(octets: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(octets);
        let (first, second) = (reader.u8()?, reader.u8()?);
        Some(Self {
            version: first >> 5,
            diagnostic: first & 0x1F,
            state: second >> 6,
            flags: second & 0x3F,
            multiplier: reader.u8()?,
            length: reader.u8()?,
            mine: reader.u32()?,
            yours: reader.u32()?,
            transmit: reader.u32()?,
            receive: reader.u32()?,
            echo: reader.u32()?,
            authentication: reader.u8(),
        })
    }

    fn show(&self, said: &mut Said, ttl: u8) {
        let state = match self.state {
            0 => "AdminDown",
            1 => "Down",
            2 => "Init",
            _ => "Up",
        };
        let diagnostic = DIAGNOSTICS.get(usize::from(self.diagnostic)).copied().unwrap_or("reserved diagnostic");
        let flags: Vec<&str> = FLAGS.iter().filter(|(bit, _)| self.flags & bit != 0).map(|(_, name)| *name).collect();
        let mut headline = state.to_owned();
        if !flags.is_empty() {
            headline = format!("{headline} ({})", flags.join(", "));
        }
        if self.diagnostic != 0 {
            headline = format!("{headline}, {} {diagnostic}", self.diagnostic);
        }
        said.headline = format!(
            "{headline}, {} × {}, mine {:#010x}, yours {:#010x}",
            self.multiplier,
            span(self.transmit),
            self.mine,
            self.yours
        );
        let intervals = format!(
            "wants to send every {}, can receive every {}, echo {}",
            span(self.transmit),
            span(self.receive),
            if self.echo == 0 { "none".to_owned() } else { span(self.echo) }
        );
        said.fields = vec![
            Field::hidden("state", state),
            Field::hidden("diagnostic", self.diagnostic),
            Field::hidden("diagnostic_name", diagnostic),
            Field::hidden("flags", Value::list(flags)),
            Field::hidden("multiplier", self.multiplier),
            Field::hidden("my_discriminator", self.mine),
            Field::hidden("your_discriminator", self.yours),
            Field::hidden("desired_min_tx_us", self.transmit),
            Field::hidden("required_min_rx_us", self.receive),
            Field::hidden("required_min_echo_rx_us", self.echo),
            Field::hidden("ttl", ttl),
            Field::line("intervals", "", Value::text(intervals)),
        ];
        if self.flags & 0x04 != 0 {
            let name = match self.authentication {
                Some(1) => "simple password",
                Some(2) => "keyed MD5",
                Some(3) => "meticulous keyed MD5",
                Some(4) => "keyed SHA1",
                Some(5) => "meticulous keyed SHA1",
                Some(_) | None => "unknown",
            };
            said.fields.push(Field::line("authentication", "authentication", Value::text(name)));
        }
    }
}

fn span(microseconds: u32) -> String {
    match (microseconds / 1000, microseconds % 1000) {
        (milliseconds, 0) => format!("{milliseconds} ms"),
        (milliseconds, rest) => {
            let text = format!("{milliseconds}.{rest:03}");
            format!("{} ms", text.trim_end_matches('0'))
        }
    }
}
