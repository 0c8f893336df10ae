//! When each secret matched. Unlike the record, this includes duplicates: of an event that arrives twice,
//! signed with the old and with the new secret, only the first is recorded.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;

use super::Inbound;
use crate::config;

/// The matches of every secret since the start, by source and by the name of the secret.
#[derive(Default)]
pub(super) struct SecretMatches(Mutex<HashMap<String, HashMap<String, MatchTimes>>>);

/// How often and when a secret matched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MatchTimes {
    pub(crate) count: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

impl SecretMatches {
    pub(super) fn add(&self, source: &str, secret: &str, now: Timestamp) {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Names are copied only for the first match: this is on the path of every request.
        if let Some(found) = sources.get_mut(source).and_then(|secrets| secrets.get_mut(secret)) {
            found.count += 1;
            found.last = found.last.max(now);
            return;
        }
        let first = MatchTimes { count: 1, first: now, last: now };
        sources.entry(source.into()).or_default().insert(secret.into(), first);
    }

    pub(super) fn get(&self, source: &str, secret: &str) -> Option<MatchTimes> {
        let sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sources.get(source)?.get(secret).copied()
    }
}

impl Inbound {
    /// Every secret of every source, and how often and when it matched since [`began_at`](Self::began_at).
    pub(crate) fn secrets(&self) -> Vec<(Arc<config::Source>, String, Option<MatchTimes>)> {
        let mut secrets = Vec::new();
        for source in self.endpoints.load().sources.values() {
            for secret in &source.secrets {
                let matched = self.secret_matches.get(source.name.as_str(), secret.name());
                secrets.push((Arc::clone(source), secret.name().to_owned(), matched));
            }
        }
        secrets
            .sort_by_key(|(source, secret, _)| (source.name.as_str().to_owned(), secret.clone()));
        secrets
    }

    /// Since when matches are counted.
    pub(crate) fn began_at(&self) -> Timestamp {
        self.began_at
    }
}
