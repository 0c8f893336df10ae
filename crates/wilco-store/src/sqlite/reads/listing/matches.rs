//! The events of a part that match a query. Most that are looked at do not match, so little is read of each.

use rusqlite::{CachedStatement, Connection, Row};
use wilco::EventId;

use super::{
    super::super::{each_chunk, id_at},
    Budget, Part, bind, conditions,
};
use crate::{EventQuery, StoreError, search::SearchText};

/// What is looked through.
#[derive(Clone, Copy)]
pub(crate) struct Scan<'q> {
    pub(crate) query: &'q EventQuery,
    pub(crate) part: Part,
    /// Whether an index finds the few events in the state of the query: see [`is_few`](super::is_few).
    pub(crate) is_few: bool,
    /// What is read of each event behind [`LOOKED_AT`].
    pub(crate) columns: &'static str,
}

/// Calls `take` with the row of each event that matches, in the order of the query. Returns the place at which the
/// budget was spent, if it was.
pub(crate) fn each_match(
    connection: &Connection,
    scan: Scan<'_>,
    budget: &mut Budget,
    mut take: impl FnMut(&Row<'_>, &mut Budget) -> Result<(), StoreError>,
) -> Result<Option<i64>, StoreError> {
    let Scan { query, part, is_few, columns } = scan;
    let mut search =
        query.search.as_deref().map(|text| Search::new(connection, text)).transpose()?;
    let mut statement = connection.prepare_cached(&statement(query, is_few, columns))?;
    // A search looks at more than it finds.
    let rows_max = if search.is_some() { usize::MAX } else { budget.wanted };
    let mut rows = bind(&mut statement, query, part, rows_max)?;
    while let Some(row) = rows.next()? {
        let is_match = match &mut search {
            Some(search) => search.is_match(connection, row, budget)?,
            None => true,
        };
        if is_match {
            take(row, budget)?;
        }
        if budget.wanted == 0 || budget.listed_bytes == 0 || budget.bodies.is_spent() {
            return Ok(Some(row.get(0)?));
        }
    }
    Ok(None)
}

/// The statement of [`each_match`].
pub(super) fn statement(query: &EventQuery, is_few: bool, columns: &str) -> String {
    let (order, plus) =
        (if query.after.is_some() { "ASC" } else { "DESC" }, if is_few { "+" } else { "" });
    let conditions = conditions(query, is_few);
    format!(
        "SELECT {LOOKED_AT}{columns} FROM event WHERE {conditions} ORDER BY {plus}seq {order} LIMIT ?7"
    )
}

/// What a query searches for, and the statement that reads a body. It is not part of the other one, which may have to
/// sort its rows.
struct Search<'c> {
    text: SearchText,
    payload: CachedStatement<'c>,
}

impl<'c> Search<'c> {
    fn new(connection: &'c Connection, text: &str) -> rusqlite::Result<Self> {
        let payload =
            connection.prepare_cached("SELECT body, chunks FROM payload WHERE event = ?1")?;
        Ok(Self { text: SearchText::new(text), payload })
    }

    /// Whether the event of this row has what is searched for. The body is read if it is not in the rest.
    fn is_match(
        &mut self,
        connection: &Connection,
        row: &Row<'_>,
        budget: &mut Budget,
    ) -> rusqlite::Result<bool> {
        let seq = row.get(0)?;
        // A damaged row is listed by what can be read of it.
        let text = |column| row.get_ref(column).ok()?.as_str().ok();
        if self.text.ids().is_some() {
            let id: Option<EventId> = text(1).and_then(|id| id.parse().ok());
            return Ok(self.text.is_in_head(id.unwrap_or(id_at(seq)), "", None));
        }
        if self.text.is_in_head(id_at(seq), text(2).unwrap_or_default(), text(3)) {
            return Ok(true);
        }
        let bytes = row.get::<_, usize>(4).unwrap_or_default();
        budget.bodies.spend(bytes.max(SEARCHED_BYTES_MIN));
        self.is_in_body(connection, seq)
    }

    fn is_in_body(&mut self, connection: &Connection, seq: i64) -> rusqlite::Result<bool> {
        let mut rows = self.payload.query([seq])?;
        let Some(row) = rows.next()? else { return Ok(false) };
        let Some(chunks) = row.get::<_, Option<i64>>(1)? else {
            return Ok(self.text.is_in(row.get_ref(0)?.as_blob().unwrap_or_default()));
        };
        let (mut is_found, mut read) = (false, Vec::new());
        each_chunk(connection, chunks, |chunk| {
            let kept = read.len() - self.text.overlap().min(read.len());
            read.drain(..kept);
            read.extend_from_slice(chunk);
            is_found = is_found || self.text.is_in(&read);
        })?;
        Ok(is_found)
    }
}

const LOOKED_AT: &str = "seq, id, name, subject, bytes";
/// A body counts as this many bytes at least when it is searched, because it is looked up.
const SEARCHED_BYTES_MIN: usize = 512;
