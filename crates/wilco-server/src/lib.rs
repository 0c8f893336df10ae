//! wilco: verify, record, acknowledge, then act.
//!
//! A webhook moves through this library in one direction. There are two halves, with the store
//! between them:
//!
//! ```text
//!             inbound: before the 2xx                           outbound: after the 2xx
//!  bytes ──▶ listen ──▶ verify ──▶ record ──▶ acknowledge     route ──▶ deliver ──▶ destinations
//!                                   ║ the ║                     which       attempt,
//!                                   ║store║ ◀────────────────▶  go where    retry
//!                                   ╚═════╝ ◀── admin: look, measure
//! ```
//!
//! Everything left of the 2xx is bounded in time and memory and depends on nothing but the store.
//! Nothing right of it can slow down or fail the left. The halves never call each other.
//!
//! The binary `wilco`, in the crate `wilco-cli`, is this library with a command line. A program of
//! your own uses it as an [`Endpoint`]: the same pipeline around Rust functions.
//!
//! The modules are what that command line is built on: a configuration, and what is wrong with it as
//! data ([`config`]); what it would deliver ([`forecast`]); the service itself ([`service`]); its API ([`admin`]), and a client for it
//! ([`client`]); the log ([`log`]), the time ([`clock`]), and numbers as people read them ([`readable`]).

mod acme;
pub mod admin;
mod backfill;
mod redaction;
pub use wilco_destinations::client;
pub mod clock;
pub mod config;
mod endpoint;
pub mod forecast;
mod history;
mod inbound;
pub mod log;
mod metrics;
mod outbound;
pub mod readable;
mod retention;
pub mod service;
mod sockets;
mod supervise;
mod threads;
mod trace;

pub use endpoint::{Builder, Endpoint, Error, Result, asked_to_stop};
