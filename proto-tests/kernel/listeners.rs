//! Who would get a packet, and how soon its end is known.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anycaster::config::Protocol;
use anycaster::facts::{Fact, Watch};
use anycaster::io::listeners::Listeners;
use anycaster::io::netlink::Counters;
use socket2::{Domain, Socket, Type};
use tokio::time::{Instant, timeout};

use crate::{in_namespace, ip};

fn watch(protocol: Protocol, address: &str, port: u16) -> Watch {
    Watch { protocol, address: address.parse().unwrap(), port }
}

/// What a service would do: `only` is IPV6_V6ONLY.
fn serve(protocol: Protocol, address: &str, port: u16, only: bool) -> Socket {
    let address: IpAddr = address.parse().unwrap();
    let kind = match protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let to = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(to), kind, None).unwrap();
    if address.is_ipv6() {
        socket.set_only_v6(only).unwrap();
    }
    socket.set_reuse_port(true).unwrap();
    socket.bind(&to.into()).unwrap();
    if protocol == Protocol::Tcp {
        socket.listen(16).unwrap();
    }
    socket
}

fn bench() -> (Listeners, Arc<Counters>) {
    ip("address add 192.0.2.1/32 dev lo");
    ip("address add 192.0.2.2/32 dev lo");
    ip("address add 2001:db8::1/128 dev lo nodad");
    let counters = Arc::new(Counters::default());
    (Listeners::open(Arc::clone(&counters)).unwrap(), counters)
}

async fn changed(listeners: &mut Listeners) -> Vec<Fact> {
    timeout(Duration::from_secs(20), listeners.changed()).await.expect("an event in time")
}

/// No event comes, even a while later.
async fn silent(listeners: &mut Listeners) {
    assert_eq!(timeout(Duration::from_millis(300), listeners.changed()).await.ok(), None);
}

fn says(watch: Watch, listening: bool) -> Fact {
    Fact::Listener { watch, listening: Some(listening) }
}

#[test]
fn the_kernel_says_who_would_get_a_packet() {
    in_namespace(|| async {
        let (mut listeners, _) = bench();
        // bound to, v6 only; then the answers for 192.0.2.1, 192.0.2.2, 2001:db8::1
        let table = [
            ("0.0.0.0", true, [true, true, false]),
            ("192.0.2.1", true, [true, false, false]),
            ("::", true, [false, false, true]),
            ("::", false, [true, true, true]),
            ("2001:db8::1", true, [false, false, true]),
            ("::ffff:192.0.2.2", false, [false, true, false]),
        ];
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let mut ask = |port| {
                ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|address| listeners.ask(&watch(protocol, address, port)))
            };
            for (bound, only, expected) in table {
                let _socket = serve(protocol, bound, 5353, only);
                assert_eq!(ask(5353), expected.map(Some), "{protocol:?} {bound} {only}");
                assert_eq!(ask(5354), [Some(false); 3], "{protocol:?} {bound} {only}");
            }
        }
        // Bound but not listening is not a listener.
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bound.bind(&"0.0.0.0:7000".parse::<SocketAddr>().unwrap().into()).unwrap();
        assert_eq!(listeners.ask(&watch(Protocol::Tcp, "192.0.2.1", 7000)), Some(false));
    });
}

#[test]
fn the_end_of_a_listener_is_told_and_only_to_those_concerned() {
    in_namespace(|| async {
        let (mut listeners, counters) = bench();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for (bound, asked) in [("0.0.0.0", "192.0.2.1"), ("::", "2001:db8::1"), ("::", "192.0.2.1")] {
                let (ours, other) = (watch(protocol, asked, 53), watch(protocol, asked, 54));
                let socket = serve(protocol, bound, 53, false);
                let neighbour = serve(protocol, bound, 54, false);
                assert_eq!(listeners.set_watches(&[other, ours]), [says(ours, true), says(other, true)]);
                assert_eq!(listeners.set_watches(&[ours]), []);
                drop(neighbour);
                silent(&mut listeners).await;
                drop(socket);
                assert_eq!(changed(&mut listeners).await, [says(ours, false)], "{protocol:?} {bound}");
                listeners.set_watches(&[]);
            }
        }
        assert_eq!(counters.resyncs.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a_sibling_that_shares_the_port_still_listens() {
    in_namespace(|| async {
        let (mut listeners, _) = bench();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let ours = watch(protocol, "192.0.2.1", 53);
            let first = serve(protocol, "192.0.2.1", 53, true);
            let second = serve(protocol, "0.0.0.0", 53, true);
            let third = serve(protocol, "192.0.2.1", 53, true);
            listeners.set_watches(&[ours]);
            for (socket, left) in [(first, true), (third, true), (second, false)] {
                drop(socket);
                assert_eq!(changed(&mut listeners).await, [says(ours, left)]);
            }
            listeners.set_watches(&[]);
        }
    });
}

#[test]
fn twenty_thousand_closing_connections_are_not_heard() {
    in_namespace(|| async {
        let (mut listeners, counters) = bench();
        let ours = watch(Protocol::Tcp, "192.0.2.1", 443);
        let socket: TcpListener = serve(Protocol::Tcp, "0.0.0.0", 443, true).into();
        assert_eq!(listeners.set_watches(&[ours]), [says(ours, true)]);
        for i in 0..20_000_u32 {
            let address = if i % 2 == 0 { "192.0.2.1:443" } else { "192.0.2.2:443" };
            let client = TcpStream::connect(address).unwrap();
            // No TIME_WAIT: the ports are needed again.
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            drop((socket.accept().unwrap(), client));
        }
        silent(&mut listeners).await;
        assert_eq!(counters.resyncs.load(Ordering::Relaxed), 0);
        drop(socket);
        assert_eq!(changed(&mut listeners).await, [says(ours, false)]);
    });
}

#[test]
fn lost_events_are_made_good_by_asking_for_all() {
    in_namespace(|| async {
        let (mut listeners, counters) = bench();
        let ours = watch(Protocol::Udp, "192.0.2.1", 53);
        let other = watch(Protocol::Udp, "192.0.2.1", 54);
        let _stays = serve(Protocol::Udp, "192.0.2.1", 54, true);
        listeners.set_watches(&[ours, other]);
        while counters.resyncs.load(Ordering::Relaxed) == 0 {
            for _ in 0..5000 {
                drop(serve(Protocol::Udp, "192.0.2.1", 53, true));
            }
            std::thread::sleep(Duration::from_secs(1));
            let said = changed(&mut listeners).await;
            if counters.resyncs.load(Ordering::Relaxed) > 0 {
                assert_eq!(said, [says(ours, false), says(other, true)]);
            }
        }
    });
}

#[test]
fn the_latency_from_close_to_fact() {
    in_namespace(|| async {
        let (mut listeners, _) = bench();
        for (protocol, bound, asked) in [
            (Protocol::Tcp, "0.0.0.0", "192.0.2.1"),
            (Protocol::Tcp, "::", "2001:db8::1"),
            (Protocol::Udp, "0.0.0.0", "192.0.2.1"),
        ] {
            let ours = watch(protocol, asked, 53);
            let (mut took, mut stale) = (Vec::new(), 0);
            for _ in 0..50 {
                let socket = serve(protocol, bound, 53, true);
                listeners.set_watches(&[ours]);
                let thread = std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(2));
                    let before = Instant::now();
                    drop(socket);
                    before
                });
                let said = changed(&mut listeners).await;
                let after = Instant::now();
                took.push(after.duration_since(thread.join().unwrap()));
                // The kernel took the socket out of its tables before it told us.
                stale += usize::from(said != [says(ours, false)]);
                listeners.set_watches(&[]);
            }
            took.sort();
            println!(
                "{protocol:?} {bound}: close to fact, median {:?}, p99 {:?}, still listening {stale} of 50",
                took[25], took[49]
            );
            assert_eq!(stale, 0);
        }
    });
}
