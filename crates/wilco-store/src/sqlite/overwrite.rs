//! Overwrites copies of rows that SQLite leaves behind.
//!
//! With `secure_delete`, SQLite overwrites what is deleted. But when it moves rows from one page of a table to the
//! next, to fill both of them evenly, their old bytes stay in the unused part of the first one, between the pointers
//! to its cells and the cells: <https://sqlite.org/fileformat2.html#b_tree_pages>. If such a row is deleted later,
//! only its new place is overwritten.

//!
//! So a pass looks at every page, and overwrites what is unused of it, a few pages in a commit. It goes from the last
//! page to the first, because SQLite moves pages towards the beginning when it makes the file shorter. An erasure makes
//! such a pass at once; the retention makes one a day, and goes on with it after a restart.

use std::{sync::atomic::Ordering, time::Duration};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Kind, Limits, SqliteStore, WriterState};
use crate::{Overwritten, StoreError};

impl SqliteStore {
    /// Overwrites what the file and its log still have of what was removed.
    pub(super) async fn overwrite_removed(&self) -> Result<Overwritten, StoreError> {
        let file = self.overwrite_unused().await?;
        for _ in 0..EMPTIED_MAX {
            if self.empty_log().await? {
                return Ok(Overwritten { file, log: true });
            }
        }
        Ok(Overwritten { file, log: false })
    }

    /// Overwrites the unused part of every page. False if that is not possible.
    async fn overwrite_unused(&self) -> Result<bool, StoreError> {
        let last = self.query_readers.read(|connection| Ok(last_page(connection)?)).await?;
        let Some(mut next) = last else { return Ok(false) };
        while next >= FIRST_PAGE {
            let (pages, rest) = self.find_used(next).await?;
            if !pages.is_empty() {
                let overwrite = move |state: &mut WriterState| overwrite_all(state, &pages);
                self.writer.write(Kind::Maintenance, overwrite).await?;
            }
            next = rest;
        }
        Ok(true)
    }

    /// Does the next part of the daily pass, if one is due or under way. Answers in how many pages something was
    /// overwritten, and whether the pass can go on at once.
    pub(super) async fn overwrite_some(&self) -> Result<(u64, bool), StoreError> {
        let now = self.now();
        let look =
            move |connection: &Connection| Ok(Pass::of(connection)?.next_step(connection, now)?);
        match self.query_readers.read(look).await? {
            Step::Nothing => Ok((0, false)),
            Step::Begin { last_page } => {
                // Of a large body that was removed, some may still be there.
                self.remove_all_unused_chunks().await?;
                let begin = move |state: &mut WriterState| {
                    state.connection.execute(
                        "UPDATE overwriting SET is_wanted = 0, next_page = ?1, began_ms = ?2",
                        params![last_page, now.as_millisecond()],
                    )
                };
                self.writer.write(Kind::Maintenance, begin).await?;
                Ok((0, true))
            }
            Step::Look { page } => {
                let (pages, rest) = self.find_used(page).await?;
                let count = pages.len() as u64;
                let overwrite = move |state: &mut WriterState| {
                    overwrite_all(state, &pages)?;
                    let update = "UPDATE overwriting SET next_page = ?1";
                    state.connection.prepare_cached(update)?.execute([rest])
                };
                self.writer.write(Kind::Maintenance, overwrite).await?;
                Ok((count, true))
            }
            Step::EmptyLog => {
                // While another program reads the store, the next round of the retention tries again.
                if self.empty_log().await? {
                    let end = |state: &mut WriterState| {
                        let sql = "UPDATE overwriting SET next_page = NULL, through_ms = began_ms";
                        state.connection.execute(sql, [])
                    };
                    self.writer.write(Kind::Maintenance, end).await?;
                }
                Ok((0, false))
            }
        }
    }

    /// Looks at a part of the pages, from `last` on towards the first, for those that have bytes in their unused part,
    /// and says where the next part begins; before [`FIRST_PAGE`] if there is none.
    async fn find_used(&self, last: usize) -> Result<(Vec<usize>, usize), StoreError> {
        let limits = self.limits;
        self.query_readers.read(move |connection| Ok(find_used(connection, last, limits)?)).await
    }

    /// Has the log emptied after the next commit, and answers whether that was possible. Most of it is copied into the
    /// database before, while events are recorded.
    async fn empty_log(&self) -> Result<bool, StoreError> {
        if self.writer.shared().wal_bytes.load(Ordering::Relaxed) > LITTLE_LOG_BYTES {
            let copy = |state: &mut WriterState| {
                state.log_is_to_be_copied = true;
                Ok(())
            };
            self.writer.write(Kind::Maintenance, copy).await?;
            tokio::time::sleep(COPYING).await;
        }
        let empty = |state: &mut WriterState| {
            state.log_is_to_be_emptied = true;
            state.touch()
        };
        self.writer.write(Kind::Maintenance, empty).await?;
        // The log is emptied between the two.
        self.writer.write(Kind::Maintenance, |state| Ok(state.log_was_emptied)).await
    }
}

impl WriterState {
    /// Notes that something was removed, so that a pass over the file follows.
    pub(super) fn want_overwriting(&self) -> rusqlite::Result<()> {
        let update = "UPDATE overwriting SET is_wanted = 1 WHERE is_wanted = 0";
        self.connection.prepare_cached(update)?.execute([]).map(drop)
    }
}

/// The daily pass, as it is noted in the store.
struct Pass {
    is_wanted: bool,
    next_page: Option<usize>,
    began_ms: Option<i64>,
}

/// What the daily pass does next.
enum Step {
    Nothing,
    Begin { last_page: usize },
    Look { page: usize },
    EmptyLog,
}

impl Pass {
    fn of(connection: &Connection) -> rusqlite::Result<Self> {
        connection
            .prepare_cached("SELECT is_wanted, next_page, began_ms FROM overwriting")?
            .query_row([], |row| {
                Ok(Self { is_wanted: row.get(0)?, next_page: row.get(1)?, began_ms: row.get(2)? })
            })
    }

    fn next_step(&self, connection: &Connection, now: Timestamp) -> rusqlite::Result<Step> {
        Ok(match self.next_page {
            Some(page) if page >= FIRST_PAGE => Step::Look { page },
            Some(_) => Step::EmptyLog,
            None if self.is_due(now) => {
                last_page(connection)?.map_or(Step::Nothing, |last_page| Step::Begin { last_page })
            }
            None => Step::Nothing,
        })
    }

    fn is_due(&self, now: Timestamp) -> bool {
        // If the clock was set back, the last pass seems to begin in the future.
        let since_ms = self.began_ms.map(|began_ms| now.as_millisecond() - began_ms);
        self.is_wanted && since_ms.is_none_or(|ms| !(0..PASS_EVERY_MS).contains(&ms))
    }
}

/// The last page of the file, if this SQLite gives access to pages, and the file says which of them belong to tables and
/// indexes.
fn last_page(connection: &Connection) -> rusqlite::Result<Option<usize>> {
    connection
        .query_row(
            "SELECT page_count FROM pragma_page_count, pragma_auto_vacuum WHERE auto_vacuum > 0 \
         AND EXISTS (SELECT 1 FROM pragma_module_list WHERE name = 'sqlite_dbpage')",
            [],
            |row| row.get(0),
        )
        .optional()
}

fn find_used(
    connection: &Connection,
    last: usize,
    limits: Limits,
) -> rusqlite::Result<(Vec<usize>, usize)> {
    let before = last.saturating_sub(limits.overwrite_looks);
    let mut pages = Vec::new();
    for page in (before + 1..=last).rev().take_while(|page| *page >= FIRST_PAGE) {
        if cleared(connection, page)?.is_some() {
            pages.push(page);
        }
        if pages.len() >= limits.overwrite_pages {
            return Ok((pages, page - 1));
        }
    }
    Ok((pages, before))
}

fn overwrite_all(state: &WriterState, pages: &[usize]) -> rusqlite::Result<()> {
    pages.iter().try_for_each(|page| overwrite(&state.connection, *page))
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
/// From the beginning of a daily pass to that of the next.
const PASS_EVERY_MS: i64 = 24 * 60 * 60 * 1_000;
/// A log of this length is copied while it is emptied.
const LITTLE_LOG_BYTES: u64 = 2 << 20;
/// How long it is waited for the log to be copied before it is emptied.
const COPYING: Duration = Duration::from_millis(100);
/// How often it is tried to empty the log after an erasure.
const EMPTIED_MAX: usize = 10;
