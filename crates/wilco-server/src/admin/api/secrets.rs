//! The secrets of the sources, and which of them are in use.

use std::{collections::HashMap, sync::Arc};

use axum::extract::State;

use super::Backend;
use crate::admin::{
    Json, NameAndText, Page, PageQuery, Problem, Query, SecretStatus, SecretStatusPage,
};

pub(super) async fn list(
    State(backend): State<Arc<Backend>>,
    Query(query): Query<PageQuery>,
) -> Result<Json<SecretStatusPage>, Problem> {
    let sources = (backend.sources)().map_err(Problem::invalid_configuration)?;
    let known = backend.store.secret_matches().await?;
    let known: HashMap<_, _> =
        known.iter().map(|known| ((&*known.source, &*known.secret_name), known)).collect();
    let mut secrets = Vec::new();
    for source in &sources {
        for secret in &source.secrets {
            let known = known.get(&(source.name.as_str(), secret.name()));
            secrets.push(SecretStatus {
                source: source.name.as_str().to_owned(),
                provider: source.provider.name.clone(),
                path: source.path.clone(),
                secret_name: secret.name().to_owned(),
                since: known.map(|known| known.since),
                matches: known.map_or(0, |known| known.matches),
                first_match: known.and_then(|known| known.first_at),
                last_match: known.and_then(|known| known.last_at),
                others_matched_since: known.map_or(0, |known| known.others_since),
            });
        }
    }
    let key =
        |secret: &SecretStatus| NameAndText(secret.source.clone(), secret.secret_name.clone());
    let Page { items, next } = Page::of(LISTING, secrets, &query, key)?;
    Ok(Json(SecretStatusPage { items, next, since: backend.began_at }))
}

const LISTING: &str = "secrets";
