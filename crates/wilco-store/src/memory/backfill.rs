//! What the backfill asks of the model.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{Awaited, MemoryStore, Record};
use crate::{
    AWAITED_MAX, BackfillStatus, BackfillStore, GAPS_MAX, Gap, GapQuery, Redelivery, StoreError,
    backfill::{AWAITED_MS, GAP_TAIL_MS},
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
                    let number = record.gaps.last().map_or(1, |last| last.number + 1);
                    let (to, closed_at, taken_in) = (now, None, 0);
                    record.gaps.push(Gap { number, source, from, to, closed_at, taken_in });
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

    async fn forget_errors(&self, except: Vec<String>) -> Result<(), StoreError> {
        self.commit(|pending| {
            let statuses = pending.record.backfills.values_mut();
            for status in statuses.filter(|status| !except.contains(&status.source)) {
                (status.error, status.failing_since) = (None, None);
            }
        })
    }

    async fn ask_again(&self, source: &str, delivery_id: &str) -> Result<Redelivery, StoreError> {
        let now = self.now();
        self.commit(|pending| pending.record.ask_again(source, delivery_id, now))
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
                    let open = record.gaps.iter_mut().filter(|gap| gap.source == source);
                    open.for_each(|gap| gap.closed_at = gap.closed_at.or(Some(now)));
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
            awaited: 0,
            given_up: 0,
        })
    }

    pub(super) fn backfills(&self) -> Vec<BackfillStatus> {
        let counted = |status: &BackfillStatus| BackfillStatus {
            taken_in: self.taken_in(&status.source, |_| true),
            awaited: self.awaited(&status.source, false),
            given_up: self.awaited(&status.source, true),
            ..status.clone()
        };
        self.backfills.values().map(counted).collect()
    }

    fn ask_again(&mut self, source: &str, delivery_id: &str, now: Timestamp) -> Redelivery {
        let is_it = |one: &Awaited| one.source == source && one.delivery_id == delivery_id;
        let place = self.awaited.iter().position(is_it).unwrap_or_else(|| {
            self.awaited.push(Awaited {
                source: source.to_owned(),
                delivery_id: delivery_id.to_owned(),
                asked: 0,
                asked_at: now,
                is_given_up: false,
            });
            self.awaited.len() - 1
        });
        let awaited = &mut self.awaited[place];
        let redelivery = Redelivery::after(awaited.asked, awaited.is_given_up);
        match redelivery {
            Redelivery::Ask => {
                awaited.asked += 1;
                awaited.asked_at = now;
                let kept = SignedDuration::from_millis(AWAITED_MS);
                self.awaited.retain(|one| now.duration_since(one.asked_at) <= kept);
                let surplus = self.awaited.len().saturating_sub(AWAITED_MAX);
                self.awaited.drain(..surplus);
            }
            Redelivery::GivenUp | Redelivery::GivenUpBefore => awaited.is_given_up = true,
        }
        redelivery
    }

    /// Whether the provider was asked for this delivery, which has come now.
    pub(super) fn was_asked_for(&mut self, source: &str, delivery_id: &str) -> bool {
        let before = self.awaited.len();
        self.awaited.retain(|one| one.source != source || one.delivery_id != delivery_id);
        self.awaited.len() < before
    }

    fn awaited(&self, source: &str, is_given_up: bool) -> u64 {
        let awaited = self.awaited.iter();
        awaited.filter(|one| one.source == source && one.is_given_up == is_given_up).count() as u64
    }

    pub(super) fn gaps(&self, query: &GapQuery) -> Vec<Gap> {
        let tail = SignedDuration::from_millis(GAP_TAIL_MS);
        let listed = self.gaps.iter().rev().filter(|gap| {
            query.source.as_ref().is_none_or(|source| gap.source == *source)
                && query.before.is_none_or(|before| gap.number < before)
        });
        let counted = listed.take(query.limit).map(|gap| {
            let later = self.gaps.iter().filter(|later| later.number > gap.number);
            let next = later.filter(|later| later.source == gap.source).map(|gap| gap.to).min();
            let taken_in = self.taken_in(&gap.source, |at| {
                at >= gap.to
                    && gap.closed_at.is_none_or(|closed| at.duration_since(closed) < tail)
                    && next.is_none_or(|next| at < next)
            });
            Gap { taken_in, ..gap.clone() }
        });
        counted.collect()
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
