//! Our OPEN, and what we think of the peer's (RFC 4271 §4.2, §6.2; RFC 5492).

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::transition::End;
use super::{Negotiated, PeerAsn, Settings};
use crate::bgp::wire::code::{self, open as subcode};
use crate::bgp::wire::{Capabilities, Codec, Family, Notification, Open};

/// What both OPENs came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Agreed {
    pub(super) negotiated: Negotiated,
    /// What both sides offered, by name.
    pub(super) capabilities: Vec<String>,
}

pub(super) fn ours(settings: &Settings, id: Ipv4Addr) -> Open {
    let families: Vec<Family> = Family::ALL.into_iter().filter(|family| settings.families.has(*family)).collect();
    Open {
        version: 4,
        asn: settings.local_asn.get(),
        hold_time: settings.hold_time,
        id,
        capabilities: Capabilities {
            multiprotocol: !families.is_empty(),
            families,
            route_refresh: true,
            extended_next_hop: offers_extended_next_hop(settings),
            extended_message: true,
            four_octet_asn: Some(settings.local_asn.get()),
            enhanced_route_refresh: true,
            unknown: Vec::new(),
        },
    }
}

/// RFC 8950 is about IPv4 routes only.
const fn offers_extended_next_hop(settings: &Settings) -> bool {
    settings.extended_next_hop && settings.families.ipv4
}

pub(super) fn judge(settings: &Settings, id: Ipv4Addr, local: SocketAddr, open: &Open) -> Result<Agreed, End> {
    let name = &settings.name;
    let internal = open.asn == settings.local_asn.get();
    if let Err(expected) = acceptable(settings, open.asn) {
        // RFC 4271 §6.2 defines no data for Bad Peer AS.
        let why = format!("{name} offers AS {}, configured {expected}", open.asn);
        return Err(refusal(subcode::BAD_PEER_AS, why));
    }
    if open.id.is_unspecified() {
        return Err(refusal(subcode::BAD_IDENTIFIER, format!("{name} offers BGP identifier 0.0.0.0")));
    }
    // RFC 6286 §2.2: identifiers must differ inside an AS only.
    if internal && open.id == id {
        return Err(refusal(subcode::BAD_IDENTIFIER, format!("{name} has our own BGP identifier {id}")));
    }
    if matches!(open.hold_time, 1 | 2) {
        let seconds = open.hold_time;
        return Err(refusal(
            subcode::UNACCEPTABLE_HOLD_TIME,
            format!("{name}'s hold time {seconds} s is not acceptable (RFC 4271: 0 or at least 3 s)"),
        ));
    }
    if open.hold_time < settings.min_hold_time {
        let (seconds, least) = (open.hold_time, settings.min_hold_time);
        return Err(refusal(
            subcode::UNACCEPTABLE_HOLD_TIME,
            format!("{name}'s hold time {seconds} s is below min-hold-time {least} s"),
        ));
    }
    Ok(agree(settings, local, open, internal))
}

/// Err: what was expected, in words.
fn acceptable(settings: &Settings, asn: u32) -> Result<(), String> {
    let ours = settings.local_asn.get();
    let (good, expected) = match settings.peer_asn {
        PeerAsn::Is(is) => (asn == is.get(), is.to_string()),
        // RFC 7607: 0 is nobody's.
        PeerAsn::External => (asn != ours && asn != 0, format!("external (not {ours})")),
        PeerAsn::Internal => (asn == ours, format!("internal ({ours})")),
    };
    if good { Ok(()) } else { Err(expected) }
}

fn refusal(subcode: u8, why: String) -> End {
    End::ours(Notification::new(code::OPEN, subcode, Vec::new()), why)
}

fn agree(settings: &Settings, local: SocketAddr, open: &Open, internal: bool) -> Agreed {
    let theirs = &open.capabilities;
    // RFC 4760 §8: who says nothing of multiprotocol speaks IPv4 unicast. No common family is no error (RFC 5492 §3
    // leaves the choice to us): the session says so in its status, and comes to life when the router's side is mended.
    let speaks = |family| match family {
        Family::Ipv4 if !theirs.multiprotocol => true,
        Family::Ipv4 | Family::Ipv6 => theirs.families.contains(&family),
    };
    let common = |family| settings.families.has(family) && speaks(family);
    let (ipv4, ipv6) = (common(Family::Ipv4), common(Family::Ipv6));
    let extended_next_hop = offers_extended_next_hop(settings) && theirs.extended_next_hop;
    let four_octet_asn = theirs.four_octet_asn.is_some();
    let names = [
        ("ipv4-unicast", ipv4 && theirs.multiprotocol),
        ("ipv6-unicast", ipv6),
        ("route-refresh", theirs.route_refresh),
        ("extended-next-hop", extended_next_hop),
        ("extended-message", theirs.extended_message),
        ("four-octet-as", four_octet_asn),
        ("enhanced-route-refresh", theirs.enhanced_route_refresh),
    ];
    let hold_time = match settings.hold_time.min(open.hold_time) {
        0 => None,
        seconds => Some(Duration::from_secs(seconds.into())),
    };
    Agreed {
        negotiated: Negotiated {
            codec: Codec { four_octet_asn, extended_message: theirs.extended_message, extended_next_hop, internal },
            ipv4,
            ipv6,
            enhanced_route_refresh: theirs.enhanced_route_refresh,
            hold_time,
            local,
            peer_asn: open.asn,
        },
        capabilities: names.into_iter().filter(|&(_, both)| both).map(|(name, _)| name.to_owned()).collect(),
    }
}
