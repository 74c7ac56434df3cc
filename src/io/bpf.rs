//! Instructions of classic BPF, for the filters that keep the noise of a busy host away from netlink and packet sockets.

use nix::libc;
use socket2::SockFilter;

/// The octet at `offset`.
pub(super) fn load_octet(offset: u32) -> SockFilter {
    SockFilter::new(code(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS), 0, 0, offset)
}

/// Two octets at `offset`, in network order.
pub(super) fn load(offset: u32) -> SockFilter {
    SockFilter::new(code(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS), 0, 0, offset)
}

/// X becomes the length of the IPv4 header at `offset`.
pub(super) fn header_length(offset: u32) -> SockFilter {
    SockFilter::new(code(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH), 0, 0, offset)
}

/// Two octets at X and `offset`, in network order.
pub(super) fn load_behind(offset: u32) -> SockFilter {
    SockFilter::new(code(libc::BPF_LD | libc::BPF_H | libc::BPF_IND), 0, 0, offset)
}

/// Only these bits of what was loaded.
pub(super) fn mask(bits: u32) -> SockFilter {
    SockFilter::new(code(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K), 0, 0, bits)
}

/// How many instructions to leave out where what was loaded is `value`, and where it is not.
pub(super) fn equal(value: u32, yes: u8, no: u8) -> SockFilter {
    SockFilter::new(code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), yes, no, value)
}

/// Leaves out `count` instructions.
pub(super) fn jump(count: u32) -> SockFilter {
    SockFilter::new(code(libc::BPF_JMP | libc::BPF_JA), 0, 0, count)
}

/// The end: the message, to its last octet.
pub(super) fn keep() -> SockFilter {
    give(u32::MAX)
}

/// The end: nothing of the message.
pub(super) fn discard() -> SockFilter {
    give(0)
}

fn give(octets: u32) -> SockFilter {
    SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, octets)
}

/// sock_filter has 16 bits for what libc gives as 32.
fn code(parts: u32) -> u16 {
    u16::try_from(parts).unwrap_or_default()
}
