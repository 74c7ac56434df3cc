//! Runs the programs that follow a service. The routers were told before; nothing ever waits for one.
//!
//! ```text
//!   engine's thread                     the thread "hooks"
//!   Hooks::run --[newest, per service]--> one task per service --> exec, killed after TIME
//!        ^                                             |
//!        +---------[the engine's inputs]<---- HookEnded
//! ```
//!
//! One at a time for each service, in order. What changes while one runs leaves only the newest to be run after it:
//! a program that follows a flapping service does not fall behind.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot, watch};

use super::checks::exec::Exec;
use super::checks::process::{Seats, THREADS};
use super::checks::{Bad, BuildError, ProbeRequest, Progress};
use crate::config::{Config, ExecCheck, Service};
use crate::engine::{Hook, Input, ProbeId, Words};

/// Long enough for a message to somewhere else, short enough that the next one is not late by much.
const TIME: Duration = Duration::from_secs(10);

type Newest = Option<(Hook, Words)>;

/// Dropped: programs that run are killed, and nothing more is reported.
pub(super) struct Hooks {
    /// By service, of those that have any.
    services: BTreeMap<usize, watch::Sender<Newest>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The programs of one service.
struct Follower {
    service: usize,
    programs: BTreeMap<Hook, Exec>,
    /// That of the first prefix.
    address: IpAddr,
    seats: Arc<Seats<usize>>,
}

impl Hooks {
    /// `inputs` is the engine's bounded queue: while it is full, the next program waits.
    pub(super) fn start(config: &Config, inputs: &mpsc::Sender<Input>) -> Result<Self, BuildError> {
        let mut services = BTreeMap::new();
        let mut followers = Vec::new();
        let seats = Arc::new(Seats::new());
        for (index, service) in config.services.iter().enumerate() {
            let follower = Follower::new(index, service, Arc::clone(&seats))?;
            if !follower.programs.is_empty() {
                let (newest, changed) = watch::channel(None);
                services.insert(index, newest);
                followers.push((follower, changed));
            }
        }
        if followers.is_empty() {
            return Ok(Self { services, stop: None, thread: None });
        }
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(THREADS)
            .build()?;
        let inputs = inputs.clone();
        let thread = std::thread::Builder::new().name("hooks".to_owned()).spawn(move || {
            runtime.block_on(async {
                for (follower, changed) in followers {
                    tokio::spawn(follower.follow(changed, inputs.clone()));
                }
                let _told = stopped.await;
            });
            runtime.shutdown_background();
        })?;
        Ok(Self { services, stop: Some(stop), thread: Some(thread) })
    }

    /// Never waits, never fails: what this replaces has not begun yet.
    pub(super) fn run(&self, service: usize, hook: Hook, words: Words) {
        if let Some(newest) = self.services.get(&service) {
            newest.send_replace(Some((hook, words)));
        }
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Bounded: the thread only drops what it has, so that no program outlives the daemon.
            let _ended = thread.join().is_ok();
        }
    }
}

impl Follower {
    fn new(index: usize, service: &Service, seats: Arc<Seats<usize>>) -> Result<Self, BuildError> {
        let mut programs = BTreeMap::new();
        for hook in Hook::ALL {
            let Some(command) = hook.command(&service.health.hooks) else { continue };
            let check = ExecCheck { command: command.to_vec(), user: None, env: BTreeMap::new() };
            let program = Exec::new(&check, service).map_err(|detail| BuildError::Hook {
                service: service.name.clone(),
                hook: hook.name(),
                detail,
            })?;
            programs.insert(hook, program);
        }
        let address = service.prefixes.first().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpNet::addr);
        Ok(Self { service: index, programs, address, seats })
    }

    /// Until the daemon ends.
    async fn follow(self, mut changed: watch::Receiver<Newest>, inputs: mpsc::Sender<Input>) {
        while changed.changed().await.is_ok() {
            let newest = changed.borrow_and_update().clone();
            let Some((hook, words)) = newest else { continue };
            let Some(program) = self.programs.get(&hook) else { continue };
            let result = self.run(program, words).await;
            if inputs.send(Input::HookEnded { service: self.service, hook, result }).await.is_err() {
                return;
            }
        }
    }

    async fn run(&self, program: &Exec, words: Words) -> Result<String, String> {
        let Some(seat) = self.seats.take(self.service) else {
            return Err("earlier runs were killed and do not end".to_owned());
        };
        let Words { state, reason } = words;
        let probe = ProbeId { service: self.service, check: 0, address: self.address, run: 0 };
        let progress = Progress::default();
        let request = ProbeRequest { probe, state, reason };
        match tokio::time::timeout(TIME, program.run(&request, seat, &progress)).await {
            Ok(Ok(detail)) => Ok(detail),
            Ok(Err(Bad::Fail(detail) | Bad::TimedOut(detail))) => Err(detail),
            // A program is bound to no address.
            Ok(Err(Bad::NoAddress)) => Err("no address".to_owned()),
            Err(_) => Err(progress.missing(TIME)),
        }
    }
}
