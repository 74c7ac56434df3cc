//! Real servers, each with a folder of its own, ended with their owner.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub(crate) struct Server {
    child: Child,
    home: TempDir,
}

impl Server {
    /// `arguments` may write to the folder. `None`, said loudly, where the program is not installed.
    pub(crate) fn start(program: &str, arguments: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
        let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
        let Some(path) = folders.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.exists()) else {
            eprintln!("SKIPPED: {program} is not installed");
            return None;
        };
        let home = tempfile::Builder::new().prefix("anycaster-").tempdir().unwrap();
        let mut command = Command::new(path);
        command.args(arguments(home.path())).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Some(Self { child: command.spawn().unwrap(), home })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// It is there, keeps its sockets, and says nothing.
    pub(crate) fn hang(&self) {
        self.signal(Signal::SIGSTOP);
        let stat = format!("/proc/{}/stat", self.child.id());
        until("the server to stand still", || {
            std::fs::read_to_string(&stat).unwrap().rsplit(')').next().unwrap().trim_start().starts_with('T')
        });
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

pub(crate) fn until(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !there() {
        assert!(Instant::now() < end, "waited for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// dnsmasq on both loopback addresses; it knows nothing but what it is told here.
pub(crate) fn dnsmasq(port: u16, records: &[&str]) -> Option<Server> {
    let fixed = "--keep-in-foreground --conf-file=/dev/null --pid-file= --user=root --no-resolv --no-hosts --no-daemon \
                 --bind-interfaces --listen-address=127.0.0.1,::1 --local=/test/ --log-facility=/dev/null";
    let server = Server::start("dnsmasq", |_| {
        let fixed = fixed.split_whitespace().map(str::to_owned);
        fixed.chain([format!("--port={port}")]).chain(records.iter().map(|record| format!("--{record}"))).collect()
    })?;
    until("dnsmasq to listen", || {
        [crate::V4, crate::V6].iter().all(|at| std::net::TcpStream::connect((*at, port)).is_ok())
    });
    Some(server)
}

/// unbound on both loopback addresses, with these lines in its `server:` part.
pub(crate) fn unbound(port: u16, lines: &str) -> Option<Server> {
    let server = Server::start("unbound", |home| {
        let folder = home.display();
        let text = format!(
            "server:\n interface: 127.0.0.1@{port}\n interface: ::1@{port}\n do-daemonize: no\n username: \"\"\n \
             chroot: \"\"\n directory: \"{folder}\"\n pidfile: \"{folder}/pid\"\n logfile: \"{folder}/log\"\n \
             use-syslog: no\n num-threads: 1\n module-config: iterator\n{lines}\nremote-control:\n control-enable: no\n"
        );
        std::fs::write(home.join("unbound.conf"), text).unwrap();
        ["-d", "-c", home.join("unbound.conf").to_str().unwrap()].map(str::to_owned).to_vec()
    })?;
    until("unbound to listen", || {
        [crate::V4, crate::V6].iter().all(|at| std::net::TcpStream::connect((*at, port)).is_ok())
    });
    Some(server)
}
