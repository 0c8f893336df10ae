//! Tables in a table: one, one for each name, or a list of them.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::{Keys, Value, nearest};
use crate::config::TABLES;

impl<'a> Keys<'a> {
    pub(crate) fn table(&mut self, key: &'static str) -> Option<Keys<'a>> {
        let value = self.value(key).or_else(|| self.misspelt(key).next())?;
        let table = self.as_table(key, value);
        table.map(|table| self.below(key, table, value.span()))
    }

    /// The tables `[key.NAME]`.
    pub(crate) fn tables_by_name(&mut self, key: &'static str) -> Vec<Keys<'a>> {
        let own = self.value(key);
        let mut found = Vec::new();
        for value in own.into_iter().chain(self.misspelt(key)) {
            let Some(tables) = self.as_table(key, value) else { continue };
            if tables.values().any(|value| !value.get_ref().is_table()) {
                let example = if key == "source" { "freispace" } else { "crew-chat" };
                let hint = format!("such as [{key}.{example}]");
                self.note(&value.span(), format!("[{key}] needs a name"), &hint);
                continue;
            }
            for (name, value) in tables {
                let full = format!("{key}.{}", name.get_ref());
                if let Some(table) = self.as_table(&full, value) {
                    found.push(self.below(&full, table, name.span()));
                }
            }
        }
        found
    }

    /// What stands at the root under a name that was probably meant for this table. It is read like
    /// the table itself: the misspelt name is one fault, and what is missing without it is none.
    fn misspelt(&self, key: &str) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let is_meant = |name: &str| {
            self.name.is_empty()
                && !TABLES.contains(&name)
                && nearest(name, TABLES.into_iter()) == Some(key)
        };
        let meant = self.table.iter().filter(|(name, _)| is_meant(name.get_ref()));
        let tables =
            meant.filter(|(_, value)| value.get_ref().is_table() || value.get_ref().is_array());
        tables.map(|(_, value)| value).collect::<Vec<_>>().into_iter()
    }

    /// The NAMEs of `[key.NAME]`.
    pub(crate) fn names(&self, key: &str) -> Vec<String> {
        let values = self.table.get(key).into_iter().chain(self.misspelt(key));
        let tables = values.filter_map(|value| value.get_ref().as_table());
        tables.flatten().map(|(name, _)| name.get_ref().to_string()).collect()
    }

    /// The tables `[[key]]`.
    pub(crate) fn list_of_tables(&mut self, key: &'static str) -> Vec<Keys<'a>> {
        let own = self.value(key);
        if let Some(value) = own.filter(|value| !value.get_ref().is_array()) {
            let hint = "each [[route]] is one of a list";
            self.note(&value.span(), format!("write [[{key}]], with two brackets"), hint);
        }
        let mut found = Vec::new();
        for value in own.into_iter().chain(self.misspelt(key)) {
            match value.get_ref() {
                DeValue::Array(values) => {
                    for value in values {
                        if let Some(table) = self.as_table(key, value) {
                            found.push(self.below(key, table, value.span()));
                        }
                    }
                }
                DeValue::Table(table) => found.push(self.below(key, table, value.span())),
                _ => {}
            }
        }
        found
    }

    fn below(&self, name: &str, table: &'a DeTable<'a>, place: Range<usize>) -> Keys<'a> {
        let name = match self.name.as_str() {
            "" => name.to_owned(),
            above => format!("{above}.{name}"),
        };
        let (asked, missing) = (Vec::new(), Vec::new());
        Keys { table, place, name, asked, missing, ..*self }
    }
}
