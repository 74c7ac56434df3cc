//! The program that keeps the noise of a busy host away from the destroy socket.
//!
//! ```text
//!   remote port != 0                -> drop     every closing connection of the host
//!   local port == one of ours       -> keep     in blocks: a jump reaches 255 instructions
//!   else                            -> drop
//! ```

use std::collections::BTreeSet;

use socket2::SockFilter;

use crate::io::bpf::{discard, equal, jump, keep, load};

/// A message is a netlink header (16) and inet_diag_msg: four octets, then both ports in network order.
const LOCAL_PORT: u32 = 16 + 4;
const REMOTE_PORT: u32 = LOCAL_PORT + 2;

/// Comparisons in one block: the first one must still reach the `keep` behind the last and behind the jump over it.
const BLOCK: usize = 254;

/// BPF_MAXINSNS
const LONGEST: usize = 4096;

/// The program for `ports`; where they are too many for one, it keeps every socket without a remote port.
pub(super) fn program(ports: &BTreeSet<u16>) -> Vec<SockFilter> {
    let mut program = vec![load(REMOTE_PORT), equal(0, 1, 0), discard(), load(LOCAL_PORT)];
    let ports: Vec<u16> = ports.iter().copied().collect();
    for block in ports.chunks(BLOCK) {
        for (index, port) in block.iter().enumerate() {
            // Over the comparisons that follow and the jump, to the end of the block.
            let distance = u8::try_from(block.len() - index).unwrap_or(u8::MAX);
            program.push(equal(u32::from(*port), distance, 0));
        }
        program.push(jump(1));
        program.push(keep());
    }
    program.push(discard());
    if program.len() > LONGEST { coarse() } else { program }
}

/// Keeps every socket without a remote port.
pub(super) fn coarse() -> Vec<SockFilter> {
    vec![load(REMOTE_PORT), equal(0, 0, 1), keep(), discard()]
}

#[cfg(test)]
mod tests {
    use super::*;

    use socket2::{Domain, Protocol, Socket, Type};

    /// What the kernel's own interpreter makes of the program: a datagram socket with the filter attached.
    fn kept(ports: &BTreeSet<u16>, local: u16, remote: u16) -> bool {
        let (sender, receiver) = Socket::pair(Domain::UNIX, Type::DGRAM, None::<Protocol>).unwrap();
        receiver.attach_filter(&program(ports)).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let mut message = vec![0_u8; 20];
        message.extend(local.to_be_bytes());
        message.extend(remote.to_be_bytes());
        message.resize(88, 0);
        let _ = sender.send(&message);
        let mut buffer = [std::mem::MaybeUninit::uninit(); 128];
        receiver.recv(&mut buffer).is_ok()
    }

    #[test]
    fn only_watched_ports_without_a_remote_one_are_kept() {
        for count in [0, 1, 253, 254, 255, 508, 509, 3000] {
            let ports: BTreeSet<u16> = (0..count).map(|i| 1000 + i * 2).collect();
            for port in [999, 1000, 1001, 1506, 1507, 1508, 1510, 2016, 2018, 6998, 7000, 65_535] {
                assert_eq!(kept(&ports, port, 0), ports.contains(&port), "{port} of {count}");
                assert!(!kept(&ports, port, 443), "{port} of {count}");
            }
        }
    }

    #[test]
    fn too_many_ports_keep_every_listener_and_still_no_connection() {
        let ports: BTreeSet<u16> = (1..=5000).collect();
        assert!(program(&ports).len() < 10);
        assert!(kept(&ports, 80, 0) && kept(&ports, 60_000, 0) && !kept(&ports, 80, 1));
    }
}
