//! How often and when each secret matched.

use jiff::Timestamp;
use wilco::{Origin, Proof};

use super::Record;
use crate::{SecretMatches, rules::whole_millis};

impl Record {
    pub(super) fn count_match(&mut self, proof: &Proof) {
        if proof.origin() == Origin::Fetched {
            return;
        }
        let (source, name) = (proof.source().as_str(), proof.secret_name());
        let at = whole_millis(proof.arrival().received_at);
        let key = (source.to_owned(), name.to_owned());
        let count = self.secret_matches.entry(key).or_insert_with(|| unused(source, name, at));
        if count.last_at.is_none_or(|last| last <= at) {
            count.others_since = 0;
        }
        count.matches += 1;
        count.first_at = Some(count.first_at.map_or(at, |first| first.min(at)));
        count.last_at = Some(count.last_at.map_or(at, |last| last.max(at)));
        for ((of, other), count) in &mut self.secret_matches {
            if of == source && other != name {
                count.others_since += 1;
            }
        }
    }

    pub(super) fn set_secrets(&mut self, secrets: Vec<(String, String)>, now: Timestamp) {
        self.secret_matches.retain(|known, _| secrets.contains(known));
        for key in secrets {
            let first = unused(&key.0, &key.1, now);
            self.secret_matches.entry(key).or_insert(first);
        }
    }
}

fn unused(source: &str, secret_name: &str, since: Timestamp) -> SecretMatches {
    SecretMatches {
        source: source.to_owned(),
        secret_name: secret_name.to_owned(),
        since,
        matches: 0,
        first_at: None,
        last_at: None,
        others_since: 0,
    }
}
