//! Packet-too-big messages: ICMP "fragmentation needed" (RFC 1191) and ICMPv6 type 2 (RFC 4443 §3.2).

use std::net::IpAddr;

use super::entry::{Fault, Field, Kind, Reply, Said, Value};
use super::ip;
use crate::bgp::wire::reader::Reader;

/// RFC 791: every link carries that; a router that says less is not believed (RFC 1191 §3).
const SMALLEST: [(bool, u32); 2] = [(false, 68), (true, 1280)];

/// `None`: another ICMP message.
pub(super) fn too_big(octets: &[u8], v6: bool) -> Option<Said> {
    let mut reader = Reader::new(octets);
    let (kind, code) = (reader.u8()?, reader.u8()?);
    if (v6, kind, code) != (false, 3, 4) && (v6, kind) != (true, 2) {
        return None;
    }
    let mut said = Said::plain(Kind::PacketTooBig);
    said.length = octets.len();
    let Some((mtu, quoted)) = rest(reader, v6) else {
        said.faults.push(Fault { at: Some(0), what: "shorter than its header".to_owned(), reply: Reply::Silence });
        return Some(said);
    };
    let mut fault = |at, what: String| said.faults.push(Fault { at: Some(at), what, reply: Reply::Silence });
    if let Some((_, smallest)) = SMALLEST.iter().find(|(family, smallest)| *family == v6 && mtu < *smallest && mtu != 0)
    {
        fault(4, format!("an MTU below {smallest}"));
    }
    if v6 && mtu == 0 {
        fault(4, "an MTU of 0".to_owned());
    }
    let flow = flow(quoted);
    if flow.is_none() {
        fault(8, "the quoted packet has no whole IP header".to_owned());
    }
    let mtu_text = if mtu == 0 { "MTU not given (RFC 1191 §5)".to_owned() } else { format!("MTU {mtu}") };
    let about = flow.as_ref().map_or_else(String::new, |flow| format!(", about {}", flow.text()));
    said.headline = format!("{mtu_text}{about}");
    said.fields = vec![Field::hidden("mtu", mtu)];
    if let Some(flow) = flow {
        said.fields.extend([
            Field::hidden("flow_from", flow.from.to_string()),
            Field::hidden("flow_to", flow.to.to_string()),
            Field::hidden("flow_protocol", flow.protocol),
            Field::hidden("flow_from_port", flow.ports.map(|(from, _)| from)),
            Field::hidden("flow_to_port", flow.ports.map(|(_, to)| to)),
            Field::hidden("quoted", Value::Number(u64::try_from(quoted.len()).unwrap_or_default())),
        ]);
    }
    Some(said)
}

fn rest<'a>(mut reader: Reader<'a>, v6: bool) -> Option<(u32, &'a [u8])> {
    let _checksum = reader.u16()?;
    let mtu = if v6 {
        reader.u32()?
    } else {
        let _unused = reader.u16()?;
        reader.u16()?.into()
    };
    Some((mtu, reader.rest()))
}

struct Flow {
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    ports: Option<(u16, u16)>,
}

impl Flow {
    fn text(&self) -> String {
        let name = match self.protocol {
            ip::ICMP => "ICMP".to_owned(),
            ip::TCP => "TCP".to_owned(),
            ip::UDP => "UDP".to_owned(),
            ip::ICMP6 => "ICMPv6".to_owned(),
            132 => "SCTP".to_owned(),
            other => format!("protocol {other}"),
        };
        match self.ports {
            Some((from, to)) => {
                let end = |address: IpAddr, port| std::net::SocketAddr::new(address, port);
                format!("{name} {} > {}", end(self.from, from), end(self.to, to))
            }
            None => format!("{name} {} > {}", self.from, self.to),
        }
    }
}

/// What the router sends back is the begin of the packet, so it is always cut.
fn flow(quoted: &[u8]) -> Option<Flow> {
    let packet = ip::read(quoted)?;
    let later = packet.fragment.is_some_and(|fragment| fragment.offset > 0);
    let mut reader = Reader::new(packet.payload);
    let ports = matches!(packet.protocol, ip::TCP | ip::UDP | 132).then(|| Some((reader.u16()?, reader.u16()?)));
    let ports = ports.flatten().filter(|_| !later);
    Some(Flow { from: packet.from, to: packet.to, protocol: packet.protocol, ports })
}
