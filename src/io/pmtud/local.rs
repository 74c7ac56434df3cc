//! Is this an address of this host? Injected for any other, an error would leave again, be hashed again, and come back.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::libc;

use super::ask::Asking;
use crate::io::netlink::message::Message;

/// Asks the routing table, which also knows prefixes that are local as a whole; without the rtnl lock.
pub(super) struct Locals {
    asking: Asking,
    answers: Vec<bool>,
}

impl Locals {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { asking: Asking::open(NETLINK_ROUTE)?, answers: Vec::new() })
    }

    /// One answer for each address, in their order; no answer is a no.
    pub(super) fn ask(&mut self, addresses: impl Iterator<Item = IpAddr>) -> &[bool] {
        self.answers.clear();
        for address in addresses {
            self.asking.push(Some(question(address)), 0);
            self.answers.push(false);
        }
        let answers = &mut self.answers;
        self.asking.ask(|place, message| {
            if let Some(answer) = answers.get_mut(place) {
                *answer = is_local(message);
            }
        });
        &self.answers
    }
}

/// rtmsg: family, both lengths, TOS, table, protocol, scope, type.
fn is_local(message: &Message<'_>) -> bool {
    message.kind == libc::RTM_NEWROUTE && message.payload.get(7) == Some(&libc::RTN_LOCAL)
}

fn question(address: IpAddr) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    let (family, length, to) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, 32, RouteAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(address)),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.attributes = vec![RouteAttribute::Destination(to)];
    RouteNetlinkMessage::GetRoute(message)
}
