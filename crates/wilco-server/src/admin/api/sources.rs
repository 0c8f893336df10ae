//! The sources: samples of what their providers send, and test events.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use wilco::provider::uuid;

use super::{Backend, source_of};
use crate::admin::{
    Json, Path, Problem, Query, ReadSample, Sample, SentTest, SourcePath, TestRequest,
};
use crate::{clock, config::Source};

pub(super) async fn sample(
    State(backend): State<Arc<Backend>>,
    Path(path): Path<SourcePath>,
    Query(query): Query<ReadSample>,
) -> Result<Json<Sample>, Problem> {
    let source = find(&backend, &path.name)?;
    source.test_secret(clock::now()).map_err(not_now)?;
    let provider = &source.provider;
    let events = events(&source).map(str::to_owned).collect();
    let event = event_or_first(query.event, &source);
    let body = sample_of(&source, &event)?;
    Ok(Json(Sample { provider: provider.name.clone(), events, event, body }))
}

pub(super) async fn send_test(
    State(backend): State<Arc<Backend>>,
    Path(path): Path<SourcePath>,
    Json(request): Json<TestRequest>,
) -> Result<Json<SentTest>, Problem> {
    let source = find(&backend, &path.name)?;
    let send = backend.send_test.as_ref().ok_or_else(|| {
        not_now("only a running wilco receives events; start it with `wilco serve`".into())
    })?;
    let event = event_or_first(request.event, &source);
    let body = match request.body {
        Some(body) => body,
        None => sample_of(&source, &event)?,
    };
    send(source, event, body).await.map(Json)
}

fn find(backend: &Backend, name: &str) -> Result<Arc<Source>, Problem> {
    let sources = (backend.sources)().map_err(Problem::invalid_configuration)?;
    source_of(&sources, name).cloned().map_err(Problem::not_found)
}

/// The names that the provider documents. Where its events have actions, they are left out.
fn events(source: &Source) -> impl Iterator<Item = &str> {
    source.provider.events().map(|name| name.strip_suffix(".*").unwrap_or(name))
}

/// The event that was asked for, or else the first that the provider documents.
fn event_or_first(event: Option<String>, source: &Source) -> String {
    let first = || events(source).next().unwrap_or("test").to_owned();
    event.filter(|event| !event.is_empty()).unwrap_or_else(first)
}

fn sample_of(source: &Source, event: &str) -> Result<String, Problem> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Problem::internal(&error))?;
    let id = uuid(u128::from_be_bytes(random));
    Ok(source.provider.sample(event, &id, clock::now()))
}

fn not_now(why: String) -> Problem {
    Problem::new(StatusCode::CONFLICT, why)
}
