//! Every system call lies here; nothing here decides.
