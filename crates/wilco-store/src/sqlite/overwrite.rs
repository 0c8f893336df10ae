//! Overwrites copies of rows that SQLite leaves behind.
//!
//! With `secure_delete`, SQLite overwrites what is deleted. But when it moves rows from one page of a table to the
//! next, to fill both of them evenly, their old bytes stay in the unused part of the first one, between the pointers
//! to its cells and the cells: <https://sqlite.org/fileformat2.html#b_tree_pages>. If such a row is deleted later,
//! only its new place is overwritten.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Kind, SqliteStore, WriterState};
use crate::{Overwritten, StoreError};

impl SqliteStore {
    /// Overwrites what the file and its log still have of what was removed.
    pub(super) async fn overwrite_removed(&self) -> Result<Overwritten, StoreError> {
        let file = self.overwrite_unused().await?;
        Ok(Overwritten { file, log: self.empty_log().await? })
    }

    /// Overwrites the unused part of every page, a few in a commit. False if that is not possible.
    async fn overwrite_unused(&self) -> Result<bool, StoreError> {
        if !self.query_readers.read(|connection| Ok(can_overwrite(connection)?)).await? {
            return Ok(false);
        }
        let mut next = FIRST_PAGE;
        loop {
            let look = move |connection: &Connection| Ok(find_used(connection, next)?);
            let (pages, end) = self.query_readers.read(look).await?;
            if !pages.is_empty() {
                let overwrite = move |state: &mut WriterState| {
                    pages.iter().try_for_each(|page| overwrite(&state.connection, *page))
                };
                self.writer.write(Kind::Maintenance, overwrite).await?;
            }
            let Some(end) = end else { return Ok(true) };
            next = end;
        }
    }

    /// Has the log emptied after the next commit, and answers whether that was possible.
    async fn empty_log(&self) -> Result<bool, StoreError> {
        for _ in 0..EMPTIED_MAX {
            let want = |state: &mut WriterState| {
                state.log_is_to_be_emptied = true;
                state.touch()
            };
            self.writer.write(Kind::Maintenance, want).await?;
            // The log is emptied between the two.
            let look = |state: &mut WriterState| Ok(state.log_was_emptied);
            if self.writer.write(Kind::Maintenance, look).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether this SQLite gives access to pages, and the file says which of them belong to tables and indexes.
fn can_overwrite(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM pragma_module_list WHERE name = 'sqlite_dbpage') \
         AND auto_vacuum > 0 FROM pragma_auto_vacuum",
        [],
        |row| row.get(0),
    )
}

/// Looks at a part of the pages for those that have bytes in their unused part, and says where the next part begins.
fn find_used(
    connection: &Connection,
    first: usize,
) -> rusqlite::Result<(Vec<usize>, Option<usize>)> {
    let count: usize = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let mut pages = Vec::new();
    for page in first..=count.min(first.saturating_add(PAGES_LOOKED - 1)) {
        if cleared(connection, page)?.is_some() {
            pages.push(page);
        }
        if pages.len() >= PAGES_PER_COMMIT {
            return Ok((pages, Some(page + 1)));
        }
    }
    let next = first.saturating_add(PAGES_LOOKED);
    Ok((pages, Some(next).filter(|next| *next <= count)))
}

fn overwrite(connection: &Connection, page: usize) -> rusqlite::Result<()> {
    // It may have changed since it was found.
    let Some(bytes) = cleared(connection, page)? else { return Ok(()) };
    connection
        .prepare_cached("UPDATE sqlite_dbpage SET data = ?2 WHERE pgno = ?1")?
        .execute(params![page, bytes])
        .map(drop)
}

/// A page with its unused part overwritten. `None` if there is nothing to overwrite.
fn cleared(connection: &Connection, page: usize) -> rusqlite::Result<Option<Vec<u8>>> {
    let read = |page: usize| -> rusqlite::Result<Option<Vec<u8>>> {
        connection
            .prepare_cached("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")?
            .query_row([page], |row| row.get(0))
            .optional()
    };
    let Some(mut bytes) = read(page)? else { return Ok(None) };
    let Some(unused) = unused_part(&bytes) else { return Ok(None) };
    if bytes[unused.clone()].iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    // Only a page that belongs to a table or an index has such a part, whatever the others look like. The pointer
    // map has an entry of five bytes for each of the pages that follow, and the first byte is the type.
    let entries = bytes.len() / 5;
    let map = page - (page - FIRST_PAGE) % (entries + 1);
    if page == map {
        return Ok(None);
    }
    let types = read(map)?.unwrap_or_default();
    let is_tree = types.get(5 * (page - map - 1)).is_some_and(|kind| TREE.contains(kind));
    bytes[unused].fill(0);
    Ok(Some(bytes).filter(|_| is_tree))
}

/// Between the pointers to the cells of a page and the first cell, if it has cells.
fn unused_part(page: &[u8]) -> Option<std::ops::Range<usize>> {
    let number =
        |at: usize| Some(usize::from(u16::from_be_bytes([*page.get(at)?, *page.get(at + 1)?])));
    let header_bytes = match page.first()? {
        2 | 5 => 12,
        10 | 13 => 8,
        _ => return None,
    };
    let unused = header_bytes + 2 * number(3)?..number(5)?;
    (unused.start <= unused.end && unused.end <= page.len()).then_some(unused)
}

/// The first page of the pointer map. The page before it has the schema, which names nobody.
const FIRST_PAGE: usize = 2;
/// Types of pages in the pointer map: the root of a tree, and another page of one.
const TREE: [u8; 2] = [1, 5];
/// Pages that one read looks at.
const PAGES_LOOKED: usize = 4_096;
/// Pages that one commit overwrites.
const PAGES_PER_COMMIT: usize = 64;
/// How often it is tried to empty the log.
const EMPTIED_MAX: usize = 10;
