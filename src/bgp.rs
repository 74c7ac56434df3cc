//! The BGP speaker: pure state machines over [`wire`] messages.

pub mod session;
pub mod wire;
