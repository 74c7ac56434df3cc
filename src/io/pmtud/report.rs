//! What the log gets: the first error of each kind that is turned away, then at most one line a second with what came since.

use std::fmt::Write as _;
use std::time::Duration;

use crate::Time;
use crate::pmtud::{Flow, Heard, Totals, Verdict};

/// Between two lines of the same level.
const PAUSE: Duration = Duration::from_secs(1);

/// Verdicts of both families, then of what members sent.
const KINDS: usize = 2 * Verdict::ALL.len() + Heard::ALL.len();

pub(super) struct Report {
    /// Counted when the last line was written.
    told: [u64; KINDS],
    /// When the next line may be written.
    next: Time,
    next_relayed: Time,
    relayed: u64,
}

impl Default for Report {
    fn default() -> Self {
        Self { told: [0; KINDS], next: Time::default(), next_relayed: Time::default(), relayed: 0 }
    }
}

impl Report {
    pub(super) fn look(&mut self, now: Time, totals: &Totals) {
        let counted = count(totals);
        for ((kind, counted), told) in counted.iter().enumerate().zip(&mut self.told) {
            // The next ones are in the sum.
            if *told == 0 && *counted > 0 && worth_knowing(kind) {
                tracing::info!("pmtud: the first {}", name(kind));
                *told = 1;
            }
        }
        if now < self.next {
            return;
        }
        let mut line = String::new();
        for ((kind, counted), told) in counted.iter().enumerate().zip(&mut self.told) {
            if counted > told && worth_knowing(kind) {
                let _ = write!(line, "{}{} {}", if line.is_empty() { "" } else { ", " }, counted - *told, name(kind));
                *told = *counted;
            }
        }
        if !line.is_empty() {
            tracing::info!("pmtud: {line}");
            self.next = now + PAUSE;
        }
    }

    pub(super) fn relayed(&mut self, now: Time, flow: &Flow, copies: usize) {
        self.relayed += 1;
        if now < self.next_relayed || !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let Flow { service, client, protocol, service_port, client_port } = flow;
        tracing::debug!(
            %service, service_port, %client, client_port, protocol, copies,
            "pmtud: relayed {} since the last such line, the latest", self.relayed
        );
        (self.relayed, self.next_relayed) = (0, now + PAUSE);
    }
}

fn count(totals: &Totals) -> [u64; KINDS] {
    let mut sums = [0_u64; KINDS];
    for uplink in &totals.uplinks {
        for (sum, counted) in sums.iter_mut().zip(uplink.verdicts.as_flattened()) {
            *sum += counted;
        }
    }
    for (sum, counted) in sums.iter_mut().skip(2 * Verdict::ALL.len()).zip(totals.heard) {
        *sum = counted;
    }
    sums
}

/// A verdict of a family, or one on what a member sent.
fn kind(index: usize) -> Result<(&'static str, Verdict), Option<Heard>> {
    let verdicts = Verdict::ALL.len();
    let family = if index < verdicts { "IPv4" } else { "IPv6" };
    match Verdict::ALL.get(index % verdicts).filter(|_| index < 2 * verdicts) {
        Some(verdict) => Ok((family, *verdict)),
        None => Err(Heard::ALL.get(index.saturating_sub(2 * verdicts)).copied()),
    }
}

fn name(index: usize) -> String {
    match kind(index) {
        Ok((family, verdict)) => format!("{family} error not relayed: {}", verdict.name()),
        Err(heard) => format!("datagram of a member not injected: {}", heard.map_or("", Heard::name)),
    }
}

/// Not what happens all day where everything is well.
fn worth_knowing(index: usize) -> bool {
    match kind(index) {
        Ok((_, Verdict::Relayed | Verdict::Owned | Verdict::Duplicate | Verdict::DryRun)) => false,
        Ok((
            _,
            Verdict::Limited
            | Verdict::NotAnnounced
            | Verdict::NotOurs
            | Verdict::Protocol
            | Verdict::Port
            | Verdict::Short
            | Verdict::Checksum
            | Verdict::Fragment
            | Verdict::Malformed
            | Verdict::Mtu
            | Verdict::Long
            | Verdict::Loop
            | Verdict::NoMember
            | Verdict::SendError,
        )) => true,
        Err(None | Some(Heard::Injected | Heard::NotOwned | Heard::DryRun)) => false,
        Err(Some(
            Heard::BadKey
            | Heard::Replay
            | Heard::Malformed
            | Heard::Limited
            | Heard::NotMember
            | Heard::Refused
            | Heard::NotLocal
            | Heard::SendError,
        )) => true,
    }
}
