//! What is in a column and what it means: places and ids, times, digests.

use jiff::Timestamp;
use rusqlite::{Row, RowIndex};
use wilco::{Digest, EventId, Origin};

use crate::StoreError;

/// The place of an event in the table is the front of its id, so that an id finds its row without an
/// index of its own.
pub(crate) fn seq_of(id: EventId) -> i64 {
    i64::try_from(id.to_bits() >> TAIL_BITS).unwrap_or(i64::MAX)
}

/// The front of the id of the event in this place, for where the rest of it cannot be read.
pub(crate) fn id_at(seq: i64) -> EventId {
    EventId::from_bits(u128::from(seq.unsigned_abs()) << TAIL_BITS)
}

/// The time that a place is of.
pub(crate) fn time_of(seq: i64) -> Timestamp {
    Timestamp::from_millisecond(seq >> SEQ_BITS_PER_MS).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The first place that an event of this time can have.
pub(crate) fn seq_at(time: Timestamp) -> i64 {
    time.as_millisecond().clamp(0, MILLIS_MAX) << SEQ_BITS_PER_MS
}

pub(crate) fn id_of(text: &str) -> rusqlite::Result<EventId> {
    text.parse().map_err(bad_column)
}

pub(crate) fn instant(millis: i64) -> rusqlite::Result<Timestamp> {
    Timestamp::from_millisecond(millis).map_err(bad_column)
}

pub(crate) fn digest_of<I: RowIndex>(row: &Row<'_>, column: I) -> rusqlite::Result<Digest> {
    Ok(Digest(row.get(column)?))
}

pub(crate) fn origin_of<I: RowIndex>(row: &Row<'_>, column: I) -> rusqlite::Result<Origin> {
    let word: String = row.get(column)?;
    Origin::parse(&word)
        .ok_or_else(|| bad_column(StoreError::Internal(format!("unknown origin {word:?}"))))
}

/// A column holds what wilco would not have written.
pub(crate) fn bad_column(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Null, Box::new(error))
}

/// Events a millisecond that keep their place in it; past that they borrow from the next.
const SEQ_BITS_PER_MS: u32 = 15;
const MILLIS_MAX: i64 = (1 << 48) - 1;
/// Bits of an id behind its place.
pub(crate) const TAIL_BITS: u32 = 65;
