//! The BGP speaker: pure state machines over [`wire`] messages.

pub mod wire;
