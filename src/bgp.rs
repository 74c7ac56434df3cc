//! The BGP speaker: pure state machines over [`wire`] messages.

pub mod connection;
pub mod rib_out;
pub mod session;
pub mod wire;
