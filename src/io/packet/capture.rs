//! Frames of one interface, in memory that the kernel writes and we read: no system call and no copy for a frame.
//!
//! ```text
//!   slots   | theirs | ours | ours | theirs | ...      the kernel fills them in order, and so they are read
//!                      ^ next                           released: theirs again
//! ```
//!
//! TPACKET_V2 and not V3, which hands over whole blocks, late.

#![allow(unsafe_code, reason = "a mapping that is shared with the kernel, socket options and sockaddr_ll")]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::{NonNull, null_mut};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc;
use socket2::{Domain, SockFilter, Socket, Type};

use super::{length_of, length_of_type};

/// Of one frame and what the kernel says of it. An ICMP error has at most 1280 octets (RFC 4443 §2.4(c)); what is longer than
/// some 1,950 with its link header is cut, and refused as such.
const SLOT: usize = 2048;

/// At 400,000 frames a second this is 10 ms: as long as a busy scheduler lets a thread wait. 8 MiB for each interface.
const SLOTS: usize = 4096;

/// What the kernel allocates at once: 16 pages where pages have 4 KiB.
const BLOCK: usize = 1 << 16;

/// Where the address is, behind the header.
const ADDRESS: usize = size_of::<libc::tpacket2_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);

/// A packet socket of one interface, and its ring.
pub(in crate::io) struct Capture {
    socket: Socket,
    ring: NonNull<u8>,
    /// The slot that is read next.
    next: usize,
    /// How many from there on are ours.
    ours: usize,
}

/// A frame as it was captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::io) struct Frame<'a> {
    pub(in crate::io) octets: &'a [u8],
    /// Where the network header begins: 0 on interfaces without link headers.
    pub(in crate::io) network: usize,
    /// The ethertype of what begins there.
    pub(in crate::io) protocol: u16,
    pub(in crate::io) ethernet: bool,
    /// The VLAN tag that the kernel took out.
    pub(in crate::io) tag: Option<Tag>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::io) struct Tag {
    /// 0x8100 or 0x88a8.
    pub(in crate::io) kind: u16,
    pub(in crate::io) control: u16,
}

// SAFETY: the mapping belongs to this value alone and to no thread.
unsafe impl Send for Capture {}

impl Drop for Capture {
    fn drop(&mut self) {
        // SAFETY: mapped in `open` with this length; what was lent of it ended before the value.
        unsafe { libc::munmap(self.ring.as_ptr().cast(), SLOT * SLOTS) };
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Capture {
    /// Nothing gets in that `filter` has not seen: until it is bound, nothing gets in.
    pub(in crate::io) fn open(interface: u32, filter: &[SockFilter]) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.attach_filter(filter)?;
        // Linux before 4.20 has no such option: what we send then comes as PACKET_OUTGOING, which the filter discards.
        let on: libc::c_int = 1;
        let _ = set(&socket, libc::PACKET_IGNORE_OUTGOING, &on);
        set(&socket, libc::PACKET_VERSION, &(libc::tpacket_versions::TPACKET_V2 as libc::c_int))?;
        let count = |number: usize| libc::c_uint::try_from(number).unwrap_or_default();
        let request = libc::tpacket_req {
            tp_block_size: count(BLOCK),
            tp_block_nr: count(SLOT * SLOTS / BLOCK),
            tp_frame_size: count(SLOT),
            tp_frame_nr: count(SLOTS),
        };
        set(&socket, libc::PACKET_RX_RING, &request)?;
        let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, socket.as_raw_fd());
        // SAFETY: a new mapping, wherever the kernel likes, of the ring that was just asked for, with its whole length.
        let ring = unsafe { libc::mmap(null_mut(), SLOT * SLOTS, access, libc::MAP_SHARED, fd, 0) };
        if ring == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let ring = NonNull::new(ring.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let capture = Self { socket, ring, next: 0, ours: 0 };
        // SAFETY: of plain integers, all of which may be zero.
        let mut name = unsafe { zeroed::<libc::sockaddr_ll>() };
        name.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
        name.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be();
        name.sll_ifindex = libc::c_int::try_from(interface).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the kernel reads a sockaddr_ll, which lives until the call returns; the descriptor is open.
        let answer = unsafe { libc::bind(fd, (&raw const name).cast(), length_of(&name)) };
        if answer == 0 { Ok(capture) } else { Err(io::Error::last_os_error()) }
    }

    /// How many frames are there now, at most `most`; they stay until [`Capture::release`]. An error: the interface is down, or
    /// was deleted.
    pub(in crate::io) fn receive(&mut self, most: usize) -> io::Result<usize> {
        self.release();
        self.ours = (0..most.min(SLOTS)).take_while(|index| self.status(*index) & libc::TP_STATUS_USER != 0).count();
        match self.ours {
            // Else poll(2) would tell of it for ever.
            0 => self.socket.take_error()?.map_or(Ok(0), Err),
            ours => Ok(ours),
        }
    }

    /// The kernel may fill them again.
    pub(in crate::io) fn release(&mut self) {
        for index in 0..self.ours {
            self.state(index).store(libc::TP_STATUS_KERNEL, Ordering::Release);
        }
        self.next = (self.next + self.ours) % SLOTS;
        self.ours = 0;
    }

    fn slot(&self, index: usize) -> NonNull<u8> {
        // SAFETY: below SLOTS, so within the mapping.
        unsafe { self.ring.add((self.next + index) % SLOTS * SLOT) }
    }

    fn state(&self, index: usize) -> &AtomicU32 {
        // SAFETY: a slot begins with tp_status, is aligned to its size, and lives as long as the mapping; the kernel and we
        // only ever access this word as a whole.
        unsafe { AtomicU32::from_ptr(self.slot(index).as_ptr().cast()) }
    }

    /// Acquire: what the kernel wrote before it is seen after it.
    fn status(&self, index: usize) -> u32 {
        self.state(index).load(Ordering::Acquire)
    }

    /// One of those received. One that did not fit is cut.
    pub(in crate::io) fn frame(&self, index: usize) -> Option<Frame<'_>> {
        if index >= self.ours {
            return None;
        }
        let slot = self.slot(index);
        // SAFETY: a slot of ours, which the kernel does not write until `release`, for which nothing of it may be lent any
        // more. It begins with a tpacket2_hdr and, aligned behind it, a sockaddr_ll, both of plain integers and within SLOT.
        let (header, name) =
            unsafe { (slot.cast::<libc::tpacket2_hdr>().read(), slot.add(ADDRESS).cast::<libc::sockaddr_ll>().read()) };
        let (start, network) = (usize::from(header.tp_mac), usize::from(header.tp_net));
        let length = usize::try_from(header.tp_snaplen).ok()?.min(SLOT.checked_sub(start)?);
        // SAFETY: as above; `start` and `length` together are at most SLOT.
        let octets = unsafe { slice::from_raw_parts(slot.add(start).as_ptr(), length) };
        let status = self.status(index);
        let tag = (status & libc::TP_STATUS_VLAN_VALID != 0).then_some(Tag {
            kind: if status & libc::TP_STATUS_VLAN_TPID_VALID != 0 { header.tp_vlan_tpid } else { 0x8100 },
            control: header.tp_vlan_tci,
        });
        Some(Frame {
            octets,
            network: network.checked_sub(start)?,
            protocol: u16::from_be(name.sll_protocol),
            ethernet: name.sll_hatype == libc::ARPHRD_ETHER,
            tag,
        })
    }

    /// Its interface; `None`: it was deleted.
    pub(in crate::io) fn interface(&self) -> Option<u32> {
        // SAFETY: of plain integers, all of which may be zero.
        let mut name = unsafe { zeroed::<libc::sockaddr_ll>() };
        let mut length = length_of(&name);
        // SAFETY: the kernel writes at most `length` octets to a sockaddr_ll, any bits of which are integers; both live until
        // the call returns. The descriptor is open.
        let answer = unsafe { libc::getsockname(self.socket.as_raw_fd(), (&raw mut name).cast(), &raw mut length) };
        // Then it is -1.
        u32::try_from(name.sll_ifindex).ok().filter(|_| answer == 0)
    }
}

fn set<T>(socket: &Socket, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = length_of_type::<T>();
    // SAFETY: the kernel reads `length` octets of a value that lives until the call returns; the descriptor is open.
    let answer = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, std::ptr::from_ref(value).cast(), length)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
