//! What the API says of rejections.

use std::net::IpAddr;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use wilco::{EventId, RejectionId};
use wilco_store::RejectionReason as Reason;

use super::{EventIdText, Header, PageItems, flag_from_text, limit_from_text, time_from_text};
use crate::redaction;

/// Which rejections to list, and which part of the listing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListRejections {
    /// Only rejections of this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only rejections received at or after this time.
    #[serde(default, deserialize_with = "time_from_text")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime, required = false)]
    pub since: Option<Timestamp>,
    /// Oldest first, instead of newest first.
    #[serde(default, deserialize_with = "flag_from_text")]
    pub oldest_first: bool,
    /// Where to continue: `next` of the page before, which had the same other parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The most items of a page.
    #[serde(default, deserialize_with = "limit_from_text")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = PageItems, inline, required = false)]
    pub limit: Option<usize>,
}

/// The rejection that a path names.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
pub(crate) struct RejectionPath {
    /// The rejection's id.
    #[param(value_type = RejectionIdText, inline)]
    pub(crate) id: RejectionId,
}

/// A rejection in a listing: everything but its headers and body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RejectionSummary {
    /// The rejection's id.
    #[schema(value_type = RejectionIdText)]
    pub id: RejectionId,
    /// When the request was received.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// The source that refused it.
    pub source: String,
    /// The provider of the source.
    pub provider: String,
    /// Why the request was refused.
    pub reason: RejectionReason,
    /// The reason in words, with details.
    pub message: String,
    /// The IP address of the client; not of one that came over a Unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client: Option<IpAddr>,
    /// The method of the request.
    pub method: String,
    /// The URL by which the provider knows the endpoint, or what was requested; without credentials.
    pub url: String,
    /// The length of the body as it came, in bytes.
    pub bytes: u64,
    /// The SHA-256 digest of the body as it came, in hexadecimal.
    pub sha256: String,
    /// Whether the request is kept completely, so that it can be accepted.
    pub complete: bool,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RejectionReason {
    /// The request has no signature, or lacks something that is signed.
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

/// One rejection with as much of the request as is kept and may be shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RejectionDetail {
    /// What a listing says of the rejection.
    #[serde(flatten)]
    pub summary: RejectionSummary,
    /// The headers in the order received; those with credentials without their values.
    pub headers: Vec<Header>,
    /// The body as far as it is kept, if that is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body as far as it is kept in Base64, if that is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

/// How to accept a rejection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptRequest {
    /// Only verifies the request again.
    #[serde(default)]
    pub dry_run: bool,
}

/// A rejection that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AcceptedRejection {
    /// The id that the rejection had.
    #[schema(value_type = RejectionIdText)]
    pub id: RejectionId,
    /// The event's name.
    pub event: String,
    /// The name of the secret that signed the request.
    pub secret_name: String,
    /// The id of the event; of a duplicate that of the event that was recorded before. Not with `dry_run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<EventIdText>)]
    pub event_id: Option<EventId>,
    /// Whether the event was recorded before. Not known with `dry_run`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
}

impl RejectionReason {
    /// The word for the reason, as in JSON.
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
}

impl From<Reason> for RejectionReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::MissingSignature => Self::MissingSignature,
            Reason::RepeatedHeader => Self::RepeatedHeader,
            Reason::MalformedSignature => Self::MalformedSignature,
            Reason::WrongSignature => Self::WrongSignature,
            Reason::OutOfTime => Self::OutOfTime,
            Reason::BodyNotCovered => Self::BodyNotCovered,
            Reason::InvalidBody => Self::InvalidBody,
        }
    }
}

impl From<wilco_store::RejectionSummary> for RejectionSummary {
    fn from(kept: wilco_store::RejectionSummary) -> Self {
        Self {
            url: redaction::url(&kept.url, |name| is_secret(name, &kept.hidden)),
            id: kept.id,
            received_at: kept.received_at,
            source: kept.source.to_string(),
            provider: kept.provider,
            reason: kept.reason.into(),
            message: kept.message,
            client: kept.client,
            method: kept.method,
            bytes: kept.bytes,
            sha256: kept.digest.to_string(),
            complete: kept.is_complete,
        }
    }
}

impl From<wilco_store::RejectionDetail> for RejectionDetail {
    fn from(kept: wilco_store::RejectionDetail) -> Self {
        let wilco_store::RejectionDetail { summary, headers, body } = kept;
        let headers = redaction::headers(&headers, |name| is_secret(name, &summary.hidden));
        let headers = headers.iter().map(|(name, value)| Header {
            name: name.to_owned(),
            value: String::from_utf8_lossy(value).into_owned(),
        });
        let headers = headers.collect();
        // It was small enough to be kept in one row.
        let kept = body.contiguous(usize::MAX).unwrap_or_default();
        let body = std::str::from_utf8(&kept).ok().map(ToOwned::to_owned);
        let body_base64 = body.is_none().then(|| BASE64_STANDARD.encode(&kept));
        Self { summary: summary.into(), headers, body, body_base64 }
    }
}

fn is_secret(name: &str, hidden: &[String]) -> bool {
    redaction::is_credential(name) || hidden.iter().any(|hidden| hidden == name)
}

/// A rejection's id: `rej_` and a ULID.
#[derive(ToSchema)]
#[schema(as = RejectionId, value_type = String, example = "rej_01JQ8ZK4N3W8T1V5R7Y9ABCDEF", pattern = "^rej_[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$")]
struct RejectionIdText(#[expect(dead_code, reason = "only its schema is used")] String);
