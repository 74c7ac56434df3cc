//! A router that does what a test tells it: waits for the daemon's connection, and notes when each message came.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::bgp::{self, Open, Update};
use super::namespace::Namespace;
use super::{millis, seconds};

pub struct FakeNeighbor {
    listener: TcpListener,
    arrivals: Receiver<(Instant, TcpStream)>,
}

impl FakeNeighbor {
    /// On port 179 of `address`.
    pub fn listen(namespace: &Namespace, address: &str) -> Self {
        let address: IpAddr = address.parse().expect("an address");
        let listener = namespace.within(|| TcpListener::bind(SocketAddr::new(address, 179))).expect("port 179");
        Self::with(listener)
    }

    /// The same, with next to no room for what it does not read.
    pub fn listen_narrow(namespace: &Namespace, address: &str) -> Self {
        let neighbor = Self::listen(namespace, address);
        socket2::SockRef::from(&neighbor.listener).set_recv_buffer_size(2048).expect("SO_RCVBUF");
        neighbor
    }

    fn with(listener: TcpListener) -> Self {
        let (sender, arrivals) = channel();
        let acceptor = listener.try_clone().expect("dup");
        std::thread::spawn(move || {
            while let Ok((stream, _)) = acceptor.accept() {
                if sender.send((Instant::now(), stream)).is_err() {
                    break;
                }
            }
        });
        Self { listener, arrivals }
    }

    /// The next TCP connection, unread, and when it came.
    pub fn arrival(&self, within: Duration) -> Option<(Instant, TcpStream)> {
        self.arrivals.recv_timeout(within).ok()
    }

    #[track_caller]
    pub fn accept(&self) -> Connection {
        let (at, stream) = self.arrival(seconds(10)).expect("the daemon did not connect within 10 s");
        Connection::read_from(at, stream)
    }

    /// Accepts, and has read the daemon's OPEN.
    #[track_caller]
    pub fn accept_open(&self) -> (Connection, Open) {
        let connection = self.accept();
        let (kind, body) = connection.message();
        assert_eq!(kind, bgp::OPEN, "the first message: {body:?}");
        let open = Open::decode(&body);
        (connection, open)
    }

    /// The whole handshake: both OPENs, both KEEPALIVEs.
    #[track_caller]
    pub fn establish(&self, open: &Open) -> Connection {
        let (mut connection, _) = self.accept_open();
        connection.send(&open.encode());
        connection.expect_keepalive();
        connection.send(&bgp::keepalive());
        connection
    }
}

impl Drop for FakeNeighbor {
    fn drop(&mut self) {
        // Ends the thread in accept().
        let _ = socket2::SockRef::from(&self.listener).shutdown(Shutdown::Both);
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    Message {
        kind: u8,
        body: Vec<u8>,
    },
    /// The daemon closed, in an orderly way or not.
    Closed,
    /// What came is no BGP.
    Garbage(Vec<u8>),
}

pub struct Connection {
    pub arrived: Instant,
    stream: TcpStream,
    inbox: Receiver<(Instant, Event)>,
}

impl Connection {
    fn read_from(arrived: Instant, stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let mut reader = stream.try_clone().expect("dup");
        let (sender, inbox) = channel();
        std::thread::spawn(move || {
            let mut waiting = Vec::new();
            let mut chunk = vec![0; 65536];
            loop {
                let length = reader.read(&mut chunk).unwrap_or(0);
                let at = Instant::now();
                waiting.extend(&chunk[..length]);
                for event in cut(&mut waiting) {
                    let _ = sender.send((at, event));
                }
                if length == 0 {
                    let _ = sender.send((at, Event::Closed));
                    return;
                }
            }
        });
        Self { arrived, stream, inbox }
    }

    /// Errors are no surprise: the daemon may have closed already.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub fn next(&self, within: Duration) -> Option<(Instant, Event)> {
        match self.inbox.recv_timeout(within) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                panic!("asked again after the connection was closed")
            }
        }
    }

    #[track_caller]
    pub fn event(&self) -> Event {
        self.next(seconds(10)).expect("the daemon sent nothing for 10 s").1
    }

    #[track_caller]
    pub fn message(&self) -> (u8, Vec<u8>) {
        match self.event() {
            Event::Message { kind, body } => (kind, body),
            other @ (Event::Closed | Event::Garbage(_)) => {
                panic!("{other:?} where a message was due")
            }
        }
    }

    #[track_caller]
    pub fn expect_keepalive(&self) {
        assert_eq!(self.message(), (bgp::KEEPALIVE, Vec::new()));
    }

    /// The NOTIFICATION (code, subcode, data), which must be the next thing but KEEPALIVEs and UPDATEs, and the end.
    #[track_caller]
    pub fn expect_notification(&self) -> (u8, u8, Vec<u8>) {
        loop {
            let (kind, body) = self.message();
            if kind == bgp::NOTIFICATION {
                assert_eq!(self.event(), Event::Closed, "after the NOTIFICATION {body:?}");
                return (body[0], body[1], body[2..].to_vec());
            }
            assert!(
                [bgp::KEEPALIVE, bgp::UPDATE].contains(&kind),
                "type {kind} where a NOTIFICATION was due: {body:?}"
            );
        }
    }

    /// The next UPDATE and when it came; KEEPALIVEs do not count.
    #[track_caller]
    pub fn update(&self) -> (Instant, Update) {
        loop {
            let (at, event) = self.next(seconds(10)).expect("no UPDATE for 10 s");
            match event {
                Event::Message { kind: bgp::KEEPALIVE, .. } => {}
                Event::Message { kind: bgp::UPDATE, body } => return (at, Update::decode(&body)),
                other @ (Event::Message { .. } | Event::Closed | Event::Garbage(_)) => {
                    panic!("{other:?} where an UPDATE was due")
                }
            }
        }
    }

    /// All UPDATEs up to the End-of-RIB of both families.
    #[track_caller]
    pub fn initial_updates(&self) -> Vec<Update> {
        let mut updates: Vec<Update> = Vec::new();
        while updates.iter().filter(|update| update.end_of_rib.is_some()).count() < 2 {
            updates.push(self.update().1);
        }
        updates
    }

    /// What comes in this time, KEEPALIVEs aside.
    pub fn collect(&self, during: Duration) -> Vec<Event> {
        let end = Instant::now() + during;
        let mut events = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.inbox.recv_timeout(left.max(millis(1))) {
                Ok((_, Event::Message { kind: bgp::KEEPALIVE, .. })) => {}
                Ok((_, event)) => events.push(event),
                Err(_) => return events,
            }
        }
    }

    /// KEEPALIVEs from now on, for tests that outlast the hold time.
    pub fn keep_alive(&self, every: Duration) {
        let mut stream = self.stream.try_clone().expect("dup");
        std::thread::spawn(move || {
            while stream.write_all(&bgp::keepalive()).is_ok() {
                std::thread::sleep(every);
            }
        });
    }

    pub fn close(self) {}
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Whole messages out of what has come so far.
fn cut(waiting: &mut Vec<u8>) -> Vec<Event> {
    let mut events = Vec::new();
    while waiting.len() >= 19 {
        let length = usize::from(u16::from_be_bytes([waiting[16], waiting[17]]));
        if waiting[..16] != [0xFF; 16] || length < 19 {
            events.push(Event::Garbage(std::mem::take(waiting)));
            break;
        }
        if waiting.len() < length {
            break;
        }
        let message: Vec<u8> = waiting.drain(..length).collect();
        events.push(Event::Message { kind: message[18], body: message[19..].to_vec() });
    }
    events
}
