//! Reads the tables at the root of a file: one, one for each name, or a list of them.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    diagnostics::DiagnosticSink,
    excerpt::is_ordinary,
    key::{Form, Schema, Table},
    nearest::nearest,
    reader::{TableReader, Value, with_article},
    view::TableView,
};

/// Reads a file table by table. Each comes with its view, for checks that need more than one table.
pub struct FileReader<'a> {
    root: TableView<'a>,
}

impl<'a> FileReader<'a> {
    /// Reads a file with the tables of `schema`.
    pub fn new(
        root: &'a Spanned<DeTable<'a>>,
        diagnostics: &'a DiagnosticSink,
        schema: &'a Schema,
    ) -> Self {
        let (table, name, rows) = (root.get_ref(), String::new(), Vec::new());
        Self { root: TableView { table, span: 0..0, name, rows, diagnostics, schema } }
    }

    /// The root, whose keys are the tables.
    pub fn view(&self) -> &TableView<'a> {
        &self.root
    }

    /// Reads `[table]`.
    pub fn table<T>(
        &self,
        table: &'static Table,
        read: impl FnOnce(&mut TableReader<'a>) -> T,
    ) -> Option<(TableView<'a>, T)> {
        let value = self.values(table).into_iter().next()?;
        let inner = self.as_table(table, table.name, value)?;
        Some(TableReader::read(self.root.of(table.name, table.keys, inner, value.span()), read))
    }

    /// Reads the tables `[table.NAME]`.
    pub fn tables_by_name<T>(
        &self,
        table: &'static Table,
        mut read: impl FnMut(&mut TableReader<'a>) -> T,
    ) -> Vec<(TableView<'a>, T)> {
        let mut found = Vec::new();
        for value in self.values(table) {
            let Some(tables) = self.as_table(table, table.name, value) else { continue };
            if tables.values().any(|value| !value.get_ref().is_table()) {
                let message = format!("[{}] needs a name", table.name);
                self.root.error(&value.span(), message, &heading_hint(table));
                continue;
            }
            for (name, value) in tables {
                let full = format!("{}.{}", table.name, name.get_ref());
                if let Some(inner) = self.as_table(table, &full, value) {
                    let view = self.root.of(&full, table.keys, inner, name.span());
                    found.push(TableReader::read(view, &mut read));
                }
            }
        }
        found
    }

    /// The NAMEs of the tables `[table.NAME]`.
    pub fn names(&self, table: &'static Table) -> Vec<String> {
        let values = self.values(table);
        let tables = values.iter().filter_map(|value| value.get_ref().as_table());
        tables.flatten().map(|(name, _)| name.get_ref().to_string()).collect()
    }

    /// Reads the tables `[[table]]`.
    pub fn list_of_tables<T>(
        &self,
        table: &'static Table,
        mut read: impl FnMut(&mut TableReader<'a>) -> T,
    ) -> Vec<(TableView<'a>, T)> {
        let name = table.name;
        if let Some(value) = self.root.table.get(name).filter(|value| !value.get_ref().is_array()) {
            let hint = format!("each [[{name}]] is one of a list");
            self.root.error(&value.span(), format!("write [[{name}]], with two brackets"), &hint);
        }
        let mut found = Vec::new();
        let mut add = |inner, value: Value<'a>| {
            let view = self.root.of(name, table.keys, inner, value.span());
            found.push(TableReader::read(view, &mut read));
        };
        for value in self.values(table) {
            match value.get_ref() {
                DeValue::Array(values) => {
                    for value in values {
                        if let Some(inner) = self.as_table(table, name, value) {
                            add(inner, value);
                        }
                    }
                }
                DeValue::Table(inner) => add(inner, value),
                _ => {}
            }
        }
        found
    }

    /// Reports unknown tables, each with the known one that was probably meant, and missing ones.
    pub fn finish(self) {
        let Self { root } = &self;
        for key in root.table.keys() {
            let name = key.get_ref().as_ref();
            if root.schema.table(name).is_some() {
                continue;
            }
            let near = nearest(name, root.schema.table_names());
            let hint = match near.and_then(|near| root.schema.table(near)) {
                Some(near) => format!("did you mean {}?", near.heading()),
                None => {
                    let known: Vec<_> = root.schema.table_names().collect();
                    format!("known here: {}", known.join(", "))
                }
            };
            let shown = if is_ordinary(name, root.schema) { name } else { "" };
            root.error(&key.span(), format!("unknown key {shown}").trim_end().into(), &hint);
        }
        for table in root.schema.tables {
            let is_there = match table.form {
                Form::Named(_) => !self.names(table).is_empty(),
                Form::Single | Form::List => !self.values(table).is_empty(),
            };
            if let Some(without) = table.without.filter(|_| !is_there) {
                let required = table.keys.iter().filter(|key| key.is_required);
                let required: Vec<_> = required.map(|key| key.name).collect();
                let hint = format!("{}, with {}", table.example_heading(), list(&required));
                root.error_here(&format!("no {}: {without}", table.heading()), &hint);
            }
        }
    }

    /// The value with the name of this table, and values whose names are probably misspelt. Those are
    /// read like the table itself, so that a misspelt name is a single mistake, and not also the cause
    /// of others.
    fn values(&self, table: &'static Table) -> Vec<Value<'a>> {
        let TableView { table: root, schema, .. } = self.root;
        let is_meant = |name: &str| {
            schema.table(name).is_none() && nearest(name, schema.table_names()) == Some(table.name)
        };
        let misspelt = root.iter().filter(|(name, value)| {
            let is_table = value.get_ref().is_table() || value.get_ref().is_array();
            is_table && is_meant(name.get_ref())
        });
        let own = root.get(table.name);
        own.into_iter().chain(misspelt.map(|(_, value)| value)).collect()
    }

    fn as_table(
        &self,
        table: &'static Table,
        name: &str,
        value: Value<'a>,
    ) -> Option<&'a DeTable<'a>> {
        let inner = value.get_ref().as_table();
        if inner.is_none() {
            let message = format!("{name} must be a table, not {}", with_article(value));
            self.root.error(&value.span(), message, &heading_hint(table));
        }
        inner
    }
}

fn heading_hint(table: &Table) -> String {
    format!("such as {}", table.example_heading())
}

/// `a, b and c`.
fn list(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => words.concat(),
    }
}
