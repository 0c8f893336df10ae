//! Every listing of the API is read in pages. Which these are is read from the OpenAPI document, so that a new one
//! needs a row here, and an answer that grows needs a cursor.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::world::{World, booking};

/// Each listing, and the fields by which its rows are known.
const LISTINGS: &[(&str, &[&str])] = &[
    ("list_audit", &["number"]),
    ("list_backfills", &["source"]),
    ("list_destinations", &["destination"]),
    ("list_events", &["id"]),
    ("list_failures", &["destination", "error"]),
    ("list_gaps", &["source", "from"]),
    ("list_probed_requests", &["url"]),
    ("list_rejections", &["id"]),
    ("list_routes", &["route"]),
    ("list_secrets", &["source", "secret_name"]),
];

/// What has lists without being a listing: it is about one thing, whose own bounds they have.
const ABOUT_ONE_THING: [&str; 6] = [
    "explain_rejection",
    "explain_routes",
    "read_sample",
    "show_event",
    "show_overview",
    "show_rejection",
];

/// An operation of the OpenAPI document that only reads.
struct Operation {
    id: String,
    path: String,
    parameters: Vec<Value>,
    /// The names of the members of its answer, and those of them that are lists.
    members: BTreeSet<String>,
    lists: BTreeSet<String>,
}

fn operations(document: &Value) -> Vec<Operation> {
    let paths = document["paths"].as_object().unwrap().iter();
    let reading = paths.filter_map(|(path, operations)| Some((path, operations.get("get")?)));
    let described = reading.map(|(path, operation)| {
        let answer = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let members = members(document, answer);
        let lists = members.iter().filter(|(_, schema)| schema["type"] == "array");
        Operation {
            id: operation["operationId"].as_str().unwrap().into(),
            path: path.clone(),
            parameters: operation["parameters"].as_array().cloned().unwrap_or_default(),
            lists: lists.map(|(name, _)| name.clone()).collect(),
            members: members.into_iter().map(|(name, _)| name).collect(),
        }
    });
    described.collect()
}

fn members(document: &Value, schema: &Value) -> Vec<(String, Value)> {
    if let Some(name) = schema["$ref"].as_str() {
        return members(document, document.pointer(&name[1..]).unwrap());
    }
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let own = properties.map(|(name, schema)| (name.clone(), schema.clone()));
    own.chain(parts.flat_map(|part| members(document, part))).collect()
}

#[test]
fn whatever_answers_with_a_list_is_a_page_with_a_cursor_and_a_limit() {
    let world = World::plan().start();
    let document: Value = serde_json::from_str(&world.get("/api/openapi.json").body).unwrap();
    let mut listings = Vec::new();
    for operation in operations(&document) {
        let Operation { id, path, parameters, members, lists } = operation;
        let is_page = members.contains("items") && members.contains("next");
        let has = |name: &str| parameters.iter().any(|parameter| parameter["name"] == name);
        assert_eq!(is_page, id.starts_with("list_"), "{id}");
        assert_eq!(has("cursor"), is_page || id == "count_events", "{id}");
        assert_eq!(has("limit"), has("cursor"), "{id}");
        if is_page {
            listings.push(id);
        } else if !lists.is_empty() {
            assert!(ABOUT_ONE_THING.contains(&&*id), "{id} has no cursor: {path} {lists:?}");
        }
    }
    listings.sort();
    assert_eq!(listings, LISTINGS.iter().map(|(id, _)| *id).collect::<Vec<_>>());
}

#[test]
fn every_row_of_a_listing_is_on_one_page_although_rows_are_added_meanwhile() {
    let mut world = world();
    let document: Value = serde_json::from_str(&world.get("/api/openapi.json").body).unwrap();
    let operations = operations(&document);
    let mut cursor_of_another = None::<String>;
    for (id, fields) in LISTINGS {
        let path = &operations.iter().find(|operation| operation.id == *id).unwrap().path;
        // A restart ends a probe.
        let path = match path.contains("{id}") {
            true => path.replace("{id}", &open_probe(&world)),
            false => path.clone(),
        };
        let rows = |page: &Value| -> Vec<String> {
            page["items"].as_array().unwrap().iter().map(|row| key(fields, row)).collect()
        };
        let whole = page(&world, &format!("{path}?limit=1000"));
        assert_eq!(whole["next"], Value::Null, "{id}");
        let at_first = rows(&whole);
        assert!(at_first.len() >= 3, "{id} {whole}");
        let (mut seen, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let after = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
            let one = page(&world, &format!("{path}?limit=1{after}"));
            assert_eq!(rows(&one).len(), 1, "{id} {one}");
            seen.extend(rows(&one));
            cursor = one["next"].as_str().map(ToOwned::to_owned);
            if cursor.is_none() || seen.len() > at_first.len() + ADDED_MAX {
                break;
            }
            if seen.len() == 1 {
                world = add_rows(world, id);
            }
            refuse(&world, &path, "nope");
            refuse(&world, &path, cursor_of_another.as_deref().unwrap_or("%"));
        }
        let different: BTreeSet<_> = seen.iter().collect();
        assert_eq!(different.len(), seen.len(), "a row came twice: {id} {seen:?}");
        for row in at_first {
            assert!(seen.contains(&row), "{id} lacks {row}: {seen:?}");
        }
        cursor_of_another =
            page(&world, &format!("{path}?limit=1"))["next"].as_str().map(Into::into);
    }
}

#[test]
fn what_the_api_answers_is_as_the_openapi_document_describes_it() {
    let world = world();
    let probe = open_probe(&world);
    let document: Value = serde_json::from_str(&world.get("/api/openapi.json").body).unwrap();
    let newest = |path| page(&world, path)["items"][0]["id"].as_str().unwrap().to_owned();
    let (event, rejection) = (newest("/api/v1/events"), newest("/api/v1/rejections"));
    let mut described = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let answer = &operations["get"]["responses"]["200"]["content"]["application/json"];
        let Some(schema) = answer.get("schema") else { continue };
        let id = match path {
            path if path.contains("/events/") => &event,
            path if path.contains("/rejections/") => &rejection,
            _ => &probe,
        };
        let asked = path.replace("{id}", id).replace("{name}", "freispace");
        let answer = page(&world, &asked);
        let difference = difference(&document, schema, &answer);
        assert_eq!(difference, None, "{asked} {answer}");
        described += 1;
    }
    assert!(described >= LISTINGS.len() + ABOUT_ONE_THING.len(), "{described}");
}

/// Where a value is not as a schema says, as far as types, members and null are concerned.
fn difference(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return difference(document, document.pointer(&name[1..]).unwrap(), value);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = |choice| difference(document, choice, value).is_none();
        return (!choices.iter().any(fits)).then(|| format!("{value} is none of {schema}"));
    }
    if let Some(values) = schema["enum"].as_array() {
        return (!values.contains(value)).then(|| format!("{value} is none of {values:?}"));
    }
    let types: Vec<_> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let is_of_type = match value {
        Value::Null => types.contains(&"null"),
        Value::Bool(_) => types.contains(&"boolean"),
        Value::Number(number) => {
            types.contains(&"number") || (types.contains(&"integer") && !number.is_f64())
        }
        Value::String(_) => types.contains(&"string"),
        Value::Array(_) => types.contains(&"array"),
        Value::Object(_) => types.contains(&"object") || schema.get("allOf").is_some(),
    };
    if !is_of_type {
        return Some(format!("{value} is not of {types:?}"));
    }
    if let Value::Array(items) = value {
        return items.iter().find_map(|item| difference(document, &schema["items"], item));
    }
    let Value::Object(fields) = value else { return None };
    if let Some(any) = schema.get("additionalProperties") {
        return fields.values().find_map(|value| difference(document, any, value));
    }
    let members = members(document, schema);
    let required = required(document, schema);
    let missing = required.iter().find(|name| !fields.contains_key(*name));
    let missing = missing.map(|name| format!("{name} is missing"));
    missing.or_else(|| {
        fields.iter().find_map(|(name, value)| {
            let Some((_, schema)) = members.iter().find(|(member, _)| member == name) else {
                return Some(format!("{name} is not described"));
            };
            difference(document, schema, value).map(|difference| format!("{name}: {difference}"))
        })
    })
}

fn required(document: &Value, schema: &Value) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return required(document, document.pointer(&name[1..]).unwrap());
    }
    let own = schema["required"].as_array().into_iter().flatten();
    let own = own.map(|name| name.as_str().unwrap().to_owned());
    let parts = schema["allOf"].as_array().into_iter().flatten();
    own.chain(parts.flat_map(|part| required(document, part))).collect()
}

/// With at least three rows of each listing.
fn world() -> World {
    let world = World::plan().env("TOKEN", "a-made-up-token").and(TABLES).start();
    // What was there before the restart has a gap for each source with a backfill.
    let world = world.restart();
    for number in 0..3 {
        assert_eq!(world.send(&booking(&format!("b-{number}"), "A")).status, 200);
        assert_eq!(world.post("{}", &[("x-freispace-signature", &"0".repeat(64))]).status, 403);
        act(&world);
    }
    world.eventually("three groups of failures", |world| {
        page(world, "/api/v1/failures")["items"].as_array().unwrap().len() == 3
    });
    world.eventually("the rejections are stored", |world| {
        world.count("SELECT count(*) FROM rejection") == 3
    });
    world
}

/// Adds rows to this listing, and makes the groups of failures larger.
fn add_rows(world: World, id: &str) -> World {
    if id == "list_gaps" {
        return world.restart();
    }
    assert_eq!(world.send(&booking(&format!("b-{id}"), "A")).status, 200);
    assert_eq!(world.post("{}", &[("x-freispace-signature", &"0".repeat(64))]).status, 403);
    act(&world);
    world
}

/// An action for the audit list.
fn act(world: &World) {
    let headers = [("authorization", &*world.authorization())];
    let reply = world.ask("POST", "/api/v1/destinations/crm/resume", &headers, "");
    assert_eq!(reply.status, 204, "{reply:?}");
}

/// The id of a probe that three requests belong to.
fn open_probe(world: &World) -> String {
    let token = world.authorization();
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    let opened = world.ask("POST", "/api/v1/probes", &headers, "{\"source\":\"freispace\"}");
    let opened: Value = serde_json::from_str(&opened.body).unwrap();
    let id = opened["id"].as_str().unwrap();
    for number in 0..3 {
        let path = format!("/webhook?number={number}");
        let reply = world.post_to(&path, "{}", &[("x-wilco-probe", id)]);
        assert_eq!(reply.status, 400, "without a signature");
    }
    id.into()
}

/// A cursor of something else is refused, and the answer says where to get one.
fn refuse(world: &World, path: &str, cursor: &str) {
    let reply = world.get(&format!("{path}?limit=1&cursor={cursor}"));
    assert_eq!(reply.status, 400, "{path} {cursor}: {}", reply.body);
    let hint = "expected `next` of a page of this listing";
    assert!(reply.body.contains(hint), "{path} {cursor}: {}", reply.body);
}

fn page(world: &World, path: &str) -> Value {
    let reply = world.get(path);
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    serde_json::from_str(&reply.body).unwrap()
}

/// The fields of a row by which it is known.
fn key(fields: &[&str], row: &Value) -> String {
    let fields: Vec<_> = fields.iter().map(|field| &row[*field]).collect();
    assert!(fields.iter().all(|field| !field.is_null()), "{fields:?} {row}");
    json!(fields).to_string()
}

/// More rows than are ever added while a listing is read.
const ADDED_MAX: usize = 20;
/// Three of whatever the configuration has, and three ways to fail.
const TABLES: &str = r#"
[source.first]
provider = "stripe"
path = "/first"
secrets = [{ env = "FREISPACE_SECRET" }]
backfill = { token = { env = "TOKEN" }, url = "http://127.0.0.1:1/" }
[source.second]
provider = "stripe"
path = "/second"
secrets = [{ env = "FREISPACE_SECRET" }]
backfill = { token = { env = "TOKEN" }, url = "http://127.0.0.1:1/" }
[source.third]
provider = "stripe"
path = "/third"
secrets = [{ env = "FREISPACE_SECRET" }]
backfill = { token = { env = "TOKEN" }, url = "http://127.0.0.1:1/" }
[destination.crm]
type = "command"
command = ["sh", "-c", "exit 3"]
retry = { first = "1 s", give_up_after = "1 s" }
breaker = { failures = 1000 }
[destination.erp]
type = "command"
command = ["sh", "-c", "exit 4"]
retry = { first = "1 s", give_up_after = "1 s" }
breaker = { failures = 1000 }
[destination.mail]
type = "command"
command = ["sh", "-c", "exit 5"]
retry = { first = "1 s", give_up_after = "1 s" }
breaker = { failures = 1000 }
[[route]]
to = ["crm"]
[[route]]
to = ["erp"]
[[route]]
to = ["mail"]
"#;
