//! A model of a top-of-rack router at the other end of one neighbor: enough BGP to keep a table, and its own clock.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;

use crate::Time;
use crate::bgp::wire::{self, Capabilities, Codec, Family, Message, Open};

const HOLD: u64 = 9;

/// Attributes as they stand on the wire, NLRI taken out: what two routes must have in common to be the same.
pub(super) type Said = Vec<(u8, Vec<u8>)>;

#[derive(Clone, Debug, Default)]
pub(super) struct Router {
    pub(super) table: BTreeMap<IpNet, Said>,
    pub(super) end_of_ribs: Vec<Family>,
    /// UPDATEs over all sessions.
    pub(super) updates: u64,
    pub(super) sessions: u64,
    /// NOTIFICATIONs we were sent.
    pub(super) notifications: Vec<(u8, u8)>,
    inbox: BytesMut,
    outbox: Vec<Bytes>,
    established: bool,
    heard: Time,
    spoke: Time,
    /// Neither reads nor writes, but holds the connection.
    pub(super) silent: bool,
}

pub(super) const CODEC: Codec =
    Codec { four_octet_asn: true, extended_message: true, extended_next_hop: false, internal: false };

impl Router {
    pub(super) fn connected(&mut self, now: Time) {
        let (updates, sessions, notifications) = (self.updates, self.sessions, std::mem::take(&mut self.notifications));
        *self = Self { updates, sessions, notifications, heard: now, spoke: now, ..Self::default() };
    }

    /// The session is gone, and so is what it brought.
    pub(super) fn disconnected(&mut self) {
        self.table.clear();
        self.inbox.clear();
        self.outbox.clear();
        self.established = false;
    }

    /// Takes octets cut anywhere; `false` hangs up.
    pub(super) fn receive(&mut self, now: Time, bytes: &[u8]) -> bool {
        self.inbox.extend_from_slice(bytes);
        loop {
            let frame = match wire::frame(&mut self.inbox, wire::MAX_MESSAGE) {
                Ok(Some(frame)) => frame,
                Ok(None) => return true,
                Err(error) => panic!("the daemon sent garbage: {error}"),
            };
            self.heard = now;
            match wire::decode(&frame, &CODEC).expect("what the daemon sends is well formed") {
                Message::Open(open) => self.answer(now, &open),
                Message::Keepalive => {
                    self.sessions += u64::from(!self.established);
                    self.established = true;
                }
                Message::Update(update) => {
                    assert!(self.established, "UPDATE before KEEPALIVE");
                    assert_eq!(update.malformed, [], "RFC 7606");
                    self.learn(&frame.body, update);
                }
                Message::Notification(notification) => {
                    self.notifications.push((notification.code, notification.subcode));
                    return false;
                }
                Message::RouteRefresh(_) => {}
            }
        }
    }

    fn answer(&mut self, now: Time, open: &Open) {
        assert_eq!(open.asn, 65010);
        self.outbox.push(wire::open(&Open {
            version: 4,
            asn: 65001,
            hold_time: u16::try_from(HOLD).unwrap(),
            id: "10.0.0.1".parse().unwrap(),
            capabilities: Capabilities {
                families: vec![Family::Ipv4, Family::Ipv6],
                multiprotocol: true,
                route_refresh: true,
                four_octet_asn: Some(65001),
                extended_message: true,
                enhanced_route_refresh: true,
                ..Capabilities::default()
            },
        }));
        self.outbox.push(wire::keepalive());
        self.spoke = now;
    }

    fn learn(&mut self, body: &[u8], update: wire::Update) {
        self.updates += 1;
        self.end_of_ribs.extend(update.end_of_rib);
        for prefix in update.withdrawn {
            assert!(self.table.remove(&prefix).is_some(), "withdraw of {prefix}, which was never announced");
        }
        let said = said(body);
        for prefix in update.announced {
            self.table.insert(prefix, said.clone());
        }
    }

    pub(super) fn refresh(&mut self, family: Family) {
        if self.established {
            self.outbox.push(wire::route_refresh(family, 0));
        }
    }

    pub(super) fn has_words(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub(super) fn garbage(&mut self, bytes: Bytes) {
        self.outbox.push(bytes);
    }

    /// What it has to say by now; `None` hangs up, its hold timer having run out.
    pub(super) fn speak(&mut self, now: Time) -> Option<Vec<Bytes>> {
        if self.silent {
            return Some(vec![]);
        }
        if self.established && now.since(self.heard) > Duration::from_secs(HOLD) {
            return None;
        }
        if self.established && now.since(self.spoke) >= Duration::from_secs(HOLD / 3) {
            self.spoke = now;
            self.outbox.push(wire::keepalive());
        }
        Some(std::mem::take(&mut self.outbox))
    }
}

/// The attributes of an UPDATE's body, MP_REACH_NLRI cut before its NLRI and MP_UNREACH_NLRI left out.
pub(super) fn said(body: &[u8]) -> Said {
    let number = |at: usize| usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    let start = 2 + number(0);
    let mut rest = &body[start + 2..start + 2 + number(start)];
    let mut said = Vec::new();
    while let [flags, kind, tail @ ..] = rest {
        let (length, tail) = if flags & 0x10 == 0 {
            (usize::from(tail[0]), &tail[1..])
        } else {
            (usize::from(u16::from_be_bytes([tail[0], tail[1]])), &tail[2..])
        };
        let (value, next) = tail.split_at(length);
        match kind {
            14 => said.push((*kind, value[..4 + usize::from(value[3])].to_vec())),
            15 => {}
            _ => said.push((*kind, value.to_vec())),
        }
        rest = next;
    }
    said
}
