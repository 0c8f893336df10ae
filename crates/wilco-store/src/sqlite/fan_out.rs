//! Makes the deliveries of events that were routed.

use jiff::Timestamp;

use super::{WriterState, seq_of};
use crate::Routed;

impl WriterState {
    pub(super) fn fan_out(&mut self, routed: &[Routed], now: Timestamp) -> rusqlite::Result<()> {
        let before = self.routed_through;
        for Routed { event_id, targets } in routed {
            let seq = seq_of(*event_id);
            for target in targets.iter().filter(|_| seq > before) {
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
}
