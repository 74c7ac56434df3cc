//! AFI and SAFI by name, as IANA lists them.

use std::fmt::Write;

pub(super) fn name(afi: u16, safi: u8) -> String {
    let mut text = match afi {
        1 => "ipv4".to_owned(),
        2 => "ipv6".to_owned(),
        25 => "l2vpn".to_owned(),
        16388 => "link-state".to_owned(),
        16397 => "bier".to_owned(),
        _ => format!("afi {afi}"),
    };
    let safi_name = match safi {
        1 => "unicast",
        2 => "multicast",
        4 => "labeled-unicast",
        5 => "mvpn",
        65 => "vpls",
        66 => "mdt",
        70 => "evpn",
        71 => "link-state",
        72 => "link-state-vpn",
        73 => "sr-policy",
        74 => "sd-wan",
        83 => "car",
        85 => "mup",
        128 => "vpn",
        129 => "vpn-multicast",
        132 => "rt-constrain",
        133 => "flowspec",
        134 => "flowspec-vpn",
        _ => {
            let _ = write!(text, " safi {safi}");
            return text;
        }
    };
    let _ = write!(text, " {safi_name}");
    text
}
