//! What only the model in memory can show.

use wilco_store::{
    AdminStore as _, InboundStore as _, MemoryStore, OutboundStore as _, REJECTIONS_MAX,
    RejectionQuery, StoreError, StoreStatus as _,
};

use crate::support::{SENT, SUPPRESS, TestClock, event, rejection};

#[tokio::test]
async fn an_event_whose_answer_was_lost_is_recognised_when_it_is_resent() {
    let store = MemoryStore::new(TestClock::new());
    store.lose_next_answer();
    let (verified, envelope) = event(SENT);
    let lost = store.record(verified.clone(), envelope.clone(), SUPPRESS).await;
    assert!(matches!(lost, Err(StoreError::Internal(_))), "{lost:?}");
    let receipt = store.record(verified, envelope, SUPPRESS).await.unwrap();
    assert!(!receipt.is_first());
    assert_eq!(store.unrouted(9).await.unwrap().events().len(), 1);
}

#[tokio::test]
async fn a_store_is_closed_once_it_was_reopened() {
    let first = MemoryStore::new(TestClock::new());
    let second = first.reopen();
    assert!(matches!(first.ready(), Err(StoreError::Closed)));
    second.ready().unwrap();
}

#[tokio::test]
async fn the_newest_rejections_are_kept() {
    let store = MemoryStore::new(TestClock::new());
    for number in 0..=REJECTIONS_MAX {
        store.reject(rejection(number));
    }
    let query = RejectionQuery { limit: usize::MAX, ..RejectionQuery::default() };
    let kept = store.rejections(query).await.unwrap();
    assert_eq!(kept.len() as u64, REJECTIONS_MAX);
    assert_eq!(kept.last().unwrap().message, "number 1");
}
