//! What a daemon holds of the relay: the relay itself where it is configured, the watch on its members, and the watch on
//! the host, which gives advice with and without a relay.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use ipnet::IpNet;

use super::{Relaying, host, keys, member_list};
use crate::config::{Config, Pmtud, PmtudMode};
use crate::pmtud::Key;
use crate::status::{self, Explanation};

/// Dropped: all of its threads end.
pub struct Started {
    relay: Option<Relay>,
    host: host::Watching,
}

struct Relay {
    config: Pmtud,
    relaying: Arc<Relaying>,
    /// Only in relay mode.
    members: Option<member_list::Watching>,
}

/// What can be refused without asking the network for anything: the key files. The error is one sentence.
pub fn read_keys(config: Option<&Pmtud>) -> Result<Vec<Key>, String> {
    config.map_or_else(|| Ok(Vec::new()), keys::read)
}

/// For `anycaster run`; after [`read_keys`]. The error is one sentence.
pub fn start(config: &Config, keys: Vec<Key>) -> Result<Started, String> {
    let prefixes: Vec<IpNet> = config.services.iter().flat_map(|service| service.prefixes.clone()).collect();
    Started::new(config.pmtud.as_ref(), keys, prefixes)
}

/// For `anycaster pmtud`.
pub(super) fn start_alone(config: &Pmtud, keys: Vec<Key>) -> Result<Started, String> {
    Started::new(Some(config), keys, config.prefixes.clone().unwrap_or_default())
}

/// Whom datagrams can be sent to: a service address is everybody's, and the kernel would keep what is sent to it.
fn hosts(mut list: Vec<IpAddr>, prefixes: &[IpNet]) -> Vec<IpAddr> {
    list.retain(|address| match prefixes.iter().find(|prefix| prefix.contains(address)) {
        Some(prefix) => {
            tracing::warn!("members of pmtud: {address} is in {prefix}, which is no address of one host: left out");
            false
        }
        None => true,
    });
    list
}

impl Started {
    /// `prefixes`: of the services.
    fn new(config: Option<&Pmtud>, keys: Vec<Key>, prefixes: Vec<IpNet>) -> Result<Self, String> {
        let ipv6 = prefixes.iter().any(|prefix| prefix.addr().is_ipv6());
        let relay = config.map(|config| Relay::start(config, keys, prefixes)).transpose()?;
        let relaying = relay.as_ref().map_or_else(Weak::new, |relay| Arc::downgrade(&relay.relaying));
        let host = host::watch(ipv6, move || relaying.upgrade().map(|relaying| relaying.totals()))
            .map_err(|error| format!("the watch on ICMP errors cannot start: {error}"))?;
        Ok(Self { relay, host })
    }

    /// A prefix is announced from now on, or not any more. Never waits.
    pub fn announced(&self, prefix: IpNet, announced: bool) {
        if let Some(relay) = &self.relay {
            relay.relaying.announced(prefix, announced);
        }
    }

    /// As in `/status`.
    pub fn status(&self) -> status::Pmtud {
        let found = self.host.found();
        let ended = self.relay.as_ref().is_some_and(|relay| relay.relaying.has_ended());
        let ended = ended.then(|| "the relay has ended, and the log says why: it takes a restart".to_owned());
        let advice = ended.into_iter().chain(found.advice.iter().map(ToString::to_string)).collect();
        let relay = self.relay.as_ref().map(Relay::status).unwrap_or_default();
        status::Pmtud { advice, host: found.host.into(), ..relay }
    }

    /// For `send_errors_total{where="pmtud"}`; `None` where no relay runs.
    pub fn send_errors(&self) -> Option<u64> {
        self.relay.as_ref().map(|relay| relay.relaying.totals().send_errors)
    }

    /// One more step of `explain` for each, while a relay runs.
    pub fn explain(&self, explanations: &mut [Explanation]) {
        let Some(relay) = &self.relay else { return };
        let view = relay.status();
        for explanation in explanations {
            explanation.steps.extend(view.step(relay.config.prefixes.as_deref(), explanation));
        }
    }
}

impl Relay {
    fn start(config: &Pmtud, keys: Vec<Key>, prefixes: Vec<IpNet>) -> Result<Self, String> {
        let relaying = Arc::new(Relaying::start(config, keys)?);
        let members = match &config.mode {
            PmtudMode::Relay(relay) => {
                // Weak: a thread that hangs in a resolver must not keep the relay alive.
                let to = Arc::downgrade(&relaying);
                let give = move |list| to.upgrade().map(|to| to.set_members(hosts(list, &prefixes))).is_some();
                let watching = member_list::watch(&relay.members, give);
                Some(watching.map_err(|error| format!("the watch on members of pmtud cannot start: {error}"))?)
            }
            PmtudMode::Broadcast => None,
        };
        Ok(Self { config: config.clone(), relaying, members })
    }

    fn status(&self) -> status::Pmtud {
        let mut view = status::Pmtud::new(&self.config, &self.relaying.totals(), &self.relaying.mtus());
        view.members_error = self.members.as_ref().and_then(|members| members.trouble.get());
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_address_is_no_member() {
        let list: Vec<IpAddr> = ["10.0.0.12", "192.0.2.53", "2001:db8::53"].map(|it| it.parse().unwrap()).to_vec();
        let prefixes: Vec<IpNet> = ["192.0.2.0/24", "2001:db8::53/128"].map(|it| it.parse().unwrap()).to_vec();
        assert_eq!(hosts(list.clone(), &prefixes), list[..1]);
        assert_eq!(hosts(list.clone(), &[]), list);
    }
}
