//! The pages with rejected requests: why each was refused, and accepting it.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{
    super::{
        AcceptRequest, AcceptedRejection, Explanation, Page, RejectionDetail, RejectionSummary,
    },
    Dashboard, Layout, Line, Notice, Parameters, Payload, Problem, back_to, path_segment,
};

#[derive(Template)]
#[template(path = "rejections.html")]
struct Rejections<'p> {
    layout: &'p Layout,
    rejections: Vec<RejectionSummary>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "rejection.html")]
struct RejectionPage<'p> {
    layout: &'p Layout,
    rejection: &'p RejectionDetail,
    /// What the doctor says, or why it says nothing.
    verdict: Result<Explanation, String>,
    payload: Payload,
}

pub(super) async fn list(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    query: Parameters,
) -> Result<Response, Problem> {
    let page: Page<RejectionSummary> =
        dashboard.get(&format!("/api/v1/rejections?{}", query.query())).await?;
    let next = page.next.map(|cursor| query.with("cursor", &cursor).query());
    Ok(layout.page(&Rejections { layout: &layout, rejections: page.items, next }))
}

pub(super) async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let path = format!("/api/v1/rejections/{}", path_segment(&id));
    let rejection: RejectionDetail = dashboard.get(&path).await?;
    let verdict = dashboard.get(&format!("{path}/explain")).await;
    let verdict = verdict.map_err(|problem| problem.detail);
    let payload = match (&rejection.body, &rejection.body_base64) {
        (Some(text), _) => Payload::of_text(text),
        (None, coded) => {
            let bytes = coded.as_ref().and_then(|coded| BASE64_STANDARD.decode(coded).ok());
            Payload::of_bytes(&bytes.unwrap_or_default())
        }
    };
    Ok(layout.page(&RejectionPage { layout: &layout, rejection: &rejection, verdict, payload }))
}

/// Verifies a request again and records it as an event.
pub(super) async fn accept(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    Path(id): Path<String>,
    Extension(form): Extension<Parameters>,
) -> Result<Response, Problem> {
    let path = format!("/api/v1/rejections/{}/accept", path_segment(&id));
    let accepted: Result<AcceptedRejection, _> =
        dashboard.post(&path, &AcceptRequest::default(), layout.role).await;
    Ok(match accepted {
        Ok(AcceptedRejection { event_id: Some(event), duplicate, .. }) => {
            let notice = if duplicate { "It is a duplicate of this event." } else { "Accepted." };
            back_to(&format!("/events/{event}"), &Notice(notice.into()))
        }
        Ok(_) => back_to("/rejections", &Notice("Accepted.".into())),
        // It is still refused, or somebody else was faster.
        Err(problem) if problem.status == 409 => {
            back_to(form.back(), &Notice(format!("Not accepted: {}", problem.detail)))
        }
        Err(problem) => return Err(problem),
    })
}
