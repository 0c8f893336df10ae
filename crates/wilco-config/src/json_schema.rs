//! The JSON schema of a file, for editors: completion, documentation and checks while it is written.

use serde_json::{Map, Value, json};

use crate::key::{Form, Key, ReferenceKind, Schema, Table, ValueType, Variant};

impl Schema {
    /// The file as a JSON schema (draft 2020-12).
    pub fn to_json_schema(&self, title: &str) -> Value {
        let mut shapes = Shapes::default();
        let tables = self.tables.iter();
        let tables: Map<_, _> = tables
            .map(|table| (table.name.to_owned(), self.table_schema(table, &mut shapes)))
            .collect();
        let required =
            self.tables.iter().filter(|table| table.without.is_some()).map(|table| table.name);
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": title,
            "type": "object",
            "properties": tables,
            "required": required.collect::<Vec<_>>(),
            "additionalProperties": false,
            "$defs": shapes.0,
        })
    }

    fn table_schema(&self, table: &Table, shapes: &mut Shapes) -> Value {
        let variants: Vec<_> =
            self.variants.iter().filter(|variant| variant.table == table.name).collect();
        let one = match variants.as_slice() {
            [] => shapes.object(table.keys),
            variants => shapes.one_of(table, variants),
        };
        match table.form {
            Form::Single => one,
            Form::Named(_) => json!({ "type": "object", "additionalProperties": one }),
            Form::List => json!({ "type": "array", "items": one }),
        }
    }
}

/// The shapes that the schema uses by name (`$defs`), so that each is there once.
#[derive(Default)]
struct Shapes(Map<String, Value>);

impl Shapes {
    /// A reference to a shape, which is made if this is its first use.
    fn named(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.0.contains_key(name) {
            let shape = make(self);
            self.0.insert(name.to_owned(), shape);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    /// A table that has these keys and no others.
    fn object(&mut self, keys: &[Key]) -> Value {
        let properties = keys.iter().map(|key| (key.name.to_owned(), self.property(key))).collect();
        object(&properties, keys.iter())
    }

    /// A table whose key `type` decides which further keys it has. Variants with the same keys are one shape.
    fn one_of(&mut self, table: &Table, variants: &[&Variant]) -> Value {
        let mut shapes: Vec<(Value, Vec<&str>)> = Vec::new();
        for variant in variants {
            let shared = table.keys.iter().filter(|key| key.name != "type");
            let shared = shared.map(|key| {
                let name = format!("{}.{}", table.name, key.name);
                (key.name.to_owned(), self.named(&name, |shapes| shapes.property(key)))
            });
            let mut properties: Map<_, _> = shared.collect();
            let own = variant.keys.iter();
            properties.extend(own.map(|key| (key.name.to_owned(), self.property(key))));
            let shape = object(&properties, table.keys.iter().chain(variant.keys));
            match shapes.iter_mut().find(|(known, _)| *known == shape) {
                Some((_, names)) => names.push(variant.name),
                None => shapes.push((shape, vec![variant.name])),
            }
        }
        let shapes = shapes.into_iter().map(|(mut shape, names)| {
            shape["properties"]["type"] = json!({ "enum": names });
            shape
        });
        json!({ "oneOf": shapes.collect::<Vec<_>>() })
    }

    fn property(&mut self, key: &Key) -> Value {
        let mut schema = self.value(key.value_type);
        schema["description"] = key.doc.into();
        if let Some(default) = key.default.and_then(from_toml) {
            schema["default"] = default;
        }
        if let Some(example) = from_toml(key.example) {
            schema["examples"] = json!([example]);
        }
        schema
    }

    fn value(&mut self, value_type: ValueType) -> Value {
        let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
        match value_type {
            ValueType::Text | ValueType::Path | ValueType::Expression | ValueType::Template => {
                json!({ "type": "string" })
            }
            ValueType::Size => {
                self.named("size", |_| text("^[0-9]+ *(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)?$"))
            }
            ValueType::Duration => self.named("time", |_| text("^[0-9]+ *(ms|s|min|h|days?)$")),
            ValueType::DurationOrForever => self.named("time-or-forever", |_| {
                text("^([0-9]+ *(ms|s|min|h|days?)|forever)$")
            }),
            ValueType::Rate => self.named("rate", |_| text("^[0-9]+ */ *(s|min|h)$")),
            ValueType::Integer(least, most) => {
                json!({ "type": "integer", "minimum": least, "maximum": most })
            }
            ValueType::Number(least, most) => {
                json!({ "type": "number", "minimum": least, "maximum": most })
            }
            ValueType::Boolean => json!({ "type": "boolean" }),
            ValueType::OneOf(words) => json!({ "enum": words }),
            ValueType::Reference => self.named("reference", |_| reference()),
            ValueType::TextOrReference => self.named("text-or-reference", |shapes| {
                json!({ "anyOf": [{ "type": "string" }, shapes.value(ValueType::Reference)] })
            }),
            ValueType::ListOf(item) => {
                let item_schema = self.value(*item);
                let list = json!({ "type": "array", "items": item_schema, "minItems": 1 });
                match item {
                    ValueType::Reference => list,
                    _ => json!({ "anyOf": [item_schema, list] }),
                }
            }
            ValueType::Table(name, keys) => self.named(name, |shapes| shapes.object(keys)),
            ValueType::MapOf(item) => {
                json!({ "type": "object", "additionalProperties": self.value(*item) })
            }
        }
    }
}

fn object<'k>(properties: &Map<String, Value>, keys: impl Iterator<Item = &'k Key>) -> Value {
    let required: Vec<_> = keys.filter(|key| key.is_required).map(|key| key.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
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
