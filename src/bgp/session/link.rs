//! One TCP connection that is there: what came in and is not a whole message yet, what went out and is not written yet.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::WINDOW;
use crate::Time;
use crate::bgp::connection::ConnectionId;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Link {
    pub(super) connection: ConnectionId,
    /// Our BGP identifier on this connection.
    pub(super) id: Ipv4Addr,
    pub(super) local: SocketAddr,
    /// Less than one message between two calls: whole ones are taken out as they come.
    pub(super) inbox: BytesMut,
    pub(super) outbox: Outbox,
}

impl Link {
    pub(super) fn new(connection: ConnectionId, id: Ipv4Addr, local: SocketAddr) -> Self {
        Self { connection, id, local, inbox: BytesMut::new(), outbox: Outbox::default() }
    }
}

/// What `io` was given and has not written yet. Kept because a restart hands it to the next process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Outbox {
    chunks: VecDeque<Chunk>,
    unwritten: usize,
    /// When the oldest octet began to wait, or the last one before it went.
    progress: Time,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Chunk {
    /// Without the octets already written.
    bytes: Bytes,
    mark: Option<u64>,
}

impl Outbox {
    pub(super) fn push(&mut self, now: Time, bytes: Bytes, mark: Option<u64>) {
        if self.unwritten == 0 {
            self.progress = now;
        }
        self.unwritten += bytes.len();
        self.chunks.push_back(Chunk { bytes, mark });
    }

    /// Returns the marks of the chunks that are through.
    pub(super) fn written(&mut self, now: Time, mut bytes: usize) -> Vec<u64> {
        if bytes > 0 {
            self.progress = now;
        }
        let mut marks = Vec::new();
        while let Some(chunk) = self.chunks.front_mut() {
            let taken = bytes.min(chunk.bytes.len());
            chunk.bytes.advance(taken);
            self.unwritten -= taken;
            bytes -= taken;
            if !chunk.bytes.is_empty() {
                break;
            }
            marks.extend(chunk.mark);
            self.chunks.pop_front();
        }
        marks
    }

    pub(super) const fn room(&self) -> usize {
        WINDOW.saturating_sub(self.unwritten)
    }

    /// RFC 9687: when a peer that takes nothing has had `patience`.
    pub(super) fn stalled_at(&self, patience: Duration) -> Time {
        if self.unwritten == 0 { Time::MAX } else { self.progress + patience }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back_in_order_when_their_last_octet_is_written() {
        let at = |s: u64| Time::from_nanos(s * 1_000_000_000);
        let mut outbox = Outbox::default();
        assert_eq!(outbox.stalled_at(Duration::from_secs(1)), Time::MAX);
        outbox.push(at(1), Bytes::from_static(b"abc"), Some(1));
        outbox.push(at(2), Bytes::from_static(b"de"), None);
        outbox.push(at(3), Bytes::new(), Some(2));
        outbox.push(at(3), Bytes::from_static(b"f"), Some(3));
        assert_eq!(outbox.room(), WINDOW - 6);
        assert_eq!(outbox.stalled_at(Duration::from_secs(1)), at(2));
        assert_eq!(outbox.written(at(4), 0), Vec::<u64>::new());
        assert_eq!(outbox.stalled_at(Duration::from_secs(1)), at(2));
        assert_eq!(outbox.written(at(4), 2), Vec::<u64>::new());
        assert_eq!(outbox.stalled_at(Duration::from_secs(1)), at(5));
        assert_eq!(outbox.written(at(5), 3), [1, 2]);
        // More than was sent: a lie of io's, and harmless.
        assert_eq!(outbox.written(at(6), 9), [3]);
        assert_eq!((outbox.room(), outbox.stalled_at(Duration::from_secs(1))), (WINDOW, Time::MAX));
    }
}
