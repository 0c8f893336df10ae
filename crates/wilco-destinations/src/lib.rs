//! Where events go: every kind of destination, with its keys in the configuration.
//!
//! A kind is a file of `kinds/` and its rows in `kinds.rs`. It reads its keys into [`Settings`], which
//! open the [`wilco_delivery::Destination`] that makes attempts. Its caller takes care of retries, order,
//! rate and circuit breaker. Each kind is a feature of this crate.

#![cfg_attr(
    not(feature = "default"),
    allow(dead_code, reason = "some kinds share what others do not need")
)]

#[cfg(feature = "command")]
mod child;
pub mod client;
mod clock;
mod destination;
mod hidden;
mod http_service;
mod json_line;
mod kind;
mod kinds;
mod opener;
mod preview;
#[cfg(feature = "command")]
mod script;
mod stored_body;
mod text;
pub mod trace;

#[cfg(feature = "command")]
pub use child::{VERB as SUPERVISOR_VERB, keep_file_limit, main as supervisor_main};
pub use clock::now;
pub use destination::{ATTEMPT_TIMEOUT, DestinationConfig};
pub use hidden::Hidden;
pub use kind::{Kind, Kinds, OUTPUT_BYTES_MAX, OpenError, Same, Settings, SharedSettings};
#[cfg(feature = "command")]
pub use kinds::command_line;
pub use kinds::{Function, KINDS};
pub use opener::{Opener, check};
pub use preview::{PreviewPart, PreviewValue};
pub use text::legible;
