//! Who signed this webhook?
//!
//! A webhook is an HTTP request that anybody on the internet can make, so the first question about
//! one is whether the provider really sent it. This crate answers that question and nothing else.
//! It performs no I/O, needs no runtime and reads no clock: what it needs to know, you hand in.
//!
//! A request takes three steps:
//!
//! 1. You put the request into an [`Arrival`]: its raw body, its head, and when it arrived.
//! 2. [`verify()`] checks the signature with your [`Key`]s and returns [`Verified`], which nothing
//!    else can make, or [`Refused`], which says what was wrong. A body that is still arriving is
//!    verified chunk by chunk: see [`Scheme::begin`].
//! 3. [`Provider::envelope`] reads, in one pass, which event this is and what it is about.
//!
//! ```
//! use wilco::{Arrival, Head, Headers, Secret, SourceName, Unsigned, provider, verify};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let freispace = provider::find("freispace").ok_or("no such provider")?;
//! let secret = Secret::new("doc", b"a-made-up-secret".to_vec())?;
//!
//! // What freispace would send.
//! let now = "2026-03-02T08:30:00Z".parse()?;
//! let body = br#"{"id":"7f1d","type":"booking","event":"booking.created","data":{}}"#;
//! let signed = freispace.scheme.sign(&secret, &Unsigned::post(body, now))?;
//!
//! let head = Head { headers: Headers::from_pairs(signed), ..Head::default() };
//! let arrival = Arrival { received_at: now, head, body: body.to_vec().into() };
//! let keys = [freispace.scheme.key(&secret)?];
//! let verified = verify(&freispace.scheme, &SourceName::new("freispace")?, &keys, arrival)?;
//! let envelope = freispace.envelope(&verified)?;
//! assert_eq!(envelope.name, "booking.created");
//! # Ok(())
//! # }
//! ```
//!
//! What was recorded comes back as an [`Event`], whose [`data`](Event::data) is read as one of the
//! types of [`freispace`], or as any type of your own.

mod body;
mod counted;
pub mod doctor;
mod event;
pub mod freispace;
mod mismatch;
mod path;
mod place;
mod proof;
pub mod provider;
mod secret;
mod split;
mod verify;
mod words;

pub use body::{BODY_CHUNK_BYTES, Body, STORED_CHUNK_BYTES, StoredBytes, WHOLE_BODY_BYTES_MAX};
pub use counted::counted;
pub use event::{
    Arrival, DataError, Digest, Event, EventId, EventIdError, Head, Headers, NameError, Origin,
    RejectionId, RejectionIdError, SourceName,
};
pub use mismatch::Mismatch;
pub use path::ValuePath;
pub use proof::{Fetched, ListError, ListedEvents, Proof};
pub use provider::{Envelope, EnvelopeError, Provider};
pub use secret::{SECRET_BYTES_MIN, Secret, SecretError};
pub use split::{ArrayPath, Item, SplitError};
pub use verify::{
    Algorithm, Encoding, Key, KeyError, KeyText, Refused, Scheme, SignError, TimestampUnit,
    Unsigned, Verified, Verifier, standard_webhooks_key, verify,
};
