//! anycaster announces a host's anycast prefixes to its top-of-rack routers exactly while the host can serve them.
//!
//! ```text
//!   facts in  ->  one pure decision, with its reason  ->  wanted minus told  ->  bytes out
//!
//!   io (netlink, listeners, checks, tcp, files, admin)
//!     | Input                                   ^ Output
//!     v                                         |
//!   engine: facts -> plan::judge -> rib_out (wanted, told) -> bgp::session -> bgp::wire
//! ```
//!
//! Everything but `io` and the command line is pure: time is an argument ([`Time`]), state is plain data,
//! and one value, the engine, is driven by `handle(now, input)`, drained by `poll()` and asks to be woken at `deadline()`.

pub use time::Time;

macro_rules! internal_modules {
    ($($name:ident),* $(,)?) => {
        $(
            #[cfg(feature = "internals")]
            #[allow(missing_docs, reason = "not part of the public API; documented where a reader needs it")]
            pub mod $name;
            #[cfg(not(feature = "internals"))]
            #[allow(dead_code, unused_imports, unreachable_pub, missing_docs, reason = "the embedding API does not reach all of it yet")]
            mod $name;
        )*
    };
}

mod time;

// rustfmt does not look into macros: this shows it the modules, and nothing to anybody else.
#[cfg(any())]
mod bgp;
#[cfg(any())]
mod cli;
#[cfg(any())]
mod config;
#[cfg(any())]
mod decode;
#[cfg(any())]
mod dice;
#[cfg(any())]
mod engine;
#[cfg(any())]
mod facts;
#[cfg(any())]
mod health;
#[cfg(any())]
mod io;
#[cfg(any())]
mod plan;
#[cfg(any())]
mod pmtud;
#[cfg(any())]
mod status;

internal_modules!(bgp, cli, config, decode, dice, engine, facts, health, io, plan, pmtud, status);
