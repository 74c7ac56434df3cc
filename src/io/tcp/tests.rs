#![allow(clippy::wildcard_enum_match_arm, reason = "a test fails on whatever it did not expect")]

use super::*;

use std::io::{Read, Write};
use std::net::{TcpListener as Listener, TcpStream as Peer};

use tokio::time::{Instant, sleep};

const ONE: ConnectionId = ConnectionId(1);

/// One connection to a peer of ours on loopback.
struct Bench {
    connections: Connections,
    inputs: mpsc::Receiver<Input>,
    peer: Peer,
}

async fn bench(slots: usize) -> Bench {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let (sender, mut inputs) = mpsc::channel(slots);
    let mut connections = Connections::new(sender);
    connections.dial(ONE, listener.local_addr().unwrap());
    let (peer, local) = listener.accept().unwrap();
    assert_eq!(next(&mut inputs).await, Input::Connected { connection: ONE, local });
    Bench { connections, inputs, peer }
}

async fn next(inputs: &mut mpsc::Receiver<Input>) -> Input {
    timeout(Duration::from_secs(5), inputs.recv()).await.expect("an input in time").unwrap()
}

/// Nothing more comes, even a while later.
async fn nothing(inputs: &mut mpsc::Receiver<Input>) {
    assert_eq!(timeout(Duration::from_millis(100), inputs.recv()).await.ok(), None);
}

fn closed(why: Closed) -> Input {
    Input::Closed { connection: ONE, why }
}

#[tokio::test]
async fn what_the_socket_takes_at_once_is_written_when_send_returns() {
    let mut b = bench(8).await;
    assert_eq!(b.connections.send(ONE, Bytes::from_static(b"KEEPALIVE")), 9);
    let mut got = [0; 9];
    b.peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"KEEPALIVE");
    nothing(&mut b.inputs).await;
}

#[tokio::test]
async fn what_waits_is_reported_to_the_last_octet_once_the_peer_reads() {
    let mut b = bench(8).await;
    SockRef::from(&b.connections.link(ONE).unwrap().stream).set_send_buffer_size(4096).unwrap();
    let sent: Vec<u8> = (0..64 * 1024_usize).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let (mut offered, mut written) = (0, 0);
    // Fill the kernel's buffers, until a whole window waits in our queue.
    while offered == written {
        written += b.connections.send(ONE, Bytes::from(sent.clone()));
        offered += sent.len();
    }
    let mut peer = b.peer;
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; offered];
        peer.read_exact(&mut got).unwrap();
        got
    });
    while written < offered {
        match next(&mut b.inputs).await {
            Input::Written { connection: ONE, bytes } => written += bytes,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(written, offered);
    let got = tokio::task::spawn_blocking(move || reader.join().unwrap()).await.unwrap();
    assert!(got.chunks(sent.len()).all(|chunk| chunk == sent));
}

#[tokio::test]
async fn a_peer_that_stops_reading_costs_one_queue_and_then_the_connection() {
    let mut b = bench(8).await;
    let window = Bytes::from(vec![0; 64 * 1024]);
    let mut kept = 0;
    loop {
        let written = b.connections.send(ONE, window.clone());
        kept += window.len() - written;
        if kept > QUEUE {
            break;
        }
    }
    let text = "more was sent than the window of a session allows".to_owned();
    assert_eq!(next(&mut b.inputs).await, closed(Closed::Failed(text)));
    assert_eq!(b.connections.send(ONE, window), 0);
    nothing(&mut b.inputs).await;
}

#[tokio::test]
async fn a_close_writes_what_was_sent_even_where_the_peer_was_not_read() {
    let mut b = bench(8).await;
    // Octets that nobody reads here: without the wait for the peer they would turn the close into RST.
    b.peer.write_all(&[0; 1000]).unwrap();
    assert_eq!(b.connections.send(ONE, Bytes::from_static(b"NOTIFICATION")), 12);
    b.connections.close(ONE);
    assert_eq!(b.connections.send(ONE, Bytes::from_static(b"late")), 0);
    let mut peer = b.peer;
    let reader = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(50));
        let mut got = Vec::new();
        peer.read_to_end(&mut got).map(|_| got)
    });
    assert_eq!(next(&mut b.inputs).await, closed(Closed::AsAsked));
    assert_eq!(reader.await.unwrap().unwrap(), b"NOTIFICATION");
    b.connections.close(ONE);
    nothing(&mut b.inputs).await;
}

#[tokio::test]
async fn a_close_ends_after_a_second_where_the_peer_never_reads() {
    let mut b = bench(8).await;
    while b.connections.send(ONE, Bytes::from(vec![0; 64 * 1024])) == 64 * 1024 {}
    let before = Instant::now();
    b.connections.close(ONE);
    loop {
        match next(&mut b.inputs).await {
            Input::Written { .. } => {}
            other => break assert_eq!(other, closed(Closed::AsAsked)),
        }
    }
    let took = before.elapsed();
    assert!(took >= CLOSE && took < CLOSE * 2, "{took:?}");
    nothing(&mut b.inputs).await;
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_message_comes_after_its_octets() {
    let mut b = bench(8).await;
    b.peer.write_all(&[0xff; 10]).unwrap();
    let got = Input::Received { connection: ONE, bytes: Bytes::from(vec![0xff; 10]) };
    assert_eq!(next(&mut b.inputs).await, got);
    SockRef::from(&b.peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(b.peer);
    let why = Closed::Failed("Connection reset by peer (os error 104)".to_owned());
    assert_eq!(next(&mut b.inputs).await, closed(why));
    nothing(&mut b.inputs).await;
}

#[tokio::test]
async fn a_write_that_meets_a_reset_tells_the_error_and_not_just_the_end() {
    let mut b = bench(8).await;
    SockRef::from(&b.peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(b.peer);
    // No await between: the task has not read the error yet, so the write takes it.
    assert_eq!(b.connections.send(ONE, Bytes::from_static(b"x")), 0);
    let why = Closed::Failed("Connection reset by peer (os error 104)".to_owned());
    assert_eq!(next(&mut b.inputs).await, closed(why));
    nothing(&mut b.inputs).await;
}

#[tokio::test]
async fn half_a_close_by_the_peer_is_a_close() {
    let mut b = bench(8).await;
    b.peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(next(&mut b.inputs).await, closed(Closed::ByPeer));
    let mut end = Vec::new();
    assert_eq!(b.peer.read_to_end(&mut end).unwrap(), 0);
    nothing(&mut b.inputs).await;
}

#[tokio::test]
async fn nobody_there_is_refused_in_the_words_of_the_kernel() {
    let unused = Listener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (sender, mut inputs) = mpsc::channel(8);
    let mut connections = Connections::new(sender);
    connections.dial(ONE, unused);
    let why = Closed::Refused("Connection refused (os error 111)".to_owned());
    assert_eq!(next(&mut inputs).await, closed(why));
    connections.close(ONE);
    nothing(&mut inputs).await;
}

#[tokio::test]
async fn a_connect_that_hangs_ends_with_a_close() {
    // A listener whose backlog is full does not answer a SYN: the only way to hang without leaving the host.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let to = listener.local_addr().unwrap().as_socket().unwrap();
    let _full = Peer::connect(to).unwrap();
    let (sender, mut inputs) = mpsc::channel(8);
    let mut connections = Connections::new(sender);
    connections.dial(ONE, to);
    nothing(&mut inputs).await;
    connections.close(ONE);
    assert_eq!(next(&mut inputs).await, closed(Closed::AsAsked));
    nothing(&mut inputs).await;
}

#[tokio::test]
async fn a_flooding_peer_gets_its_turn_and_no_memory() {
    let mut b = bench(2).await;
    let mut peer = b.peer.try_clone().unwrap();
    peer.set_nonblocking(true).unwrap();
    let flood = vec![0; 256 * 1024];
    let mut pushed = 0;
    // Until the kernel's own buffers are full: nobody takes inputs, so the task must have stopped reading.
    for _ in 0..200 {
        pushed += peer.write(&flood).unwrap_or(0);
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(b.inputs.len(), 2);
    let mut taken = 0;
    while taken < pushed {
        match next(&mut b.inputs).await {
            Input::Received { connection: ONE, bytes } => {
                assert!(bytes.len() <= READ);
                taken += bytes.len();
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(taken, pushed);
}

#[test]
fn the_source_towards_loopback_is_loopback() {
    assert_eq!(find_source(Ipv4Addr::LOCALHOST), Some(Ipv4Addr::LOCALHOST));
}
