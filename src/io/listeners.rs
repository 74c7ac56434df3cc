//! Listeners: asked for, and watched for their end.
//!
//! ```text
//!   ask      "who would get a packet for this address and port?"        answered at once by the kernel
//!   destroy  groups that report every closing socket of the host --BPF--> watched ports without a remote port
//!            \--> ask again for each watch of that port --> Fact::Listener
//! ```
//!
//! An event only says that one socket is gone. Others may share the port (SO_REUSEPORT, another address), so the answer
//! is always asked for. The kernel multicasts the event after it took the socket out of its tables: the answer is right at
//! once, and needs no second question. There is no event for a new listener, and none for one that shuts down without
//! being closed. And the kernel reports all closed sockets of the host through one work queue, before any filter: where
//! they close faster than it is worked off, an event comes seconds late. So events are the short cut; whoever must
//! know asks from time to time, also about a listener that is there.

mod ask;
mod filter;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use nix::libc;
use socket2::SockRef;
use tokio::io::unix::AsyncFd;
use tokio::task::consume_budget;
use tokio::time::{Instant, sleep_until};

use crate::facts::{Fact, Watch};
use crate::io::netlink::{Counters, message::messages};
use crate::io::{descriptors, sockopt};

use ask::Asker;

/// linux/sock_diag.h: SKNLGRP_INET_TCP_DESTROY, INET_UDP_DESTROY, INET6_TCP_DESTROY, INET6_UDP_DESTROY
const GROUPS: [u32; 4] = [1, 2, 3, 4];

/// Only events of watched ports wait here, and of those one is as good as many.
const RECEIVE: usize = 1 << 20;

/// An event is about 100 octets; this is one page.
const DATAGRAM: usize = 4096;

/// Events taken in one look, before other work gets its turn.
const BATCH: usize = 256;

/// Between attempts to open the event socket again: a broken one must not make us spin.
const PAUSE: Duration = Duration::from_secs(1);

/// The two sockets: one to ask, one to hear of what is gone.
pub struct Listeners {
    asker: Asker,
    events: AsyncFd<Socket>,
    /// By port alone: the protocol of an event is not worth parsing, since a question costs microseconds.
    watches: BTreeMap<u16, BTreeSet<Watch>>,
    counters: Arc<Counters>,
    buffer: Vec<u8>,
    /// The event socket broke; when to open another.
    retry: Option<Instant>,
}

impl Listeners {
    pub fn open(counters: Arc<Counters>) -> io::Result<Self> {
        Ok(Self {
            asker: Asker::open()?,
            events: subscribe()?,
            watches: BTreeMap::new(),
            counters,
            buffer: Vec::with_capacity(DATAGRAM),
            retry: None,
        })
    }

    /// Would the kernel hand a packet for `watch` to some socket? `None`: it could not be asked.
    pub fn ask(&mut self, watch: &Watch) -> Option<bool> {
        self.asker.ask(watch)
    }

    /// Watches exactly these from now on, and says how the new ones stand: what was asked about them before the
    /// filter let their events through may have changed unseen.
    pub fn set_watches(&mut self, watches: &[Watch]) -> Vec<Fact> {
        let mut wanted: BTreeMap<u16, BTreeSet<Watch>> = BTreeMap::new();
        for watch in watches {
            wanted.entry(watch.port).or_default().insert(*watch);
        }
        let known = std::mem::replace(&mut self.watches, wanted);
        if !self.watches.keys().eq(known.keys()) && self.attach().is_err() {
            self.retry = Some(Instant::now());
        }
        let new: Vec<Watch> = self
            .watches
            .values()
            .flatten()
            .filter(|watch| !known.get(&watch.port).is_some_and(|known| known.contains(watch)))
            .copied()
            .collect();
        self.facts(new)
    }

    /// Waits until a socket of a watched port is gone, and says how its watches stand now. Nothing is lost where the wait
    /// is given up.
    pub async fn changed(&mut self) -> Vec<Fact> {
        loop {
            // Where somebody closes sockets of a watched port without end, others get their turn all the same.
            consume_budget().await;
            let watches = match self.seen().await {
                Ok(ports) => ports.iter().filter_map(|port| self.watches.get(port)).flatten().copied().collect(),
                Err(_) => {
                    self.counters.resyncs.fetch_add(1, Ordering::Relaxed);
                    self.watches.values().flatten().copied().collect::<Vec<Watch>>()
                }
            };
            if !watches.is_empty() {
                return self.facts(watches);
            }
        }
    }

    /// The ports of sockets that are gone. An error: any may be, because events were lost.
    async fn seen(&mut self) -> io::Result<BTreeSet<u16>> {
        if let Some(at) = self.retry {
            sleep_until(at).await;
            self.retry = Some(Instant::now() + PAUSE);
            self.events = subscribe()?;
            self.attach()?;
            self.retry = None;
            return Err(io::ErrorKind::NotConnected.into());
        }
        let result = match self.events.readable().await {
            Ok(mut ready) => {
                let look = look(ready.get_inner(), &mut self.buffer);
                // Only an empty socket wakes again: where more waits, it must stay ready.
                if look.as_ref().is_ok_and(|look| look.empty) {
                    ready.clear_ready();
                }
                look
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(look) if look.lost => Err(io::Error::from_raw_os_error(libc::ENOBUFS)),
            Ok(look) => Ok(look.ports),
            Err(error) => {
                self.retry = Some(Instant::now() + PAUSE);
                Err(error)
            }
        }
    }

    fn attach(&self) -> io::Result<()> {
        let socket = SockRef::from(self.events.get_ref());
        // Kernels before 6.7 allow fewer instructions than BPF itself (net.core.optmem_max).
        socket
            .attach_filter(&filter::program(&self.watches.keys().copied().collect()))
            .or_else(|_| socket.attach_filter(&filter::coarse()))
    }

    fn facts(&mut self, watches: Vec<Watch>) -> Vec<Fact> {
        watches.into_iter().map(|watch| Fact::Listener { watch, listening: self.asker.ask(&watch) }).collect()
    }
}

fn subscribe() -> io::Result<AsyncFd<Socket>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.set_non_blocking(true)?;
    sockopt::receive_buffer(&socket, RECEIVE)?;
    // Before joining: nothing is watched yet, so nothing may wait here.
    SockRef::from(&socket).attach_filter(&filter::program(&BTreeSet::new()))?;
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in GROUPS {
        socket.add_membership(group)?;
    }
    descriptors::watched(socket)
}

/// What one look at the events found.
#[derive(Default)]
struct Look {
    ports: BTreeSet<u16>,
    /// ENOBUFS: the kernel threw events away.
    lost: bool,
    empty: bool,
}

fn look(socket: &Socket, buffer: &mut Vec<u8>) -> io::Result<Look> {
    let mut seen = Look::default();
    for _ in 0..BATCH {
        buffer.clear();
        match socket.recv_from(buffer, libc::MSG_TRUNC) {
            // Only the kernel has port 0.
            Ok((_, from)) if from.port_number() != 0 => {}
            Ok((length, _)) if length > buffer.len() => seen.lost = true,
            Ok(_) => seen.ports.extend(messages(buffer).flatten().filter_map(|m| port(m.payload))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                seen.empty = true;
                break;
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => seen.lost = true,
            Err(error) => return Err(error),
        }
    }
    Ok(seen)
}

/// The local port in inet_diag_msg.
fn port(payload: &[u8]) -> Option<u16> {
    payload.get(4..)?.first_chunk::<2>().map(|port| u16::from_be_bytes(*port))
}
