//! The pages with rejected requests: why each was refused, and accepting it.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};

use super::{
    super::{
        AcceptRequest, AcceptedRejection, Explanation, Overview, Page, RejectionDetail,
        RejectionReason, RejectionSummary,
    },
    Dashboard, Layout, Line, Notice, Parameters, Payload, Problem, back_to, path_segment,
};

#[derive(Template)]
#[template(path = "rejections.html")]
struct Rejections<'p> {
    layout: &'p Layout,
    query: &'p Parameters,
    has_filters: bool,
    /// What the filter offers.
    sources: Vec<String>,
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
    /// Why it cannot be accepted, at all or by this viewer.
    obstacle: Option<&'static str>,
}

impl RejectionPage<'_> {
    fn would_be_accepted(&self) -> bool {
        self.verdict.as_ref().is_ok_and(|verdict| verdict.refused.is_none())
    }
}

pub(super) async fn list(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    query: Parameters,
) -> Result<Response, Problem> {
    let asked = query.for_api(layout.now).query();
    let page: Page<RejectionSummary> =
        dashboard.get(&format!("/api/v1/rejections?{asked}")).await?;
    let next = page.next.map(|cursor| query.with("cursor", &cursor).query());
    let overview: Overview = dashboard.get("/api/v1/overview").await?;
    let sources = overview.sources.into_iter().map(|source| source.source).collect();
    let has_filters = query.has_any("source range since");
    let (layout, query, rejections) = (&layout, &query, page.items);
    Ok(layout.page(&Rejections { layout, query, has_filters, sources, rejections, next }))
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
    let payload = Payload::of(rejection.body.as_deref(), rejection.body_base64.as_deref());
    let payload = payload.unwrap_or(Payload::Empty);
    use RejectionReason::{BodyNotCovered, MalformedSignature, MissingSignature, RepeatedHeader};
    let RejectionSummary { complete, reason, .. } = rejection.summary;
    let obstacle = match reason {
        MissingSignature | RepeatedHeader | MalformedSignature | BodyNotCovered => {
            Some("It cannot be accepted: no other secret would make it right.")
        }
        _ if !complete => Some("It cannot be accepted: only a part of the request is kept."),
        _ if !layout.may_act() => {
            Some("Accepting needs the role operator, and this session is a reader's.")
        }
        _ => None,
    };
    let (layout, rejection) = (&layout, &rejection);
    Ok(layout.page(&RejectionPage { layout, rejection, verdict, payload, obstacle }))
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
            back_to(&format!("/events/{event}"), &Notice::Done(notice.into()))
        }
        Ok(_) => back_to("/rejections", &Notice::Done("Accepted.".into())),
        // Its page is gone: somebody else was faster, or it was removed because of its age.
        Err(problem) if problem.status == 404 => {
            let notice =
                format!("Not accepted: {}; see whether it is an event now", problem.detail);
            back_to("/rejections", &Notice::NotDone(notice))
        }
        // It is still refused.
        Err(problem) if problem.status == 409 => {
            back_to(form.back(), &Notice::NotDone(format!("Not accepted: {}", problem.detail)))
        }
        Err(problem) => return Err(problem),
    })
}
