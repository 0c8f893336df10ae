//! Requests that were refused, as far as they are kept.

use std::{fmt, net::IpAddr};

use jiff::Timestamp;
use wilco::{Body, Digest, Envelope, Headers, Mismatch, RejectionId, SourceName, Verified};

use crate::{Duplicates, REJECTION_BODY_BYTES_MAX};

/// A refused request, as far as it is kept. It may contain credentials, so its `Debug` shows no value of
/// a header, no URL, and nothing of the body.
#[derive(Clone)]
pub struct Rejection {
    /// When it was received.
    pub received_at: Timestamp,
    /// The source whose path it came to.
    pub source: SourceName,
    /// The provider of that source.
    pub provider: String,
    /// Why it was refused.
    pub reason: RejectionReason,
    /// The same in words, with the details.
    pub message: String,
    /// The client that sent it; `None` for one on this machine that has no address.
    pub client: Option<IpAddr>,
    /// Its method.
    pub method: String,
    /// The URL by which the provider knows this endpoint; what it requested, if nobody said which that is.
    pub url: String,
    /// Names of headers and URL parameters whose values are secrets, although their names do not say so.
    pub hidden: Vec<String>,
    /// Its headers.
    pub headers: Headers,
    /// The length of its body as it came, in bytes.
    pub bytes: u64,
    /// SHA-256 of its body as it came.
    pub digest: Digest,
    /// Its body; if it is not kept completely, the store keeps at most [`REJECTION_BODY_BYTES_MAX`] of it.
    pub body: Body,
    /// Whether all of it is kept as it came, so that it can be accepted.
    pub is_complete: bool,
}

/// Why a request was refused, as a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionReason {
    /// It has no signature, or lacks something that is signed.
    MissingSignature,
    /// A header occurs more than once.
    RepeatedHeader,
    /// The signature is not written as the provider writes it.
    MalformedSignature,
    /// No secret matches the signature.
    WrongSignature,
    /// The signature is right, but was not made at the time of the request.
    OutOfTime,
    /// The signature is right, but does not cover the body.
    BodyNotCovered,
    /// The signature is right, but the body cannot be read.
    InvalidBody,
}

impl RejectionReason {
    const ALL: [Self; 7] = [
        Self::MissingSignature,
        Self::RepeatedHeader,
        Self::MalformedSignature,
        Self::WrongSignature,
        Self::OutOfTime,
        Self::BodyNotCovered,
        Self::InvalidBody,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingSignature => "missing_signature",
            Self::RepeatedHeader => "repeated_header",
            Self::MalformedSignature => "malformed_signature",
            Self::WrongSignature => "wrong_signature",
            Self::OutOfTime => "out_of_time",
            Self::BodyNotCovered => "body_not_covered",
            Self::InvalidBody => "invalid_body",
        }
    }

    /// The reason that has this word.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// Whether such a request may come from the provider all the same, because a secret, a clock or the
    /// configuration is wrong: then all of it is kept. Whoever cannot even write a signature has proved
    /// less than that.
    pub fn may_be_accepted(self) -> bool {
        matches!(self, Self::WrongSignature | Self::OutOfTime | Self::InvalidBody)
    }
}

impl From<&Mismatch> for RejectionReason {
    fn from(mismatch: &Mismatch) -> Self {
        match mismatch {
            Mismatch::Missing { .. } => Self::MissingSignature,
            Mismatch::Repeated { .. } => Self::RepeatedHeader,
            Mismatch::Malformed { .. } => Self::MalformedSignature,
            Mismatch::Wrong => Self::WrongSignature,
            Mismatch::OutOfTime { .. } | Mismatch::TokenOutOfTime { .. } => Self::OutOfTime,
            // Where it ends early, it is not what was signed.
            Mismatch::BodyNotCovered | Mismatch::BodyUnread { .. } => Self::BodyNotCovered,
        }
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("received_at", &self.received_at)
            .field("source", &self.source)
            .field("provider", &self.provider)
            .field("reason", &self.reason)
            .field("client", &self.client)
            .field("method", &self.method)
            .field("headers", &self.headers)
            .field("bytes", &self.bytes)
            .field("is_complete", &self.is_complete)
            .finish_non_exhaustive()
    }
}

impl Rejection {
    /// With no more of its body than is stored, in memory of its own: a part of a larger buffer
    /// would keep all of it.
    pub(crate) fn clamped(mut self) -> Self {
        let bytes_max = if self.is_complete { usize::MAX } else { REJECTION_BODY_BYTES_MAX };
        if self.body.is_stored() || self.body.len() > bytes_max {
            let start = self.body.part(0..self.body.len().min(bytes_max));
            self.body = start.unwrap_or_default().into();
        }
        self
    }

    /// About how many bytes it takes.
    pub(crate) fn stored_bytes(&self) -> usize {
        self.headers.as_bytes().len() + self.body.len() + self.message.len() + self.url.len()
    }

    /// All but its headers and body.
    pub(crate) fn summary(&self, id: RejectionId) -> RejectionSummary {
        RejectionSummary {
            id,
            received_at: self.received_at,
            source: self.source.clone(),
            provider: self.provider.clone(),
            reason: self.reason,
            message: self.message.clone(),
            client: self.client,
            method: self.method.clone(),
            url: self.url.clone(),
            hidden: self.hidden.clone(),
            bytes: self.bytes,
            digest: self.digest,
            is_complete: self.is_complete,
        }
    }
}

/// A rejection in a listing: all but its headers and body. The fields are those of [`Rejection`].
#[derive(Clone, PartialEq)]
pub struct RejectionSummary {
    /// Its id.
    pub id: RejectionId,
    /// When it was received.
    pub received_at: Timestamp,
    /// The source whose path it came to.
    pub source: SourceName,
    /// The provider of that source.
    pub provider: String,
    /// Why it was refused.
    pub reason: RejectionReason,
    /// The same in words.
    pub message: String,
    /// The client that sent it.
    pub client: Option<IpAddr>,
    /// Its method.
    pub method: String,
    /// Its URL, with credentials.
    pub url: String,
    /// Names of headers and URL parameters whose values are secrets, although their names do not say so.
    pub hidden: Vec<String>,
    /// The length of its body as it came.
    pub bytes: u64,
    /// SHA-256 of its body as it came.
    pub digest: Digest,
    /// Whether it can be accepted.
    pub is_complete: bool,
}

impl fmt::Debug for RejectionSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RejectionSummary")
            .field("id", &self.id)
            .field("source", &self.source)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// One rejection, whole.
#[derive(Clone, Debug)]
pub struct RejectionDetail {
    /// What a listing says of it.
    pub summary: RejectionSummary,
    /// Its headers, with credentials.
    pub headers: Headers,
    /// As much of its body as is kept.
    pub body: Body,
}

/// Which rejections to list: all of them, narrowed by what is set, and at most `limit`.
#[derive(Clone, Debug, Default)]
pub struct RejectionQuery {
    /// Only of this source.
    pub source: Option<String>,
    /// Only received at or after this time.
    pub since: Option<Timestamp>,
    /// Only those after this one, and then oldest first.
    pub after: Option<RejectionId>,
    /// Only those before this one: for the next page.
    pub before: Option<RejectionId>,
    /// At most this many.
    pub limit: usize,
}

/// A rejection that was verified again, with today's secrets.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Its id.
    pub id: RejectionId,
    /// The request. When it was received is the time of the rejection.
    pub verified: Verified,
    /// What it is about.
    pub envelope: Envelope,
    /// The duplicate rule of its source.
    pub duplicates: Duplicates,
}
