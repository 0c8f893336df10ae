//! The JSON schema of a file, for editors: completion, documentation and checks while it is written.

use serde_json::{Map, Value, json};

use crate::key::{Form, Key, ReferenceKind, Schema, Table, ValueType};

impl Schema {
    /// The file as a JSON schema (draft 2020-12).
    pub fn to_json_schema(&self, title: &str) -> Value {
        let tables =
            self.tables.iter().map(|table| (table.name.to_owned(), self.table_schema(table)));
        let required =
            self.tables.iter().filter(|table| table.without.is_some()).map(|table| table.name);
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": title,
            "type": "object",
            "properties": tables.collect::<Map<_, _>>(),
            "required": required.collect::<Vec<_>>(),
            "additionalProperties": false,
            "$defs": { "reference": reference() },
        })
    }

    fn table_schema(&self, table: &Table) -> Value {
        let variants: Vec<_> =
            self.variants.iter().filter(|variant| variant.table == table.name).collect();
        let one = match variants.as_slice() {
            [] => object(table.keys.iter()),
            variants => {
                let variants = variants.iter().map(|variant| {
                    let mut schema = object(table.keys.iter().chain(variant.keys));
                    schema["properties"]["type"] = json!({ "const": variant.name });
                    schema
                });
                json!({ "oneOf": variants.collect::<Vec<_>>() })
            }
        };
        match table.form {
            Form::Single => one,
            Form::Named(_) => json!({ "type": "object", "additionalProperties": one }),
            Form::List => json!({ "type": "array", "items": one }),
        }
    }
}

/// A table that has these keys and no others.
fn object<'k>(keys: impl Iterator<Item = &'k Key> + Clone) -> Value {
    let required: Vec<_> = keys.clone().filter(|key| key.is_required).map(|key| key.name).collect();
    let properties: Map<_, _> = keys.map(|key| (key.name.to_owned(), property(key))).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut schema = value(key.value_type);
    schema["description"] = key.doc.into();
    if let Some(default) = key.default.and_then(from_toml) {
        schema["default"] = default;
    }
    if let Some(example) = from_toml(key.example) {
        schema["examples"] = json!([example]);
    }
    schema
}

fn value(value_type: ValueType) -> Value {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match value_type {
        ValueType::Text | ValueType::Path | ValueType::Expression | ValueType::Template => {
            json!({ "type": "string" })
        }
        ValueType::Size => text("^[0-9]+ *(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)?$"),
        ValueType::Duration => text("^[0-9]+ *(ms|s|min|h|days?)$"),
        ValueType::Rate => text("^[0-9]+ */ *(s|min|h)$"),
        ValueType::Integer(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        ValueType::Number(least, most) => {
            json!({ "type": "number", "minimum": least, "maximum": most })
        }
        ValueType::Boolean => json!({ "type": "boolean" }),
        ValueType::OneOf(words) => json!({ "enum": words }),
        ValueType::Reference => json!({ "$ref": "#/$defs/reference" }),
        ValueType::TextOrReference => {
            json!({ "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/reference" }] })
        }
        ValueType::ListOf(item @ ValueType::Reference) => {
            json!({ "type": "array", "items": value(*item), "minItems": 1 })
        }
        ValueType::ListOf(item) => {
            let list = json!({ "type": "array", "items": value(*item), "minItems": 1 });
            json!({ "anyOf": [value(*item), list] })
        }
        ValueType::Table(keys) => object(keys.iter()),
        ValueType::MapOf(item) => {
            json!({ "type": "object", "additionalProperties": value(*item) })
        }
    }
}

fn reference() -> Value {
    let kind = |name: &str| {
        json!({
            "type": "object",
            "properties": { name: { "type": "string" } },
            "required": [name],
            "additionalProperties": false,
        })
    };
    json!({ "oneOf": ReferenceKind::ALL.map(|reference| kind(reference.name())) })
}

/// A value of TOML as JSON.
fn from_toml(text: &str) -> Option<Value> {
    let table: toml::Table = format!("value = {text}").parse().ok()?;
    serde_json::to_value(table.get("value")?).ok()
}
