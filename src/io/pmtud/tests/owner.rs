//! Whose socket it is.

use std::io::Read;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};

use socket2::{Domain, Socket, Type};

use super::{address, in_namespace, ip};
use crate::Time;
use crate::io::packet::BATCH;
use crate::io::pmtud::inject::Injector;
use crate::io::pmtud::owner::Owners;
use crate::pmtud::{Flow, Owner};

fn flow(protocol: u8, ours: SocketAddr, theirs: SocketAddr) -> Flow {
    let (service, service_port, client, client_port) = (ours.ip(), ours.port(), theirs.ip(), theirs.port());
    Flow { service, client, protocol, service_port, client_port }
}

fn listen(at: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
    if at.is_ipv6() {
        socket.set_only_v6(false).unwrap();
    }
    socket.set_reuse_address(true).unwrap();
    socket.bind(&at.into()).unwrap();
    socket.listen(16).unwrap();
    socket.into()
}

fn connect(from: SocketAddr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

fn hosts() {
    for address in ["192.0.2.1/32", "192.0.2.9/32", "2001:db8::1/128", "2001:db8::9/128"] {
        ip(&format!("address add {address} dev lo {}", if address.contains(':') { "nodad" } else { "" }));
    }
}

#[test]
fn a_connection_is_here_whatever_it_listens_on_and_a_listener_alone_is_not() {
    in_namespace(|| {
        hosts();
        let mut owners = Owners::open().unwrap();
        // A port each: a program that another test starts has a copy of every socket until it executes.
        for (port, bound, service, client) in [
            (80, "192.0.2.1", "192.0.2.1", "192.0.2.9"),
            (81, "0.0.0.0", "192.0.2.1", "192.0.2.9"),
            (82, "::", "192.0.2.1", "192.0.2.9"),
            (83, "::", "2001:db8::1", "2001:db8::9"),
            (84, "2001:db8::1", "2001:db8::1", "2001:db8::9"),
        ] {
            let (ours, theirs) = (address(service, port), address(client, 0));
            let listener = listen(address(bound, port));
            let other = flow(6, ours, address(client, 1));
            assert_eq!(owners.ask(&[other]), [Owner::Elsewhere], "{bound}: only listening");
            let mut stream = connect(theirs, ours);
            let here = flow(6, ours, stream.local_addr().unwrap());
            assert_eq!(owners.ask(&[here]), [Owner::Here], "{bound}: not accepted yet");
            let accepted = listener.accept().unwrap().0;
            assert_eq!(owners.ask(&[here]), [Owner::Here], "{bound}");
            // Ours closes first: FIN_WAIT2, then TIME_WAIT.
            accepted.shutdown(Shutdown::Both).unwrap();
            drop(accepted);
            assert_eq!(owners.ask(&[here]), [Owner::Here], "{bound}: FIN_WAIT2");
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            drop((stream, listener));
            assert_eq!(owners.ask(&[here, other]), [Owner::Here, Owner::Elsewhere], "{bound}: TIME_WAIT");
        }
    });
}

/// A rule of the kernel that the README names: what is injected through lo would not reach it either.
#[test]
fn a_socket_bound_to_a_device_is_not_found() {
    in_namespace(|| {
        hosts();
        let mut owners = Owners::open().unwrap();
        for (service, client) in [("192.0.2.1", "192.0.2.9"), ("2001:db8::1", "2001:db8::9")] {
            let listener = listen(address(service, 80));
            Socket::from(listener.try_clone().unwrap()).bind_device(Some(b"lo")).unwrap();
            let stream = connect(address(client, 0), address(service, 80));
            let _accepted = listener.accept().unwrap();
            let bound = flow(6, address(service, 80), stream.local_addr().unwrap());
            assert_eq!(owners.ask(&[bound]), [Owner::Elsewhere], "{service}");
        }
    });
}

/// A SYN without anybody behind it.
fn syn(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut tcp = [0_u8; 20];
    tcp[..2].copy_from_slice(&from.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&to.port().to_be_bytes());
    (tcp[12], tcp[13], tcp[14]) = (0x50, 2, 4);
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (source, destination) = (octets(from.ip()), octets(to.ip()));
    let pseudo = [&source[..], &destination, &[0, 6, 0, 20], &tcp].concat();
    let sum: u32 = pseudo.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    let header = if from.is_ipv4() {
        vec![0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0]
    } else {
        vec![0x60, 0, 0, 0, 0, 20, 6, 64]
    };
    [header, source, destination, tcp.to_vec()].concat()
}

#[test]
fn a_connection_on_its_way_is_here() {
    in_namespace(|| {
        hosts();
        ip("link add e0 type veth peer name e1");
        ip("link set e0 up");
        ip("link set e1 up");
        ip("address add 10.0.0.1/24 dev e0");
        ip("address add fd00::1/64 dev e0 nodad");
        let (mut owners, injector) = (Owners::open().unwrap(), Injector::open().unwrap());
        let _listener = listen(address("::", 80));
        for (service, client) in [("192.0.2.1", "10.0.0.77"), ("2001:db8::1", "fd00::77")] {
            let (ours, theirs) = (address(service, 80), address(client, 1234));
            let here = flow(6, ours, theirs);
            assert_eq!(owners.ask(&[here]), [Owner::Elsewhere]);
            injector.inject(ours.ip(), &syn(theirs, ours)).unwrap();
            assert_eq!(owners.ask(&[here]), [Owner::Here], "{service}: SYN_RECV");
        }
    });
}

#[test]
fn a_connected_udp_socket_is_here_and_one_for_everybody_may_be() {
    in_namespace(|| {
        hosts();
        let mut owners = Owners::open().unwrap();
        // Ports as above.
        for (port, bound, service, client) in [
            (443, "192.0.2.1", "192.0.2.1", "192.0.2.9"),
            (444, "::", "192.0.2.1", "192.0.2.9"),
            (445, "::", "2001:db8::1", "2001:db8::9"),
        ] {
            let theirs = address(client, 5000);
            let quic = flow(17, address(service, port), theirs);
            assert_eq!(owners.ask(&[quic]), [Owner::Elsewhere]);
            let _everybody = UdpSocket::bind(address(bound, port)).unwrap();
            assert_eq!(owners.ask(&[quic]), [Owner::Unknown]);
            let ours = address(service, port + 1000);
            let quic = flow(17, ours, theirs);
            let connected = UdpSocket::bind(ours).unwrap();
            connected.connect(theirs).unwrap();
            let stranger = flow(17, ours, address(client, 5001));
            assert_eq!(owners.ask(&[quic, stranger]), [Owner::Here, Owner::Elsewhere]);
        }
        let sctp = flow(132, address("192.0.2.1", 80), address("192.0.2.9", 80));
        assert_eq!(owners.ask(&[sctp]), [Owner::Unknown]);
    });
}

#[test]
fn beyond_what_is_worth_it_nobody_is_asked_until_the_next_second() {
    in_namespace(|| {
        let mut owners = Owners::open().unwrap();
        let flows = [flow(6, address("192.0.2.1", 80), address("192.0.2.9", 5000)); BATCH];
        let second = |second: u64| Time::from_nanos(second * 1_000_000_000 + 7);
        let asked =
            (0..1000).filter(|_| owners.ask_if_worth_it(second(3), &flows) == [Owner::Elsewhere; BATCH]).count();
        assert_eq!(asked, 50_000_usize.div_ceil(BATCH));
        assert!(owners.ask_if_worth_it(second(3), &flows).is_empty());
        assert_eq!(owners.ask_if_worth_it(second(4), &flows), [Owner::Elsewhere; BATCH]);
    });
}

#[test]
fn each_of_many_questions_has_its_own_answer() {
    in_namespace(|| {
        hosts();
        let (mut owners, ours) = (Owners::open().unwrap(), address("192.0.2.1", 80));
        let listener = listen(ours);
        let streams: Vec<TcpStream> = (0..16).map(|_| connect(address("192.0.2.9", 0), ours)).collect();
        let connections: Vec<_> = streams.iter().map(|_| listener.accept().unwrap()).collect();
        let mut flows = Vec::new();
        let mut wanted = Vec::new();
        for (_, theirs) in &connections {
            flows.extend([flow(6, ours, *theirs), flow(132, ours, *theirs), flow(17, ours, *theirs)]);
            wanted.extend([Owner::Here, Owner::Unknown, Owner::Elsewhere]);
            flows.push(flow(6, address("192.0.2.1", 81), *theirs));
            wanted.push(Owner::Elsewhere);
        }
        for round in 0..1000 {
            let take = round % (BATCH + 1);
            assert_eq!(owners.ask(&flows[..take]), &wanted[..take]);
        }
        if std::env::var_os("MEASURE").is_some() {
            for size in [1, 8, BATCH] {
                let start = std::time::Instant::now();
                for _ in 0..100_000 / size {
                    owners.ask(&flows[..size]);
                }
                eprintln!("{size}: {:?} each (an asked one in 4/3)", start.elapsed() / 100_000);
            }
        }
    });
}
