//! A systemd check: `systemctl show` tells the state of one unit.
//!
//! systemctl and not D-Bus of our own: it finds the manager as root and as anybody else, and a run of it is bounded like
//! that of any program: group, timeout, output. It costs some 5 ms of CPU.

use std::io::{self, ErrorKind};

use super::exec::{Ended, Exec};
use super::process::Seat;
use super::{Bad, ProbeRequest, Progress, words};
use crate::config::SystemdCheck;

pub(super) struct Systemd(Exec);

impl Systemd {
    pub(super) fn new(check: &SystemdCheck) -> Self {
        let properties = "--property=LoadState,ActiveState,SubState,Result";
        Self(Exec::plain("systemctl", &["show", properties, "--", &check.unit]))
    }

    pub(super) async fn run(&self, request: &ProbeRequest, seat: Seat, progress: &Progress) -> Result<String, Bad> {
        judge(self.0.to_its_end(request, seat, progress).await)
    }
}

fn judge(ended: io::Result<Ended>) -> Result<String, Bad> {
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Bad::Fail("systemctl is not there".to_owned()));
        }
        Err(error) => return Err(Bad::Fail(format!("cannot run systemctl: {}", words::io(&error)))),
    };
    let text = ended.text();
    if text.contains("not been booted with systemd") {
        return Err(Bad::Fail("systemd is not running here".to_owned()));
    }
    let of = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default();
    let (active, sub, result) = (of("ActiveState"), of("SubState"), of("Result"));
    if active.is_empty() {
        return Err(Bad::Fail(words::clean(&format!("systemctl: {}", ended.last_line()))));
    }
    // As it was before the reload and will be after it: a reloading service serves.
    if matches!(active, "active" | "reloading" | "refreshing") {
        return Ok(words::clean(&format!("{active} ({sub})")));
    }
    // A unit can be active although its file has gone, so this comes second.
    Err(Bad::Fail(match of("LoadState") {
        "not-found" => "there is no such unit".to_owned(),
        "masked" => "masked".to_owned(),
        "loaded" if active == "failed" && !matches!(result, "" | "success") => {
            words::clean(&format!("failed ({result})"))
        }
        "loaded" | "" => words::clean(&format!("{active} ({sub})")),
        load => words::clean(&format!("its unit file cannot be used: {load}")),
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    /// What systemctl 252 printed.
    #[test]
    fn states_make_verdicts() {
        let (pass, fail) = (|text: &str| Ok(text.to_owned()), |text: &str| Err(Bad::Fail(text.to_owned())));
        for (status, text, verdict) in [
            (0, "Result=success\nLoadState=loaded\nActiveState=active\nSubState=running\n", pass("active (running)")),
            (0, "LoadState=loaded\nActiveState=active\nSubState=exited\n", pass("active (exited)")),
            (0, "LoadState=loaded\nActiveState=active\nSubState=mounted\n", pass("active (mounted)")),
            (0, "LoadState=loaded\nActiveState=reloading\nSubState=reload\n", pass("reloading (reload)")),
            (0, "LoadState=not-found\nActiveState=active\nSubState=running\n", pass("active (running)")),
            (0, "LoadState=loaded\nActiveState=activating\nSubState=start-pre\n", fail("activating (start-pre)")),
            (
                0,
                "Result=exit-code\nLoadState=loaded\nActiveState=activating\nSubState=auto-restart\n",
                fail("activating (auto-restart)"),
            ),
            (0, "LoadState=loaded\nActiveState=deactivating\nSubState=stop\n", fail("deactivating (stop)")),
            (0, "LoadState=loaded\nActiveState=inactive\nSubState=dead\n", fail("inactive (dead)")),
            (
                0,
                "Result=exit-code\nLoadState=loaded\nActiveState=failed\nSubState=failed\n",
                fail("failed (exit-code)"),
            ),
            (0, "LoadState=loaded\nActiveState=failed\nSubState=failed\n", fail("failed (failed)")),
            (0, "LoadState=not-found\nActiveState=inactive\nSubState=dead\n", fail("there is no such unit")),
            (0, "LoadState=masked\nActiveState=inactive\nSubState=dead\n", fail("masked")),
            (
                0,
                "LoadState=bad-setting\nActiveState=inactive\nSubState=dead\n",
                fail("its unit file cannot be used: bad-setting"),
            ),
            (
                1,
                "System has not been booted with systemd as init system (PID 1). Can't operate.\n\
                 Failed to connect to bus: Host is down\n",
                fail("systemd is not running here"),
            ),
            (
                1,
                "Failed to connect to bus: No such file or directory\n",
                fail("systemctl: Failed to connect to bus: No such file or directory"),
            ),
            (0, "", fail("systemctl: said nothing")),
        ] {
            let ended = Ended::new(ExitStatus::from_raw(status << 8), text.as_bytes());
            assert_eq!(judge(Ok(ended)), verdict, "{text}");
        }
        let failed = |number| judge(Err(io::Error::from_raw_os_error(number)));
        assert_eq!(failed(libc::ENOENT), fail("systemctl is not there"));
        assert_eq!(failed(libc::EACCES), fail("cannot run systemctl: permission denied"));
    }
}
