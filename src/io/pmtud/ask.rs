//! Many questions to the kernel at once: netlink takes several messages in one datagram, answers each within sendmsg(2), and
//! the answers are read in one call too.

use std::io;
use std::os::fd::AsFd;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable};
use netlink_sys::{Socket, SocketAddr};

use crate::io::netlink::message::{Message, messages};
use crate::io::packet::{BATCH, Batch};
use crate::io::sockopt;

/// An answer is charged with up to 2 KiB, and a batch of them waits at most.
const RECEIVE: usize = BATCH * 4096;

/// Answers looked at for one batch of questions: each has one, anything more is left from before.
const ROUNDS: usize = 4;

pub(super) struct Asking {
    socket: Socket,
    /// Of the first question of this batch; the others count on.
    first: u32,
    asked: u32,
    /// The places in a batch that are not asked for leave gaps.
    next: u32,
    requests: Vec<u8>,
    answers: Batch,
}

impl Asking {
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.set_non_blocking(true)?;
        socket.bind_auto()?;
        // From then on only the kernel can answer.
        socket.connect(&SocketAddr::new(0, 0))?;
        // An error without the question repeated.
        socket.set_cap_ack(true)?;
        sockopt::receive_buffer(&socket, RECEIVE)?;
        Ok(Self { socket, first: 1, asked: 0, next: 1, requests: Vec::new(), answers: Batch::new() })
    }

    /// One more place in the batch, with a question or without.
    pub(super) fn push<T: NetlinkSerializable>(&mut self, question: Option<T>, flags: u16) {
        if let Some(question) = question {
            let mut header = NetlinkHeader::default();
            header.flags = NLM_F_REQUEST | flags;
            header.sequence_number = self.next;
            let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(question));
            message.finalize();
            let start = self.requests.len();
            // Messages begin at multiples of four.
            self.requests.resize(start + message.buffer_len().next_multiple_of(4), 0);
            if let Some(place) = self.requests.get_mut(start..start + message.buffer_len()) {
                message.serialize(place);
            }
            self.asked += 1;
        }
        self.next = self.next.wrapping_add(1);
    }

    /// Asks what was pushed; `answer` gets each answer with the place of its question. What is lost is not told.
    pub(super) fn ask(&mut self, mut answer: impl FnMut(usize, &Message<'_>)) {
        let sent = self.asked > 0 && self.socket.send(&self.requests, 0).is_ok();
        let mut open = if sent { usize::try_from(self.asked).unwrap_or_default() } else { 0 };
        for _ in 0..ROUNDS {
            if open == 0 {
                break;
            }
            let Ok(received @ 1..) = self.answers.receive(self.socket.as_fd(), open) else { break };
            for message in (0..received).filter_map(|index| self.answers.message(index)) {
                for message in messages(message).flatten() {
                    // A late answer to an earlier question has another number.
                    let place = message.sequence.wrapping_sub(self.first);
                    if place < self.next.wrapping_sub(self.first) {
                        open = open.saturating_sub(1);
                        answer(usize::try_from(place).unwrap_or(usize::MAX), &message);
                    }
                }
            }
        }
        (self.first, self.asked) = (self.next, 0);
        self.requests.clear();
    }
}
