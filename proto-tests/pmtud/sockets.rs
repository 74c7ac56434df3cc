//! Capture, owner, relay and injection, each with the kernel's own answer.
