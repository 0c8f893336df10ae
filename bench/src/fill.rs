//! Fills a store with events and the ends of their deliveries, to look at: for measuring pages and queries.

use std::{io, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use wilco_store::{Attempt, Claim, Outcome, Store, Target};

use crate::{args::Fill, clock, deliver::DESTINATION, stock::Stock};

/// Fills a store in the folder of `args`, unless it is there already.
///
/// # Errors
///
/// The store cannot be made or written.
pub(crate) async fn run(args: &Fill) -> io::Result<bool> {
    Stock::fill(args.folder.clone(), u64::from(args.events)).await?;
    Ok(true)
}

/// Each event goes here, and each tenth to a second destination.
pub(crate) fn targets(number: usize) -> Vec<Target> {
    let mut targets = vec![Target::to(DESTINATION)];
    if number.is_multiple_of(10) {
        targets.push(Target::to(SECOND));
    }
    targets
}

/// Ends every delivery that is due: one in a thousand is dead, one in a thousand is tried again in a week, and the
/// others are delivered.
pub(crate) async fn end(store: &Arc<dyn Store>) -> io::Result<()> {
    for destination in [DESTINATION, SECOND] {
        loop {
            let claims = store.claim(destination, CLAIMS, LEASE, WEEK * 2).await;
            let claims = claims.map_err(io::Error::other)?;
            if claims.is_empty() {
                break;
            }
            let mut ending = JoinSet::new();
            for claim in claims {
                let store = Arc::clone(store);
                ending.spawn(async move {
                    let (attempt, outcome) = outcome(&claim);
                    store.settle(&claim, &attempt, &outcome, None).await.map_err(io::Error::other)
                });
            }
            while let Some(ended) = ending.join_next().await {
                ended??;
            }
        }
    }
    Ok(())
}

fn outcome(claim: &Claim) -> (Attempt, Outcome) {
    let number = claim.delivery().unsigned_abs();
    let results = [
        format!("exit {}", number % 3 + 1),
        format!("503 Service Unavailable after {} ms", number % 977),
        format!("cannot connect to 192.0.2.{}:443: connection refused", number % 250),
    ];
    let (result, outcome) = match number % 1_000 {
        0 => (results[(number / 1_000 % 3) as usize].as_str(), Outcome::Dead { holds_key: false }),
        1 => (results[1].as_str(), Outcome::Retry { after: WEEK, waited: WEEK }),
        _ => ("200 OK", Outcome::Delivered),
    };
    let took = Duration::from_millis(number % 50 + 1);
    let attempt = Attempt {
        started_at: clock::now(),
        took,
        result: result.into(),
        request: String::new(),
        output: Vec::new(),
    };
    (attempt, outcome)
}

const SECOND: &str = "mail";
const CLAIMS: usize = 4_096;
const LEASE: Duration = Duration::from_secs(600);
const WEEK: Duration = Duration::from_hours(7 * 24);
