//! What is generated from the rows of the keys: the tables in the manual and the JSON schema.

use std::{fmt::Write as _, fs};

use serde_json::{Value, json};
use wilco_config::{Key, Schema, ValueType};
use wilco_server::{config, service::KINDS};

use crate::{
    generated::{check_file, root},
    world::wilco,
};

#[test]
fn the_manual_and_the_json_schema_have_every_key() {
    let schema = config::schema(KINDS);
    let path = root("docs/configuration.md");
    let mut manual = fs::read_to_string(&path).unwrap();
    for table in schema.tables {
        let begins = format!("<!-- keys of {}: generated, see CONTRIBUTING.md -->\n", table.name);
        let (before, rest) = manual.split_once(&begins).expect(&begins);
        let (_, after) = rest.split_once(ENDS).expect(ENDS);
        manual = format!("{before}{begins}{}{ENDS}{after}", section(&schema, table.name));
    }
    check_file("docs/configuration.md", &manual);
    let schema = format!("{:#}\n", schema.to_json_schema("wilco.toml"));
    check_file("docs/wilco.schema.json", &schema);
    let output = wilco(&root(".")).arg("schema").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), schema, "wilco schema");
}

#[test]
fn every_row_has_a_description_and_an_example_that_its_type_allows() {
    let schema = config::schema(KINDS);
    let json = schema.to_json_schema("wilco.toml");
    let of_tables = schema.tables.iter().flat_map(|table| table.keys);
    let outer = of_tables.chain(schema.variants.iter().flat_map(|variant| variant.keys));
    for key in outer.flat_map(|key| [key].into_iter().chain(key.keys())) {
        assert!(!key.doc.is_empty(), "{}", key.name);
        let example: toml::Table = format!("x = {}", key.example).parse().unwrap();
        assert_eq!(example.len(), 1, "{}", key.name);
        for text in [Some(key.example), key.default].into_iter().flatten() {
            let text = text.trim_matches('"');
            let read = match key.value_type {
                ValueType::Size => wilco_config::size(text).map(drop),
                ValueType::Duration => wilco_config::duration(text).map(drop),
                ValueType::DurationOrForever => wilco_config::duration_or_forever(text).map(drop),
                ValueType::Rate => wilco_config::rate(text).map(drop),
                _ => Ok(()),
            };
            assert_eq!(read, Ok(()), "{}", key.name);
        }
    }
    for property in properties(&json) {
        for example in property["examples"].as_array().into_iter().flatten() {
            assert_eq!(invalid(&json, property, example), None, "{example}");
        }
        if let Some(default) = property.get("default") {
            assert_eq!(invalid(&json, property, default), None, "{default}");
        }
    }
}

/// The default of a row is what the code uses where the key is missing.
#[test]
fn a_file_with_every_default_means_the_same_as_one_without_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("secret"), "a-made-up-secret").unwrap();
    let schema = config::schema(KINDS);
    let defaults = |keys: &[Key]| -> String {
        let lines = keys.iter().filter_map(|key| match (key.default, key.keys()) {
            (Some(default), _) => Some(format!("{} = {default}\n", key.name)),
            (None, []) => None,
            // One that cannot consist of defaults.
            (None, inner) if inner.iter().any(|key| key.is_required) => None,
            (None, inner) => {
                let inner = inner.iter().filter_map(|key| Some((key.name, key.default?)));
                let inner: Vec<_> =
                    inner.map(|(name, default)| format!("{name} = {default}")).collect();
                (!inner.is_empty()).then(|| format!("{} = {{ {} }}\n", key.name, inner.join(", ")))
            }
        });
        lines.collect()
    };
    let load = |has_defaults: bool| {
        let mut file = String::new();
        for (heading, keys) in TABLES {
            let name = heading.trim_start_matches('[').split(['.', ']']).next().unwrap();
            let of_table = schema.table(name).unwrap().keys;
            let of_kind = schema.variants.iter();
            let of_kind = of_kind.filter(|kind| keys.contains(&format!("type = {:?}", kind.name)));
            let all =
                defaults(of_table) + &of_kind.map(|kind| defaults(kind.keys)).collect::<String>();
            // A default that means nothing without another key is an error.
            let all = all.replace("on_dead", "order_by = \"id\"\non_dead");
            let none = if name == "destination" { "order_by = \"id\"\n" } else { "" };
            file += &format!("{heading}\n{keys}\n{}", if has_defaults { &all } else { none });
        }
        fs::write(path("wilco.toml"), file.replace("FOLDER", &folder.path().display().to_string()))
            .unwrap();
        match config::load(&path("wilco.toml"), KINDS) {
            Ok((config, _)) => format!("{config:#?}"),
            Err(diagnostics) => panic!("{diagnostics}"),
        }
    };
    let (with, without) = (load(true), load(false));
    for (line, (with, without)) in with.lines().zip(without.lines()).enumerate() {
        assert_eq!(with, without, "line {line} of\n{without}");
    }
    assert_eq!(with.len(), without.len());
}

/// Every table and every kind of destination that have defaults, with the keys that have none. The defaults of a
/// provider are those of its language.
const TABLES: &[(&str, &str)] = &[
    ("[listen]", "address = \"127.0.0.1:0\"\ntls = \"self-signed\""),
    ("[store]", ""),
    ("[admin]", ""),
    (
        "[source.freispace]",
        "provider = \"freispace\"\npath = \"/\"\nsecrets = [{ file = \"FOLDER/secret\" }]",
    ),
    ("[destination.command]", "type = \"command\"\ncommand = \"/bin/true\""),
    ("[destination.file]", "type = \"file\"\npath = \"FOLDER/events\""),
    ("[destination.ntfy]", "type = \"ntfy\"\nurl = \"http://127.0.0.1/topic\"\ntext = \"a\""),
    ("[alerts]", "to = \"file\""),
];

#[test]
fn the_json_schema_accepts_the_examples_and_finds_mistakes_in_them() {
    let schema = config::schema(KINDS).to_json_schema("wilco.toml");
    let mut paths: Vec<_> =
        fs::read_dir(root("docs/examples")).unwrap().map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    paths.push(root("examples/wilco.toml"));
    assert!(paths.len() > 4, "{paths:?}");
    for path in &paths {
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(invalid(&schema, &schema, &to_json(&text)), None, "{}", path.display());
    }
    let good = fs::read_to_string(root("examples/wilco.toml")).unwrap();
    for (right, wrong) in [
        ("path = \"/webhook\"", "paht = \"/webhook\""),
        ("provider = \"freispace\"", ""),
        ("type = \"print\"", "type = \"prnt\""),
        ("type = \"print\"", "type = \"print\"\nurl = \"x\""),
        ("tls = \"off\"", "tls = \"of\""),
        ("[{ env = \"FREISPACE_SECRET\" }]", "[\"the-secret-itself\"]"),
        ("[{ env = \"FREISPACE_SECRET\" }]", "[{ environment = \"FREISPACE_SECRET\" }]"),
        ("type = \"print\"", "type = \"print\"\nconcurrency = 0"),
    ] {
        assert!(good.contains(right), "{right}");
        let bad = to_json(&good.replace(right, wrong));
        assert!(invalid(&schema, &schema, &bad).is_some(), "{wrong}");
    }
}

/// The generated part of the section of a table.
fn section(schema: &Schema, name: &str) -> String {
    let table = schema.table(name).unwrap();
    let of_table = || schema.variants.iter().filter(|variant| variant.table == name);
    let kinds: Vec<_> = of_table().map(|variant| format!("`{:?}`", variant.name)).collect();
    let mut section =
        rows(table.keys).replace("its kind", &format!("its kind: {}", kinds.join(", ")));
    let mut variants: Vec<(Vec<String>, String)> = Vec::new();
    for variant in of_table() {
        let (name, keys) = (format!("`type = {:?}`", variant.name), rows(variant.keys));
        match variants.iter_mut().find(|(_, known)| *known == keys) {
            Some((names, _)) => names.push(name),
            None => variants.push((vec![name], keys)),
        }
    }
    for (names, keys) in variants.iter().filter(|(_, keys)| keys.lines().count() > 2) {
        let _ = write!(section, "\nAlso with {}:\n\n{keys}", names.join(", "));
    }
    section
}

fn rows(keys: &[Key]) -> String {
    let mut rows = "| key | type | default | |\n|---|---|---|---|\n".to_owned();
    let row = |name: &str, key: &Key| {
        let default = match (key.is_required, key.default, key.absence) {
            (true, ..) => "required".to_owned(),
            (_, Some(default), _) => format!("`{default}`"),
            (.., absence) => absence.unwrap_or("none").to_owned(),
        };
        format!("| `{name}` | {} | {default} | {} |\n", key.value_type.name(), key.doc)
    };
    for key in keys {
        rows += &row(key.name, key);
        for inner in key.keys() {
            rows += &row(&format!("{}.{}", key.name, inner.name), inner);
        }
    }
    rows
}

/// The schemas of all keys, in whatever table.
fn properties(schema: &Value) -> Vec<&Value> {
    let own = ["properties", "$defs"].into_iter().filter_map(|word| schema[word].as_object());
    let own = own.flat_map(|keys| keys.values());
    let mut found: Vec<_> = own.clone().filter(|key| key.get("description").is_some()).collect();
    let inner = ["items", "additionalProperties"].map(|key| &schema[key]).into_iter();
    let variants = schema["oneOf"].as_array().into_iter().flatten();
    found.extend(
        own.chain(inner).chain(variants).filter(|schema| schema.is_object()).flat_map(properties),
    );
    found
}

/// Where a value violates a schema. Knows the keywords that ours uses, except `pattern`.
fn invalid(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = root.pointer(name.trim_start_matches('#')).unwrap();
        return invalid(root, schema, value);
    }
    let fails = |what: &str| Some(format!("{what}: {value}"));
    let is_type = match schema["type"].as_str() {
        None => true,
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64(),
        Some("number") => value.is_number(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some(_) => false,
    };
    if !is_type {
        return fails("type");
    }
    if schema.get("const").is_some_and(|expected| expected != value)
        || schema["enum"].as_array().is_some_and(|words| !words.contains(value))
    {
        return fails("const");
    }
    if let Some(number) = value.as_f64()
        && (schema["minimum"].as_f64().is_some_and(|least| number < least)
            || schema["maximum"].as_f64().is_some_and(|most| number > most))
    {
        return fails("range");
    }
    for (word, is_exact) in [("oneOf", true), ("anyOf", false)] {
        let Some(options) = schema[word].as_array() else { continue };
        let valid = options.iter().filter(|option| invalid(root, option, value).is_none()).count();
        if valid == 0 || is_exact && valid > 1 {
            return fails(word);
        }
    }
    if schema["minItems"].as_u64().is_some_and(|_| value.as_array().is_some_and(Vec::is_empty)) {
        return fails("minItems");
    }
    let items = value.as_array().into_iter().flatten();
    let mut wrong = items.filter_map(|item| invalid(root, &schema["items"], item));
    wrong.next().or_else(|| invalid_key(root, schema, value))
}

fn invalid_key(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    let table = value.as_object()?;
    let mut required = schema["required"].as_array().into_iter().flatten();
    if let Some(missing) = required.find(|key| !table.contains_key(key.as_str().unwrap())) {
        return Some(format!("missing {missing}"));
    }
    table.iter().find_map(|(key, value)| match schema["properties"].get(key) {
        Some(schema) => invalid(root, schema, value),
        None if schema["additionalProperties"] == json!(false) => Some(format!("unknown {key}")),
        None => invalid(root, &schema["additionalProperties"], value),
    })
}

fn to_json(text: &str) -> Value {
    let table: toml::Table = text.parse().unwrap();
    serde_json::to_value(table).unwrap()
}

const ENDS: &str = "<!-- end of keys -->\n";
