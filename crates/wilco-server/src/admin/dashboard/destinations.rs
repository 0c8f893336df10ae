//! The page with the destinations: the status of each, pausing them, and retrying at once.

use std::sync::Arc;

use askama::Template;
use axum::{Extension, extract::State, response::Response};

use super::{
    super::{DestinationStatus, MadeDue},
    Dashboard, Layout, Notice, Parameters, Problem, back_to, held, path_segment, plural_of,
};

#[derive(Template)]
#[template(path = "destinations.html")]
struct Destinations<'p> {
    layout: &'p Layout,
    destinations: Vec<DestinationStatus>,
}

pub(super) async fn list(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
) -> Result<Response, Problem> {
    let destinations = dashboard.destinations().await?;
    Ok(layout.page(&Destinations { layout: &layout, destinations }))
}

pub(super) async fn pause(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    Extension(form): Extension<Parameters>,
) -> Result<Response, Problem> {
    let waiting = set(&dashboard, &layout, &form, "pause").await?;
    let notice = format!("Paused {}: {waiting} until it is resumed.", form.get("name"));
    Ok(back_to(form.back(), &Notice::Done(notice)))
}

pub(super) async fn resume(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    Extension(form): Extension<Parameters>,
) -> Result<Response, Problem> {
    let waiting = set(&dashboard, &layout, &form, "resume").await?;
    let notice = format!("Resumed {}: {waiting} no longer.", form.get("name"));
    Ok(back_to(form.back(), &Notice::Done(notice)))
}

/// Has the deliveries tried at once that wait for their next attempt.
pub(super) async fn retry(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    Extension(form): Extension<Parameters>,
) -> Result<Response, Problem> {
    let name = form.get("name");
    let path = format!("/api/v1/destinations/{}/retry", path_segment(name));
    let MadeDue { made_due } = dashboard.post(&path, &(), layout.role).await?;
    if made_due == 0 {
        let notice = format!("Nothing was retried: no delivery to {name} waits for a retry.");
        return Ok(back_to(form.back(), &Notice::NotDone(notice)));
    }
    let due = plural_of(made_due as u64, "delivery is due now", "deliveries are due now");
    let destinations = dashboard.destinations().await?.into_iter();
    let waits =
        destinations.filter(|to| to.destination == name).find_map(|to| held(&to, &layout.now));
    let waits = waits.map_or_else(String::new, |waits| format!("; {waits}"));
    Ok(back_to(form.back(), &Notice::Done(format!("To {name}: {due}{waits}."))))
}

/// Pauses or resumes a destination, and says how many deliveries wait for it.
async fn set(
    dashboard: &Dashboard,
    layout: &Layout,
    form: &Parameters,
    action: &str,
) -> Result<String, Problem> {
    let name = form.get("name");
    let path = format!("/api/v1/destinations/{}/{action}", path_segment(name));
    let () = dashboard.post(&path, &(), layout.role).await?;
    let waiting = dashboard.destinations().await?.into_iter().find(|to| to.destination == name);
    let waiting = waiting.map_or(0, |to| to.pending + to.retrying);
    Ok(plural_of(waiting, "delivery waits", "deliveries wait"))
}
