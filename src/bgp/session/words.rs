//! Why a connection ended, in a sentence for a tired engineer.

use super::{Kind, Session, State};
use crate::bgp::connection::Closed;

impl Session {
    pub(super) fn explain(&self, closed: &Closed) -> String {
        let (name, address) = (&self.settings.name, self.settings.address);
        match closed {
            Closed::Refused(detail) if detail.to_ascii_lowercase().contains("refused") => {
                format!("connection refused by {address}")
            }
            Closed::Refused(detail) => format!("cannot connect to {address}: {}", plain(detail)),
            Closed::Failed(detail) => {
                format!("connection to {address} failed: {}", plain(detail))
            }
            Closed::AsAsked => format!("connection to {address} closed"),
            Closed::ByPeer => match &self.state {
                State::Established { .. } => {
                    format!("{name} closed the session without a NOTIFICATION")
                }
                State::OpenConfirm { .. } => {
                    format!("{name} closed the connection after its OPEN without a NOTIFICATION")
                }
                State::Stopped
                | State::Idle { .. }
                | State::Active { .. }
                | State::Connect { .. }
                | State::OpenSent { .. } => {
                    format!("{name} closed the connection before its OPEN (does it have this host as a neighbor?)")
                }
            },
        }
    }

    pub(super) fn out_of_place(&self, kind: Kind, state: &str) -> String {
        let (name, message) = (&self.settings.name, spoken(kind));
        format!("{name} sent {message} in {state}, where RFC 4271 has no place for it")
    }
}

/// The kernel's words without std's number behind them.
fn plain(detail: &str) -> &str {
    detail.split(" (os error").next().unwrap_or(detail)
}

const fn spoken(kind: Kind) -> &'static str {
    match kind {
        Kind::Open => "an OPEN",
        Kind::Update => "an UPDATE",
        Kind::Notification => "a NOTIFICATION",
        Kind::Keepalive => "a KEEPALIVE",
        Kind::RouteRefresh => "a ROUTE-REFRESH",
    }
}
