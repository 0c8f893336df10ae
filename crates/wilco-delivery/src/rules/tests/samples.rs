//! Rules over the documented events, with each of their members null or absent.

use serde_json::Value as Json;

use super::super::*;

fn view_of(name: &str, body: &Json) -> View {
    super::super::sample(name, &body.to_string()).unwrap()
}

/// The texts of an example that are in the language: conditions and keys, and templates.
fn in_language(table: &toml::Table, rules: &mut Vec<Rule>, texts: &mut Vec<Text>) {
    for (key, value) in table {
        match value {
            toml::Value::String(text) if ["when", "order_by", "by"].contains(&key.as_str()) => {
                rules.push(Rule::new(text).unwrap());
            }
            toml::Value::String(text) if text.contains("{{") => {
                texts.push(Text::new(text).unwrap());
            }
            toml::Value::Table(table) => in_language(table, rules, texts),
            toml::Value::Array(items) => {
                for table in items.iter().filter_map(toml::Value::as_table) {
                    in_language(table, rules, texts);
                }
            }
            _ => {}
        }
    }
}

/// Every body that has one of its members null, or does without it.
fn with_holes(body: &Json) -> Vec<Json> {
    fn paths(value: &Json, at: &str, found: &mut Vec<String>) {
        let children: Vec<_> = match value {
            Json::Object(members) => members.iter().map(|(k, v)| (k.clone(), v)).collect(),
            Json::Array(items) => {
                items.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect()
            }
            _ => Vec::new(),
        };
        for (name, child) in children {
            let at = format!("{at}/{name}");
            paths(child, &at, found);
            found.push(at);
        }
    }
    let mut found = Vec::new();
    paths(body, "", &mut found);
    let mut bodies = vec![body.clone()];
    for path in found {
        let mut with_null = body.clone();
        *with_null.pointer_mut(&path).unwrap() = Json::Null;
        bodies.push(with_null);
        let (parent, name) = path.rsplit_once('/').unwrap();
        let mut without = body.clone();
        if let Some(Json::Object(members)) = without.pointer_mut(parent) {
            members.remove(name);
            bodies.push(without);
        }
    }
    bodies
}

#[test]
fn the_examples_tolerate_any_null_or_missing_member_of_any_event() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let table: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        let (mut rules, mut texts) = (Vec::new(), Vec::new());
        in_language(&table, &mut rules, &mut texts);
        seen += rules.len() + texts.len();
        for (name, sample) in freispace::SAMPLES {
            let body: Json = serde_json::from_str(sample).unwrap();
            for body in with_holes(&body).into_iter().chain([all_null(&body)]) {
                let view = view_of(name, &body);
                for rule in &rules {
                    assert!(rule.holds(&view).is_ok(), "{}: {rule:?}: {body}", path.display());
                    assert!(rule.key(&view).is_ok(), "{}: {rule:?}: {body}", path.display());
                }
                for text in &texts {
                    let text = text.render(&view);
                    let text = text.unwrap_or_else(|e| panic!("{}: {e}: {body}", path.display()));
                    let is_json = text.starts_with('{');
                    assert!(is_json || !shows_nothing(&text), "{}: {text}", path.display());
                    assert!(!is_json || serde_json::from_str::<Json>(&text).is_ok(), "{text}");
                }
            }
        }
    }
    assert!(seen > 8, "{seen}");
}

/// The paths of all members that these bodies have, such as `data.status.name`, with what each is in one
/// of them. Items of a list are reached by a loop, so they have none.
fn members(bodies: &[Json]) -> BTreeMap<String, Json> {
    fn collect(value: &Json, at: &str, found: &mut BTreeMap<String, Json>) {
        for (name, member) in value.as_object().into_iter().flatten() {
            let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            collect(member, &path, found);
            let known = found.entry(path).or_insert(Json::Null);
            if known.is_null() {
                *known = member.clone();
            }
        }
    }
    let mut found = BTreeMap::new();
    bodies.iter().for_each(|body| collect(body, "", &mut found));
    found
}

/// The body with all its members null but for those that freispace has to send.
fn all_null(body: &Json) -> Json {
    let mut body = body.clone();
    for (name, member) in body.as_object_mut().unwrap() {
        match member {
            Json::Object(members) => {
                members.values_mut().for_each(|member| *member = Json::Null);
            }
            _ if ["id", "type", "event"].contains(&name.as_str()) => {}
            member => *member = Json::Null,
        }
    }
    body
}

/// What a null in a list, in an object or alone must not be printed as.
fn shows_nothing(text: &str) -> bool {
    ["None", "none", "undefined", "null", "NaN"].iter().any(|word| text.contains(word))
}

#[test]
fn every_documented_member_can_be_used_in_every_way_even_if_it_is_null_or_absent() {
    let mut seen = 0;
    for resource in ["project", "booking", "offer", "invoice", "storage_project"] {
        let samples = freispace::SAMPLES
            .iter()
            .filter(|(name, _)| name.split_once('.').is_some_and(|(of, _)| of == resource));
        let bodies: Vec<Json> =
            samples.map(|(_, sample)| serde_json::from_str(sample).unwrap()).collect();
        let mut views = Vec::new();
        for body in &bodies {
            views.extend(with_holes(body).iter().map(|body| view_of(resource, body)));
            views.push(view_of(resource, &all_null(body)));
        }
        for (path, example) in members(&bodies) {
            seen += 1;
            // wilco's own `event` hides that of the body.
            let path = if path == "event" { "body.event".into() } else { path };
            check(&path, &example, &views);
        }
    }
    assert!(seen > 60, "{seen}");
}

fn check(path: &str, example: &Json, views: &[View]) {
    let (rules, texts) = uses(path, example);
    let json = Text::new(&format!("{{{{ {path} | tojson }}}}")).unwrap();
    let rules: Vec<_> = rules.iter().map(|rule| Rule::new(rule).unwrap()).collect();
    let texts: Vec<_> = texts.iter().map(|text| Text::new(text).unwrap()).collect();
    for view in views {
        for rule in &rules {
            rule.holds(view).unwrap_or_else(|error| panic!("{rule:?}: {error}"));
        }
        for text in &texts {
            let shown = text.render(view).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            // A null in a list or an object has a word, and it is that of JSON.
            let is_nested = example.is_array() || example.is_object();
            let shown = if is_nested { shown.replace("null", "") } else { shown };
            assert!(!shows_nothing(&shown), "{text:?}: {shown}");
        }
        let shown = json.render(view).unwrap();
        assert!(serde_json::from_str::<Json>(&shown).is_ok(), "{json:?}: {shown}");
    }
}

/// Rules and templates that use a member in every way that its type allows.
fn uses(path: &str, example: &Json) -> (Vec<String>, Vec<String>) {
    let mut texts = vec![
        format!("{{{{ {path} }}}}"),
        format!("{{{{ {path} | default('-') }}}}"),
        format!("{{{{ {path} or '-' }}}}"),
        format!("{{% if {path} %}}{{{{ {path} }}}}{{% endif %}}"),
    ];
    let mut rules = vec![
        path.to_owned(),
        format!("not {path} and {path} is none"),
        format!("{path} == 'x' or {path} != 1 or {path} in ['x', 1, none]"),
        format!("{path} > 5 or {path} <= 'x' or 1 < {path} < 9"),
        format!("{path} is defined and {path} is not string and {path} is not number"),
    ];
    let is_nested = example.is_array() || example.is_object();
    if !is_nested {
        texts.push(format!("{{{{ {path} ~ '!' }}}}"));
        texts.push(format!("{{{{ {path} | string | upper | trim }}}}"));
    }
    match example {
        Json::Array(_) => {
            texts.extend([
                format!(
                    "{{% for item in {path} %}}{{{{ item }}}}{{{{ item.name }}}}{{% endfor %}}"
                ),
                format!("{{{{ {path} | map(attribute='name') | join(', ') }}}}"),
                format!(
                    "{{{{ {path} | length }}}}{{{{ {path} | first }}}}{{{{ {path}[0].name }}}}"
                ),
            ]);
            rules.push(format!("{path} | selectattr('name', 'eq', 'x') | list | length > 0"));
            rules.push(format!("'x' in {path}"));
        }
        Json::Number(_) => {
            texts.push(format!("{{{{ ({path} or 0) / 100 }}}}{{{{ {path} | int }}}}"));
            texts.push(format!("{{{{ '%.2f' | format(({path} or 0) / 100) }}}}"));
            rules.push(format!("{path} | int > 5 and ({path} or 0) * 2 > 1"));
        }
        Json::String(text) if text.len() >= 10 && text.starts_with("20") => {
            texts.push(format!("{{{{ {path} | local('Europe/Berlin') }}}}"));
            texts.push(format!("{{{{ {path} | local(data.start_timezone, '%d %b') }}}}"));
        }
        Json::String(_) => {
            texts.push(format!("{{{{ {path} | split | join(' ') | replace('a', 'b') }}}}"));
            rules.push(format!("'x' in {path} or {path} is startingwith 'x'"));
        }
        Json::Object(_) => {
            rules.push(format!("'x' in {path} or {path}.absent.deeper == 1"));
            texts.push(format!(
                "{{% for k, v in {path} | items %}}{{{{ k }}}}{{{{ v }}}}{{% endfor %}}"
            ));
        }
        Json::Bool(_) | Json::Null => {}
    }
    (rules, texts)
}
