//! Finds out why a signature does not match.
//!
//! How a provider signs is data, so the question is which neighbour of that data, of the secret or of the
//! request would match. [`explain`] verifies those that common mistakes lead to, with the code that
//! verifies every request: first those that differ in one way, then in two, then in three. It answers in
//! words and never with a signature or a secret.

mod body;
mod head;
mod secret;
mod signed;

use std::{borrow::Cow, rc::Rc, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    Arrival, Body, Head, Key, Mismatch, Provider, Scheme, Secret, SourceName, provider, verify,
};

/// A request that was not accepted, and what is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// How it should be signed.
    pub scheme: &'a Scheme,
    /// The secrets of its source.
    pub secrets: &'a [Secret],
    /// Those of other sources, with the names of these.
    pub others: &'a [(String, Secret)],
    /// The request.
    pub arrival: &'a Arrival,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// Why the request is not accepted as it is; `None` if it is.
    pub mismatch: Option<Mismatch>,
    /// What would match; `None` if nothing that was tried does.
    pub found: Option<Found>,
    /// How many possibilities were tried.
    pub tried: usize,
    /// Whether that was all of them. If not, the time was up.
    pub is_complete: bool,
}

/// A signature that matches.
#[derive(Clone, Debug)]
pub struct Found {
    /// The name of the secret: `env:FREISPACE_SECRET`.
    pub secret_name: String,
    /// In what the request, the secret or the scheme differs. Empty if the request is accepted.
    pub changes: Vec<Change>,
}

/// Looks for the smallest change with which the request would be accepted, until all is tried or `go_on`
/// says no. Takes some milliseconds for a small body, and seconds for one of megabytes.
pub fn explain(case: Case<'_>, go_on: &mut dyn FnMut() -> bool) -> Diagnosis {
    let Case { scheme, secrets, arrival, .. } = case;
    let keys: Vec<_> = secrets.iter().filter_map(|secret| scheme.key(secret).ok()).collect();
    let mismatch = match check(scheme, &keys, arrival.clone()) {
        Ok(secret_name) => {
            let found = Some(Found { secret_name, changes: Vec::new() });
            return Diagnosis { mismatch: None, found, tried: 1, is_complete: true };
        }
        Err(mismatch) => mismatch,
    };
    let mut search = Search { case, tried: 1, is_complete: true, go_on };
    let starts = search.starts();
    let found =
        (0..=DIFFERENCES_MAX).find_map(|differences| search.differing(&starts, differences));
    let Search { tried, is_complete, .. } = search;
    Diagnosis { mismatch: Some(mismatch), found, tried, is_complete }
}

/// The providers whose requests look like this one, and whether a secret matches: those first.
pub fn recognize(arrival: &Arrival, secrets: &[Secret]) -> Vec<(Arc<Provider>, bool)> {
    let looks_so = |provider: &Arc<Provider>| {
        let scheme = provider.scheme.timeless();
        let keys: Vec<_> = secrets.iter().filter_map(|secret| scheme.key(secret).ok()).collect();
        match check(&scheme, &keys, arrival.clone()) {
            Ok(_) => Some((Arc::clone(provider), true)),
            Err(Mismatch::Wrong | Mismatch::BodyNotCovered) => Some((Arc::clone(provider), false)),
            Err(_) => None,
        }
    };
    let mut found: Vec<_> = provider::all().iter().filter_map(looks_so).collect();
    found.sort_by_key(|(_, is_match)| !is_match);
    found
}

/// One difference between the request as it was signed and as it was received, or between the
/// sender's settings and the receiver's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// A word for programs: `final-newline-removed`.
    pub id: &'static str,
    /// Follows "the signature matches": "the body with a line break at its end".
    pub what: Cow<'static, str>,
    /// What is to be done: a sentence without a full stop.
    pub fix: &'static str,
}

impl Change {
    const fn new(id: &'static str, what: &'static str, fix: &'static str) -> Self {
        Self { id, what: Cow::Borrowed(what), fix }
    }

    fn about(id: &'static str, what: String, fix: &'static str) -> Self {
        Self { id, what: Cow::Owned(what), fix }
    }
}

/// One of the possibilities.
#[derive(Clone)]
struct Possible {
    scheme: Rc<Scheme>,
    secret: Rc<Secret>,
    head: Head,
    body: Bytes,
    changes: Vec<Change>,
}

/// In what a possibility can differ from another.
#[derive(Clone, Copy)]
enum Dimension {
    Body,
    Head,
    Url,
    Secret,
    Algorithm,
    Signed,
}

struct Search<'a, 'g> {
    case: Case<'a>,
    tried: usize,
    is_complete: bool,
    go_on: &'g mut dyn FnMut() -> bool,
}

impl Search<'_, '_> {
    /// The first match of the request as it came, with each secret: first those of its source.
    fn starts(&self) -> Vec<Possible> {
        let Case { scheme, secrets, others, arrival } = self.case;
        let Ok(body) = arrival.body.in_one_piece() else { return Vec::new() };
        let scheme = Rc::new(scheme.timeless());
        let own = secrets.iter().map(|secret| (secret, None));
        let others = others.iter().map(|(source, secret)| (secret, Some(of_source(source))));
        let starts = own.chain(others).map(|(secret, change)| Possible {
            scheme: Rc::clone(&scheme),
            secret: Rc::new(secret.clone()),
            head: arrival.head.clone(),
            body: body.clone(),
            changes: change.into_iter().collect(),
        });
        starts.collect()
    }

    /// The first match that differs in exactly this number of ways.
    fn differing(&mut self, starts: &[Possible], differences: usize) -> Option<Found> {
        // Changed bodies are many and large, and three mistakes at once are seldom.
        let dimensions = if differences < DIFFERENCES_MAX { DIMENSIONS } else { &DIMENSIONS[1..] };
        starts.iter().find_map(|start| {
            let more = differences.checked_sub(start.changes.len())?;
            self.changed(start, dimensions, more)
        })
    }

    /// The first match that differs from `from` in exactly this number of these dimensions.
    fn changed(
        &mut self,
        from: &Possible,
        dimensions: &[Dimension],
        differences: usize,
    ) -> Option<Found> {
        let Some(fewer) = differences.checked_sub(1) else { return self.judge(from) };
        for (at, dimension) in dimensions.iter().enumerate() {
            for possible in from.neighbours(*dimension) {
                if !self.is_complete {
                    return None;
                }
                if let Some(found) = self.changed(&possible, &dimensions[at + 1..], fewer) {
                    return Some(found);
                }
            }
        }
        None
    }

    fn judge(&mut self, possible: &Possible) -> Option<Found> {
        self.is_complete = self.is_complete && (self.go_on)();
        if !self.is_complete {
            return None;
        }
        self.tried += 1;
        let Case { scheme, arrival, .. } = self.case;
        let received_at = arrival.received_at;
        possible.verify(&possible.scheme, received_at).ok()?;
        let mut changes = possible.changes.clone();
        let in_time = possible.verify(&possible.scheme.in_time_of(scheme), received_at);
        if let Err(Mismatch::OutOfTime { age_secs, .. }) = in_time {
            changes.push(clock(age_secs));
        }
        Some(Found { secret_name: possible.secret.name().to_owned(), changes })
    }
}

impl Possible {
    fn verify(&self, scheme: &Scheme, received_at: Timestamp) -> Result<(), Mismatch> {
        let key = scheme.key(&self.secret).map_err(|_| Mismatch::Wrong)?;
        let body = Body::from(self.body.clone());
        check(scheme, &[key], Arrival { received_at, head: self.head.clone(), body }).map(drop)
    }

    /// What differs from this in one dimension.
    fn neighbours(&self, dimension: Dimension) -> Box<dyn Iterator<Item = Self> + '_> {
        let with = |change: Change| {
            let changes = self.changes.iter().cloned().chain([change]).collect();
            Self { changes, ..self.clone() }
        };
        match dimension {
            Dimension::Body => Box::new(body::changed(&self.body).map(move |(change, body)| {
                Self { body: Bytes::from(body.into_owned()), ..with(change) }
            })),
            Dimension::Head | Dimension::Url => {
                let heads = match dimension {
                    Dimension::Head => head::read_leniently(&self.scheme, &self.head),
                    _ => signed::other_urls(&self.scheme, &self.head),
                };
                let heads = heads.into_iter();
                Box::new(heads.map(move |(change, head)| Self { head, ..with(change) }))
            }
            Dimension::Secret => {
                let forms = secret::forms(&self.secret, self.scheme.key_text()).into_iter();
                Box::new(forms.map(move |(change, secret, reading)| {
                    let scheme = Rc::new(self.scheme.reading_keys_as(reading));
                    Self { secret: Rc::new(secret), scheme, ..with(change) }
                }))
            }
            Dimension::Algorithm | Dimension::Signed => {
                let schemes = match dimension {
                    Dimension::Algorithm => signed::other_algorithms(&self.scheme),
                    _ => signed::other_parts(&self.scheme, &self.head),
                };
                let schemes = schemes.into_iter();
                Box::new(
                    schemes.map(move |(change, scheme)| Self {
                        scheme: Rc::new(scheme),
                        ..with(change)
                    }),
                )
            }
        }
    }
}

/// The name of the secret that matches.
fn check(scheme: &Scheme, keys: &[Key], arrival: Arrival) -> Result<String, Mismatch> {
    // Any name does; it has no part in the check.
    let source = SourceName::new("explained").map_err(|_| Mismatch::Wrong)?;
    verify(scheme, &source, keys, arrival)
        .map(|verified| verified.secret_name().to_owned())
        .map_err(|refused| refused.mismatch)
}

fn of_source(source: &str) -> Change {
    Change::about(
        "secret-of-another-source",
        format!("a secret of the source {source}"),
        "the provider sends to the wrong path, or the secrets of two sources were swapped",
    )
}

fn clock(age_secs: i64) -> Change {
    let direction = if age_secs < 0 { "in the future" } else { "ago" };
    let seconds = age_secs.unsigned_abs();
    // Half an hour is the smallest difference between time zones that is common.
    let zone = (seconds + ZONE_SLACK_SECS) % 1_800 <= 2 * ZONE_SLACK_SECS;
    let what = format!("the time at which it was signed, {seconds} s {direction}");
    match zone && seconds > ZONE_SLACK_SECS {
        true => Change::about(
            "time-zone",
            what,
            "a clock is set to the wrong time zone: compare both with UTC (`date -u`, `timedatectl`)",
        ),
        false => Change::about(
            "clock",
            what,
            "compare both clocks (`timedatectl`); if they are right, the request waited on its way, or \
             somebody sent it again",
        ),
    }
}

/// Bodies first, so that each is made once.
const DIMENSIONS: &[Dimension] = &[
    Dimension::Body,
    Dimension::Head,
    Dimension::Url,
    Dimension::Secret,
    Dimension::Algorithm,
    Dimension::Signed,
];
/// More mistakes at once are not looked for.
const DIFFERENCES_MAX: usize = 3;
/// How far from a whole half-hour a wrong time zone can be.
const ZONE_SLACK_SECS: u64 = 120;
