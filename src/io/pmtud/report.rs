//! What the log gets: the first error of each kind that is turned away, then at most one line a second with what came since.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::Time;
use crate::pmtud::{Flow, Heard, Totals, Verdict};

/// Between two lines of the same level.
const PAUSE: Duration = Duration::from_secs(1);

/// Between two lines about the same fault of sending.
const PAUSE_OF_SAME: Duration = Duration::from_secs(60);

/// Verdicts of both families, then of what members sent.
const KINDS: usize = 2 * Verdict::ALL.len() + Heard::ALL.len();

pub(super) struct Report {
    /// Counted when the last line was written.
    told: [u64; KINDS],
    /// When the next line may be written.
    next: Time,
    next_relayed: Time,
    relayed: u64,
    /// The last fault of sending that was told, and from when on it may be told again.
    refused: Option<(Option<i32>, Time)>,
    next_refused: Time,
}

impl Default for Report {
    fn default() -> Self {
        let never = Time::default();
        Self { told: [0; KINDS], next: never, next_relayed: never, relayed: 0, refused: None, next_refused: never }
    }
}

impl Report {
    pub(super) fn look(&mut self, now: Time, totals: &Totals) {
        for line in self.lines(now, totals) {
            tracing::info!("pmtud: {line}");
        }
    }

    fn lines(&mut self, now: Time, totals: &Totals) -> Vec<String> {
        let (counted, mut lines) = (count(totals), Vec::new());
        for ((kind, counted), told) in counted.iter().enumerate().zip(&mut self.told) {
            // The next ones are in the sum.
            if *told == 0 && *counted > 0 && worth_knowing(kind) {
                lines.push(format!("the first {}", name(kind, 1)));
                *told = 1;
            }
        }
        if now < self.next {
            return lines;
        }
        let mut sum = Vec::new();
        for ((kind, counted), told) in counted.iter().enumerate().zip(&mut self.told) {
            if counted > told && worth_knowing(kind) {
                sum.push(format!("{} {}", counted - *told, name(kind, counted - *told)));
                *told = *counted;
            }
        }
        if !sum.is_empty() {
            lines.push(sum.join(", "));
            self.next = now + PAUSE;
        }
        lines
    }

    /// The counters say how often; only this says why: a firewall, no route, an address that is not ours.
    pub(super) fn refused(&mut self, now: Time, what: fmt::Arguments<'_>, error: &io::Error) {
        if self.is_to_tell(now, error.raw_os_error()) {
            tracing::warn!("pmtud: cannot {what}: {error}");
        }
    }

    fn is_to_tell(&mut self, now: Time, errno: Option<i32>) -> bool {
        let again = self.refused.is_some_and(|(last, until)| last == errno && now < until);
        if again || now < self.next_refused {
            return false;
        }
        (self.refused, self.next_refused) = (Some((errno, now + PAUSE_OF_SAME)), now + PAUSE);
        true
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

fn name(index: usize, count: u64) -> String {
    let s = if count == 1 { "" } else { "s" };
    match kind(index) {
        Ok((family, verdict)) => format!("{family} error{s} not relayed ({})", verdict.name()),
        Err(heard) => format!("datagram{s} not injected ({})", heard.map_or("", Heard::name)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pmtud::totals::Uplink;

    #[test]
    fn the_first_of_each_kind_then_a_line_a_second() {
        let mut totals = Totals { uplinks: vec![Uplink::default(); 2], ..Totals::default() };
        let mut report = Report::default();
        let mut at = |millis: u64, totals: &Totals| report.lines(Time::from_nanos(millis * 1_000_000), totals);
        let limited = Verdict::ALL.iter().position(|it| *it == Verdict::Limited).unwrap();
        let bad_key = Heard::ALL.iter().position(|it| *it == Heard::BadKey).unwrap();
        // Relayed, owned; injected, not owned.
        for daily in [0, 1] {
            totals.uplinks[1].verdicts[0][daily] = 7;
            totals.heard[daily] = 7;
        }
        assert_eq!(at(1000, &totals), [""; 0]);
        totals.uplinks[1].verdicts[1][limited] = 1;
        assert_eq!(at(1001, &totals), ["the first IPv6 error not relayed (limited)"]);
        totals.uplinks[0].verdicts[1][limited] = 2;
        totals.uplinks[0].verdicts[0][limited] = 3;
        totals.heard[bad_key] = 1;
        let lines = at(1002, &totals);
        assert_eq!(
            lines,
            [
                "the first IPv4 error not relayed (limited)",
                "the first datagram not injected (bad-key)",
                "2 IPv4 errors not relayed (limited), 2 IPv6 errors not relayed (limited)"
            ]
        );
        totals.heard[bad_key] = 100;
        assert_eq!(at(2001, &totals), [""; 0]);
        assert_eq!(at(2002, &totals), ["99 datagrams not injected (bad-key)"]);
        assert_eq!(at(9999, &totals), [""; 0]);
    }

    #[test]
    fn a_fault_of_sending_once_a_minute_and_another_after_a_second() {
        let mut report = Report::default();
        let steps = [(1000, 1), (1500, 1), (1500, 22), (2000, 22), (2500, 22), (3000, 1), (62_000, 1), (63_000, 1)];
        let told = steps.map(|(millis, errno)| report.is_to_tell(Time::from_nanos(millis * 1_000_000), Some(errno)));
        assert_eq!(told, [true, false, false, true, false, true, false, true]);
    }
}
