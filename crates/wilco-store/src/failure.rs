//! Failures: deliveries that are dead or tried again, in groups.

use std::{collections::BTreeMap, ops::Bound};

use jiff::Timestamp;
use wilco::EventId;

/// Which groups of failures to list.
#[derive(Clone, Debug, Default)]
pub struct FailureGroupQuery {
    /// Only those of this destination.
    pub destination: Option<String>,
    /// Only those after the group of this destination with this error: for the next part.
    pub after: Option<(String, String)>,
    /// At most this many groups.
    pub limit: usize,
}

/// Groups of failures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureGroups {
    /// By destination and error: their numbers change while they are listed, their names do not.
    pub groups: Vec<FailureGroup>,
    /// Whether these groups may have more deliveries, or their destinations more groups: not all deliveries were
    /// looked at.
    pub is_at_least: bool,
}

/// Deliveries to one destination that failed with the same error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureGroup {
    /// The destination.
    pub destination: String,
    /// The error without what differs from one delivery to the next: see [`kind_of_error`].
    pub error: String,
    /// The error of the newest event, as it is.
    pub example_error: String,
    /// The newest event.
    pub example: EventId,
    /// Deliveries that were given up and not replayed.
    pub dead: u64,
    /// Deliveries that are tried again.
    pub retrying: u64,
    /// When the first of them failed last.
    pub first_at: Timestamp,
    /// When the last of them failed last.
    pub last_at: Timestamp,
}

/// Which events with a dead delivery to look for.
#[derive(Clone, Debug, Default)]
pub struct FailureQuery {
    /// The destination.
    pub destination: String,
    /// Only with an error of this kind.
    pub error: Option<String>,
    /// Only recorded after this event: for the next part.
    pub after: Option<EventId>,
    /// At most this many events.
    pub limit: usize,
}

/// Events with a dead delivery, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailedEvents {
    /// Their ids.
    pub ids: Vec<EventId>,
    /// The event behind which to look on; `None` if there are no more.
    pub rest: Option<EventId>,
}

/// Failed deliveries, put into groups one by one.
#[derive(Default)]
pub(crate) struct Grouping {
    groups: BTreeMap<(String, String), FailureGroup>,
    /// Whether deliveries were left out.
    pub(crate) is_at_least: bool,
}

impl Grouping {
    pub(crate) fn add(&mut self, failure: &Failure<'_>) {
        let Failure { destination, error, is_dead, event_id, failed_at } = *failure;
        let key = (destination.to_owned(), kind_of_error(error));
        let group = self.groups.entry(key).or_insert_with_key(|(destination, kind)| FailureGroup {
            destination: destination.clone(),
            error: kind.clone(),
            example_error: error.to_owned(),
            example: event_id,
            dead: 0,
            retrying: 0,
            first_at: failed_at,
            last_at: failed_at,
        });
        if event_id > group.example {
            group.example = event_id;
            error.clone_into(&mut group.example_error);
        }
        *(if is_dead { &mut group.dead } else { &mut group.retrying }) += 1;
        group.first_at = group.first_at.min(failed_at);
        group.last_at = group.last_at.max(failed_at);
    }

    /// Whether there are as many groups as are listed, so that those of later destinations are not needed.
    pub(crate) fn is_full(&self, query: &FailureGroupQuery) -> bool {
        self.after(query).take(query.limit).count() == query.limit
    }

    pub(crate) fn finish(self, query: &FailureGroupQuery) -> FailureGroups {
        let groups = self.after(query).take(query.limit).cloned().collect();
        FailureGroups { groups, is_at_least: self.is_at_least }
    }

    fn after(&self, query: &FailureGroupQuery) -> impl Iterator<Item = &FailureGroup> {
        let start = query.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        self.groups.range((start, Bound::Unbounded)).map(|(_, group)| group)
    }
}

/// One failed delivery.
#[derive(Clone, Copy)]
pub(crate) struct Failure<'f> {
    pub(crate) destination: &'f str,
    pub(crate) error: &'f str,
    pub(crate) is_dead: bool,
    pub(crate) event_id: EventId,
    pub(crate) failed_at: Timestamp,
}

/// An error without what differs from one delivery to the next: numbers become `N`, and words with letters and
/// digits, such as ids, `ID`. A status and an exit code stay.
pub fn kind_of_error(error: &str) -> String {
    let mut kind = String::new();
    let mut before = "";
    let mut rest = error.trim();
    while !rest.is_empty() && kind.len() < KIND_BYTES_MAX {
        let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
        let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        let is_id = word.len() >= ID_BYTES_MIN && word.bytes().any(|byte| byte.is_ascii_digit());
        let is_code = word.len() <= 3 && (kind.is_empty() || CODES.contains(&before));
        kind += match (is_number, is_id) {
            (true, _) if !is_code => "N",
            (false, true) => "ID",
            _ => word,
        };
        before = word;
        let gap = behind.find(is_part).unwrap_or(behind.len());
        kind += &behind[..gap];
        rest = &behind[gap..];
    }
    kind
}

/// Failed deliveries that are looked at for groups, the same number of each destination: half of them the newest dead
/// ones, half the first that are due again.
pub const FAILURES_SCANNED_MAX: usize = 10_000;
/// A longer error is cut off.
const KIND_BYTES_MAX: usize = 300;
/// A word of letters and digits with at least this length is an id.
const ID_BYTES_MIN: usize = 8;
/// Words before a number that says what kind of failure it is.
const CODES: [&str; 5] = ["exit", "signal", "status", "code", "HTTP"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_differ_in_numbers_and_ids_are_of_one_kind_and_codes_tell_kinds_apart() {
        for (error, kind) in [
            ("exit 1", "exit 1"),
            ("exit 12: line 77", "exit 12: line N"),
            ("503 Service Unavailable", "503 Service Unavailable"),
            ("404 Not Found: booking 17", "404 Not Found: booking N"),
            ("HTTP 500 after 1234 ms", "HTTP 500 after N ms"),
            (
                "cannot connect to 192.0.2.7:443: connection refused",
                "cannot connect to N.N.N.N:N: connection refused",
            ),
            ("unknown id 7c9e6679-7425-40de-944b-e07fc1f90ae7", "unknown id ID"),
            ("killed by signal 9", "killed by signal 9"),
            ("Größe 3 zu groß", "Größe N zu groß"),
            ("", ""),
        ] {
            assert_eq!(kind_of_error(error), kind);
        }
        assert!(kind_of_error(&"word ".repeat(1_000)).len() < 320);
    }
}
