//! Bodies that are too large for one row. They are in chunks, which are written a few at a time and read
//! one at a time.

use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, params};
use wilco::{BODY_CHUNK_BYTES, Body, STORED_CHUNK_BYTES, StoredBytes};

use super::{WriterState, bad_column};

/// How many chunks a body of this length has; none where it is in the row of its event.
pub(crate) fn chunk_count(body_bytes: usize) -> usize {
    match body_bytes {
        0..=BODY_CHUNK_BYTES => 0,
        _ => body_bytes.div_ceil(STORED_CHUNK_BYTES),
    }
}

impl WriterState {
    /// A number for the chunks of one body. None is used twice.
    pub(super) fn next_chunks(&mut self) -> i64 {
        self.last_chunks += 1;
        self.last_chunks
    }

    /// Writes some chunks of a body that no event has yet: if none gets it, the next start removes them.
    pub(super) fn write_partial(
        &self,
        chunks: i64,
        body: &Body,
        numbers: Range<usize>,
    ) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO partial_body (chunks) VALUES (?1)")?
            .execute([chunks])?;
        self.write_chunks(chunks, body, numbers)
    }

    pub(super) fn write_chunks(
        &self,
        chunks: i64,
        body: &Body,
        numbers: Range<usize>,
    ) -> rusqlite::Result<()> {
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO payload_chunk (chunks, number, body) VALUES (?1, ?2, ?3)",
        )?;
        for number in numbers {
            let start = number * STORED_CHUNK_BYTES;
            let chunk = body.part(start..body.len().min(start + STORED_CHUNK_BYTES));
            insert.execute(params![chunks, number, &chunk.map_err(bad_column)?[..]])?;
        }
        Ok(())
    }

    /// An event has the body now.
    pub(super) fn finish_partial(&self, chunks: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("DELETE FROM partial_body WHERE chunks = ?1")?
            .execute([chunks])
            .map(drop)
    }

    /// Removes some chunks of a body that no event got. False if that were the last ones.
    pub(super) fn remove_partial(&self, chunks: i64) -> rusqlite::Result<bool> {
        let removed = self
            .connection
            .prepare_cached(
                "DELETE FROM payload_chunk WHERE chunks = ?1 AND number < ?2 + \
                 (SELECT min(number) FROM payload_chunk WHERE chunks = ?1)",
            )?
            .execute(params![chunks, CHUNKS_PER_COMMIT])?;
        if removed == 0 {
            self.finish_partial(chunks)?;
        }
        Ok(removed > 0)
    }

    /// Removes some chunks of a body that no event has any more. False if there is none.
    pub(super) fn remove_unused_chunks(&self) -> rusqlite::Result<bool> {
        let unused = self
            .connection
            .prepare_cached("SELECT chunks FROM partial_body WHERE chunks IS NOT ?1 LIMIT 1")?
            .query_row([self.recorded_chunks], |row| row.get(0))
            .optional()?;
        let Some(chunks) = unused else { return Ok(false) };
        self.remove_partial(chunks)?;
        Ok(true)
    }
}

/// The bodies of which a process wrote some chunks and no event got them, and the largest number of all.
pub(crate) fn partial_bodies(connection: &Connection) -> rusqlite::Result<(Vec<i64>, i64)> {
    let mut partial = connection.prepare("SELECT chunks FROM partial_body")?;
    let partial: Vec<i64> = partial.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let last: Option<i64> =
        connection.query_row("SELECT max(chunks) FROM payload_chunk", [], |row| row.get(0))?;
    let last = partial.iter().copied().chain(last).max();
    Ok((partial, last.unwrap_or(0)))
}

/// Hands each chunk of a body to `take`, in order.
pub(crate) fn each_chunk(
    connection: &Connection,
    chunks: i64,
    mut take: impl FnMut(&[u8]),
) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare_cached("SELECT body FROM payload_chunk WHERE chunks = ?1 ORDER BY number")?;
    let mut rows = statement.query([chunks])?;
    while let Some(row) = rows.next()? {
        take(row.get_ref(0)?.as_blob().map_err(bad_column)?);
    }
    Ok(())
}

/// Reads single chunks, each in a transaction of its own: an attempt that takes long keeps nothing from
/// being written or checkpointed.
#[derive(Default)]
pub(crate) struct ChunkReader(Mutex<Option<Connection>>);

impl ChunkReader {
    pub(super) fn open(&self, connection: Connection) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }

    pub(super) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A body that is read from there.
    pub(super) fn body(self: &Arc<Self>, chunks: i64, bytes: usize) -> Body {
        Body::stored(Arc::new(InChunks { reader: Arc::clone(self), chunks, bytes }))
    }

    fn read(&self, chunks: i64, number: usize) -> io::Result<Vec<u8>> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let connection =
            connection.as_ref().ok_or_else(|| io::Error::other("the store is closed"))?;
        let read = || {
            connection
                .prepare_cached("SELECT body FROM payload_chunk WHERE chunks = ?1 AND number = ?2")?
                .query_row(params![chunks, number], |row| row.get(0))
                .optional()
        };
        read().map_err(io::Error::other)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

struct InChunks {
    reader: Arc<ChunkReader>,
    chunks: i64,
    bytes: usize,
}

impl StoredBytes for InChunks {
    fn len(&self) -> usize {
        self.bytes
    }

    fn read_at(&self, start: usize) -> io::Result<Bytes> {
        let number = start / STORED_CHUNK_BYTES;
        let before = number * STORED_CHUNK_BYTES;
        let chunk = Bytes::from(self.reader.read(self.chunks, number)?);
        match chunk.len() == STORED_CHUNK_BYTES.min(self.bytes - before) {
            true => Ok(chunk.slice(start - before..)),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Chunks that one commit writes or removes: 2 MiB, so that small events wait for no more of a large one.
pub(crate) const CHUNKS_PER_COMMIT: usize = 32;
