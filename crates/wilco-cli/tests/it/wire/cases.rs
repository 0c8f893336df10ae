//! Raw requests, each with the one answer that it gets.

mod chunks;
mod fields;
mod framing;
mod line;
mod valid;

use crate::world::sign;

/// A raw request. After its answer, the connection ends.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) status: u16,
}

impl Case {
    fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>, status: u16) -> Self {
        Self { name: name.into(), bytes: bytes.into(), status }
    }
}

/// Requests that can be read in more than one way, or in none, and those over a limit. They are short,
/// because each is cut at each of its offsets.
pub(super) fn refused() -> Vec<Case> {
    [line::refused(), fields::refused(), framing::refused(), chunks::refused()]
        .into_iter()
        .flatten()
        .collect()
}

/// Requests that can be read in one way only, with the status of what they ask. Those that get a 200
/// are about one event.
pub(super) fn answered() -> Vec<Case> {
    [valid::answered(), chunks::answered()].into_iter().flatten().collect()
}

/// The message of an answer with this status.
pub(super) fn message(status: u16) -> &'static str {
    match status {
        200 => "Webhook processed successfully",
        400 => "Malformed request",
        403 => "Invalid signature",
        404 => "Not found",
        405 => "Method not allowed",
        431 => "Request head too large",
        _ => unreachable!("no case has the status {status}"),
    }
}

/// The body of those that have one.
const BODY: &str = "{}";

/// The header field that signs it.
fn signature() -> String {
    format!("x-freispace-signature: {}\r\n", sign(BODY.as_bytes()))
}
