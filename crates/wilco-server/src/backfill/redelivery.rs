//! Providers that send a delivery again when they are asked to, signed like the first time. Nothing is taken in
//! from their list of deliveries: what is missing arrives at the endpoint.

use std::{collections::HashSet, time::Duration};

use http::{Method, StatusCode};
use tokio::time::sleep;
use wilco_store::{REDELIVERIES_MAX, Redelivery, Store};

use super::{Api, Round, RoundError};

/// The deliveries in a list of attempts, each once.
#[derive(Default)]
pub(crate) struct Deliveries {
    newest_first: Vec<Delivery>,
    ids: HashSet<String>,
}

struct Delivery {
    id: String,
    latest_attempt: u64,
}

/// How fast a provider may be asked to send deliveries again.
pub(crate) struct Throttle {
    /// Requests after which there is a pause.
    pub(super) burst: usize,
    pub(super) pause: Duration,
}

impl Deliveries {
    /// Adds an attempt of a delivery, which is older than those that were added before.
    pub(super) fn add(&mut self, id: String, attempt: u64) {
        if self.ids.insert(id.clone()) {
            self.newest_first.push(Delivery { id, latest_attempt: attempt });
        }
    }

    /// Asks for those that are missing, oldest first, each by a request to the path of its latest attempt.
    /// Returns how many that were.
    pub(super) async fn ask_again(
        &self,
        api: &Api<'_>,
        round: &Round<'_>,
        store: &dyn Store,
        path: impl Fn(u64) -> String,
        throttle: Throttle,
    ) -> Result<usize, RoundError> {
        let source = round.source.name.as_str();
        let (mut asked, mut refused) = (0, None);
        for part in self.newest_first.rchunks(LOOKED_UP_MAX) {
            let ids = part.iter().map(|delivery| delivery.id.clone()).collect();
            let missing: HashSet<_> = store.missing(source, ids).await?.into_iter().collect();
            for Delivery { id, latest_attempt } in part.iter().rev() {
                if !missing.contains(id) || !may_ask(store, source, id).await? {
                    continue;
                }
                if asked > 0 && asked % throttle.burst == 0 {
                    sleep(throttle.pause).await;
                }
                match api.send(Method::POST, &path(*latest_attempt)).await {
                    Ok(_) => {
                        tracing::info!(source, id, "asked the provider to deliver again");
                        asked += 1;
                    }
                    // One that cannot be sent again must not keep the others from it.
                    Err(error) if error.status.is_some_and(is_about_one) => {
                        tracing::warn!(source, id, %error, "the provider does not deliver again");
                        refused = Some(error);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        match refused.filter(|_| asked == 0) {
            Some(error) => Err(error),
            None => Ok(asked),
        }
    }
}

async fn may_ask(store: &dyn Store, source: &str, id: &str) -> Result<bool, RoundError> {
    Ok(match store.ask_again(source, id).await? {
        Redelivery::Ask => true,
        Redelivery::GivenUp => {
            let asked = REDELIVERIES_MAX;
            tracing::warn!(source, id, asked, "delivery given up, because it never arrived");
            false
        }
        Redelivery::GivenUpBefore => false,
    })
}

fn is_about_one(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY)
}

/// Delivery ids that are looked up at once.
const LOOKED_UP_MAX: usize = 100;
