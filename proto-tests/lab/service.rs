//! Real services on a host: what the daemon watches and checks.

use std::fs;
use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::namespace::{Namespace, Process};
use super::{Scratch, seconds, wait_for};

/// nginx on port 80 of every address: 200 "ok", or 503 while it is told to be unwell.
pub struct Nginx {
    process: Option<Process>,
    config: PathBuf,
    unwell: PathBuf,
    _scratch: Scratch,
}

impl Nginx {
    pub fn start(namespace: &Namespace) -> Self {
        let scratch = Scratch::new();
        let unwell = scratch.file("unwell");
        let folder = scratch.path().display();
        let text = format!(
            "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
             events {{ worker_connections 256; }}
             http {{
               access_log off;
               client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
               uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
               server {{
                 listen 80; listen [::]:80 ipv6only=on;
                 location / {{
                   if (-f {unwell}) {{ return 503 \"unwell\\n\"; }}
                   return 200 \"ok\\n\";
                 }}
               }}
             }}",
            unwell = unwell.display(),
        );
        let config = scratch.write("nginx.conf", &text);
        let mut nginx = Self { process: None, config, unwell, _scratch: scratch };
        nginx.restart(namespace);
        nginx
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process = None;
    }

    pub fn restart(&mut self, namespace: &Namespace) {
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&self.config).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(namespace.spawn(&mut command));
        wait_for("nginx to listen", seconds(10), || {
            let sockets = namespace.run("ss -Hltn sport = :80");
            if sockets.lines().count() == 2 { Ok(()) } else { Err(format!("listening: {sockets:?}")) }
        });
    }

    pub fn set_unwell(&self, unwell: bool) {
        if unwell {
            fs::write(&self.unwell, "").expect("write");
        } else {
            fs::remove_file(&self.unwell).expect("remove");
        }
    }
}

/// Sockets of the test itself that listen in a namespace and never accept: the kernel completes the connections.
pub struct Listening(Vec<TcpListener>);

impl Listening {
    pub fn on(namespace: &Namespace, addresses: &[&str], port: u16) -> Self {
        let bind = |address: &&str| {
            let address: IpAddr = address.parse().expect("an address");
            TcpListener::bind((address, port)).unwrap_or_else(|error| panic!("{address} port {port}: {error}"))
        };
        Self(namespace.within(|| addresses.iter().map(bind).collect()))
    }
}
