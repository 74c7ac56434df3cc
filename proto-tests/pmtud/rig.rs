//! Members behind a router, and errors written octet by octet.
//!
//! ```text
//!                        router: 198.51.100.1, 2001:db8:c::1 (clients), 10.0.N.1, fd00:N::1
//!          10.0.1.2, fd00:1::2 |         10.0.2.2 |              10.0.3.2 |
//!                  e0 of member 1      e0 of member 2           e0 of member 3        each: 192.0.2.1, 2001:db8::1 on lo
//! ```

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anycaster::config::{Members, MinMtu, Pmtud, PmtudLimits, PmtudMode, PmtudRelay, Rate};
use anycaster::io::pmtud::Relaying;
use anycaster::pmtud::{Heard, Key, Verdict};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, sendto, socket,
};

use crate::lab::namespace::{Namespace, link};
use crate::lab::{seconds, wait_for};

pub const SERVICE: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
pub const CLIENT: [&str; 2] = ["198.51.100.1", "2001:db8:c::1"];
pub const PORT: u16 = 5141;

/// The MAC address of each member's uplink ends with its number, the router's with that and 0x10.
pub struct Rig {
    pub router: Namespace,
    pub members: Vec<Namespace>,
}

impl Rig {
    pub fn new(members: usize) -> Self {
        let router = Namespace::new("router");
        router.sysctl("net/ipv4/ip_forward", "1");
        router.sysctl("net/ipv6/conf/all/forwarding", "1");
        for client in CLIENT {
            router.add_address("lo", &host(client));
        }
        let rig = Self { members: (1..=members).map(|n| Namespace::new(&format!("m{n}"))).collect(), router };
        for (n, member) in (1..).zip(&rig.members) {
            for name in ["all", "default", "lo"] {
                member.sysctl(&format!("net/ipv4/conf/{name}/rp_filter"), "1");
            }
            rig.plug(n);
            for service in SERVICE {
                member.add_address("lo", &host(service));
            }
        }
        rig
    }

    pub fn member(&self, n: usize) -> &Namespace {
        &self.members[n - 1]
    }

    /// The link of a member, with its addresses and routes.
    pub fn plug(&self, n: usize) {
        let member = self.member(n);
        let ours = [unicast(n, 4) + "/24", unicast(n, 6) + "/64"];
        let theirs = [format!("10.0.{n}.1/24"), format!("fd00:{n}::1/64")];
        link((member, "e0", &[]), (&self.router, &format!("e{n}"), &[]));
        member.run(&format!("ip link set e0 address 02:00:00:00:00:0{n}"));
        self.router.run(&format!("ip link set e{n} address 02:00:00:00:00:1{n}"));
        ours.iter().for_each(|address| member.add_address("e0", address));
        theirs.iter().for_each(|address| self.router.add_address(&format!("e{n}"), address));
        member.run(&format!("ip route add default via 10.0.{n}.1"));
        member.run(&format!("ip -6 route add default via fd00:{n}::1"));
    }

    /// The relay of member `n`, for the others; `change` has the last word.
    pub fn start(&self, n: usize, change: impl FnOnce(&mut Pmtud)) -> Running {
        let mut config = self.config(n);
        change(&mut config);
        let keys = vec![Key::new(b"a secret of these tests alone, 32+").unwrap()];
        Running(self.member(n).within(|| Relaying::start(&config, keys)).unwrap())
    }

    pub fn config(&self, n: usize) -> Pmtud {
        let rate = Rate { per_second: 100_000 };
        Pmtud {
            interfaces: vec!["e0".to_owned()],
            mode: PmtudMode::Relay(PmtudRelay {
                address: unicast(n, 4).parse().unwrap(),
                port: PORT,
                members: Members::List((1..=self.members.len()).map(|n| unicast(n, 4).parse().unwrap()).collect()),
                keys: vec!["unused".into()],
                insecure: false,
            }),
            prefixes: Some(vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/64".parse().unwrap()]),
            protocols: vec![6, 132],
            ports: Vec::new(),
            min_mtu: MinMtu { ipv4: 552, ipv6: 1280 },
            dry_run: false,
            dedup: Duration::ZERO,
            limits: PmtudLimits { flow: rate, router: rate, prefix: rate, total: rate },
        }
    }

    /// A frame from the router to member `n`.
    pub fn send(&self, n: usize, frame: &[u8]) {
        self.router.within(|| Tap::open(&format!("e{n}")).send(frame));
    }
}

pub fn unicast(n: usize, family: u8) -> String {
    if family == 4 { format!("10.0.{n}.2") } else { format!("fd00:{n}::2") }
}

fn host(address: &str) -> String {
    format!("{address}/{}", if address.contains(':') { 128 } else { 32 })
}

/// A socket of one interface: sends whole frames there, and receives what passes.
pub struct Tap {
    socket: OwnedFd,
    link: LinkAddr,
}

impl Tap {
    pub fn open(interface: &str) -> Self {
        let entries = getifaddrs().unwrap().filter(|entry| entry.interface_name == interface);
        let link =
            entries.filter_map(|entry| entry.address?.as_link_addr().copied()).next().expect("no such interface");
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_NONBLOCK, SockProtocol::EthAll).unwrap();
        // Of protocol 0, so the one above stays.
        bind(socket.as_raw_fd(), &link).unwrap();
        Self { socket, link }
    }

    pub fn send(&self, frame: &[u8]) {
        assert_eq!(sendto(self.socket.as_raw_fd(), frame, &self.link, MsgFlags::empty()), Ok(frame.len()));
    }

    /// What has passed since the last call, in both directions.
    pub fn passed(&self) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        std::iter::from_fn(|| {
            let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).ok()?;
            Some(buffer[..length].to_vec())
        })
        .collect()
    }
}

/// The relay of one member; its thread is in the member's namespace.
pub struct Running(pub Relaying);

impl Running {
    /// Errors of both families that ended so.
    pub fn count(&self, verdict: Verdict) -> u64 {
        let place = Verdict::ALL.iter().position(|it| *it == verdict).unwrap();
        let totals = self.0.totals();
        totals.uplinks.iter().flat_map(|uplink| &uplink.verdicts).map(|family| family[place]).sum()
    }

    pub fn heard(&self, heard: Heard) -> u64 {
        self.0.totals().heard[Heard::ALL.iter().position(|it| *it == heard).unwrap()]
    }

    #[track_caller]
    pub fn wait(&self, verdict: Verdict, count: u64) {
        wait_for(verdict.name(), seconds(10), || {
            let totals = self.0.totals();
            if self.count(verdict) == count { Ok(()) } else { Err(format!("want {count}: {totals:?}")) }
        });
    }

    #[track_caller]
    pub fn wait_heard(&self, heard: Heard, count: u64) {
        wait_for(heard.name(), seconds(10), || {
            let totals = self.0.totals();
            if self.heard(heard) == count { Ok(()) } else { Err(format!("{totals:?}")) }
        });
    }

    pub fn everything(&self) -> u64 {
        self.0.totals().uplinks.iter().flat_map(|uplink| uplink.verdicts.as_flattened()).sum()
    }
}

/// "Too big, 1400" about a packet of the service on port 80; of family 4 or 6.
pub fn too_big(family: u8, client_port: u16) -> Vec<u8> {
    too_big_of(family, client_port, 1400, &[])
}

/// It quotes so much more of the packet.
pub fn too_big_of(family: u8, client_port: u16, mtu: u16, more: &[u8]) -> Vec<u8> {
    let [high, low] = mtu.to_be_bytes();
    let place = usize::from(family == 6);
    let (service, client): (IpAddr, IpAddr) = (SERVICE[place].parse().unwrap(), CLIENT[place].parse().unwrap());
    let tcp = [&80_u16.to_be_bytes()[..], &client_port.to_be_bytes(), &[0, 0, 0, 1], more].concat();
    match (service, client) {
        (IpAddr::V4(service), IpAddr::V4(client)) => {
            let header = |length: u16, protocol: u8, from: [u8; 4], to: [u8; 4]| {
                let length = length.to_be_bytes();
                let fixed = [0x45, 0, length[0], length[1], 0, 7, 0x40, 0, 64, protocol, 0, 0];
                let mut header = [&fixed[..], &from, &to].concat();
                let sum = checksum(&header);
                header[10..12].copy_from_slice(&sum);
                header
            };
            let quoted = [header(1500, 6, service.octets(), client.octets()), tcp].concat();
            let mut icmp = [&[3, 4, 0, 0, 0, 0, high, low][..], &quoted].concat();
            let sum = checksum(&icmp);
            icmp[2..4].copy_from_slice(&sum);
            let length = 20 + u16::try_from(icmp.len()).unwrap();
            [header(length, 1, [10, 9, 9, 9], service.octets()), icmp].concat()
        }
        (IpAddr::V6(service), IpAddr::V6(client)) => {
            let router = "fd00:9::9".parse::<std::net::Ipv6Addr>().unwrap().octets();
            let header = |length: u16, next: u8, from: [u8; 16], to: [u8; 16]| {
                let length = length.to_be_bytes();
                [&[0x60, 0, 0, 0, length[0], length[1], next, 64][..], &from, &to].concat()
            };
            let quoted = [header(1460, 6, service.octets(), client.octets()), tcp].concat();
            let mut icmp = [&[2, 0, 0, 0, 0, 0, high, low][..], &quoted].concat();
            let length = u16::try_from(icmp.len()).unwrap();
            let [high, low] = length.to_be_bytes();
            let sum = checksum(&[&router[..], &service.octets(), &[0, 0, high, low, 0, 0, 0, 58], &icmp].concat());
            icmp[2..4].copy_from_slice(&sum);
            [header(length, 58, router, service.octets()), icmp].concat()
        }
        _ => unreachable!(),
    }
}

/// RFC 1071
fn checksum(octets: &[u8]) -> [u8; 2] {
    let mut sum: u32 = octets.chunks(2).map(|it| u32::from(it[0]) << 8 | u32::from(*it.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

/// As member `n` gets it from its router: the packet behind what stands between the addresses and it, tags first.
pub fn frame(n: u8, tags: &[u8], packet: &[u8]) -> Vec<u8> {
    let kind = if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    [&[2, 0, 0, 0, 0, n][..], &[2, 0, 0, 0, 0, 0x10 + n], tags, &kind, packet].concat()
}
