//! The page with what failed, in groups, and delivering a group again.

use std::sync::Arc;

use askama::Template;
use axum::{Extension, extract::State, response::Response};
use wilco::EventId;

use super::{
    super::{Failures as Found, RetriedFailures, RetryFailures},
    Dashboard, Layout, Notice, Parameters, Problem, back_to, plural,
};

#[derive(Template)]
#[template(path = "failures.html")]
struct Failures<'p> {
    layout: &'p Layout,
    query: &'p Parameters,
    found: Found,
}

#[derive(Template)]
#[template(path = "failures-retry.html")]
struct Confirm<'p> {
    layout: &'p Layout,
    query: &'p Parameters,
    would: RetriedFailures,
}

pub(super) async fn list(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    query: Parameters,
) -> Result<Response, Problem> {
    let found: Found = dashboard.get(&format!("/api/v1/failures?{}", query.query())).await?;
    Ok(layout.page(&Failures { layout: &layout, query: &query, found }))
}

/// Says how much would be delivered again.
pub(super) async fn confirm(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    query: Parameters,
) -> Result<Response, Problem> {
    let would = retry_all(&dashboard, &layout, &query, true).await?;
    Ok(layout.page(&Confirm { layout: &layout, query: &query, would }))
}

pub(super) async fn retry(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    Extension(form): Extension<Parameters>,
) -> Result<Response, Problem> {
    let done = retry_all(&dashboard, &layout, &form, false).await?;
    let mut notice = match done.events {
        0 => "Nothing was retried: no route takes these events there now.".to_owned(),
        events => {
            format!("Retrying {} to {}.", plural(events as u64, "event"), form.get("destination"))
        }
    };
    if done.next.is_some() {
        notice += " There are more: retry again.";
    }
    Ok(back_to("/failures", &Notice(notice)))
}

async fn retry_all(
    dashboard: &Dashboard,
    layout: &Layout,
    parameters: &Parameters,
    dry_run: bool,
) -> Result<RetriedFailures, Problem> {
    let (mut all, mut after) = (RetriedFailures::default(), None::<EventId>);
    for _ in 0..PARTS_MAX {
        let request = RetryFailures {
            destination: parameters.get("destination").into(),
            error: parameters.text("error"),
            dry_run,
            reason: parameters.text("reason"),
            after,
        };
        let part: RetriedFailures =
            dashboard.post("/api/v1/failures/retry", &request, layout.role).await?;
        all.events += part.events;
        all.deliveries += part.deliveries;
        all.left_out += part.left_out;
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    Ok(RetriedFailures { next: after, ..all })
}

/// Requests of 500 events that one form makes.
const PARTS_MAX: usize = 20;
