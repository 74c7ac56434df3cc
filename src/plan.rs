//! THE decision: may this prefix be announced now, and if not, why not.
//!
//! [`steps`] walks the chain an operator knows; [`judge`] takes the first reason among those that say no. What `explain`
//! prints are the very same steps, so it cannot disagree with what is on the wire.
//!
//! ```text
//!   enabled -> drain -> stop -> facts -> address -> listener -> checks -> start-hold -> announced
//! ```

mod quorum;
mod route;

pub use quorum::Standings;
pub use route::{Route, attributes, route};

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::config::{self, Service, WhenDown};
use crate::facts::{Facts, Listening, Watch};

/// Not announced, and why; where several apply, the first in this order is said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Held {
    Disabled,
    Drained,
    Stopping,
    Unknown,
    NoAddress,
    NotListening,
    Unproven,
    Unhealthy,
    StartHold,
}

impl Held {
    pub const ALL: [Self; 9] = [
        Self::Disabled,
        Self::Drained,
        Self::Stopping,
        Self::Unknown,
        Self::NoAddress,
        Self::NotListening,
        Self::Unproven,
        Self::Unhealthy,
        Self::StartHold,
    ];

    /// The word in JSON, metrics, logs and the README's table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Drained => "drained",
            Self::Stopping => "stopping",
            Self::Unknown => "unknown",
            Self::NoAddress => "no-address",
            Self::NotListening => "not-listening",
            Self::Unproven => "unproven",
            Self::Unhealthy => "unhealthy",
            Self::StartHold => "start-hold",
        }
    }

    /// Nothing is wrong: an operator asked for it.
    pub const fn is_asked_for(self) -> bool {
        match self {
            Self::Disabled | Self::Drained | Self::Stopping => true,
            Self::Unknown
            | Self::NoAddress
            | Self::NotListening
            | Self::Unproven
            | Self::Unhealthy
            | Self::StartHold => false,
        }
    }

    /// Not a fault yet: the host is still finding out.
    pub const fn is_starting(self) -> bool {
        match self {
            Self::Unknown | Self::Unproven | Self::StartHold => true,
            Self::Disabled
            | Self::Drained
            | Self::Stopping
            | Self::NoAddress
            | Self::NotListening
            | Self::Unhealthy => false,
        }
    }
}

/// Announced although something is wrong; where several apply, the first in this order is said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Kept {
    Deprefer,
    Grace,
    Unknown,
}

impl Kept {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deprefer => "deprefer",
            Self::Grace => "grace",
            Self::Unknown => "unknown",
        }
    }
}

/// Where on this host a prefix is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Bound {
    #[default]
    Nowhere,
    /// Local addresses inside the prefix, each owned by it.
    Addresses(Vec<IpAddr>),
    /// Only a local route equals or covers it, so every address of the prefix is local.
    Route(IpNet),
}

impl Bound {
    /// `inner`: more specific prefixes of other services, which own the addresses inside them (longest match).
    pub fn find(prefix: &IpNet, inner: &[IpNet], interface: Option<&str>, facts: &Facts) -> Self {
        let right = |index| interface.is_none_or(|name| facts.interface_name(index) == Some(name));
        let mut addresses: Vec<IpAddr> = facts
            .addresses_in(prefix)
            .filter(|address| right(address.interface))
            .map(|address| address.address)
            .filter(|address| !inner.iter().any(|net| net.contains(address)))
            .collect();
        addresses.dedup();
        if !addresses.is_empty() {
            return Self::Addresses(addresses);
        }
        match facts.routes_over(prefix).find(|route| right(route.interface)) {
            Some(_) if prefix.prefix_len() == prefix.max_prefix_len() => Self::Addresses(vec![prefix.addr()]),
            Some(route) => Self::Route(route.prefix),
            None => Self::Nowhere,
        }
    }

    /// Where checks with target "service" go.
    pub fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Addresses(addresses) => addresses,
            Self::Route(_) | Self::Nowhere => &[],
        }
    }

    /// What the kernel is asked about for one entry of `listen`.
    pub fn watches(&self, prefix: &IpNet, listen: &config::Listen) -> Vec<Watch> {
        let watch = |address| Watch { protocol: listen.protocol, address, port: listen.port };
        match (self, listen.address) {
            (Self::Nowhere, _) => vec![],
            (Self::Addresses(_) | Self::Route(_), Some(address)) => vec![watch(address)],
            (Self::Addresses(addresses), None) => addresses.iter().copied().map(watch).collect(),
            (Self::Route(_), None) => vec![watch(prefix.network())],
        }
    }
}

/// What is known of the file whose existence drains.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DisableFile {
    /// The last answer there was.
    pub exists: Option<bool>,
    /// The last question was not answered.
    pub stale: bool,
}

/// All that a judgement of one prefix looks at.
pub struct Question<'a> {
    pub service: &'a Service,
    pub prefix: &'a IpNet,
    pub bound: &'a Bound,
    /// Of the prefix's addresses, or with `per-prefix = false` of the whole service's.
    pub standings: &'a Standings,
    pub facts: &'a Facts,
    pub disable_file: DisableFile,
    pub stopping: bool,
    /// Since when every step before start-hold has been good.
    pub ready_since: Option<Time>,
    pub now: Time,
}

/// One link of the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    pub name: &'static str,
    pub result: Result<Option<Kept>, Held>,
    pub detail: String,
    /// When time alone changes the result.
    pub until: Time,
}

impl Step {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, result: Ok(None), detail: detail.into(), until: Time::MAX }
    }

    fn held(name: &'static str, held: Held, detail: impl Into<String>) -> Self {
        Self { name, result: Err(held), detail: detail.into(), until: Time::MAX }
    }

    fn kept(name: &'static str, kept: Kept, detail: impl Into<String>) -> Self {
        Self { name, result: Ok(Some(kept)), detail: detail.into(), until: Time::MAX }
    }

    fn until(mut self, until: Time) -> Self {
        self.until = until;
        self
    }
}

/// The decision with its reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Judged {
    pub result: Result<Option<Kept>, Held>,
    /// Of the step that decided; empty where all is well.
    pub detail: String,
    /// To be judged again then, even if nothing else happens.
    pub until: Time,
    pub ready_since: Option<Time>,
}

impl Default for Judged {
    fn default() -> Self {
        Self { result: Err(Held::Unknown), detail: String::new(), until: Time::MAX, ready_since: None }
    }
}

/// May this prefix be announced now?
pub fn judge(question: &Question<'_>) -> Judged {
    let mut steps = steps(question);
    let until = steps.iter().map(|step| step.until).min().unwrap_or(Time::MAX);
    let ready = steps.iter().all(|step| matches!(step.result, Ok(_) | Err(Held::StartHold)));
    let ready_since = ready.then(|| question.ready_since.unwrap_or(question.now));
    let held = steps.iter().enumerate().filter_map(|(at, step)| Some((step.result.err()?, at))).min();
    if let Some((_, at)) = held {
        let step = steps.swap_remove(at);
        return Judged { result: step.result, detail: step.detail, until, ready_since };
    }
    let kept = steps.into_iter().filter_map(|step| Some((step.result.ok()??, step.detail))).min_by_key(|(kept, _)| *kept);
    let (kept, detail) = kept.map_or((None, String::new()), |(kept, detail)| (Some(kept), detail));
    Judged { result: Ok(kept), detail, until, ready_since }
}

/// The whole chain, for `explain`; a step after a failed one may be about what cannot be known yet.
pub fn steps(question: &Question<'_>) -> Vec<Step> {
    let mut steps = vec![enabled(question), drain(question), stop(question), facts(question), address(question)];
    steps.extend(listeners(question));
    steps.push(checks(question));
    let ready = steps.iter().all(|step| step.result.is_ok());
    steps.push(start_hold(question, ready));
    steps
}

fn enabled(question: &Question<'_>) -> Step {
    if question.service.enabled {
        Step::ok("enabled", "the service is enabled")
    } else {
        Step::held("enabled", Held::Disabled, "enabled = false")
    }
}

fn drain(question: &Question<'_>) -> Step {
    if question.service.weight == 0 {
        return Step::held("drain", Held::Drained, "weight = 0");
    }
    let Some(path) = &question.service.health.disable_file else {
        return Step::ok("drain", "not drained");
    };
    match question.disable_file {
        DisableFile { exists: Some(true), .. } => {
            Step::held("drain", Held::Drained, format!("{} exists", path.display()))
        }
        DisableFile { exists: Some(false), stale: true } => {
            Step::kept("drain", Kept::Unknown, format!("{} could not be looked at", path.display()))
        }
        DisableFile { exists: Some(false), stale: false } => Step::ok("drain", "not drained"),
        DisableFile { exists: None, .. } => {
            Step::held("drain", Held::Unknown, format!("{} has not been looked at", path.display()))
        }
    }
}

fn stop(question: &Question<'_>) -> Step {
    if question.stopping {
        Step::held("stop", Held::Stopping, "the daemon is stopping")
    } else {
        Step::ok("stop", "the daemon is not stopping")
    }
}

fn facts(question: &Question<'_>) -> Step {
    if !question.facts.known() {
        Step::held("facts", Held::Unknown, "the kernel's addresses have not been read")
    } else if question.facts.stale() {
        Step::kept("facts", Kept::Unknown, "the last read of the kernel's addresses failed; what was known stands")
    } else {
        Step::ok("facts", "the kernel's addresses are known")
    }
}

fn address(question: &Question<'_>) -> Step {
    let place = question.service.binding.interface.as_deref().unwrap_or("any interface");
    match question.bound {
        Bound::Nowhere => {
            let what = if question.prefix.prefix_len() == question.prefix.max_prefix_len() {
                format!("{} is not on {place}", question.prefix.addr())
            } else {
                format!("no address in {} and no local route over it on {place}", question.prefix)
            };
            Step::held("address", Held::NoAddress, what)
        }
        Bound::Addresses(addresses) => Step::ok("address", format!("{} on this host", list(addresses))),
        Bound::Route(route) => Step::ok("address", format!("local route {route}")),
    }
}

fn listeners(question: &Question<'_>) -> Vec<Step> {
    let binding = &question.service.binding;
    let watches = binding.listen.iter().flat_map(|listen| question.bound.watches(question.prefix, listen));
    let watches: Vec<Watch> = watches.collect();
    let heard = |watch| matches!(question.facts.listening(watch), Listening::Present { .. });
    let heard_beside = question.ready_since.is_some() && watches.iter().any(heard);
    watches.iter().map(|watch| listener(question, watch, heard_beside)).collect()
}

fn listener(question: &Question<'_>, watch: &Watch, heard_beside: bool) -> Step {
    const NAME: &str = "listener";
    let what = format!("{}/{} on {}", watch.protocol.name(), watch.port, watch.address);
    match question.facts.listening(watch) {
        Listening::Present { stale: false, .. } => Step::ok(NAME, format!("listening: {what}")),
        Listening::Present { stale: true, .. } => {
            Step::kept(NAME, Kept::Unknown, format!("the kernel could not be asked about {what}; what was known stands"))
        }
        // An address that came to those which are announced already takes nothing away before the kernel has answered.
        Listening::Unknown if heard_beside => {
            Step::kept(NAME, Kept::Unknown, format!("the kernel has not been asked about {what}"))
        }
        Listening::Unknown => Step::held(NAME, Held::Unknown, format!("the kernel has not been asked about {what}")),
        Listening::Absent { since, gap } => {
            let end = since + question.service.binding.grace;
            if gap && question.now < end {
                Step::kept(NAME, Kept::Grace, format!("nothing listens: {what}; grace runs")).until(end)
            } else {
                Step::held(NAME, Held::NotListening, format!("nothing listens: {what}"))
            }
        }
    }
}

fn checks(question: &Question<'_>) -> Step {
    const NAME: &str = "checks";
    if question.service.checks.is_empty() {
        return Step::ok(NAME, "no checks: the binding alone decides");
    }
    let Standings { healthy, more, depreferred, unproven, unhealthy } = question.standings;
    let proven_beside = question.ready_since.is_some() && (!healthy.is_empty() || depreferred.is_some());
    if let Some(detail) = unproven.as_ref().filter(|_| !proven_beside) {
        return Step::held(NAME, Held::Unproven, detail);
    }
    if let Some(detail) = unhealthy {
        return match question.service.health.when_down {
            WhenDown::Withdraw => Step::held(NAME, Held::Unhealthy, detail),
            WhenDown::Deprefer => Step::kept(NAME, Kept::Deprefer, detail),
        };
    }
    if let Some(detail) = depreferred {
        return Step::kept(NAME, Kept::Deprefer, detail);
    }
    // An address that came to those which are announced already takes nothing away before its own verdict.
    if let Some(detail) = unproven {
        return Step::kept(NAME, Kept::Unknown, detail);
    }
    let more = if *more > 0 { format!("; and {more} more") } else { String::new() };
    Step::ok(NAME, healthy.join("; ") + &more)
}

fn start_hold(question: &Question<'_>, ready: bool) -> Step {
    const NAME: &str = "start-hold";
    let hold = question.service.health.start_hold;
    if hold.is_zero() {
        return Step::ok(NAME, "none");
    }
    if !ready {
        return Step::ok(NAME, "not reached");
    }
    let end = question.ready_since.unwrap_or(question.now) + hold;
    if question.now < end {
        Step::held(NAME, Held::StartHold, format!("waits {hold:?} after coming up")).until(end)
    } else {
        Step::ok(NAME, "over")
    }
}

fn list(addresses: &[IpAddr]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<String> = addresses.iter().take(SHOWN).map(ToString::to_string).collect();
    match addresses.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests;
