//! Delivers events again.

use jiff::Timestamp;
use rusqlite::params;

use super::{Ended, WriterState, seq_of};
use crate::{Replay, Target};

impl WriterState {
    pub(super) fn replay(&mut self, replays: &[Replay], now: Timestamp) -> rusqlite::Result<()> {
        for Replay { event_id, targets, reason } in replays {
            let seq = seq_of(*event_id);
            let is_there = self
                .connection
                .prepare_cached("SELECT 1 FROM event JOIN payload ON payload.event = seq WHERE seq = ?1 AND id = ?2")?
                .exists(params![seq, event_id.to_string()])?;
            for target in targets.iter().filter(|_| is_there) {
                let target = Target { burst: None, ..target.clone() };
                self.replace_dead(seq, &target, now)?;
                self.deliver(seq, &target, Some(reason), now)?;
            }
        }
        Ok(())
    }

    /// Marks the dead deliveries that a new one follows. Where one of them held the key of the new
    /// one, that takes its place, because nothing else of the key is due.
    fn replace_dead(&mut self, seq: i64, target: &Target, now: Timestamp) -> rusqlite::Result<()> {
        let item = target.item.map(|item| item.number);
        let dead = self
            .connection
            .prepare_cached(
                "SELECT id, destination, iif(key_role = 'head', order_key, NULL) FROM delivery \
                 WHERE event = ?1 AND destination = ?2 AND state = 'dead' AND replaced_by IS NULL \
                 AND (item = ?3 OR item IS NULL OR ?3 IS NULL)",
            )?
            .query_map(params![seq, target.destination, item], |row| {
                Ok((row.get(0)?, Ended { destination: row.get(1)?, head_of: row.get(2)? }))
            })?
            .collect::<rusqlite::Result<Vec<(i64, Ended)>>>()?;
        for (id, mut ended) in dead {
            let changed = self.next_change();
            self.connection
                .prepare_cached(
                    "UPDATE delivery SET replaced_by = event, changed = ?2 WHERE id = ?1",
                )?
                .execute([id, changed])?;
            ended.head_of = ended.head_of.filter(|key| Some(key) != target.order_key.as_ref());
            self.leave_key(id, ended, now)?;
        }
        Ok(())
    }
}
