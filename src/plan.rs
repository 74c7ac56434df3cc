//! THE decision: may this prefix be announced now, and if not, why not.
//!
//! [`steps`] walks the chain an operator knows; [`judge`] takes the first reason among those that say no. What `explain`
//! prints are the very same steps, so it cannot disagree with what is on the wire.
//!
//! ```text
//!   enabled -> drain -> stop -> depends-on -> facts -> address -> listener -> checks -> start-hold -> announced
//! ```

mod bound;
mod quorum;
mod route;
mod steps;

pub use bound::Bound;
pub use quorum::Standings;
pub use route::{Route, attributes, route};
pub use steps::{Step, steps};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::config::Service;
use crate::facts::Facts;

/// Not announced, and why; where several apply, the first in this order is said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Held {
    Disabled,
    Drained,
    Stopping,
    DependsOn,
    Unknown,
    NoAddress,
    NotListening,
    Unproven,
    Unhealthy,
    StartHold,
}

impl Held {
    pub const ALL: [Self; 10] = [
        Self::Disabled,
        Self::Drained,
        Self::Stopping,
        Self::DependsOn,
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
            Self::DependsOn => "depends-on",
            Self::Unknown => "unknown",
            Self::NoAddress => "no-address",
            Self::NotListening => "not-listening",
            Self::Unproven => "unproven",
            Self::Unhealthy => "unhealthy",
            Self::StartHold => "start-hold",
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
    /// The first service that this one needs and that is down.
    pub missing: Option<&'a str>,
    /// Since when every step before start-hold has been good.
    pub ready_since: Option<Time>,
    /// It could be relied on when it was judged last.
    pub served: bool,
    pub now: Time,
}

impl Question<'_> {
    /// Something here is already announced, or relied on by another service.
    const fn stands(&self) -> bool {
        self.ready_since.is_some() || self.served
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
    /// Could be announced, were it not for a drain or the stop: what a service that needs this one looks at.
    pub serves: bool,
}

impl Default for Judged {
    fn default() -> Self {
        Self { result: Err(Held::Unknown), detail: String::new(), until: Time::MAX, ready_since: None, serves: false }
    }
}

/// May this prefix be announced now?
pub fn judge(question: &Question<'_>) -> Judged {
    let mut steps = steps(question);
    let until = steps.iter().map(|step| step.until).min().unwrap_or(Time::MAX);
    let ready = steps.iter().all(|step| matches!(step.result, Ok(_) | Err(Held::StartHold)));
    let serves = steps.iter().all(|step| match step.result {
        Ok(_) | Err(Held::Drained | Held::Stopping) => true,
        // After a drain it waits to be announced; it has not come up anew.
        Err(held) => held == Held::StartHold && question.served,
    });
    // What was kept for what stood beside it goes with that, and says its own reason: the same facts have one answer,
    // however often they are asked about.
    if question.stands() && !ready && !serves {
        return judge(&Question { ready_since: None, served: false, ..*question });
    }
    let ready_since = ready.then(|| question.ready_since.unwrap_or(question.now));
    let held = steps.iter().enumerate().filter_map(|(at, step)| Some((step.result.err()?, at))).min();
    if let Some((_, at)) = held {
        let step = steps.swap_remove(at);
        return Judged { result: step.result, detail: step.detail, until, ready_since, serves };
    }
    let kept =
        steps.into_iter().filter_map(|step| Some((step.result.ok()??, step.detail))).min_by_key(|(kept, _)| *kept);
    let (kept, detail) = kept.map_or((None, String::new()), |(kept, detail)| (Some(kept), detail));
    Judged { result: Ok(kept), detail, until, ready_since, serves }
}

#[cfg(test)]
mod tests;
