//! A rejection is kept, and can be accepted later as the event that it is.

use wilco::{Envelope, RejectionId, Verified};

use crate::{
    bench::{Bench, was_notified},
    support::{NOW, SENT, SUPPRESS, Sent, after, event, rejection},
};
use wilco_store::{
    Accepted, REJECTION_BODY_BYTES_MAX, Receipt, Rejection, RejectionQuery, StoreError,
};

promises! {
    a_rejection_comes_back_as_it_was,
    of_an_incomplete_rejection_the_beginning_of_the_body_is_kept,
    rejections_are_listed_by_source_and_time_in_pages,
    an_accepted_rejection_is_an_event_that_was_received_then,
    a_rejection_is_accepted_once,
    an_accepted_rejection_survives_a_crash,
    a_failed_accept_leaves_the_rejection,
    rejections_accepted_one_after_another_are_recorded_in_that_order,
    a_rejection_of_which_a_copy_is_recorded_is_a_duplicate,
    a_rejection_that_is_a_change_is_recorded,
    an_accepted_rejection_is_the_latest_event_only_if_none_was_received_after_it,
}

async fn a_rejection_comes_back_as_it_was(mut bench: Bench) {
    let large = vec![b'x'; REJECTION_BODY_BYTES_MAX * 5];
    let headers: &[(&str, &[u8])] = &[("x-odd", b"\xff\xfe"), ("authorization", b"Bearer canary")];
    let sent = Sent { headers, body: &large, ..SENT };
    let (ids, requests) = bench.reject(&[sent]).await;
    bench.crash(NOW);
    let found = bench.store.rejection(ids[0]).await.unwrap().unwrap();
    let expected = rejection_of(&requests[0].0);
    assert_eq!(found.summary, bench.rejections().await[0]);
    assert_eq!(found.summary.received_at, NOW);
    assert_eq!(found.summary.reason, expected.reason);
    assert_eq!(found.summary.message, expected.message);
    assert_eq!(found.summary.client, expected.client);
    assert_eq!(found.summary.url, expected.url);
    assert_eq!(found.summary.hidden, expected.hidden);
    assert_eq!((found.summary.bytes, found.summary.digest), (expected.bytes, expected.digest));
    assert!(found.summary.is_complete && found.body == expected.body);
    assert_eq!(found.headers.as_bytes(), expected.headers.as_bytes());
    let unknown = RejectionId::from_bits(ids[0].to_bits() + 1);
    assert!(bench.store.rejection(unknown).await.unwrap().is_none());
}

async fn of_an_incomplete_rejection_the_beginning_of_the_body_is_kept(bench: Bench) {
    let body: Vec<u8> = (0..=250).cycle().take(REJECTION_BODY_BYTES_MAX + 7).collect();
    let halves = body.split_at(40_000);
    let chunks = [halves.0, halves.1].map(bytes::Bytes::copy_from_slice);
    bench.store.reject(Rejection {
        body: chunks.into_iter().collect(),
        is_complete: false,
        ..rejection(0)
    });
    let id = bench.wait_for_rejections(1).await[0];
    let found = bench.store.rejection(id).await.unwrap().unwrap();
    assert!(!found.summary.is_complete);
    assert!(found.body.contiguous(usize::MAX).unwrap()[..] == body[..REJECTION_BODY_BYTES_MAX]);
}

async fn rejections_are_listed_by_source_and_time_in_pages(bench: Bench) {
    let sent: Vec<_> = (0..6)
        .map(|number| Sent {
            source: if number % 2 == 0 { "office" } else { "warehouse" },
            at: after(number),
            ..SENT
        })
        .collect();
    let (ids, _) = bench.reject(&sent).await;
    assert!(ids.is_sorted());
    let all = RejectionQuery { limit: 9, ..RejectionQuery::default() };
    for (query, expected) in [
        (all.clone(), &[5, 4, 3, 2, 1, 0][..]),
        (RejectionQuery { source: Some("office".into()), ..all.clone() }, &[4, 2, 0]),
        (RejectionQuery { since: Some(after(4)), ..all.clone() }, &[5, 4]),
        (RejectionQuery { limit: 2, ..all.clone() }, &[5, 4]),
        (RejectionQuery { limit: 2, before: Some(ids[4]), ..all.clone() }, &[3, 2]),
        (RejectionQuery { limit: 2, after: Some(ids[1]), ..all.clone() }, &[2, 3]),
        (RejectionQuery { source: Some("nobody".into()), ..all }, &[]),
    ] {
        let found = bench.store.rejections(query.clone()).await.unwrap();
        let found: Vec<_> = found.iter().map(|kept| kept.id).collect();
        let expected: Vec<_> = expected.iter().map(|&place| ids[place]).collect();
        assert_eq!(found, expected, "{query:?}");
    }
}

async fn an_accepted_rejection_is_an_event_that_was_received_then(bench: Bench) {
    let (ids, requests) = bench.reject(&[SENT]).await;
    bench.record(Sent { subject: Some("b/9"), at: after(60), ..SENT }).await;
    assert!(was_notified(bench.store.wakers().recorded()).await);
    let receipt = bench.accept(ids[0], &requests[0]).await.unwrap();
    assert!(receipt.is_first());
    assert!(was_notified(bench.store.wakers().recorded()).await);
    let event = bench.store.event(receipt.event_id()).await.unwrap().unwrap().event;
    assert_eq!((event.received_at, &*event.secret_name), (NOW, "test:secret"));
    assert_eq!(event.digest, requests[0].0.digest());
    assert_eq!(bench.unrouted(9).await.last(), Some(&event.id), "ids never go back");
    assert_eq!(bench.rejections().await, []);
}

async fn a_rejection_is_accepted_once(bench: Bench) {
    let (ids, requests) = bench.reject(&[SENT]).await;
    bench.accept(ids[0], &requests[0]).await.unwrap();
    assert_eq!(bench.accept(ids[0], &requests[0]).await, None);
    assert_eq!(bench.all().await.len(), 1);
}

async fn an_accepted_rejection_survives_a_crash(mut bench: Bench) {
    let (ids, requests) = bench.reject(&[SENT]).await;
    let receipt = bench.accept(ids[0], &requests[0]).await.unwrap();
    bench.crash(NOW);
    assert_eq!(bench.unrouted(9).await, [receipt.event_id()]);
    assert_eq!(bench.rejections().await, []);
}

async fn a_failed_accept_leaves_the_rejection(mut bench: Bench) {
    let (ids, requests) = bench.reject(&[SENT]).await;
    bench.backend.break_next_write();
    let failed = bench.try_accept(ids[0], &requests[0]).await;
    assert!(matches!(failed, Err(StoreError::Internal(_))), "{failed:?}");
    bench.backend.mend();
    bench.crash(NOW);
    assert!(bench.all().await.is_empty());
    assert_eq!(bench.rejections().await.len(), 1);
    assert!(bench.accept(ids[0], &requests[0]).await.unwrap().is_first());
}

async fn rejections_accepted_one_after_another_are_recorded_in_that_order(bench: Bench) {
    let subjects: Vec<_> = (0..20).map(|number| format!("b/{number}")).collect();
    let sent = |subject| Sent { subject: Some(subject), ..SENT };
    let sent: Vec<_> = subjects.iter().map(|subject| sent(subject)).collect();
    let (ids, requests) = bench.reject(&sent).await;
    for (id, request) in ids.iter().zip(&requests) {
        bench.accept(*id, request).await.unwrap();
    }
    let found = bench.all().await.into_iter().map(|event| event.subject.unwrap());
    assert_eq!(found.collect::<Vec<_>>(), subjects);
}

/// Events and rejections about one subject: what was received at which second, with which body. A rejection
/// is accepted at the end.
async fn check(
    bench: &Bench,
    recorded: &[(i64, &str)],
    rejected: Sent<'_>,
    expected: Option<usize>,
) {
    let bench = bench.another();
    let mut ids = Vec::new();
    for (second, body) in recorded {
        let sent = Sent { at: after(*second), body: body.as_bytes(), ..rejected };
        ids.push(bench.record(sent).await.event_id());
    }
    let (rejections, requests) = bench.reject(&[rejected]).await;
    let receipt = bench.accept(rejections[0], &requests[0]).await.unwrap();
    let duplicate_of = (!receipt.is_first()).then(|| receipt.event_id());
    assert_eq!(duplicate_of, expected.map(|place| ids[place]), "{recorded:?}");
    assert_eq!(bench.rejections().await, []);
}

const REJECTED: Sent<'static> = Sent { body: b"A", at: NOW, ..SENT };

async fn a_rejection_of_which_a_copy_is_recorded_is_a_duplicate(bench: Bench) {
    let given = Sent { delivery_id: Some("1"), ..REJECTED };
    for (rejected, recorded, place) in [
        (REJECTED, &[(5, "A")][..], 0),       // the provider has sent it again
        (REJECTED, &[(5, "A"), (9, "B")], 0), // and then something else
        (REJECTED, &[(4, "B"), (5, "A"), (9, "B")], 1),
        (REJECTED, &[(-5, "A")], 0), // it had been sent with another secret
        (REJECTED, &[(-5, "A"), (9, "B")], 0),
        (REJECTED, &[(-9, "B"), (-5, "A"), (1, "C"), (2, "D"), (3, "E"), (4, "F")], 1),
        (given, &[(5, "A")], 0),
        (given, &[(-5, "A"), (9, "B")], 0),
    ] {
        check(&bench, recorded, rejected, Some(place)).await;
    }
}

async fn a_rejection_that_is_a_change_is_recorded(bench: Bench) {
    for recorded in [
        &[][..],
        &[(9, "B")],
        &[(-5, "B")],
        &[(-9, "A"), (-5, "B")], // a change back
        &[(-9, "A"), (-5, "B"), (9, "C")],
        &[(-3_601, "A")], // outside the window
        &[(-3_601, "A"), (9, "B")],
        &[(3_601, "A"), (3_700, "B")],
    ] {
        check(&bench, recorded, REJECTED, None).await;
    }
    let elsewhere = Sent { source: "warehouse", ..REJECTED };
    let other = Sent { subject: Some("booking/2"), ..REJECTED };
    let (ids, requests) = bench.reject(&[REJECTED]).await;
    for sent in [elsewhere, other, Sent { at: after(9), body: b"B", ..REJECTED }] {
        bench.record(Sent { at: sent.at.max(after(5)), ..sent }).await;
    }
    assert!(bench.accept(ids[0], &requests[0]).await.unwrap().is_first());
}

async fn an_accepted_rejection_is_the_latest_event_only_if_none_was_received_after_it(
    bench: Bench,
) {
    let at = |second, body: &'static str| Sent { at: after(second), body: body.as_bytes(), ..SENT };
    for has_crash in [false, true] {
        let mut bench = bench.another();
        let (ids, requests) = bench.reject(&[at(1, "A"), at(3, "C")]).await;
        let second = bench.record(at(2, "B")).await;
        bench.accept(ids[0], &requests[0]).await.unwrap();
        if has_crash {
            bench.crash(after(3));
        }
        // What the provider sent last is B, so B again is a copy, and A again a change back.
        let again = bench.record(at(4, "B")).await;
        assert_eq!((again.is_first(), again.event_id()), (false, second.event_id()));
        bench.accept(ids[1], &requests[1]).await.unwrap();
        if has_crash {
            bench.crash(after(4));
        }
        assert!(!bench.record(at(5, "C")).await.is_first(), "C is the latest");
        assert!(bench.record(at(6, "A")).await.is_first());
    }
}

type Request = (Verified, Envelope);

impl Bench {
    /// Rejects requests, and waits until they are kept, which takes up to a second.
    async fn reject(&self, sent: &[Sent<'_>]) -> (Vec<RejectionId>, Vec<Request>) {
        let requests: Vec<_> = sent.iter().map(|sent| event(*sent)).collect();
        let rejections = requests.iter().map(|(verified, _)| rejection_of(verified));
        rejections.for_each(|rejection| assert!(self.store.reject(rejection)));
        (self.wait_for_rejections(sent.len()).await, requests)
    }

    async fn wait_for_rejections(&self, count: usize) -> Vec<RejectionId> {
        loop {
            let kept = self.rejections().await;
            if kept.len() >= count {
                return kept.iter().rev().map(|kept| kept.id).collect();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    async fn rejections(&self) -> Vec<wilco_store::RejectionSummary> {
        let query = RejectionQuery { limit: 1_000, ..RejectionQuery::default() };
        self.store.rejections(query).await.unwrap()
    }

    async fn try_accept(
        &self,
        id: RejectionId,
        (verified, envelope): &Request,
    ) -> Result<Option<Receipt>, StoreError> {
        let (verified, envelope) = (verified.clone(), envelope.clone());
        self.store.accept(Accepted { id, verified, envelope, duplicates: SUPPRESS }).await
    }

    async fn accept(&self, id: RejectionId, request: &Request) -> Option<Receipt> {
        self.try_accept(id, request).await.unwrap()
    }
}

/// The rejection of a request.
fn rejection_of(verified: &Verified) -> Rejection {
    let arrival = verified.arrival();
    Rejection {
        received_at: arrival.received_at,
        source: verified.source().clone(),
        headers: arrival.head.headers.clone(),
        bytes: arrival.body.len() as u64,
        digest: verified.digest(),
        body: arrival.body.clone(),
        ..rejection(7)
    }
}
