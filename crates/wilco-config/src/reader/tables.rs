//! Tables in a table: one, one for each name, or a list of them.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{TableReader, Value};
use crate::{
    key::{Form, Key, Table},
    nearest::nearest,
};

impl<'a> TableReader<'a> {
    /// Reads the whole table as a value that describes itself to serde. The first mistake is reported where
    /// it is.
    pub fn deserialize<T: DeserializeOwned>(&mut self) -> Option<T> {
        self.read = self.rows.iter().map(|row| row.name).collect();
        let table = Spanned::new(self.span.clone(), DeValue::Table(self.table.clone()));
        let error = match T::deserialize(ValueDeserializer::from(table)) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let span = error.span().unwrap_or_else(|| self.span.clone());
        let hint = format!("[{}] is read as the manual describes it", self.name);
        self.error(&span, error.message().to_owned(), &hint);
        None
    }

    /// Reads a table in this one, such as `retry = { … }`.
    pub fn inner(&mut self, key: &'static str) -> Option<TableReader<'a>> {
        let value = self.value(key)?;
        let table = self.as_table(key, value)?;
        let keys = self.row(key).map_or(&[][..], Key::keys);
        Some(self.reader(key, keys, table, value.span()))
    }

    /// Reads `[table]` of the root.
    pub fn table(&self, table: &'static Table) -> Option<TableReader<'a>> {
        let value = self.values(table).into_iter().next()?;
        let inner = self.as_root_table(table, table.name, value)?;
        Some(self.reader(table.name, table.keys, inner, value.span()))
    }

    /// Reads the tables `[table.NAME]` of the root.
    pub fn tables_by_name(&self, table: &'static Table) -> Vec<TableReader<'a>> {
        let mut readers = Vec::new();
        for value in self.values(table) {
            let Some(tables) = self.as_root_table(table, table.name, value) else { continue };
            if tables.values().any(|value| !value.get_ref().is_table()) {
                let message = format!("[{}] needs a name", table.name);
                self.error(&value.span(), message, &root_hint(table));
                continue;
            }
            for (name, value) in tables {
                let full = format!("{}.{}", table.name, name.get_ref());
                if let Some(inner) = self.as_root_table(table, &full, value) {
                    readers.push(self.reader(&full, table.keys, inner, name.span()));
                }
            }
        }
        readers
    }

    /// The NAMEs of the tables `[table.NAME]` of the root.
    pub fn names(&self, table: &'static Table) -> Vec<String> {
        let values = self.values(table);
        let tables = values.iter().filter_map(|value| value.get_ref().as_table());
        tables.flatten().map(|(name, _)| name.get_ref().to_string()).collect()
    }

    /// Reads the tables `[[table]]` of the root.
    pub fn list_of_tables(&self, table: &'static Table) -> Vec<TableReader<'a>> {
        let name = table.name;
        if let Some(value) = self.table.get(name).filter(|value| !value.get_ref().is_array()) {
            let hint = format!("each [[{name}]] is one of a list");
            self.error(&value.span(), format!("write [[{name}]], with two brackets"), &hint);
        }
        let mut readers = Vec::new();
        for value in self.values(table) {
            match value.get_ref() {
                DeValue::Array(values) => {
                    for value in values {
                        if let Some(inner) = self.as_root_table(table, name, value) {
                            readers.push(self.reader(name, table.keys, inner, value.span()));
                        }
                    }
                }
                DeValue::Table(inner) => {
                    readers.push(self.reader(name, table.keys, inner, value.span()));
                }
                _ => {}
            }
        }
        readers
    }

    /// The value with the name of this table, and values whose names are probably misspelt. Those are
    /// read like the table itself, so that a misspelt name is a single mistake, and not also the cause
    /// of others.
    fn values(&self, table: &'static Table) -> Vec<Value<'a>> {
        let is_meant = |name: &str| {
            self.schema.table(name).is_none()
                && nearest(name, self.schema.table_names()) == Some(table.name)
        };
        let misspelt = self.table.iter().filter(|(name, value)| {
            let is_table = value.get_ref().is_table() || value.get_ref().is_array();
            is_table && is_meant(name.get_ref())
        });
        let own = self.table.get(table.name);
        own.into_iter().chain(misspelt.map(|(_, value)| value)).collect()
    }

    fn as_root_table(
        &self,
        table: &'static Table,
        name: &str,
        value: Value<'a>,
    ) -> Option<&'a DeTable<'a>> {
        let inner = value.get_ref().as_table();
        if inner.is_none() {
            let message = format!("{name} must be a table, not {}", super::with_article(value));
            self.error(&value.span(), message, &root_hint(table));
        }
        inner
    }

    fn reader(
        &self,
        name: &str,
        keys: &'static [Key],
        table: &'a DeTable<'a>,
        span: Range<usize>,
    ) -> TableReader<'a> {
        let name = match self.name.as_str() {
            "" => name.to_owned(),
            above => format!("{above}.{name}"),
        };
        let rows = keys.iter().collect();
        let (read, missing) = (Vec::new(), Vec::new());
        TableReader { table, span, name, rows, read, missing, ..*self }
    }
}

/// An example of the table's heading.
fn root_hint(table: &Table) -> String {
    match table.form {
        Form::Named(example) => format!("such as [{}.{example}]", table.name),
        Form::Single | Form::List => format!("such as {}", table.heading()),
    }
}
