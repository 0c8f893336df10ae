use super::*;
use crate::support::rejection;

struct Named(&'static str);

impl Job for Named {
    fn run(&mut self, _: &mut WriterState) -> rusqlite::Result<()> {
        Err(rusqlite::Error::InvalidParameterName(self.0.into()))
    }

    fn answer(self: Box<Self>, _: Result<(), StoreError>) {}
}

fn fill(queue: &Queue, kind: Kind, count: usize) {
    for _ in 0..count {
        queue.push(kind, Box::new(Named("job"))).unwrap();
    }
}

fn kinds(queue: &Queue) -> Vec<(&'static str, usize)> {
    let mut kinds = Vec::new();
    while let Some(batch) = queue.take(Some(Duration::ZERO)) {
        kinds.push(match batch {
            Batch::Jobs(jobs) => ("jobs", jobs.len()),
            Batch::Repairs(repairs) => ("repairs", repairs.len()),
            Batch::Rejections(rejections) => ("rejections", rejections.len()),
            Batch::Nothing => return kinds,
        });
    }
    kinds
}

#[test]
fn a_batch_takes_from_both_queues_even_if_one_is_flooded() {
    for (events, deliveries, taken) in [
        (3, 0, (3, 0)),
        (0, 3, (0, 3)),
        (8_000, 3, (509, 3)),
        (3, 8_000, (3, 509)),
        (8_000, 8_000, (256, 256)),
        (0, 0, (0, 0)),
    ] {
        let queue = Queue::default();
        fill(&queue, Kind::Event, events);
        fill(&queue, Kind::Delivery, deliveries);
        let mut waiting = queue.lock();
        let count = waiting.jobs().len();
        let left = (waiting.events.len(), waiting.deliveries.len());
        assert_eq!(count, taken.0 + taken.1);
        assert_eq!(left, (events - taken.0, deliveries - taken.1), "{events} {deliveries}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_is_refused_that_would_wait_too_long_for_a_slow_disk() {
    let push = |queue: &Queue, kind| queue.push(kind, Box::new(Named("job"))).is_ok();
    // The time of each batch in milliseconds, and deliveries that wait: how many events may.
    for (millis, deliveries, events) in [
        (0, 0, QUEUE_MAX),
        (10, 0, QUEUE_MAX),
        (200, 0, 6 * BATCH_MAX),
        (200, 100, 6 * (BATCH_MAX - 100)),
        (200, 8_000, 6 * BATCH_MAX / 2),
        (501, 0, 2 * BATCH_MAX),
        (10_000, 0, BATCH_MAX),
        (10_000, 8_000, BATCH_MAX / 2),
    ] {
        let queue = Queue::default();
        for _ in 0..40 {
            fill(&queue, Kind::Event, 1);
            assert!(matches!(queue.take(None), Some(Batch::Jobs(_))));
            tokio::time::advance(Duration::from_millis(millis)).await;
        }
        assert!(matches!(queue.take(Some(Duration::ZERO)), Some(Batch::Nothing)));
        fill(&queue, Kind::Delivery, deliveries);
        let accepted = (0..QUEUE_MAX).take_while(|_| push(&queue, Kind::Event)).count();
        assert_eq!(accepted, events, "{millis} ms, {deliveries} deliveries");
        assert!(push(&queue, Kind::Delivery), "only events are refused for that");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_hangs_keeps_events_from_queueing_behind_the_next_one() {
    let queue = Queue::default();
    fill(&queue, Kind::Event, 1);
    assert!(matches!(queue.take(None), Some(Batch::Jobs(_))));
    fill(&queue, Kind::Event, 2 * BATCH_MAX);
    tokio::time::advance(QUEUE_WAIT_MAX).await;
    assert!(matches!(queue.push(Kind::Event, Box::new(Named("late"))), Err(StoreError::Busy)));
    // It was a single hiccup: a few quick commits later nothing is left of it.
    assert_eq!(kinds(&queue), [("jobs", BATCH_MAX), ("jobs", BATCH_MAX)]);
    for _ in 0..5 {
        fill(&queue, Kind::Event, 1);
        assert_eq!(kinds(&queue), [("jobs", 1)]);
    }
    fill(&queue, Kind::Event, QUEUE_MAX);
}

#[test]
fn a_batch_has_one_part_of_a_large_event_and_completes_one_before_the_next() {
    let queue = Queue::default();
    for kind in [Kind::Large, Kind::Large, Kind::Event] {
        fill(&queue, kind, 1);
    }
    assert_eq!(queue.lock().jobs().len(), 2);
    queue.resume(Box::new(Named("part")));
    queue.push_last(Box::new(Named("last")));
    assert_eq!(kinds(&queue), [("jobs", 1), ("jobs", 1), ("jobs", 1)]);
}

#[test]
fn an_event_waits_for_one_slice_of_maintenance_at_most() {
    // Events and deliveries that come while the thread writes each batch, and how many writes each batch has. A slice
    // is a batch of one.
    for (come, batches) in [
        ([(0, 0); 6], &[1, 1, 1, 1, 1, 1][..]),
        ([(3, 0), (0, 0), (2, 5), (0, 0), (0, 0), (0, 0)], &[1, 3, 1, 7, 1, 1]),
        ([(2, 0), (2, 0), (2, 0), (2, 0), (2, 0), (2, 0)], &[1, 2, 1, 4, 1, 4]),
        ([(900, 0), (0, 0), (0, 900), (0, 0), (0, 0), (0, 0)], &[1, 512, 1, 512, 1, 512]),
    ] {
        let queue = Queue::default();
        fill(&queue, Kind::Maintenance, 6);
        for ((events, deliveries), expected) in come.into_iter().zip(batches) {
            let Some(Batch::Jobs(jobs)) = queue.take(None) else { panic!("{come:?}") };
            assert_eq!(jobs.len(), *expected, "{come:?}");
            fill(&queue, Kind::Event, events);
            fill(&queue, Kind::Delivery, deliveries);
        }
    }
}

#[test]
fn a_full_queue_refuses_only_writes_of_its_own_kind() {
    let queue = Queue::default();
    fill(&queue, Kind::Event, QUEUE_MAX);
    let push = |kind| queue.push(kind, Box::new(Named("job")));
    assert!(matches!(push(Kind::Event), Err(StoreError::Busy)));
    assert!(push(Kind::Delivery).is_ok());
    assert!(queue.push_rejection(rejection(0)));
}

#[tokio::test(start_paused = true)]
async fn rejections_are_written_after_everything_else_and_at_intervals() {
    let queue = Queue::default();
    assert!(queue.push_rejection(rejection(0)));
    fill(&queue, Kind::Event, 1);
    assert_eq!(kinds(&queue), [("jobs", 1), ("rejections", 1)]);
    assert!(queue.push_rejection(rejection(1)));
    assert_eq!(kinds(&queue), []);
    fill(&queue, Kind::Delivery, 1);
    assert_eq!(kinds(&queue), [("jobs", 1)]);
    tokio::time::advance(REJECTION_INTERVAL).await;
    assert_eq!(kinds(&queue), [("rejections", 1)]);
}

#[test]
fn rejections_that_somebody_waits_for_are_written_before_later_jobs() {
    let queue = Queue::default();
    assert!(queue.push_rejection(rejection(0)));
    assert_eq!(kinds(&queue), [("rejections", 1)]);
    assert!(queue.push_rejection(rejection(1)));
    queue.want_rejections();
    fill(&queue, Kind::Maintenance, 1);
    assert_eq!(kinds(&queue), [("rejections", 1), ("jobs", 1)]);
}

#[test]
fn rejections_are_bounded_by_number_and_by_bytes() {
    let of_bytes = |number, bytes| {
        let body = vec![b'x'; bytes].into();
        Rejection { body, ..rejection(number) }
    };
    let large = |number| of_bytes(number, crate::REJECTION_BODY_BYTES_MAX);
    let huge = |number| of_bytes(number, REJECTION_QUEUE_BYTES_MAX + 1);
    let taken = |rejection: &dyn Fn(u64) -> Rejection| {
        let queue = Queue::default();
        (0..1_000).filter(|&number| queue.push_rejection(rejection(number))).count()
    };
    assert_eq!(taken(&rejection), REJECTION_QUEUE_MAX);
    let in_bytes = REJECTION_QUEUE_BYTES_MAX / crate::REJECTION_BODY_BYTES_MAX;
    assert_eq!(taken(&large), in_bytes - 1);
    assert_eq!(taken(&huge), 1, "one of any length is kept");
}

#[tokio::test(start_paused = true)]
async fn writes_queued_before_the_close_are_executed_and_later_ones_are_not() {
    let queue = Queue::default();
    assert!(queue.push_rejection(rejection(0)));
    assert_eq!(kinds(&queue), [("rejections", 1)]);
    // Neither of these two has its time yet.
    assert!(queue.push_rejection(rejection(0)));
    queue.push_repairs(vec![Box::new(Named("repair"))], Some(Instant::now() + REJECTION_INTERVAL));
    fill(&queue, Kind::Event, 1);
    queue.close(None).unwrap();
    assert!(queue.push(Kind::Event, Box::new(Named("late"))).is_err());
    assert!(!queue.push_rejection(rejection(1)));
    assert_eq!(kinds(&queue), [("repairs", 1), ("jobs", 1), ("rejections", 1)]);
    assert!(queue.take(None).is_none());
}
