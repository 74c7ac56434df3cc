//! Datagrams in batches: one system call for up to 64, into buffers that are allocated once. And frames, in a ring.
//!
//! ```text
//!   recvmmsg --> Batch: octets, where from --> message(i), datagram(i)
//!   sendmmsg <-- Outbox: parts that stay where they are, an address for each; a message that fails is skipped
//! ```
//!
//! With `sockopt` and `descriptors` the only place with `unsafe`: what is offered here is safe.

#![allow(
    unsafe_code,
    reason = "recvmmsg, sendmmsg, sockaddr_ll and interface ioctls have no safe wrapper that does not allocate"
)]

use std::ffi::CStr;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::null_mut;

use nix::libc;
use socket2::SockAddr;

mod capture;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use capture::Tag;
pub(super) use capture::{Capture, Frame};

/// Messages of one call: enough that the call itself costs nothing beside them, few enough that no socket waits long.
pub(super) const BATCH: usize = 64;

/// Of one message. An ICMP error has at most 1280 octets (RFC 4443 §2.4(c)); what is longer is cut, and refused as such.
const OCTETS: usize = 2048;

/// A link header and a packet, or a datagram and nothing.
pub(super) const PARTS: usize = 2;

/// What one call received.
pub(super) struct Batch {
    octets: Vec<[u8; OCTETS]>,
    names: Vec<libc::sockaddr_storage>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    received: usize,
}

// SAFETY: the pointers in it are written anew before each call that reads them, to what the value itself owns.
unsafe impl Send for Batch {}

impl Batch {
    pub(super) fn new() -> Self {
        // SAFETY: of plain integers and pointers, all of which may be zero.
        let (name, header) = unsafe { (zeroed::<libc::sockaddr_storage>(), zeroed::<libc::mmsghdr>()) };
        Self {
            octets: vec![[0; OCTETS]; BATCH],
            names: vec![name; BATCH],
            vectors: vec![libc::iovec { iov_base: null_mut(), iov_len: 0 }; BATCH],
            headers: vec![header; BATCH],
            received: 0,
        }
    }

    /// What is there now, at most `most` messages. Never waits: nothing there is an empty batch.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        self.received = 0;
        let places = self.headers.iter_mut().zip(&mut self.vectors).zip(&mut self.octets);
        for (((header, vector), octets), name) in places.zip(&mut self.names) {
            *vector = libc::iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: OCTETS };
            let header = &mut header.msg_hdr;
            header.msg_name = (&raw mut *name).cast();
            header.msg_namelen = length_of(name);
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_flags = 0;
        }
        let count = libc::c_uint::try_from(most.min(BATCH)).unwrap_or_default();
        let headers = self.headers.as_mut_ptr();
        // SAFETY: each of the first `count` headers (at most BATCH, which is how many there are) was just pointed at a
        // name, a vector and a buffer of this value, with their lengths; none is moved or read before
        // the call returns. The descriptor is borrowed.
        let answer = unsafe { libc::recvmmsg(socket.as_raw_fd(), headers, count, libc::MSG_DONTWAIT as _, null_mut()) };
        match usize::try_from(answer) {
            Ok(received) => {
                self.received = received;
                Ok(received)
            }
            Err(_) => match io::Error::last_os_error() {
                error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
                error => Err(error),
            },
        }
    }

    fn header(&self, index: usize) -> Option<&libc::mmsghdr> {
        self.headers.get(..self.received)?.get(index)
    }

    /// What was received, whatever it is; `None`: it did not fit.
    pub(super) fn message(&self, index: usize) -> Option<&[u8]> {
        let header = self.header(index)?;
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        self.octets.get(index)?.get(..usize::try_from(header.msg_len).ok()?)
    }

    /// A datagram whose sender has an address. One that did not fit is cut.
    pub(super) fn datagram(&self, index: usize) -> Option<(IpAddr, &[u8])> {
        let octets = self.cut(index)?;
        let name = self.names.get(index)?;
        let family = libc::c_int::from(name.ss_family);
        let from = if family == libc::AF_INET {
            // SAFETY: the kernel says that this is a sockaddr_in, which is smaller than sockaddr_storage and no more
            // aligned.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            IpAddr::V4(Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr)))
        } else if family == libc::AF_INET6 {
            // SAFETY: as above, for sockaddr_in6.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            IpAddr::V6(Ipv6Addr::from(name.sin6_addr.s6_addr))
        } else {
            return None;
        };
        Some((from, octets))
    }

    fn cut(&self, index: usize) -> Option<&[u8]> {
        let length = usize::try_from(self.header(index)?.msg_len).ok()?;
        self.octets.get(index)?.get(..length.min(OCTETS))
    }
}

fn length_of<T>(_: &T) -> libc::socklen_t {
    length_of_type::<T>()
}

fn length_of_type<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default()
}

/// Messages on their way out; neither copied nor allocated for.
pub(super) struct Outbox {
    vectors: Vec<[libc::iovec; PARTS]>,
    headers: Vec<libc::mmsghdr>,
}

/// The parts are sent as one message. Without an address: where the socket is bound to.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) to: Option<&'a SockAddr>,
    pub(super) parts: [&'a [u8]; PARTS],
}

// SAFETY: the pointers in it are written anew before each call that reads them.
unsafe impl Send for Outbox {}

impl Outbox {
    pub(super) fn new() -> Self {
        // SAFETY: of plain integers and pointers, all of which may be zero.
        let header = unsafe { zeroed::<libc::mmsghdr>() };
        let nothing = libc::iovec { iov_base: null_mut(), iov_len: 0 };
        Self { vectors: vec![[nothing; PARTS]; BATCH], headers: vec![header; BATCH] }
    }

    /// Sends all of them, and tells in their order what became of each. Never waits: a full buffer is an error as any other.
    pub(super) fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        mut messages: impl Iterator<Item = Message<'a>>,
        mut outcome: impl FnMut(io::Result<()>),
    ) {
        loop {
            let mut filled = 0;
            let places = self.headers.iter_mut().zip(&mut self.vectors);
            for ((header, vectors), message) in places.zip(&mut messages) {
                for (vector, part) in vectors.iter_mut().zip(message.parts) {
                    *vector = libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
                }
                let header = &mut header.msg_hdr;
                header.msg_name = message.to.map_or(null_mut(), |to| to.as_ptr().cast_mut().cast());
                header.msg_namelen = message.to.map_or(0, SockAddr::len);
                header.msg_iov = vectors.as_mut_ptr();
                header.msg_iovlen = PARTS as _;
                filled += 1;
            }
            if filled == 0 {
                return;
            }
            self.flush(socket, filled, &mut outcome);
        }
    }

    /// sendmmsg(2) ends at the first message that fails, and says why only where that is the first of all.
    fn flush(&mut self, socket: BorrowedFd<'_>, filled: usize, outcome: &mut impl FnMut(io::Result<()>)) {
        let mut rest = self.headers.get_mut(..filled).unwrap_or_default();
        while !rest.is_empty() {
            let count = libc::c_uint::try_from(rest.len()).unwrap_or_default();
            // SAFETY: each of these `count` headers was pointed, by `send`, at vectors of this value and, through them, at
            // octets and an address that outlive the call ('a). The kernel only reads them and writes msg_len. The
            // descriptor is borrowed.
            let answer =
                unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), count, libc::MSG_DONTWAIT as _) };
            let done = match usize::try_from(answer) {
                Ok(sent) if sent > 0 => {
                    (0..sent).for_each(|_| outcome(Ok(())));
                    sent
                }
                Ok(_) | Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() == io::ErrorKind::Interrupted {
                        continue;
                    }
                    outcome(Err(error));
                    1
                }
            };
            rest = rest.get_mut(done..).unwrap_or_default();
        }
    }
}

/// What is known of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) mtu: u32,
    /// `None`: not Ethernet.
    pub(super) mac: Option<[u8; 6]>,
}

/// The interface of this name, asked through any socket; `None`: there is none. By ioctl, because they answer without the
/// rtnl lock, which others may hold for long.
pub(super) fn link(socket: &impl AsFd, name: &CStr) -> Option<Link> {
    let socket = socket.as_fd();
    let index = u32::try_from(ask(socket, name, libc::SIOCGIFINDEX, |answer| {
        // SAFETY: what SIOCGIFINDEX fills in; any bits are an integer.
        unsafe { answer.ifru_ifindex }
    })?);
    let mtu = u32::try_from(ask(socket, name, libc::SIOCGIFMTU, |answer| {
        // SAFETY: as above.
        unsafe { answer.ifru_mtu }
    })?);
    let (kind, mac) = ask(socket, name, libc::SIOCGIFHWADDR, |answer| {
        // SAFETY: what SIOCGIFHWADDR fills in; any bits are integers.
        let address = unsafe { answer.ifru_hwaddr };
        (address.sa_family, address.sa_data.map(|octet| octet as u8))
    })?;
    let mac = mac.first_chunk().copied().filter(|_| kind == libc::ARPHRD_ETHER);
    Some(Link { index: index.ok()?, mtu: mtu.ok()?, mac })
}

fn ask<T>(
    socket: BorrowedFd<'_>,
    name: &CStr,
    question: libc::Ioctl,
    read: impl FnOnce(&libc::__c_anonymous_ifr_ifru) -> T,
) -> Option<T> {
    // SAFETY: of plain integers, all of which may be zero.
    let mut request = unsafe { zeroed::<libc::ifreq>() };
    let name = name.to_bytes_with_nul();
    // One that does not fit is no interface's.
    let place = request.ifr_name.get_mut(..name.len())?;
    for (place, octet) in place.iter_mut().zip(name) {
        *place = *octet as libc::c_char;
    }
    // SAFETY: these requests read the name of an ifreq, write to its union, and the value lives until the call returns.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), question, &raw mut request) };
    (answer == 0).then(|| read(&request.ifr_ifru))
}
