//! The chain that `explain` prints, one question a step.

use std::net::IpAddr;

use super::{Bound, DisableFile, Held, Kept, Question, Standings};
use crate::Time;
use crate::config::WhenDown;
use crate::facts::{Listening, Watch};

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

/// The whole chain, for `explain`; a step after a failed one may be about what cannot be known yet.
pub fn steps(question: &Question<'_>) -> Vec<Step> {
    let mut steps = vec![enabled(question), drain(question), stop(question)];
    steps.extend(depends_on(question));
    steps.extend([facts(question), address(question)]);
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

/// Left out for a service that needs no other.
fn depends_on(question: &Question<'_>) -> Option<Step> {
    const NAME: &str = "depends-on";
    match question.missing {
        Some(name) => Some(Step::held(NAME, Held::DependsOn, format!("waits for {name}"))),
        None if question.service.depends_on.is_empty() => None,
        None => Some(Step::ok(NAME, "what this service needs is there")),
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
    let heard_beside = question.stands() && watches.iter().any(heard);
    watches.iter().map(|watch| listener(question, watch, heard_beside)).collect()
}

fn listener(question: &Question<'_>, watch: &Watch, heard_beside: bool) -> Step {
    const NAME: &str = "listener";
    let what = format!("{}/{} on {}", watch.protocol.name(), watch.port, watch.address);
    match question.facts.listening(watch) {
        Listening::Present { stale: false, .. } => Step::ok(NAME, format!("listening: {what}")),
        Listening::Present { stale: true, .. } => Step::kept(
            NAME,
            Kept::Unknown,
            format!("the kernel could not be asked about {what}; what was known stands"),
        ),
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
    // One that fails decides, whatever those say that have no verdict yet.
    if let (Some(detail), WhenDown::Withdraw) = (unhealthy, question.service.health.when_down) {
        return Step::held(NAME, Held::Unhealthy, detail);
    }
    let vouched = question.stands() && (!healthy.is_empty() || depreferred.is_some() || unhealthy.is_some());
    if let Some(detail) = unproven.as_ref().filter(|_| !vouched) {
        return Step::held(NAME, Held::Unproven, detail);
    }
    if let Some(detail) = unhealthy {
        return Step::kept(NAME, Kept::Deprefer, detail);
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
