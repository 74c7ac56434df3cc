//! What the configuration asks the kernel for, and whether this process may have it.

use nix::unistd::{Uid, User};

use crate::config::{CheckKind, Config};

/// Numbers of linux/capability.h.
const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;
const CAP_NET_ADMIN: u32 = 12;

/// The error is one sentence that names the capability and the key that needs it.
pub(super) fn suffice(config: &Config) -> Result<(), String> {
    let held = held().unwrap_or(u64::MAX);
    let missing = |capability: u32| held & (1 << capability) == 0;
    for service in config.services.iter().filter(|service| service.enabled) {
        let name = &service.name;
        if service.binding.manage && missing(CAP_NET_ADMIN) {
            return Err(format!(
                "services.{name}.binding.manage = true puts addresses on lo: that needs CAP_NET_ADMIN"
            ));
        }
        for check in &service.checks {
            if switches_user(&check.kind) && (missing(CAP_SETUID) || missing(CAP_SETGID)) {
                let check = &check.name;
                return Err(format!(
                    "check {check} of service {name} runs as another user: that needs CAP_SETUID and CAP_SETGID"
                ));
            }
        }
    }
    Ok(())
}

fn switches_user(kind: &CheckKind) -> bool {
    match kind {
        CheckKind::Exec(exec) => exec
            .user
            .as_ref()
            .is_some_and(|name| User::from_name(name).ok().flatten().is_none_or(|user| user.uid != Uid::effective())),
        CheckKind::Tcp(_)
        | CheckKind::Http(_)
        | CheckKind::Udp(_)
        | CheckKind::Unix(_)
        | CheckKind::Dns(_)
        | CheckKind::Grpc(_)
        | CheckKind::File(_)
        | CheckKind::Systemd(_)
        | CheckKind::Push(_) => false,
    }
}

/// The effective set; `None` where /proc is not there, and then the kernel will say no by itself.
fn held() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}
