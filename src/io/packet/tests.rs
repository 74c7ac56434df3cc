//! Interfaces without link headers: needs root and /dev/net/tun.

use super::*;
use socket2::{Domain, Socket, Type};
use std::io::Write as _;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;

use crate::io::bpf::keep;

/// An interface without link headers, and the far end of it; `None`: there is no such thing here.
fn tunnel() -> Option<std::fs::File> {
    let file = std::fs::File::options().read(true).write(true).open("/dev/net/tun").ok()?;
    // SAFETY: of plain integers, all of which may be zero.
    let mut request = unsafe { zeroed::<libc::ifreq>() };
    for (place, octet) in request.ifr_name.iter_mut().zip(b"tun0") {
        *place = *octet as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI).unwrap();
    // SAFETY: TUNSETIFF reads and writes an ifreq, which lives until the call returns.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    assert_eq!(answer, 0, "{}", io::Error::last_os_error());
    Some(file)
}

#[test]
fn without_link_headers_a_frame_is_its_packet() {
    if !Uid::effective().is_root() {
        eprintln!("SKIPPED: needs root for a network namespace");
        return;
    }
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let Some(mut far) = tunnel() else {
            eprintln!("SKIPPED: needs /dev/net/tun");
            return;
        };
        assert!(Command::new("ip").args(["link", "set", "tun0", "up", "mtu", "1400"]).status().unwrap().success());
        let any = Socket::new(Domain::UNIX, Type::DGRAM, None).unwrap();
        let link = link(&any, c"tun0").unwrap();
        assert_eq!((link.mtu, link.mac), (1400, None));
        assert_eq!(super::link(&any, c"tun1"), None);
        assert_eq!(super::link(&any, c"a name that is too long for an interface"), None);
        let mut capture = Capture::open(link.index, &[keep()]).unwrap();
        assert_eq!(capture.interface(), Some(link.index));
        let packet = [&[0x45, 0, 0, 28][..], &[7; 24]].concat();
        far.write_all(&packet).unwrap();
        // The kernel sends its own multicast there, too.
        let found = std::iter::repeat_with(|| {
            let received = capture.receive(BATCH).unwrap();
            let frames: Vec<_> = (0..received).filter_map(|place| capture.frame(place)).collect();
            let ours = frames.iter().find(|frame| frame.octets.starts_with(&[0x45]));
            ours.map(|frame| (frame.octets.to_vec(), frame.network, frame.protocol, frame.ethernet, frame.tag))
        });
        assert_eq!(found.flatten().next(), Some((packet, 0, 0x0800, false, None)));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
