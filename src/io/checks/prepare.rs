//! A check as configured, with everything parsed, read and looked up that can be before the first run.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::BuildError;
use super::exec::Exec;
use super::file::File;
use super::grpc::Grpc;
use super::http::Http;
use super::systemd::Systemd;
use super::unix::Unix;
use crate::config::{Check, CheckKind, Config, DnsCheck, Service, Target, TcpCheck, UdpCheck};

pub(super) struct Prepared {
    pub(super) timeout: Duration,
    pub(super) kind: Kind,
    target: Target,
}

pub(super) enum Kind {
    /// TCP without `send` and `expect`: over before a task could be started for it.
    Connect {
        port: u16,
    },
    Talk(Arc<Talk>),
    /// The engine is told by others.
    Nothing,
}

/// What takes a task and a timer.
pub(super) enum Talk {
    Tcp(TcpCheck),
    Http(Box<Http>),
    Exec(Exec),
    Udp(UdpCheck),
    Unix(Unix),
    Dns(Box<DnsCheck>),
    File(File),
    Systemd(Systemd),
    Grpc(Box<Grpc>),
}

impl Prepared {
    /// By index of the service, and then of the check.
    pub(super) fn all(config: &Config) -> Result<Vec<Vec<Self>>, BuildError> {
        config.services.iter().map(|s| s.checks.iter().map(|c| Self::new(s, c)).collect()).collect()
    }

    fn new(service: &Service, check: &Check) -> Result<Self, BuildError> {
        let named = |detail| BuildError::Check { service: service.name.clone(), check: check.name.clone(), detail };
        let kind = match &check.kind {
            CheckKind::Tcp(TcpCheck { port, send: None, expect: None }) => Kind::Connect { port: *port },
            CheckKind::Tcp(tcp) => Kind::Talk(Arc::new(Talk::Tcp(tcp.clone()))),
            CheckKind::Http(http) => Kind::Talk(Arc::new(Talk::Http(Box::new(Http::new(http).map_err(named)?)))),
            CheckKind::Exec(exec) => Kind::Talk(Arc::new(Talk::Exec(Exec::new(exec, service).map_err(named)?))),
            CheckKind::Udp(udp) => Kind::Talk(Arc::new(Talk::Udp(udp.clone()))),
            CheckKind::Unix(unix) => Kind::Talk(Arc::new(Talk::Unix(Unix::new(unix)))),
            CheckKind::Dns(dns) => Kind::Talk(Arc::new(Talk::Dns(dns.clone()))),
            CheckKind::File(file) => Kind::Talk(Arc::new(Talk::File(File::new(file)))),
            CheckKind::Systemd(systemd) => Kind::Talk(Arc::new(Talk::Systemd(Systemd::new(systemd)))),
            CheckKind::Push(_) => Kind::Nothing,
            CheckKind::Grpc(grpc) => Kind::Talk(Arc::new(Talk::Grpc(Box::new(Grpc::new(grpc).map_err(named)?)))),
        };
        Ok(Self { timeout: check.timeout, kind, target: check.target })
    }

    /// Where a probe of `address` comes from. `None`: the kernel chooses.
    pub(super) fn source(&self, address: IpAddr) -> Option<IpAddr> {
        match self.target {
            Target::Service => Some(address),
            Target::Address(_) => None,
        }
    }
}

/// A prefix wider than a host route is checked on its addresses on this host: no host has more.
const WIDE: usize = 65_536;

/// How many instances (service, check, address) there are.
pub(super) fn instances(config: &Config) -> usize {
    let of = |service: &Service, check: &Check| match check.target {
        Target::Address(_) => 1,
        Target::Service => {
            let most = |p: &IpNet| 1_usize.checked_shl((p.max_prefix_len() - p.prefix_len()).into()).unwrap_or(WIDE);
            service.prefixes.iter().map(|p| most(p).min(WIDE)).sum()
        }
    };
    config.services.iter().flat_map(|s| s.checks.iter().map(move |c| of(s, c))).sum()
}
