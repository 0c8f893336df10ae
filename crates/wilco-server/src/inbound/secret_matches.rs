//! When each secret matched. Unlike the record, this includes duplicates: of an event that arrives twice,
//! signed with the old and with the new secret, only the first is recorded.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

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
