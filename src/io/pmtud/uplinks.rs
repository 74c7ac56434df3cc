//! The interfaces that errors come in on: found by name, followed by the kernel's link events, captured from by index.
//!
//! ```text
//!   any link event, or too many of them --> look again at every name --> came, went, changed its MTU: the machine is told
//!                                                                    \-> capture socket opened, closed, opened anew
//! ```
//!
//! Events are only a reason to look: none needs to be understood, and a lost one costs nothing.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket as Netlink, protocols::NETLINK_ROUTE};
use nix::libc;
use socket2::{Domain, Socket, Type};

use super::filter;
use crate::io::packet::{self, BATCH, Batch, Capture, Link};

/// Datagrams of events taken before other work gets its turn; what is left wakes us again.
const EVENTS: usize = BATCH;

pub(super) struct Uplinks {
    list: Vec<Uplink>,
    events: Netlink,
    /// Any socket will do: interfaces are asked for through it.
    window: Socket,
}

pub(super) struct Uplink {
    name: String,
    /// `None`: no interface can have this name.
    as_c: Option<CString>,
    pub(super) link: Option<Link>,
    /// While the interface is there.
    pub(super) capture: Option<Capture>,
    /// Opening it failed, and that was said.
    complained: bool,
}

impl Uplinks {
    /// None is looked at yet.
    pub(super) fn open(names: &[String]) -> io::Result<Self> {
        let mut events = Netlink::new(NETLINK_ROUTE)?;
        events.set_non_blocking(true)?;
        events.bind_auto()?;
        events.add_membership(libc::RTNLGRP_LINK)?;
        let window = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        let list = names.iter().map(|name| Uplink {
            name: name.clone(),
            as_c: CString::new(name.as_str()).ok(),
            link: None,
            capture: None,
            complained: false,
        });
        Ok(Self { list: list.collect(), events, window })
    }

    pub(super) fn list(&self) -> &[Uplink] {
        &self.list
    }

    pub(super) fn get(&self, uplink: usize) -> Option<&Uplink> {
        self.list.get(uplink)
    }

    pub(super) fn capture(&mut self, uplink: usize) -> Option<&mut Capture> {
        self.list.get_mut(uplink)?.capture.as_mut()
    }

    /// Readable: look again.
    pub(super) fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Throws away the events that were the reason to look.
    pub(super) fn clear_events(&mut self, buffers: &mut Batch) {
        // Too many of them (ENOBUFS) is as good a reason as any.
        let _ = buffers.receive(self.events.as_fd(), EVENTS);
    }

    /// Looks at every name again; `changed`: what is new, with the MTU, `None` where it is gone.
    pub(super) fn look(&mut self, mut changed: impl FnMut(usize, Option<u32>)) {
        for (index, uplink) in self.list.iter_mut().enumerate() {
            let before = uplink.link;
            uplink.look(&self.window);
            if before.map(|link| link.mtu) != uplink.link.map(|link| link.mtu) {
                changed(index, uplink.link.map(|link| link.mtu));
            }
        }
    }
}

impl Uplink {
    fn look(&mut self, window: &Socket) {
        let found = self.as_c.as_deref().and_then(|name| packet::link(window, name));
        let name = &self.name;
        match (self.link, found) {
            (None, Some(link)) => tracing::info!("pmtud: interface {name} is there, MTU {}", link.mtu),
            (Some(_), None) => tracing::warn!("pmtud: interface {name} is gone"),
            (Some(before), Some(link)) if before.mtu != link.mtu => {
                tracing::info!("pmtud: interface {name} has MTU {} now", link.mtu);
            }
            (None | Some(_), None | Some(_)) => {}
        }
        let index = found.map(|link| link.index);
        // One that was deleted and made again has another index, and even where it has the same the old socket is bound to
        // none any more. One that goes down and up again keeps its socket.
        if self.capture.as_ref().is_some_and(|capture| index.is_none() || capture.interface() != index) {
            self.capture = None;
        }
        self.link = found;
        if let (Some(index), None) = (index, &self.capture) {
            match Capture::open(index, &filter::program()) {
                Ok(capture) => (self.capture, self.complained) = (Some(capture), false),
                Err(error) if !self.complained => {
                    tracing::warn!("pmtud: cannot capture on {name}: {error}");
                    self.complained = true;
                }
                Err(_) => {}
            }
        }
    }

    /// For the start: nobody has heard of it yet.
    pub(super) fn missing(&self) -> Option<&str> {
        self.link.is_none().then_some(self.name.as_str())
    }
}
