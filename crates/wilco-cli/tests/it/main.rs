//! wilco from outside: the real binary, real sockets, real files. One test binary is linked only once.

#![expect(clippy::unwrap_used, reason = "a test panics if something is wrong")]
#![expect(clippy::disallowed_methods, reason = "the real binary uses the real clock")]

mod admin;
mod answers;
mod backfill;
mod catcher;
mod commands;
mod configuration;
mod dashboard;
mod deliveries;
mod docs;
mod duplicates;
mod endpoint;
mod examples;
mod flood;
mod forgeries;
mod freispace;
mod generated;
mod handlers;
mod handshakes;
mod http2;
mod landlock;
mod large;
mod layering;
mod listen;
mod listener;
mod listings;
mod manual;
mod observability;
mod packaging;
mod probe;
mod providers;
mod rejections;
mod restarts;
mod retention;
mod secrets;
mod service_manager;
mod slow;
mod stream;
mod survival;
mod tls;
mod top;
mod traces;
mod wire;
mod world;
