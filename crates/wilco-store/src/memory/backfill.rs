//! What the backfill asks of the model.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{MemoryStore, Record};
use crate::{
    BackfillStatus, BackfillStore, GAPS_MAX, Gap, StoreError, backfill::GAP_TAIL_MS,
    rules::whole_millis,
};

#[async_trait]
impl BackfillStore for MemoryStore {
    async fn note_start(&self, sources: Vec<String>) -> Result<(), StoreError> {
        let now = self.now();
        self.commit(|pending| {
            let record = &mut pending.record;
            for source in sources {
                let ran = record.seen_at;
                record.begin_coverage(&source, ran.unwrap_or(now));
                if let Some(from) = ran {
                    let gap = Gap { from, to: now, closed_at: None, taken_in: 0 };
                    record.gaps.push((source, gap));
                }
            }
            let surplus = record.gaps.len().saturating_sub(GAPS_MAX);
            record.gaps.drain(..surplus);
            record.seen_at = Some(now);
        })
    }

    async fn note_running(&self) -> Result<(), StoreError> {
        let now = self.now();
        self.commit(|pending| pending.record.seen_at = Some(now))
    }

    async fn covered_through(&self, source: &str) -> Result<Timestamp, StoreError> {
        let now = self.now();
        self.commit(|pending| pending.record.begin_coverage(source, now).covered_through)
    }

    async fn end_round(
        &self,
        source: &str,
        result: Result<Timestamp, String>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let now = self.now();
        self.commit(|pending| {
            let record = &mut pending.record;
            let status = record.backfills.get_mut(source)?;
            match result {
                Ok(through) => {
                    let covered = status.covered_through.max(whole_millis(through));
                    status.covered_through = covered;
                    (status.error, status.failing_since) = (None, None);
                    let open = record.gaps.iter_mut().filter(|(of, _)| of == source);
                    open.for_each(|(_, gap)| gap.closed_at = gap.closed_at.or(Some(now)));
                    None
                }
                Err(error) => {
                    status.error = Some(error);
                    status.failing_since = status.failing_since.or(Some(now));
                    status.failing_since
                }
            }
        })
    }

    async fn missing(&self, source: &str, ids: Vec<String>) -> Result<Vec<String>, StoreError> {
        self.read(|record| {
            let is_there = |id: &String| {
                let mut events = record.events.iter();
                events.any(|kept| {
                    kept.event.source.as_str() == source && kept.delivery_id.as_ref() == Some(id)
                })
            };
            ids.into_iter().filter(|id| !is_there(id)).collect()
        })
    }
}

impl Record {
    fn begin_coverage(&mut self, source: &str, through: Timestamp) -> &mut BackfillStatus {
        self.backfills.entry(source.to_owned()).or_insert_with(|| BackfillStatus {
            source: source.to_owned(),
            covered_through: through,
            error: None,
            failing_since: None,
            taken_in: 0,
            gaps: Vec::new(),
        })
    }

    pub(super) fn backfills(&self) -> Vec<BackfillStatus> {
        let with_gaps = |status: &BackfillStatus| BackfillStatus {
            taken_in: self.taken_in(&status.source, |_| true),
            gaps: self.gaps_of(&status.source),
            ..status.clone()
        };
        self.backfills.values().map(with_gaps).collect()
    }

    fn gaps_of(&self, source: &str) -> Vec<Gap> {
        let of_source = self.gaps.iter().filter(|(of, _)| of == source);
        let mut gaps: Vec<_> = of_source.map(|(_, gap)| *gap).collect();
        let ends: Vec<_> = gaps.iter().map(|gap| gap.to).collect();
        for (place, gap) in gaps.iter_mut().enumerate() {
            let next = ends.iter().skip(place + 1).min();
            let tail = SignedDuration::from_millis(GAP_TAIL_MS);
            let (to, closed_at) = (gap.to, gap.closed_at);
            gap.taken_in = self.taken_in(source, |at| {
                at >= to
                    && closed_at.is_none_or(|closed| at.duration_since(closed) < tail)
                    && next.is_none_or(|next| at < *next)
            });
        }
        gaps.reverse();
        gaps
    }

    fn taken_in(&self, source: &str, is_meant: impl Fn(Timestamp) -> bool) -> u64 {
        let events = self.events.iter().map(|kept| &kept.event);
        let counted = events.filter(|event| {
            event.source.as_str() == source
                && event.origin.is_backfilled()
                && is_meant(event.received_at)
        });
        counted.count() as u64
    }
}
