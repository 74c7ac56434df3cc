//! The operator's door from outside: the real server and the real command line, with an engine that answers by rote.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test opens sockets, starts programs and stops where something is not as it must be"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use anycaster::io::admin::{Admin, BindError, Push, QUERIES, Query, Reply, Request};
use anycaster::status::metrics::Snapshot;
use anycaster::status::{Counters, Explanation, PrefixNeighbor, Readiness, Status, Step};
use push::{OUTSIDE, pushed};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

#[path = "admin/commands.rs"]
mod commands;
#[path = "admin/push.rs"]
mod push;

fn status() -> Status {
    serde_json::from_str(include_str!("status.json")).unwrap()
}

/// The same with nothing wrong.
fn well() -> Status {
    let mut status = status();
    status.neighbors.retain(|neighbor| neighbor.name != "tor-b");
    status.services.remove(0);
    status
}

fn explanation(announced: bool) -> Explanation {
    Explanation {
        prefix: "192.0.2.53/32".to_owned(),
        service: "dns".to_owned(),
        announced,
        steps: vec![Step { step: "listener".to_owned(), ok: announced, detail: "udp/53".to_owned(), since: None }],
        neighbors: vec![PrefixNeighbor {
            name: "tor-a".to_owned(),
            announced,
            since: "2026-11-21T20:00:00Z".to_owned(),
            held: None,
        }],
    }
}

/// 192.0.2.53 is announced, 192.0.2.80 is held, the service dns has both.
fn by_rote(status: &Status, request: Request) -> Reply {
    match request {
        Request::Status => Reply::Status(Box::new(status.clone())),
        Request::Neighbors => Reply::Neighbors(status.neighbors.clone()),
        Request::Services => Reply::Services(status.services.clone()),
        Request::Routes => Reply::Routes(Vec::new()),
        Request::Events { .. } => Reply::Events(Vec::new()),
        Request::Metrics => Reply::Metrics(Box::new(Snapshot {
            status: status.clone(),
            counters: Counters::default(),
            max_prefixes: 1000,
        })),
        Request::Explain(subject) => match subject.as_str() {
            "192.0.2.53/32" => Reply::Explanation(Box::new(explanation(true))),
            "192.0.2.80/32" => Reply::Explanation(Box::new(explanation(false))),
            "dns" => Reply::Explanations(vec![explanation(true), explanation(false)]),
            _ => Reply::Unknown { known: vec!["dns".to_owned(), "192.0.2.53/32".to_owned()] },
        },
        Request::Health => Reply::Healthy,
        Request::Ready => Reply::Ready(Readiness::new(&status.config, &status.neighbors)),
        Request::Push(push) => Reply::Pushed(pushed(&push)),
    }
}

enum Engine {
    Answers(Box<Status>),
    /// Takes queries and never answers.
    Hangs,
    Gone,
}

/// A server on a thread of its own, stopped when dropped.
struct Server {
    _dir: TempDir,
    socket: PathBuf,
    http: SocketAddr,
    /// What the engine was told.
    pushes: Arc<Mutex<Vec<Push>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    // So that another user finds the socket.
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    dir
}

impl Server {
    fn start(engine: Engine, group: Option<&str>) -> Self {
        let dir = directory();
        // The parent directory is missing on purpose.
        let socket = dir.path().join("run/control.sock");
        let admin = Admin::bind(&socket, group, Some("127.0.0.1:0".parse().unwrap())).unwrap();
        let http = admin.http_address().unwrap();
        let (stop, stopped) = oneshot::channel();
        let pushes = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&pushes);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (sender, queries) = mpsc::channel(QUERIES);
                tokio::select! {
                    served = admin.serve(sender) => panic!("serve ended: {served:?}"),
                    () = drive(engine, queries, &told) => panic!("the engine ended"),
                    _ = stopped => {}
                }
            });
        });
        Self { _dir: dir, socket, http, pushes, stop: Some(stop), thread: Some(thread) }
    }

    fn answering(status: Status) -> Self {
        Self::start(Engine::Answers(Box::new(status)), None)
    }

    fn control(&self, method: &str, path: &str) -> (u16, String) {
        exchange(UnixStream::connect(&self.socket).unwrap(), method, path)
    }

    fn tcp(&self, method: &str, path: &str) -> (u16, String) {
        exchange(TcpStream::connect(self.http).unwrap(), method, path)
    }

    fn push(&self, path: &str, body: &str) -> (u16, String) {
        send(UnixStream::connect(&self.socket).unwrap(), "PUT", path, body)
    }

    fn cli(&self, arguments: &[&str]) -> Output {
        cli().arg("--socket").arg(&self.socket).args(arguments).output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        if self.thread.take().unwrap().join().is_err() && !std::thread::panicking() {
            panic!("the server's thread panicked");
        }
    }
}

async fn drive(engine: Engine, mut queries: mpsc::Receiver<Query>, told: &Mutex<Vec<Push>>) {
    let mut waiting = Vec::new();
    match engine {
        Engine::Answers(status) => {
            while let Some(query) = queries.recv().await {
                if let Request::Push(push) = &query.request {
                    told.lock().unwrap().push(push.clone());
                }
                let _ = query.reply.send(by_rote(&status, query.request));
            }
        }
        Engine::Hangs => {
            while let Some(query) = queries.recv().await {
                waiting.push(query);
            }
        }
        Engine::Gone => {
            drop(queries);
            std::future::pending().await
        }
    }
}

fn cli() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anycaster"));
    command.env_remove("NO_COLOR");
    command
}

fn exchange(stream: impl Read + Write, method: &str, path: &str) -> (u16, String) {
    send(stream, method, path, "")
}

fn send(mut stream: impl Read + Write, method: &str, path: &str, body: &str) -> (u16, String) {
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn error(body: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(value.as_object().unwrap().len(), 1, "{body}");
    value["error"].as_str().unwrap().to_owned()
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap() + "\n"
}

#[test]
fn every_page_through_both_doors() {
    let status = status();
    let server = Server::answering(status.clone());
    let ready = Readiness::new(&status.config, &status.neighbors);
    let both = [explanation(true), explanation(false)];
    for (path, expected) in [
        ("/status", (200, json(&status))),
        ("/neighbors", (200, json(&status.neighbors))),
        ("/services", (200, json(&status.services))),
        ("/routes", (200, "[]\n".to_owned())),
        ("/explain/192.0.2.53", (200, json(&both[0]))),
        ("/explain/192.0.2.53/32", (200, json(&both[0]))),
        ("/explain/192.0.2.80%2F32", (200, json(&both[1]))),
        ("/explain/dns", (200, json(&both))),
        ("/healthz", (200, "{\"healthy\":true}\n".to_owned())),
        ("/readyz", (503, json(&ready))),
    ] {
        assert_eq!(server.control("GET", path), expected, "{path}");
        assert_eq!(server.tcp("GET", path), expected, "{path}");
    }
    assert_eq!(
        json(&ready),
        "{\"ready\":false,\"config\":\"current\",\"down\":[{\"name\":\"tor-b\",\"state\":\"Idle\",\
         \"last_error\":\"tor-b offers AS 65009, configured 65001\"}],\"error\":\"tor-b is Idle\"}\n"
    );
    let (code, text) = server.tcp("GET", "/metrics");
    assert_eq!((code, text.ends_with("# EOF\n")), (200, true), "{text}");
    assert_eq!(Server::answering(well()).control("GET", "/readyz").0, 200);
}

#[test]
fn what_is_not_there_is_said() {
    let server = Server::answering(status());
    let (code, body) = server.control("GET", "/explain/dsn");
    assert_eq!(code, 404);
    assert_eq!(error(&body), "no service announces dsn and none has that name; nearest: dns");
    let (code, body) = server.control("GET", "/explain/192.0.2.53/24");
    assert_eq!(code, 400);
    assert_eq!(error(&body), "192.0.2.53/24 has host bits set: 192.0.2.0/24 is meant?");
    for path in ["/", "/drain", "/status/x", "/explain/"] {
        let (code, body) = server.tcp("GET", path);
        assert_eq!(code, 404, "{path}");
        assert!(error(&body).contains("/explain/PREFIX"), "{body}");
    }
}

#[test]
fn pages_are_read_with_get() {
    let server = Server::answering(status());
    for method in ["PUT", "POST", "DELETE", "HEADER"] {
        let (code, body) = server.control(method, "/status");
        assert_eq!((code, error(&body)), (405, "/status: GET only".to_owned()), "{method}");
        assert_eq!(server.control(method, "/services/dns/drain").0, 404, "{method}");
        assert_eq!(server.tcp(method, "/status").0, 405, "{method}");
    }
}

/// As another user: needs root to become one.
#[test]
fn readers_read_and_members_may_do_more() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: needs root, setpriv and curl to be another user");
        return;
    }
    let server = Server::start(Engine::Answers(Box::new(status())), Some("daemon"));
    let daemon = nix::unistd::Group::from_name("daemon").unwrap().unwrap().gid.to_string();
    let ask = |user: &str, gid: &str, groups: &str, words: &[&str], path: &str| {
        let output = Command::new("setpriv")
            .args(["--reuid", user, "--regid", gid, groups, "curl", "-s", "-o", "/dev/null"])
            .args(["-w", "%{http_code}", "--unix-socket"])
            .arg(&server.socket)
            .args(words)
            .arg(format!("http://localhost{path}"))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let put = |user: &str, gid: &str, groups: &str, method: &str| ask(user, gid, groups, &["-X", method], "/status");
    let groups = format!("--groups=65533,{daemon}");
    assert_eq!(put("65534", "65534", "--clear-groups", "GET"), "200");
    assert_eq!(put("65534", "65534", "--clear-groups", "PUT"), "403");
    assert_eq!(put("65534", "65534", "--groups=65533", "PUT"), "403");
    assert_eq!(put("65534", &daemon, "--clear-groups", "PUT"), "405");
    assert_eq!(put("65534", "65534", &groups, "PUT"), "405");
    assert_eq!(put("0", "0", "--clear-groups", "PUT"), "405");
    // The line of the README.
    let push = |user, gid, groups| ask(user, gid, groups, &["-X", "PUT", "-d", "{\"ok\":true}"], OUTSIDE);
    assert_eq!(push("65534", "65534", "--clear-groups"), "403");
    assert_eq!(push("65534", "65534", "--groups=65533"), "403");
    assert_eq!(*server.pushes.lock().unwrap(), []);
    assert_eq!(push("65534", &daemon, "--clear-groups"), "200");
    assert_eq!(push("65534", "65534", &groups), "200");
    assert_eq!(push("0", "0", "--clear-groups"), "200");
    assert_eq!(server.pushes.lock().unwrap().len(), 3);
}

#[test]
fn an_unknown_group_is_refused() {
    let dir = directory();
    let refused = Admin::bind(&dir.path().join("s"), Some("no-such-group"), None).unwrap_err();
    assert_eq!(refused.to_string(), "no group \"no-such-group\" on this host (router.control-group)");
}

#[test]
fn an_engine_that_hangs_or_is_gone() {
    let hangs = Server::start(Engine::Hangs, None);
    let start = Instant::now();
    let (code, body) = hangs.control("GET", "/healthz");
    assert_eq!((code, error(&body)), (503, "the engine has not answered for 2 s".to_owned()));
    assert!((2..5).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    let gone = Server::start(Engine::Gone, None);
    let (code, body) = gone.tcp("GET", "/healthz");
    assert_eq!((code, error(&body)), (503, "the daemon is stopping".to_owned()));
}

#[test]
fn slow_and_many_clients_end_and_lock_nobody_out() {
    let server = Server::answering(status());
    let start = Instant::now();
    // One byte every now and then, for ever.
    let address = server.http;
    let dripping = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        for letter in b"GET /status HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
            if stream.write_all(&[*letter]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(server.http).unwrap()).collect();
    assert_eq!(server.control("GET", "/healthz").0, 200);
    for mut stream in silent {
        let mut nothing = [0; 1];
        stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
        // Hung up on, in an orderly way or (what came too many) not.
        let ended = stream.read(&mut nothing);
        assert!(matches!(&ended, Ok(0)) || ended.as_ref().is_err_and(is_reset), "{ended:?}");
    }
    dripping.join().unwrap();
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(server.tcp("GET", "/healthz").0, 200);
}

fn is_reset(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::ConnectionReset
}

#[test]
fn fifty_clients_at_once_are_all_answered() {
    let server = Server::answering(status());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..50).map(|_| scope.spawn(|| server.tcp("GET", "/status").0)).collect();
        for client in clients {
            assert_eq!(client.join().unwrap(), 200);
        }
    });
}

/// A second request at once, or a body that nobody reads.
#[test]
fn what_comes_after_the_request_does_not_cost_the_answer() {
    let server = Server::answering(status());
    let body = "x".repeat(30_000);
    for (sent, expected) in [
        ("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /status HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "200"),
        (format!("POST /status HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n{body}"), "405"),
    ] {
        let mut stream = TcpStream::connect(server.http).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        // Answered and closed before we look: only an orderly close leaves the answer to be read.
        std::thread::sleep(Duration::from_millis(100));
        let mut text = String::new();
        let ended = stream.read_to_string(&mut text);
        assert_eq!(text.split(' ').nth(1), Some(expected), "{ended:?} {text:?}");
        assert!(ended.is_ok(), "{ended:?}");
    }
}

#[test]
fn no_http_and_too_much_of_it() {
    let server = Server::answering(status());
    for (sent, expected) in [
        ("\u{16}\u{3}\u{1}garbage\r\n\r\n".to_owned(), "400"),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000)), "431"),
        (format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000)), "431"),
    ] {
        let mut stream = UnixStream::connect(&server.socket).unwrap();
        let _ = stream.write_all(sent.as_bytes());
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
        assert_eq!(text.split(' ').nth(1), Some(expected), "{text:?}");
    }
    assert_eq!(server.control("GET", "/healthz").0, 200);
}

fn bind(path: &Path) -> Result<Admin, BindError> {
    Admin::bind(path, None, None)
}

#[test]
fn one_daemon_per_socket() {
    let dir = directory();
    let path = dir.path().join("control.sock");
    let first = bind(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    let second = bind(&path).unwrap_err().to_string();
    let expected = format!(
        "another anycaster answers on {}: two daemons would announce and withdraw against each other",
        path.display()
    );
    assert_eq!(second, expected);
    assert!(UnixStream::connect(&path).is_ok(), "the first still has its socket");
    drop(first);
    assert!(!path.exists(), "removed on exit");

    // A daemon that was killed leaves its socket.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(bind(&path).unwrap());

    // Somebody answers who has not taken the lock.
    let foreign = UnixListener::bind(&path).unwrap();
    assert_eq!(bind(&path).unwrap_err().to_string(), expected);
    drop(foreign);
    std::fs::remove_file(&path).unwrap();

    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(bind(&path), Err(BindError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_race_of_starts_has_one_winner() {
    let dir = directory();
    let path = dir.path().join("control.sock");
    for stale in [false, true] {
        if stale {
            drop(UnixListener::bind(&path).unwrap());
        }
        let line = Arc::new(Barrier::new(8));
        let starts: Vec<_> = (0..8)
            .map(|_| {
                let (line, path) = (Arc::clone(&line), path.clone());
                std::thread::spawn(move || {
                    line.wait();
                    bind(&path)
                })
            })
            .collect();
        let results: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
        let won = results.iter().filter(|result| result.is_ok()).count();
        let taken = results.iter().filter(|r| matches!(r, Err(BindError::Taken(_)))).count();
        assert_eq!((won, taken), (1, 7), "{results:?}");
    }
}
