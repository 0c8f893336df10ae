//! Makes the deliveries of events that were routed.

use jiff::Timestamp;

use super::{WriterState, seq_of};
use crate::Routed;

impl WriterState {
    pub(super) fn fan_out(&mut self, routed: &[Routed], now: Timestamp) -> rusqlite::Result<()> {
        let before = self.routed_through;
        let erased = self.erased_behind(before)?;
        for Routed { event_id, targets } in routed {
            let seq = seq_of(*event_id);
            let is_delivered = seq > before && !erased.contains(&seq);
            for target in targets.iter().filter(|_| is_delivered) {
                self.deliver(seq, target, None, now)?;
            }
        }
        let through = routed.iter().map(|routed| seq_of(routed.event_id)).max().unwrap_or(0);
        self.connection
            .prepare_cached("UPDATE progress SET routed_through = max(routed_through, ?1)")?
            .execute([through])?;
        self.routed_through = self.routed_through.max(through);
        Ok(())
    }

    /// Events that were erased before they were routed. The router may have read one of them before that: its order
    /// key would be in the store again.
    fn erased_behind(&self, seq: i64) -> rusqlite::Result<Vec<i64>> {
        let mut erased =
            self.connection.prepare_cached("SELECT event FROM erased WHERE event > ?1")?;
        erased.query_map([seq], |row| row.get(0))?.collect()
    }
}
