//! What the kernel counts of ICMP errors and how it is set: read every few seconds by a thread of its own, with and
//! without a relay, for metrics and advice.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::io::clock;
use crate::pmtud::Totals;
use crate::pmtud::advice::{Advice, Advisor, Host};
use crate::status::PmtudHost;

/// As often as most scrape. Four small files of /proc cost some 100 us.
const PAUSE: Duration = Duration::from_secs(5);

/// What was found last.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) host: Host,
    pub(super) advice: Vec<Advice>,
}

impl From<Host> for PmtudHost {
    fn from(host: Host) -> Self {
        Self { ipv4_errors: host.ipv4_errors, ipv6_errors: host.ipv6_errors, out_of_window: host.out_of_window }
    }
}

/// The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watching {
    found: Arc<Mutex<Found>>,
    _stop: SyncSender<()>,
}

impl Watching {
    pub(super) fn found(&self) -> Found {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// `totals`: of the relay, where one runs.
pub(super) fn watch(ipv6: bool, totals: impl Fn() -> Option<Totals> + Send + 'static) -> io::Result<Watching> {
    let mut advisor = Advisor::default();
    let mut said = BTreeSet::new();
    let mut sample = move || {
        let host = read();
        let advice = advisor.advise(clock::now(), &host, totals().as_ref(), ipv6);
        for one in advice.iter().filter(|one| said.insert(one.name())) {
            say(one);
        }
        Found { host, advice }
    };
    // Before the first question.
    let found = Arc::new(Mutex::new(sample()));
    let (stop, stopped) = sync_channel(0);
    let shared = Arc::clone(&found);
    std::thread::Builder::new().name("pmtud-host".to_owned()).spawn(move || {
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(PAUSE) {
            let now = sample();
            *shared.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
    })?;
    Ok(Watching { found, _stop: stop })
}

/// Each kind once in the life of the process: `status` goes on saying it.
fn say(advice: &Advice) {
    match advice {
        Advice::Strays { .. } => tracing::warn!("{advice}"),
        Advice::Idle { .. } | Advice::MtuProbing | Advice::LabelReflect => tracing::info!("{advice}"),
    }
}

fn read() -> Host {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (ipv4, ipv6, extended) = (file("/proc/net/snmp"), file("/proc/net/snmp6"), file("/proc/net/netstat"));
    let setting = |path: &str| file(path).trim().parse().ok();
    Host {
        ipv4_errors: column(&ipv4, "Icmp:", "InErrors"),
        ipv4_unreachable: column(&ipv4, "Icmp:", "InDestUnreachs"),
        ipv6_errors: line(&ipv6, "Icmp6InErrors"),
        ipv6_too_big: line(&ipv6, "Icmp6InPktTooBigs"),
        out_of_window: column(&extended, "TcpExt:", "OutOfWindowIcmps"),
        mtu_probing: setting("/proc/sys/net/ipv4/tcp_mtu_probing"),
        label_reflect: setting("/proc/sys/net/ipv6/flowlabel_reflect"),
    }
}

/// A line of names and a line of numbers below it, both beginning with the group.
fn column(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(group)).map(str::split_ascii_whitespace);
    let (mut names, mut numbers) = (lines.next()?, lines.next()?);
    let place = names.position(|known| known == name)?;
    numbers.nth(place)?.parse().ok()
}

/// A name and a number.
fn line(text: &str, name: &str) -> Option<u64> {
    let mut words = text.lines().map(str::split_ascii_whitespace);
    words.find_map(|mut line| line.next().filter(|known| *known == name).and_then(|_| line.next()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNMP: &str = "Ip: Forwarding InReceives\nIp: 1 7\nIcmp: InMsgs InErrors InCsumErrors InDestUnreachs\n\
                        Icmp: 10 4 0 5\nIcmpMsg: InType3\nIcmpMsg: 5\n";

    #[test]
    fn tables_of_proc() {
        assert_eq!(column(SNMP, "Icmp:", "InErrors"), Some(4));
        assert_eq!(column(SNMP, "Icmp:", "InDestUnreachs"), Some(5));
        assert_eq!(column(SNMP, "Icmp:", "Forwarding"), None);
        assert_eq!(column("Icmp: InErrors\n", "Icmp:", "InErrors"), None);
        assert_eq!(column("Icmp: A InErrors\nIcmp: 1\n", "Icmp:", "InErrors"), None);
        let six = "Icmp6InMsgs                     \t9\nIcmp6InErrors                   \t3\n";
        assert_eq!(line(six, "Icmp6InErrors"), Some(3));
        assert_eq!(line(six, "Icmp6InErr"), None);
        assert_eq!(line("Icmp6InErrors\n", "Icmp6InErrors"), None);
    }

    /// The names are those of the kernel that runs the tests.
    #[test]
    fn this_kernel_says_them() {
        let host = read();
        assert!(host.ipv4_errors.is_some() && host.ipv4_unreachable.is_some() && host.out_of_window.is_some());
        assert!(host.mtu_probing.is_some());
        if std::path::Path::new("/proc/net/snmp6").exists() {
            assert!(host.ipv6_errors.is_some() && host.ipv6_too_big.is_some() && host.label_reflect.is_some());
        }
    }
}
