//! The least configuration around a few checks.

use std::num::{NonZeroU8, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use anycaster::bgp::wire::Origin;
use anycaster::config::{
    Binding, Check, CheckKind, Config, Health, Hooks, Log, LogFormat, LogLevel, Metrics, Policy, Quorum, Router,
    Service, Target, WhenDown,
};
use ipnet::Ipv4Net;

/// A check with the given target, timeout and kind.
pub(crate) fn check(target: Target, timeout: Duration, kind: CheckKind) -> Check {
    Check {
        name: "check".to_owned(),
        interval: Duration::from_secs(1),
        timeout,
        fast_interval: None,
        jitter: 0,
        rise: NonZeroU8::MIN,
        fall: NonZeroU8::MIN,
        on_fail: WhenDown::Withdraw,
        target,
        kind,
    }
}

/// One service, named "service", with these checks.
pub(crate) fn configured(checks: Vec<Check>) -> Config {
    let service = Service {
        name: "service".to_owned(),
        // Wide ones: room for a thousand instances.
        prefixes: vec![Ipv4Net::default().into(); 4],
        enabled: true,
        neighbors: Vec::new(),
        weight: 100,
        bandwidth: None,
        policy: Policy::default(),
        local_preference: 100,
        origin: Origin::Igp,
        depends_on: vec![],
        binding: Binding { interface: None, manage: false, listen: Vec::new(), grace: Duration::ZERO },
        health: Health {
            quorum: Quorum::All,
            per_prefix: true,
            start_hold: Duration::ZERO,
            when_down: WhenDown::Withdraw,
            disable_file: None,
            hooks: Hooks::default(),
        },
        checks,
    };
    Config {
        path: PathBuf::new(),
        hash: 0,
        router: Router {
            asn: NonZeroU32::MIN,
            id: None,
            bandwidth: None,
            state_dir: PathBuf::new(),
            control: PathBuf::new(),
            control_group: None,
            http: None,
            log: Log { format: LogFormat::Text, level: LogLevel::Info },
        },
        neighbors: Vec::new(),
        services: vec![service],
        withdraw_settle: Duration::ZERO,
        metrics: Metrics { max_prefixes: 0 },
        pmtud: None,
    }
}
