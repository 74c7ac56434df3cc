//! An exec check: one program, no shell; its exit status is the verdict, its last line the detail.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::{self, PipeReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::{Uid, User, getgrouplist};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::process::{Running, Seat, Starts};
use super::{Bad, Phase, ProbeRequest, Progress, words};
use crate::config::{ExecCheck, Service};
use crate::io::descriptors::Identity;

/// What a program is given of the daemon's environment: nothing but this.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The end of the output, where the last line is. All before it is read and thrown away, so a program that writes
/// much is neither stopped by a full pipe nor kept in memory.
const KEPT: usize = 4096;

/// What can lie in the pipe when the program has ended (64 KiB unless the program made it larger, 1 MiB at most).
const MOST_LEFT: usize = 1024 * 1024;

/// An exec check with its user looked up.
pub(in crate::io) struct Exec {
    service: String,
    /// All of the service's, separated by spaces: put together once, because there may be thousands.
    prefixes: String,
    program: String,
    arguments: Vec<String>,
    identity: Option<Identity>,
    env: BTreeMap<String, String>,
    starts: Starts,
}

impl Exec {
    pub(in crate::io) fn new(check: &ExecCheck, service: &Service) -> Result<Self, String> {
        let (program, arguments) = check.command.split_first().ok_or("command is empty")?;
        Ok(Self {
            service: service.name.clone(),
            prefixes: service.prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            program: program.clone(),
            arguments: arguments.to_vec(),
            identity: check.user.as_deref().map(identity).transpose()?.flatten(),
            env: check.env.clone(),
            starts: Starts::new(),
        })
    }

    /// A program of our own choice, as the daemon's user.
    pub(super) fn plain(program: &str, arguments: &[&str]) -> Self {
        Self {
            service: String::new(),
            prefixes: String::new(),
            program: program.to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            identity: None,
            env: BTreeMap::new(),
            starts: Starts::new(),
        }
    }

    pub(in crate::io) async fn run(
        &self,
        request: &ProbeRequest,
        seat: Seat,
        progress: &Progress,
    ) -> Result<String, Bad> {
        match self.to_its_end(request, seat, progress).await {
            Ok(ended) => judge(ended.status, &ended.tail.last_line()),
            Err(error) => Err(Bad::Fail(words::clean(&format!("cannot run {}: {}", self.program, words::io(&error))))),
        }
    }

    pub(super) async fn to_its_end(
        &self,
        request: &ProbeRequest,
        seat: Seat,
        progress: &Progress,
    ) -> io::Result<Ended> {
        progress.reached(Phase::Start);
        let (running, output) = self.start(request, seat).await?;
        progress.reached(Phase::Running);
        let mut output = Receiver::from_owned_fd(output.into())?;
        let mut tail = Tail::default();
        let mut chunk = [0; 4096];
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                () = running.ended() => break,
                read = output.read(&mut chunk), if open => match read {
                    Ok(length) if length > 0 => tail.push(chunk.get(..length).unwrap_or_default()),
                    Ok(_) | Err(_) => open = false,
                },
            }
        }
        let status = running.finish()?;
        tail.drain(output.into_nonblocking_fd()?.into());
        Ok(Ended { status, tail })
    }

    /// On a thread of its own. When this future is dropped before the program runs, the program is killed by the drop
    /// of what that thread returns.
    async fn start(&self, request: &ProbeRequest, seat: Seat) -> io::Result<(Running, PipeReader)> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().env("PATH", PATH).envs(&self.env);
        command.env("SERVICE", &self.service).env("ADDRESS", request.probe.address.to_string());
        command.env("STATE", &request.state).env("REASON", &request.reason).env("PREFIXES", &self.prefixes);
        command.stdin(Stdio::null());
        let identity = self.identity.clone();
        let start = move || {
            let (output, end) = io::pipe()?;
            command.stderr(end.try_clone()?).stdout(end);
            Ok((Running::start(command, identity, seat)?, output))
        };
        self.starts.run(start).await?
    }
}

/// How a program ended, and the end of what it said.
pub(super) struct Ended {
    status: ExitStatus,
    tail: Tail,
}

impl Ended {
    #[cfg(test)]
    pub(super) fn new(status: ExitStatus, said: &[u8]) -> Self {
        Self { status, tail: Tail(said.to_vec()) }
    }

    /// All that was kept.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.tail.0).into_owned()
    }

    /// In words.
    pub(super) fn last_line(&self) -> String {
        match self.tail.last_line() {
            line if line.is_empty() => "said nothing".to_owned(),
            line => line,
        }
    }
}

/// `None`: the daemon runs as this user already and may not even say setgroups(2).
fn identity(name: &str) -> Result<Option<Identity>, String> {
    let unknown = |error: nix::errno::Errno| format!("user {name:?}: {}", error.desc());
    let user = User::from_name(name).map_err(unknown)?.ok_or_else(|| format!("there is no user {name:?}"))?;
    if user.uid == Uid::effective() && !user.uid.is_root() {
        return Ok(None);
    }
    let c_name = CString::new(name).map_err(|error| error.to_string())?;
    let groups = getgrouplist(&c_name, user.gid).map_err(unknown)?;
    Ok(Some(Identity { uid: user.uid, gid: user.gid, groups }))
}

fn judge(status: ExitStatus, line: &str) -> Result<String, Bad> {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("killed by {}", signal.as_str()),
            Err(_) => format!("killed by signal {number}"),
        },
        (None, None) => "ended".to_owned(),
    };
    match (status.success(), line.is_empty()) {
        (true, false) => Ok(line.to_owned()),
        (true, true) => Ok(how),
        (false, false) => Err(Bad::Fail(words::clean(&format!("{how}: {line}")))),
        (false, true) => Err(Bad::Fail(how)),
    }
}

/// The last [`KEPT`] bytes of what was pushed.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        // Cut now and then, not each time.
        if self.0.len() > 4 * KEPT {
            self.0.drain(..self.0.len() - KEPT);
        }
    }

    /// What is in the pipe now, and not until the end of file: a process that left the group may hold it for ever. Read
    /// from the descriptor itself, because the reactor may not have heard yet that there is something to read.
    fn drain(&mut self, mut nonblocking: PipeReader) {
        let mut chunk = [0; 4096];
        let mut left = MOST_LEFT;
        while let Ok(length @ 1..) = nonblocking.read(&mut chunk) {
            self.push(chunk.get(..length).unwrap_or_default());
            match left.checked_sub(length) {
                Some(less) => left = less,
                None => break,
            }
        }
    }

    fn last_line(&self) -> String {
        let kept = self.0.get(self.0.len().saturating_sub(KEPT)..).unwrap_or_default();
        let mut lines = kept.split(|byte| matches!(byte, b'\n' | b'\r')).rev();
        let texts = lines.by_ref().map(|line| words::clean(&String::from_utf8_lossy(line)));
        texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_and_a_line_make_a_verdict() {
        let (pass, fail) = (|text: &str| Ok(text.to_owned()), |text: &str| Err(Bad::Fail(text.to_owned())));
        for (raw, line, verdict) in [
            (0, "", pass("exit 0")),
            (0, "3 replicas", pass("3 replicas")),
            (1 << 8, "", fail("exit 1")),
            (2 << 8, "disk full", fail("exit 2: disk full")),
            (11, "", fail("killed by SIGSEGV")),
            (40, "", fail("killed by signal 40")),
        ] {
            assert_eq!(judge(ExitStatus::from_raw(raw), line), verdict);
        }
    }

    #[test]
    fn the_last_line_that_says_something_is_kept() {
        for (output, line) in [
            (&b""[..], ""),
            (b"one\ntwo\n", "two"),
            (b"one\n \n\x1b\n", "one"),
            (b"10%\r50%\r100%", "100%"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        ] {
            let mut tail = Tail::default();
            tail.push(output);
            assert_eq!(tail.last_line(), line);
        }
        let mut tail = Tail::default();
        for _ in 0..100_000 {
            tail.push(b"flood\n");
        }
        tail.push(b"end");
        assert_eq!(tail.last_line(), "end");
        assert!(tail.0.len() <= 4 * KEPT);
    }

    #[test]
    fn users_are_known_beforehand() {
        assert_eq!(identity("no such user"), Err("there is no user \"no such user\"".to_owned()));
        let root = identity("root").unwrap().unwrap();
        assert_eq!((root.uid, root.groups.contains(&root.gid)), (Uid::from_raw(0), true));
    }
}
