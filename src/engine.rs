//! The daemon as one value: `handle(now, input)`, then `poll()` until `None`, and be woken at `deadline()`.

mod port;

pub use port::{Closed, ConnectionId, Event, EventKind, Input, Output, Outcome, ProbeId};
