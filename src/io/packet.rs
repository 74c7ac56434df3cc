//! Frames and datagrams in batches: one system call for up to 64, into buffers that are allocated once.
//!
//! ```text
//!   recvmmsg --> Batch: octets, where from, what the kernel took out of the frame (VLAN tag) --> frame(i), datagram(i)
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
use socket2::{Domain, SockAddr, SockFilter, Socket, Type};

use super::sockopt;

#[cfg(test)]
mod tests;

/// Messages of one call: enough that the call itself costs nothing beside them, few enough that no socket waits long.
pub(super) const BATCH: usize = 64;

/// Of one message. An ICMP error has at most 1280 octets (RFC 4443 §2.4(c)); what is longer is cut, and refused as such.
const OCTETS: usize = 2048;

/// At 400,000 frames a second, each charged with up to 2 KiB, this is what comes in 10 ms: as long as a busy scheduler lets
/// a thread wait.
pub(super) const RECEIVE_BUFFER: usize = 8 << 20;

/// A link header and a packet, or a datagram and nothing.
pub(super) const PARTS: usize = 2;

/// Two control messages fit; there is only one (tpacket_auxdata, 20 octets behind a header of 16).
type Control = [u64; 12];

/// What one call received.
pub(super) struct Batch {
    octets: Vec<[u8; OCTETS]>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    received: usize,
}

/// A frame as it was captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Frame<'a> {
    pub(super) octets: &'a [u8],
    /// Where the network header begins: 0 on interfaces without link headers.
    pub(super) network: usize,
    /// The ethertype of what begins there.
    pub(super) protocol: u16,
    pub(super) ethernet: bool,
    /// The VLAN tag that the kernel took out.
    pub(super) tag: Option<Tag>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tag {
    /// 0x8100 or 0x88a8.
    pub(super) kind: u16,
    pub(super) control: u16,
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
            controls: vec![[0; 12]; BATCH],
            vectors: vec![libc::iovec { iov_base: null_mut(), iov_len: 0 }; BATCH],
            headers: vec![header; BATCH],
            received: 0,
        }
    }

    /// What is there now, at most `most` messages. Never waits: nothing there is an empty batch.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        self.received = 0;
        let places = self.headers.iter_mut().zip(&mut self.vectors).zip(&mut self.octets);
        for (((header, vector), octets), (name, control)) in places.zip(self.names.iter_mut().zip(&mut self.controls)) {
            *vector = libc::iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: OCTETS };
            let header = &mut header.msg_hdr;
            header.msg_name = (&raw mut *name).cast();
            header.msg_namelen = length_of(name);
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = size_of::<Control>() as _;
            header.msg_flags = 0;
        }
        let count = libc::c_uint::try_from(most.min(BATCH)).unwrap_or_default();
        let headers = self.headers.as_mut_ptr();
        // SAFETY: each of the first `count` headers (at most BATCH, which is how many there are) was just pointed at a
        // name, a vector, a buffer and a control buffer of this value, with their lengths; none is moved or read before
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

    /// A frame of a packet socket. One that did not fit is cut.
    pub(super) fn frame(&self, index: usize) -> Option<Frame<'_>> {
        let octets = self.cut(index)?;
        let name = self.names.get(index)?;
        if libc::c_int::from(name.ss_family) != libc::AF_PACKET {
            return None;
        }
        // SAFETY: the kernel says that this is a sockaddr_ll, which is smaller than sockaddr_storage and no more aligned.
        let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_ll>() };
        let aux = auxiliary(self.header(index)?)?;
        let tag = (aux.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then_some(Tag {
            kind: if aux.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0 { aux.tp_vlan_tpid } else { 0x8100 },
            control: aux.tp_vlan_tci,
        });
        Some(Frame {
            octets,
            network: usize::from(aux.tp_net),
            protocol: u16::from_be(name.sll_protocol),
            ethernet: name.sll_hatype == libc::ARPHRD_ETHER,
            tag,
        })
    }

    fn cut(&self, index: usize) -> Option<&[u8]> {
        let length = usize::try_from(self.header(index)?.msg_len).ok()?;
        self.octets.get(index)?.get(..length.min(OCTETS))
    }
}

fn auxiliary(header: &libc::mmsghdr) -> Option<libc::tpacket_auxdata> {
    let header = &header.msg_hdr;
    // SAFETY: control buffer and length are what the kernel left in the header of a received message; the macros stay
    // within them, and a tpacket_auxdata is read only where a message of that kind is long enough. It is of integers only.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = next.as_ref() {
            let wanted = libc::CMSG_LEN(length_of_type::<libc::tpacket_auxdata>());
            if (message.cmsg_level, message.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA)
                && message.cmsg_len as u64 >= u64::from(wanted)
            {
                return Some(libc::CMSG_DATA(next).cast::<libc::tpacket_auxdata>().read_unaligned());
            }
            next = libc::CMSG_NXTHDR(header, next);
        }
    }
    None
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

/// A packet socket of one interface. Nothing gets in that `filter` has not seen: until it is bound, nothing gets in.
pub(super) fn capture(interface: u32, filter: &[SockFilter]) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    socket.attach_filter(filter)?;
    set_packet(&socket, libc::PACKET_AUXDATA)?;
    // Linux before 4.20 has no such option: what we send then comes as PACKET_OUTGOING, which the filter discards.
    let _ = set_packet(&socket, libc::PACKET_IGNORE_OUTGOING);
    sockopt::receive_buffer(&socket, RECEIVE_BUFFER)?;
    // SAFETY: of plain integers, all of which may be zero.
    let mut name = unsafe { zeroed::<libc::sockaddr_ll>() };
    name.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
    name.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be();
    name.sll_ifindex = libc::c_int::try_from(interface).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads a sockaddr_ll, which lives until the call returns; the descriptor is open.
    let answer = unsafe { libc::bind(socket.as_raw_fd(), (&raw const name).cast(), length_of(&name)) };
    if answer == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

fn set_packet(socket: &Socket, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads an integer of this length that lives until the call returns; the descriptor is open.
    let answer = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, (&raw const on).cast(), length_of(&on))
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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
