//! The program that lets only ICMP errors about packets that were too big into a packet socket.
//!
//! ```text
//!   not for this host (broadcast, another host's, our own)       -> drop
//!   IPv4, first or only fragment, ICMP 3/4                       -> keep
//!   IPv6, ICMPv6 type 2                                          -> keep
//!   IPv6, extension header, then ICMPv6 or one more of them      -> keep     walked by whoever reads it
//!   one VLAN tag that is still there, then the same              -> keep     the outer one is the kernel's
//!   else                                                         -> drop
//! ```
//!
//! A fragment that is not the first says nothing about its type and would mostly be of somebody's long ping: dropped. A first
//! one that has more behind it is kept, and counted as what it is.
//!
//! All loads are relative to the network header, so it does not matter what kind of link header there is.

use nix::libc;
use socket2::SockFilter;

use crate::io::bpf::{discard, equal, header_length, keep, load, load_behind, load_octet, mask};

/// linux/if_ether.h
pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const VLAN: [u16; 2] = [0x8100, 0x88a8];

const ICMP: u32 = 1;
const ICMPV6: u32 = 58;
const HOP_BY_HOP: u32 = 0;
const ROUTING: u32 = 43;
const FRAGMENT: u32 = 44;
const DESTINATION: u32 = 60;

pub(super) fn program() -> Vec<SockFilter> {
    let mut program = vec![load(ancillary(libc::SKF_AD_PKTTYPE)), equal(u32::from(libc::PACKET_HOST), 1, 0), discard()];
    program.push(load(ancillary(libc::SKF_AD_PROTOCOL)));
    program.extend(by_type(0));
    let [customer, service] = VLAN.map(u32::from);
    program.extend([equal(customer, 2, 0), equal(service, 1, 0), discard()]);
    program.push(load(network(2)));
    program.extend(by_type(4));
    program.push(discard());
    program
}

/// Ends where the ethertype that was loaded is one of IP; else it goes on behind.
fn by_type(base: u32) -> Vec<SockFilter> {
    let mut program = Vec::new();
    for (kind, part) in [(IPV4, ipv4(base)), (IPV6, ipv6(base))] {
        program.push(equal(u32::from(kind), 0, u8::try_from(part.len()).unwrap_or(u8::MAX)));
        program.extend(part);
    }
    program
}

fn ipv4(base: u32) -> Vec<SockFilter> {
    let at = |offset| network(base + offset);
    vec![
        load_octet(at(9)),
        equal(ICMP, 1, 0),
        discard(),
        // The fragment offset, without the flags.
        load(at(6)),
        mask(0x1fff),
        equal(0, 1, 0),
        discard(),
        header_length(at(0)),
        load_behind(at(0)),
        equal(0x0304, 1, 0),
        discard(),
        keep(),
    ]
}

fn ipv6(base: u32) -> Vec<SockFilter> {
    let at = |offset| network(base + offset);
    vec![
        load_octet(at(6)),
        equal(ICMPV6, 0, 4),
        load_octet(at(40)),
        equal(2, 1, 0),
        discard(),
        keep(),
        equal(FRAGMENT, 0, 4),
        // The fragment offset, without the flags.
        load(at(42)),
        mask(0xfff8),
        equal(0, 4, 0),
        discard(),
        equal(HOP_BY_HOP, 2, 0),
        equal(ROUTING, 1, 0),
        equal(DESTINATION, 0, 6),
        // What follows the first extension header.
        load_octet(at(40)),
        equal(ICMPV6, 5, 0),
        equal(HOP_BY_HOP, 4, 0),
        equal(ROUTING, 3, 0),
        equal(FRAGMENT, 2, 0),
        equal(DESTINATION, 1, 0),
        discard(),
        keep(),
    ]
}

/// Offsets behind these bases are negative numbers to the kernel.
fn network(offset: u32) -> u32 {
    libc::SKF_NET_OFF.cast_unsigned().wrapping_add(offset)
}

fn ancillary(which: libc::c_int) -> u32 {
    libc::SKF_AD_OFF.wrapping_add(which).cast_unsigned()
}
