//! What a listing says of an event, as its row has it.

use rusqlite::Row;
use wilco::{Digest, Origin};

use super::super::{
    super::{Head, digest_of, id_at, id_of, instant, origin_of, seq_of, time_of},
    source_of, unknown_source,
};
use crate::{EventSummary, PayloadState};

pub(crate) fn summary(row: &Row<'_>) -> rusqlite::Result<EventSummary> {
    let seq: i64 = row.get("seq")?;
    let (is_routed, is_damaged) = (row.get("is_routed")?, row.get("is_damaged")?);
    // One damaged row must not hide all the others.
    let head = head(row).unwrap_or_default().unwrap_or_else(|| unreadable(row, seq));
    let payload = match row.get_ref("payload")?.as_str()? {
        "erased" => PayloadState::Erased,
        "pruned" => PayloadState::Pruned,
        _ => PayloadState::Kept,
    };
    Ok(EventSummary { is_routed, is_damaged: is_damaged || head.is_damaged, payload, ..head })
}

/// What a row says, unless that is not what was written.
pub(crate) fn head(row: &Row<'_>) -> rusqlite::Result<Option<EventSummary>> {
    let delivery_id: Option<String> = row.get("delivery_id")?;
    let conflict = row.get("conflict")?;
    let provider: String = row.get("provider")?;
    let summary = EventSummary {
        id: id_of(&row.get::<_, String>("id")?)?,
        source: source_of(row)?,
        name: row.get("name")?,
        subject: row.get("subject")?,
        title: None,
        received_at: instant(row.get("received_at_ms")?)?,
        bytes: row.get("bytes")?,
        digest: digest_of(row, "digest")?,
        secret_name: row.get("secret_name")?,
        origin: origin_of(row, "origin")?,
        is_routed: false,
        is_conflict: conflict,
        is_damaged: false,
        payload: PayloadState::Kept,
        deliveries: Vec::new(),
    };
    let head = Head {
        source: summary.source.as_str(),
        provider: &provider,
        name: &summary.name,
        subject: summary.subject.as_deref(),
        delivery_id: delivery_id.as_deref(),
        received_at: summary.received_at,
        secret_name: &summary.secret_name,
        origin: summary.origin,
        digest: summary.digest,
        body_bytes: summary.bytes,
    };
    let checksum = head.checksum(summary.id, conflict);
    Ok((checksum == row.get::<_, u32>("head_checksum")?).then_some(summary))
}

/// A row that cannot be believed: what its place tells, the front of its id and its time, and the
/// source to find it by.
fn unreadable(row: &Row<'_>, seq: i64) -> EventSummary {
    let id = row.get::<_, String>("id").and_then(|text| id_of(&text)).ok();
    EventSummary {
        id: id.filter(|id| seq_of(*id) == seq).unwrap_or(id_at(seq)),
        source: source_of(row).unwrap_or_else(|_| unknown_source()),
        name: "damaged".into(),
        subject: None,
        title: None,
        received_at: time_of(seq),
        bytes: 0,
        digest: Digest([0; 32]),
        secret_name: String::new(),
        origin: Origin::Webhook,
        is_routed: false,
        is_conflict: false,
        is_damaged: true,
        payload: PayloadState::Kept,
        deliveries: Vec::new(),
    }
}

/// What has become of the payload.
pub(crate) const PAYLOAD_STATE: &str = "CASE WHEN EXISTS (SELECT 1 FROM erased WHERE erased.event = seq) THEN 'erased' \
     WHEN seq <= (SELECT pruned_through FROM progress) \
     AND NOT EXISTS (SELECT 1 FROM payload WHERE payload.event = seq) THEN 'pruned' ELSE 'kept' END AS payload";
/// The columns that a summary reads.
pub(crate) const LISTED: &str = "id, source, provider, name, subject, delivery_id, received_at_ms, secret_name, bytes, digest, \
                      conflict, origin, head_checksum";
