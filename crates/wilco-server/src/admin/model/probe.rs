//! Probes: what `wilco probe` asks for, and what it learns.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Header;

/// Which source to probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeRequest {
    /// The source's name; without it, the source at `path`, else the only one.
    #[serde(default)]
    pub source: Option<String>,
    /// The path of the public URL.
    #[serde(default)]
    pub path: Option<String>,
    /// Whether to sign as Standard Webhooks specifies, whatever the provider of the source does.
    #[serde(default)]
    pub plain: bool,
}

/// An open probe: what the sender of its requests has to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Probe {
    /// The id, which each request has in its header `x-wilco-probe`.
    pub id: String,
    /// The source.
    pub source: String,
    /// The path of the source.
    pub path: String,
    /// The URL by which the provider knows the source, if one is configured.
    #[schema(required)]
    pub public_url: Option<String>,
    /// The provider of the source.
    pub provider: String,
    /// The provider whose scheme signs the requests: `standard-webhooks` if only the provider of the
    /// source can sign as it does.
    pub signer: String,
    /// The secret that signs the requests of this probe, and nothing else.
    pub secret: String,
    /// The longest body that the source takes, in bytes.
    pub max_body: u64,
    /// When the probe ends.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
}

/// The probe that a path names.
#[derive(Clone, Debug, Deserialize, IntoParams)]
pub(crate) struct ProbePath {
    /// The probe's id.
    pub(crate) id: String,
}

/// A request of a probe, as it arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProbedRequest {
    /// When its head arrived.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// The method.
    pub method: String,
    /// The path and query.
    pub url: String,
    /// The headers in the order received; those with credentials without their values.
    pub headers: Vec<Header>,
    /// The body; none if the request was refused before it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<ProbedBody>,
    /// The status of the answer.
    pub status: u16,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// The body of a request of a probe, as it arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProbedBody {
    /// Its length, in bytes.
    pub bytes: u64,
    /// Its SHA-256 digest, in hexadecimal.
    pub sha256: String,
    /// Its first 64 KiB, in Base64.
    pub start_base64: String,
}
