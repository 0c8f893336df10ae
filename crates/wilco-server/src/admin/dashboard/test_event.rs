//! The page that sends a test event.

use std::sync::Arc;

use askama::Template;
use axum::{Extension, extract::State, http::StatusCode, response::Response};

use super::{
    super::{Overview, Sample, SentTest, TestRequest},
    Dashboard, Layout, Notice, Parameters, Problem, back_to, path_segment,
};

#[derive(Template)]
#[template(path = "test-event.html")]
struct TestEvent<'p> {
    layout: &'p Layout,
    /// What the form was filled in with.
    form: &'p Parameters,
    sources: Vec<String>,
    /// What can be sent, or why nothing can.
    sample: Result<Sample, String>,
    /// Why what was sent is not recorded.
    refused: Option<String>,
}

pub(super) async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    query: Parameters,
) -> Result<Response, Problem> {
    page(&dashboard, &layout, query, None).await
}

/// Sends the event, and goes to what became of it.
pub(super) async fn send(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    Extension(form): Extension<Parameters>,
) -> Result<Response, Problem> {
    let request = TestRequest { event: form.text("event"), body: Some(body(&form)) };
    let path = format!("/api/v1/sources/{}/test", path_segment(form.get("source")));
    match dashboard.post::<SentTest>(&path, &request, layout.role).await {
        Ok(sent) => {
            let notice = match sent.duplicate {
                true => "It is a duplicate of this event, which was recorded before.",
                false => "The test event was received and recorded.",
            };
            Ok(back_to(&format!("/events/{}", sent.event_id), &Notice::Done(notice.into())))
        }
        Err(problem) if [409, 422].contains(&problem.status) => {
            let mut page = page(&dashboard, &layout, form, Some(problem.detail)).await?;
            *page.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(page)
        }
        Err(problem) => Err(problem),
    }
}

async fn page(
    dashboard: &Dashboard,
    layout: &Layout,
    form: Parameters,
    refused: Option<String>,
) -> Result<Response, Problem> {
    let overview: Overview = dashboard.get("/api/v1/overview").await?;
    let sources: Vec<_> = overview.sources.into_iter().map(|source| source.source).collect();
    let form = match (form.text("source"), sources.first()) {
        (None, Some(first)) => form.with("source", first),
        _ => form,
    };
    let query = Parameters::default().with("event", form.get("event")).query();
    let path = format!("/api/v1/sources/{}/sample?{query}", path_segment(form.get("source")));
    let sample = match dashboard.get::<Sample>(&path).await {
        Ok(sample) if refused.is_some() => Ok(Sample { body: body(&form), ..sample }),
        Ok(sample) => Ok(sample),
        Err(problem) if problem.status == 409 => Err(problem.detail),
        Err(problem) => return Err(problem),
    };
    Ok(layout.page(&TestEvent { layout, form: &form, sources, sample, refused }))
}

/// The body as it was written: browsers end the lines of a field with both characters.
fn body(form: &Parameters) -> String {
    form.get("body").replace("\r\n", "\n")
}
