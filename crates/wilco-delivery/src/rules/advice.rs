//! Warnings about rules that look wrong, given the sample events that a provider documents.

use minijinja::value::ValueKind;
use serde_json::Value as Json;
use wilco_config::Advice;

use super::{Rule, SAMPLES, Text, View, sample, steps};

impl Rule {
    /// What looks wrong, if the rule is about these documented events.
    pub fn advice(&self, is_about: &dyn Fn(&str) -> bool) -> Vec<Advice> {
        let samples = about(is_about);
        let mut advice = misspelt(&self.compiled.members(), &samples);
        advice.extend(failing(&samples, |view| self.evaluate(view).map(drop)));
        let mixed = samples.iter().find_map(|(name, view)| {
            let what = self.compiled.mixed(&view.names, steps(view.body_bytes))?;
            Some(Advice {
                message: format!("{what}, in the sample of {name}: it never is"),
                hint: "write both sides as the same kind, or convert one: `data.size | int`".into(),
                words: None,
            })
        });
        advice.extend(mixed);
        advice
    }
}

impl Text {
    /// What looks wrong, if the template is rendered for these documented events.
    pub fn advice(&self, is_about: &dyn Fn(&str) -> bool, is_json: bool) -> Vec<Advice> {
        let samples = about(is_about);
        let mut advice = misspelt(&self.compiled.members(), &samples);
        advice.extend(failing(&samples, |view| self.render(view).map(drop)));
        if is_json {
            advice.extend(samples.iter().find_map(|(name, view)| self.broken(name, view)));
        }
        advice
    }

    /// Whether the output is valid JSON, even if texts contain a quote.
    fn broken(&self, name: &str, view: &View) -> Option<Advice> {
        let body = wilco::freispace::sample(name)?;
        let mut quoted: Json = serde_json::from_str(body).ok()?;
        quote(&mut quoted);
        let quoted = sample(name, &quoted.to_string())?;
        let is_broken = |view: &View| {
            let text = self.render(view).ok()?;
            Some(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_err())
        };
        let message = match (is_broken(view)?, is_broken(&quoted)?) {
            (true, _) => format!("the body is not JSON for the sample of {name}"),
            (false, true) => "a text with a quote in it makes the body broken JSON".to_owned(),
            (false, false) => return None,
        };
        let hint = "write each value as {{ data.name | tojson }}, without quotes around it".into();
        Some(Advice { message, hint, words: None })
    }
}

/// The documented event that is most similar to a pattern that matches none of them.
pub fn unmatched(pattern: &str, is_match: &dyn Fn(&str) -> bool) -> Option<Advice> {
    let mut names = SAMPLES.iter().map(|(name, _)| *name).filter(|name| name.contains('.'));
    if names.clone().any(is_match) {
        return None;
    }
    let likeness = |name: &str| strsim::jaro_winkler(pattern, name);
    let first = names.next()?;
    let near =
        names.fold(first, |best, name| if likeness(name) > likeness(best) { name } else { best });
    let near = match near.split_once('.') {
        Some((resource, _)) if pattern.ends_with('*') => format!("{resource}.*"),
        _ => near.to_owned(),
    };
    Some(Advice {
        message: format!("{pattern:?} matches no documented event"),
        hint: format!("did you mean {near:?}?"),
        words: None,
    })
}

type Samples<'s> = Vec<(&'s str, &'s View)>;

fn about(is_about: &dyn Fn(&str) -> bool) -> Samples<'static> {
    let samples = SAMPLES.iter().filter(|(name, _)| name.contains('.') && is_about(name));
    samples.map(|(name, view)| (*name, view)).collect()
}

fn failing(
    samples: &Samples<'_>,
    run: impl Fn(&View) -> Result<(), super::RuleError>,
) -> Option<Advice> {
    samples.iter().find_map(|(name, view)| {
        let error = run(view).err()?;
        Some(Advice {
            message: format!("it fails for the sample of {name}: {error}"),
            hint: "a rule that fails for an event makes a dead delivery".into(),
            words: None,
        })
    })
}

/// Members that no sample has, although one has a member with a similar name.
fn misspelt(paths: &[String], samples: &Samples<'_>) -> Vec<Advice> {
    let unknown = paths.iter().filter_map(|path| {
        let near = nearest_member(path, samples)?;
        Some(Advice {
            message: format!("no sample of these events has {path}"),
            hint: format!("did you mean {near}?"),
            words: Some(path.clone()),
        })
    });
    unknown.collect()
}

/// The path that was probably meant; `None` if a sample has it, or has nothing similar.
fn nearest_member(path: &str, samples: &Samples<'_>) -> Option<String> {
    let mut parts: Vec<&str> = path.split('.').collect();
    if parts[0] == "headers" {
        return None;
    }
    let mut near = None;
    for (_, view) in samples {
        let (index, names) = first_missing(view, &parts)?;
        let part = parts[index];
        let far = if part.len() < SHORT_NAME { 1 } else { 2 };
        let alike = names.into_iter().filter(|name| strsim::osa_distance(name, part) <= far);
        let best = alike.min_by_key(|name| strsim::osa_distance(name, part));
        near = near.or(best.map(|best| (index, best)));
    }
    let (index, name) = near?;
    parts[index] = &name;
    Some(parts.join("."))
}

/// The first part of a path that a sample does not have, and the names that it has instead. `None` if it has
/// all parts, or if a value is not an object, because it may be one in another event.
fn first_missing(view: &View, parts: &[&str]) -> Option<(usize, Vec<String>)> {
    let mut value = view.names.clone();
    for (index, part) in parts.iter().enumerate() {
        if value.kind() != ValueKind::Map {
            return None;
        }
        let names = value.try_iter().into_iter().flatten();
        let names: Vec<_> = names.map(|name| name.to_string()).collect();
        if !names.iter().any(|name| name == part) {
            return Some((index, names));
        }
        value = value.get_attr(part).unwrap_or_default();
    }
    None
}

/// Adds a quote to every text.
fn quote(value: &mut Json) {
    match value {
        Json::String(text) => text.push('"'),
        Json::Array(items) => items.iter_mut().for_each(quote),
        Json::Object(members) => members.values_mut().for_each(quote),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// Names shorter than this may differ in only one letter to count as misspelt.
const SHORT_NAME: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn of_bookings(name: &str) -> bool {
        name.starts_with("booking.")
    }

    #[test]
    fn a_condition_that_looks_wrong_is_warned_about() {
        for (rule, message, hint) in [
            (
                "data.statsu.name == 'Confirmed'",
                "no sample of these events has data.statsu.name",
                "data.status.name",
            ),
            ("tpye == 'booking'", "no sample of these events has tpye", "type"),
            ("event.nmae == 'x'", "no sample of these events has event.nmae", "event.name"),
            ("data.name > 9", "compares a string with a number", "data.size | int"),
            ("data.optional == 'no'", "compares a bool with a string", "data.size | int"),
            ("data.name + 1", "it fails for the sample of booking.created", "dead delivery"),
        ] {
            let advice = Rule::new(rule).unwrap().advice(&of_bookings);
            assert_eq!(advice.len(), 1, "{rule}: {advice:?}");
            assert!(advice[0].message.contains(message), "{rule}: {advice:?}");
            assert!(advice[0].hint.contains(hint), "{rule}: {advice:?}");
        }
    }

    #[test]
    fn documented_and_merely_unknown_members_cause_no_warning() {
        for rule in [
            "data.status.name == 'Confirmed' and not data.optional",
            "data.color == '#fff' or data.status.description.x == 1",
            "data.project and data.resources.suites | length > 0",
            "data.cost_centre == 7 and headers['x-one'] == '1' and body.id == id",
            "data.name == data.project.name",
        ] {
            assert_eq!(Rule::new(rule).unwrap().advice(&of_bookings), [], "{rule}");
        }
    }

    #[test]
    fn a_template_that_can_break_json_is_warned_about() {
        for (text, message) in [
            (r#"{"text": "{{ data.name }}"}"#, Some("a text with a quote in it")),
            (r#"{"text": {{ data.name }}}"#, Some("the body is not JSON for the sample")),
            (r#"{"text": {{ data.name | tojson }}, "at": "{{ event.received_at }}"}"#, None),
        ] {
            let advice = Text::new(text).unwrap().advice(&of_bookings, true);
            assert_eq!(
                advice.first().map(|a| a.message.contains(message.unwrap())),
                message.map(|_| true),
                "{text}: {advice:?}"
            );
        }
    }

    #[test]
    fn a_pattern_that_matches_no_documented_event_is_reported_with_the_nearest_one() {
        for (pattern, hint) in [
            ("bookings.*", Some("\"booking.*\"")),
            ("project.create", Some("\"project.created\"")),
            ("booking.updated", None),
        ] {
            let prefix = pattern.trim_end_matches('*');
            let advice = unmatched(pattern, &|name| {
                name.starts_with(prefix) && (pattern.ends_with('*') || name == pattern)
            });
            assert_eq!(
                advice.map(|a| a.hint.contains(hint.unwrap())),
                hint.map(|_| true),
                "{pattern}"
            );
        }
    }
}
