//! Packet sockets: frames written octet by octet, and all frames of a device seen.

use std::collections::HashMap;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike as _, bind,
    recvfrom, recvmsg, send, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use crate::crafted::Mac;
use crate::lab::namespace::Namespace;

/// linux/if_packet.h: a frame that this host sends.
const OUTGOING: u8 = 4;

/// A device as the tests write to it.
pub struct Wire {
    socket: OwnedFd,
    pub mac: Mac,
}

impl Wire {
    pub fn open(namespace: &Namespace, device: &str) -> Self {
        let (socket, address) = namespace.within(|| packet_socket(device, None));
        Self { socket, mac: address.addr().expect("a hardware address") }
    }

    /// Waits where the device's queue is full.
    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        loop {
            match send(self.socket.as_raw_fd(), frame, MsgFlags::empty()) {
                Ok(_) => return,
                Err(Errno::ENOBUFS) => std::thread::yield_now(),
                Err(error) => panic!("sending {} octets: {error}", frame.len()),
            }
        }
    }

    pub const fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// What the device or the kernel says to it.
    pub fn try_send(&self, frame: &[u8]) -> Result<usize, Errno> {
        send(self.socket.as_raw_fd(), frame, MsgFlags::empty())
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub frame: Vec<u8>,
    /// It left through this device; else it came in.
    pub outgoing: bool,
}

impl Seen {
    pub fn to(&self) -> &[u8] {
        &self.frame[..6]
    }

    /// From the IP header on; `None`: no IP.
    pub fn packet(&self) -> Option<&[u8]> {
        matches!(self.frame.get(12..14)?, [0x08, 0x00] | [0x86, 0xDD]).then(|| &self.frame[14..])
    }

    /// The packet, where it is an error of the kind that is relayed.
    pub fn error(&self) -> Option<&[u8]> {
        let packet = self.packet()?;
        match packet.first()? >> 4 {
            4 => {
                let header = usize::from(packet[0] & 0xF) * 4;
                (packet.get(9)? == &1 && packet.get(header..header + 2)? == [3, 4]).then_some(packet)
            }
            6 => (packet.get(6)? == &58 && packet.get(40)? == &2).then_some(packet),
            _ => None,
        }
    }

    /// Destination and payload, where it is a datagram to this port; fragments are not looked into.
    pub fn datagram(&self, port: u16) -> Option<(&[u8], &[u8])> {
        let packet = self.packet()?;
        let (to, udp) = match packet.first()? >> 4 {
            4 if packet.get(9)? == &17 && packet[6] & 0x1F == 0 && packet[7] == 0 => (&packet[16..20], &packet[20..]),
            6 if packet.get(6)? == &17 => (&packet[24..40], &packet[40..]),
            _ => return None,
        };
        (udp.get(2..4)? == port.to_be_bytes()).then(|| (to, &udp[8..]))
    }
}

/// Sees every frame of a device, on a thread of its own, until dropped.
pub struct Sniffer {
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sniffer {
    /// Keeps what `wanted` says yes to.
    pub fn new(namespace: &Namespace, device: &str, wanted: impl Fn(&Seen) -> bool + Send + 'static) -> Self {
        let (socket, _) = namespace.within(|| packet_socket(device, Some(SockProtocol::EthAll)));
        // Wakes to see whether it is still wanted
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 50_000)).expect("a timeout");
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (list, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 70_000];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer) else { continue };
                let outgoing = from.is_some_and(|from| from.pkttype() == OUTGOING);
                let one = Seen { frame: buffer[..length].to_vec(), outgoing };
                if wanted(&one) {
                    list.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                }
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// And forgets them.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The wall clock, which the kernel's time stamps are of.
pub fn now() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970")
}

/// When frames came in, by the kernel's clock: the first of each number that `number` reads out of them.
pub struct Stamps {
    first: Arc<Mutex<HashMap<usize, Duration>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stamps {
    pub fn new(namespace: &Namespace, device: &str, number: impl Fn(&[u8]) -> Option<usize> + Send + 'static) -> Self {
        let (socket, _) = namespace.within(|| packet_socket(device, Some(SockProtocol::EthAll)));
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 50_000)).expect("a timeout");
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).expect("time stamps");
        let (first, stop) = (Arc::new(Mutex::new(HashMap::new())), Arc::new(AtomicBool::new(false)));
        let (map, stopped) = (Arc::clone(&first), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 2048];
            let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
            while !stopped.load(Ordering::Relaxed) {
                let mut slices = [std::io::IoSliceMut::new(&mut buffer)];
                let message =
                    recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty());
                let Ok(message) = message else { continue };
                let outgoing = message.address.is_some_and(|from| from.pkttype() == OUTGOING);
                let stamp = message.cmsgs().expect("control messages").find_map(|control| {
                    let ControlMessageOwned::ScmTimestampns(stamp) = control else { return None };
                    Some(Duration::from(stamp))
                });
                let length = message.bytes;
                if let (false, Some(stamp), Some(number)) = (outgoing, stamp, number(&buffer[..length])) {
                    map.lock().unwrap_or_else(PoisonError::into_inner).entry(number).or_insert(stamp);
                }
            }
        });
        Self { first, stop, thread: Some(thread) }
    }

    pub fn first(&self) -> HashMap<usize, Duration> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Stamps {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Bound to the device; without a protocol it receives nothing.
fn packet_socket(device: &str, protocol: Option<SockProtocol>) -> (OwnedFd, LinkAddr) {
    let socket =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).expect("a packet socket");
    let mut addresses = getifaddrs().expect("interfaces").filter(|entry| entry.interface_name == device);
    let address = addresses.find_map(|entry| entry.address?.as_link_addr().copied());
    let address = address.unwrap_or_else(|| panic!("no device {device}"));
    assert_eq!(address.family(), Some(AddressFamily::Packet));
    bind(socket.as_raw_fd(), &address).expect("bind");
    // Room for whatever a test sends while its reader waits for the processor
    setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).expect("a large buffer");
    (socket, address)
}
