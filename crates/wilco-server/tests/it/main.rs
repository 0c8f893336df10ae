//! wilco from outside: the real binary, real sockets, real files. One binary, so one link.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

mod answers;
mod world;
