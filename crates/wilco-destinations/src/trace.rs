//! The trace context of an event: taken from its sender, and passed on to destinations
//! (<https://www.w3.org/TR/trace-context/>).
//!
//! Nothing of it is stored but the headers of the event. What the sender left out is derived from ids, so that an
//! attempt days later belongs to the same trace.

use std::sync::atomic::{AtomicBool, Ordering};

use wilco::{Event, EventId};
use wilco_store::Claim;

/// The trace that an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: u128,
    /// The span of the sender, if it has sent one.
    pub parent: Option<u64>,
    /// The flags of the sender; without one, the trace is recorded.
    pub flags: u8,
}

impl TraceContext {
    /// The trace of an event: that of its sender, or its own.
    pub fn of(event: &Event) -> Self {
        let sent = event.headers.all(TRACEPARENT).next().and_then(Self::parse);
        sent.unwrap_or_else(|| Self::of_id(event.id))
    }

    /// The trace of an event whose sender has sent none.
    pub fn of_id(id: EventId) -> Self {
        Self { trace_id: id.to_bits(), parent: None, flags: SAMPLED }
    }

    /// Reads `00-TRACE-PARENT-FLAGS`, in lower-case hexadecimal. A later version may have more behind that.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut parts = text.split('-');
        let mut next = |length: usize| {
            let part = parts.next()?;
            let is_hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
            (part.len() == length && part.bytes().all(is_hex)).then_some(part)
        };
        let version = u8::from_str_radix(next(2)?, 16).ok().filter(|&version| version != 0xff)?;
        let trace_id = u128::from_str_radix(next(32)?, 16).ok().filter(|&id| id != 0)?;
        let parent = u64::from_str_radix(next(16)?, 16).ok().filter(|&id| id != 0)?;
        let flags = u8::from_str_radix(next(2)?, 16).ok()?;
        let is_whole = version > 0 || parts.next().is_none();
        is_whole.then_some(Self { trace_id, parent: Some(parent), flags })
    }

    /// Whether its spans are to be recorded.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// The span of an attempt.
pub fn attempt_span(claim: &Claim) -> u64 {
    let seed = claim.delivery().unsigned_abs().rotate_left(24) ^ u64::from(claim.attempt());
    mixed(receive_span(claim.event().id) ^ seed)
}

/// The span in which an event was received. The low bits of an id are random.
pub fn receive_span(id: EventId) -> u64 {
    mixed(u64::try_from(id.to_bits() & u128::from(u64::MAX)).unwrap_or_default())
}

/// A span within another one.
pub fn child_span(parent: u64, number: u64) -> u64 {
    mixed(parent ^ number)
}

/// Has destinations get the span of each attempt, because that is exported.
pub fn export_attempts() {
    IS_EXPORTED.store(true, Ordering::Relaxed);
}

/// What a destination gets as `traceparent` and as `tracestate`. Without an export, what the sender has sent.
pub(crate) fn passed_on(claim: &Claim) -> (Option<String>, Option<String>) {
    let event = claim.event();
    let context = TraceContext::of(event);
    let parent = match IS_EXPORTED.load(Ordering::Relaxed) {
        true => Some(attempt_span(claim)),
        false => context.parent,
    };
    let traceparent = parent.map(|parent| {
        let TraceContext { trace_id, flags, .. } = context;
        format!("00-{trace_id:032x}-{parent:016x}-{flags:02x}")
    });
    let state = event.headers.all(TRACESTATE).next().filter(|_| context.parent.is_some());
    let is_plain = |text: &&str| {
        text.len() <= STATE_BYTES_MAX && text.bytes().all(|c| (b' '..=b'~').contains(&c))
    };
    let state = state.and_then(|state| std::str::from_utf8(state).ok()).filter(is_plain);
    (traceparent, state.map(ToOwned::to_owned))
}

/// Spreads the bits of an id, so that ids which differ little do not coincide (splitmix64). Never 0, which is
/// not a valid span.
fn mixed(id: u64) -> u64 {
    let mut bits = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits ^ (bits >> 31)).max(1)
}

static IS_EXPORTED: AtomicBool = AtomicBool::new(false);
pub(crate) const TRACEPARENT: &str = "traceparent";
pub(crate) const TRACESTATE: &str = "tracestate";
const SAMPLED: u8 = 1;
/// Bytes of a `tracestate` that are passed on; the specification asks for at least as many.
const STATE_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_taken_only_as_the_specification_writes_it() {
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parsed = TraceContext {
            trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
            parent: Some(0xb7ad_6b71_6920_3331),
            flags: 1,
        };
        for (text, expected) in [
            (valid.to_owned(), Some(parsed)),
            (valid.replace("-01", "-00"), Some(TraceContext { flags: 0, ..parsed })),
            (format!("01{}-more", &valid[2..]), Some(parsed)),
            (format!("{valid}-more"), None),
            (format!("ff{}", &valid[2..]), None),
            (valid.to_uppercase(), None),
            (valid.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)), None),
            (valid.replace("b7ad6b7169203331", &"0".repeat(16)), None),
            (valid.replace("b7ad6b7169203331", "+7ad6b7169203331"), None),
            (valid[1..].to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(TraceContext::parse(text.as_bytes()), expected, "{text}");
        }
    }
}
