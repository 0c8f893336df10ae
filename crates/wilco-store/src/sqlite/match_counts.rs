//! How often and when each secret matched.
//!
//! Counted in the transaction that records the event, so that it is as durable as the event. A batch counts in
//! memory and writes each secret once, because it may record many events, which few secrets have signed.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, params};
use wilco::{Event, Origin};

use super::{WriterState, instant};
use crate::{SecretMatches, StoreError};

/// The matches of a batch, by source and by the name of the secret.
#[derive(Default)]
pub(crate) struct BatchMatches(HashMap<String, HashMap<String, Count>>);

struct Count {
    matches: u64,
    first_ms: i64,
    last_ms: i64,
}

impl BatchMatches {
    pub(super) fn add(&mut self, event: &Event) {
        // What was fetched has the name of a token instead.
        if event.origin == Origin::Fetched {
            return;
        }
        let (source, secret) = (event.source.as_str(), event.secret_name.as_str());
        let at = event.received_at.as_millisecond();
        // Names are copied only for the first match: the thread that all others wait for does this.
        if let Some(count) = self.0.get_mut(source).and_then(|secrets| secrets.get_mut(secret)) {
            count.matches += 1;
            count.first_ms = count.first_ms.min(at);
            count.last_ms = count.last_ms.max(at);
            return;
        }
        let first = Count { matches: 1, first_ms: at, last_ms: at };
        self.0.entry(source.into()).or_default().insert(secret.into(), first);
    }

    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        for (source, secrets) in &self.0 {
            let mut secrets: Vec<_> = secrets.iter().collect();
            // The one that matched last is written last: of the matches of others since then there are none.
            secrets.sort_by_key(|(_, count)| count.last_ms);
            for (secret, count) in secrets {
                write_count(connection, source, secret, count)?;
            }
        }
        Ok(())
    }
}

fn write_count(
    connection: &Connection,
    source: &str,
    secret: &str,
    count: &Count,
) -> rusqlite::Result<()> {
    let Count { matches, first_ms, last_ms } = count;
    connection
        .prepare_cached(
            "INSERT INTO secret_match \
             (source, secret_name, since_ms, matches, first_ms, last_ms, others_since) \
             VALUES (?1, ?2, ?4, ?3, ?4, ?5, 0) ON CONFLICT DO UPDATE SET \
             matches = matches + excluded.matches, \
             first_ms = min(coalesce(first_ms, excluded.first_ms), excluded.first_ms), \
             last_ms = max(coalesce(last_ms, excluded.last_ms), excluded.last_ms), \
             others_since = iif(excluded.last_ms < last_ms, others_since, 0)",
        )?
        .execute(params![source, secret, matches, first_ms, last_ms])?;
    connection
        .prepare_cached(
            "UPDATE secret_match SET others_since = others_since + ?3 \
             WHERE source = ?1 AND secret_name <> ?2",
        )?
        .execute(params![source, secret, matches])?;
    Ok(())
}

impl WriterState {
    /// Adds the secrets that are not known yet, and removes all others, which are no longer configured.
    pub(super) fn set_secrets(
        &mut self,
        secrets: &[(String, String)],
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        for known in secret_matches(&self.connection).map_err(super::bad_column)? {
            let SecretMatches { source, secret_name, .. } = known;
            let name = (source, secret_name);
            if !secrets.contains(&name) {
                self.connection
                    .prepare_cached(
                        "DELETE FROM secret_match WHERE source = ?1 AND secret_name = ?2",
                    )?
                    .execute(params![name.0, name.1])?;
            }
        }
        for (source, secret) in secrets {
            self.connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO secret_match \
                     (source, secret_name, since_ms, matches, others_since) VALUES (?1, ?2, ?3, 0, 0)",
                )?
                .execute(params![source, secret, now.as_millisecond()])?;
        }
        Ok(())
    }
}

pub(crate) fn secret_matches(connection: &Connection) -> Result<Vec<SecretMatches>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT source, secret_name, since_ms, matches, first_ms, last_ms, others_since \
         FROM secret_match ORDER BY source, secret_name",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(SecretMatches {
            source: row.get(0)?,
            secret_name: row.get(1)?,
            since: instant(row.get(2)?)?,
            matches: row.get(3)?,
            first_at: row.get::<_, Option<i64>>(4)?.map(instant).transpose()?,
            last_at: row.get::<_, Option<i64>>(5)?.map(instant).transpose()?,
            others_since: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
