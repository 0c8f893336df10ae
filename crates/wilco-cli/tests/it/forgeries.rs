//! Forged signatures: each class of them, on each way of signing that wilco knows, against the real binary.
//! None is accepted, none is recorded, and nothing breaks. Right requests are accepted in between, so that
//! a wilco that refuses everything fails.

mod classes;
mod family;
mod tokens;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use jiff::{SignedDuration, Timestamp};

use crate::world::World;
use classes::{
    BODIES, BYTES, CLOSE, LINES, MESSAGE, OUT_OF_TIME, Rows, SIGNED, TEXTS, TIMES, WHOLE,
};
use family::{Facts, Family, Request, Signer, families};
use tokens::tokens;

#[test]
fn no_forged_signature_is_accepted_or_recorded() {
    let families = families();
    let mut plan = World::plan();
    let mut tables = String::new();
    for (number, family) in families.iter().enumerate() {
        let variable = format!("SECRET_{number}");
        tables.push_str(&family.config(&variable));
        plan = plan.env(&variable, &family.secret());
    }
    let world = plan.and(&tables).start();
    let (tried, wrong) = (BTreeMap::new(), String::new());
    let mut run = Run { world, number: 0, right: 0, tried, wrong };
    for family in &families {
        run.right(family, "before");
        run.forgeries_of(family);
        run.right(family, "after");
    }
    let Run { world, right, tried, wrong, .. } = run;
    assert_eq!(wrong, "");
    assert_eq!(world.recorded(), right, "events");
    assert!(!world.log().contains("panicked"), "{}", world.log());
    for (family, classes) in &tried {
        assert!(classes.len() >= 50, "only {} of {family}", classes.len());
    }
    let all: BTreeSet<_> = tried.values().flatten().collect();
    for name in every_class() {
        assert!(all.contains(&name), "nothing was tried as {name:?}");
    }
    let count: usize = tried.values().map(BTreeSet::len).sum();
    assert!(count >= 5_000, "only {count} forgeries");
    println!("{count} forgeries of {} classes, {} ways of signing", all.len(), families.len());
}

fn every_class() -> Vec<String> {
    fn names<T>(rows: Rows<T>) -> Vec<String> {
        rows.iter().map(|(name, _)| (*name).to_owned()).collect()
    }
    [
        names(SIGNED),
        names(MESSAGE),
        names(TIMES),
        names(OUT_OF_TIME),
        names(BYTES),
        names(TEXTS),
        names(LINES),
        names(BODIES),
        names(WHOLE),
    ]
    .concat()
}

struct Run {
    world: World,
    /// The number of the latest request: no two have the same body.
    number: u32,
    /// Right requests so far.
    right: i64,
    /// The classes that were tried on each family.
    tried: BTreeMap<String, BTreeSet<String>>,
    wrong: String,
}

impl Run {
    fn facts(&mut self, family: &Family) -> Facts {
        self.number += 1;
        family.facts(self.number, Timestamp::now())
    }

    /// Sends right requests in each form that a right one has.
    fn right(&mut self, family: &Family, when: &str) {
        let forms: [fn(&Family, &str) -> String; 4] = [
            |_, text| text.to_owned(),
            |it, text| match it.encoding.as_str() {
                "hex" => text.to_uppercase(),
                _ => text.to_owned(),
            },
            |it, text| match it.encoding.as_str() {
                "base64" => text.trim_end_matches('=').to_owned(),
                _ => text.to_owned(),
            },
            |it, text| match &it.list {
                Some(separator) => format!("AAAA{separator}{}{text}", it.prefix),
                None => text.to_owned(),
            },
        ];
        for form in forms {
            let facts = self.facts(family);
            let text = form(family, &family.signed_text(&facts));
            let request = family.request(&facts, &text);
            let replies = self.world.exchange(&request.bytes(CLOSE));
            if !matches!(&replies[..], [reply] if reply.status / 100 == 2) {
                writeln!(self.wrong, "{} {when}: {replies:?}\n  {text}", family.name).unwrap();
            }
            self.right += 1;
        }
    }

    fn forgeries_of(&mut self, family: &Family) {
        self.signed_otherwise(family);
        self.signed_at_another_time(family);
        self.other_signatures(family);
        self.other_lines(family);
        self.other_requests(family);
        self.together_with_right_ones(family);
    }

    fn signed_otherwise(&mut self, family: &Family) {
        for (class, change) in SIGNED {
            let facts = self.facts(family);
            let mut other = facts.clone();
            change(&mut other);
            let is_shared = matches!(family.signer(), Signer::Shared);
            let is_same = family.message(&facts) == family.message(&other)
                && (!is_shared || facts.secret == other.secret);
            // A token says itself when it was made.
            if is_same || (family.claim.is_some() && facts.timestamp != other.timestamp) {
                continue;
            }
            self.forged(family, class, &facts, &family.signed_text(&other));
        }
        for (class, change) in MESSAGE {
            let facts = self.facts(family);
            let message = family.message(&facts);
            let other = change(&message);
            if other != message && family.algorithm != "token" {
                let signature = family.sign(&other, &facts.secret);
                self.forged(family, class, &facts, &family.text(&signature, &message));
            }
        }
    }

    fn signed_at_another_time(&mut self, family: &Family) {
        let Some(unit) = family.unit.as_deref() else { return };
        let now = Timestamp::now().as_second();
        let scale = if unit == "milliseconds" { 1000 } else { 1 };
        let mut times: Vec<_> =
            TIMES.iter().map(|(class, time)| (*class, time(now * scale))).collect();
        if family.tolerance {
            times.extend(OUT_OF_TIME.iter().map(|(class, time)| {
                let at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(time(now));
                let text = match unit {
                    "rfc3339" => at.to_string(),
                    _ => (at.as_second() * scale).to_string(),
                };
                (*class, text)
            }));
        }
        for (class, timestamp) in times {
            let facts = Facts { timestamp, ..self.facts(family) };
            let text = family.signed_text(&facts);
            let request = family.request(&facts, &text);
            self.refused(family, class, &request.bytes(CLOSE));
        }
    }

    fn other_signatures(&mut self, family: &Family) {
        for (class, change) in BYTES {
            let facts = self.facts(family);
            let message = family.message(&facts);
            let right = family.sign(&message, &facts.secret);
            if let Some(other) = change(family, &message, &right).filter(|other| *other != right) {
                self.forged(family, class, &facts, &family.text(&other, &message));
            }
        }
        for (class, change) in TEXTS {
            let facts = self.facts(family);
            let right = family.signed_text(&facts);
            if let Some(other) = change(family, &right).filter(|other| *other != right) {
                self.forged(family, class, &facts, &other);
            }
        }
        let facts = self.facts(family);
        for (class, text) in tokens(family, &facts) {
            self.forged(family, &class, &facts, &text);
        }
    }

    fn other_lines(&mut self, family: &Family) {
        for (at, template) in family.headers.iter().enumerate() {
            if template.contains("{signature}") {
                for (class, change) in LINES {
                    self.with_lines(family, class, at, |name, value| change(family, name, value));
                }
            } else if ["{timestamp}", "{id}", "{nonce}"].iter().any(|it| template.contains(it)) {
                let name = template.split(':').next().unwrap_or_default();
                let class = |what: &str| format!("{name} {what}");
                let line = |name: &str, value: &str| format!("{name}: {value}").into_bytes();
                self.with_lines(family, &class("missing"), at, |_, _| Some(vec![]));
                self.with_lines(family, &class("empty"), at, |name, _| Some(vec![line(name, "")]));
                self.with_lines(family, &class("repeated"), at, |name, value| {
                    Some(vec![line(name, value), line(name, value)])
                });
                self.with_lines(family, &class("changed"), at, |name, value| {
                    Some(vec![line(name, &format!("{value}0"))])
                });
                self.with_lines(family, &class("folded"), at, |name, value| {
                    Some(vec![line(name, &format!("\r\n {value}"))])
                });
            }
        }
    }

    /// Sends a right request with other lines than this one.
    fn with_lines(
        &mut self,
        family: &Family,
        class: &str,
        at: usize,
        change: impl Fn(&str, &str) -> Option<Vec<Vec<u8>>>,
    ) {
        let facts = self.facts(family);
        let mut request = family.request(&facts, &family.signed_text(&facts));
        let line = String::from_utf8(request.headers[at].clone()).unwrap();
        let (name, value) = line.split_once(": ").unwrap();
        if let Some(lines) = change(name, value) {
            request.headers.splice(at..=at, lines);
            self.refused(family, class, &request.bytes(CLOSE));
        }
    }

    fn other_requests(&mut self, family: &Family) {
        for (class, change) in BODIES.iter().filter(|_| family.covers_body()) {
            let right = self.right_request(family);
            let body = change(&right.body);
            if body != right.body {
                self.refused(family, class, &Request { body, ..right }.bytes(CLOSE));
            }
        }
        for (class, change) in WHOLE {
            if let Some(bytes) = change(&self.right_request(family)) {
                self.refused(family, class, &bytes);
            }
        }
    }

    /// A right signature counts for its own request only, whatever else is on the connection.
    fn together_with_right_ones(&mut self, family: &Family) {
        let zeros = "0".repeat(64);
        for is_first in [true, false] {
            let right = self.right_request(family);
            let facts = self.facts(family);
            let forged = family.request(&facts, &zeros);
            let (bytes, expected) = match is_first {
                true => ([right.bytes(""), forged.bytes(CLOSE)].concat(), [2, 4]),
                false => ([forged.bytes(""), right.bytes(CLOSE)].concat(), [4, 2]),
            };
            let replies = self.world.exchange(&bytes);
            let statuses: Vec<_> = replies.iter().map(|reply| reply.status / 100).collect();
            if statuses != expected {
                writeln!(self.wrong, "{} pipelined: {replies:?}", family.name).unwrap();
            }
            self.right += 1;
            let class = if is_first { "after a right one" } else { "before a right one" };
            self.tried.entry(family.name.clone()).or_default().insert(class.into());
        }
    }

    fn right_request(&mut self, family: &Family) -> Request {
        let facts = self.facts(family);
        family.request(&facts, &family.signed_text(&facts))
    }

    /// Sends these facts with this text as their signature.
    fn forged(&mut self, family: &Family, class: &str, facts: &Facts, text: &str) {
        self.refused(family, class, &family.request(facts, text).bytes(CLOSE));
    }

    fn refused(&mut self, family: &Family, class: &str, bytes: &[u8]) {
        let replies = self.world.exchange(bytes);
        if !matches!(&replies[..], [reply] if reply.status / 100 == 4) {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(600)]);
            writeln!(self.wrong, "{}, {class}: {replies:?}\n  {shown:?}", family.name).unwrap();
        }
        self.tried.entry(family.name.clone()).or_default().insert(class.into());
    }
}
