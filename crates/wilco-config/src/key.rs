//! What a file can contain: tables and keys, as rows that the owner of the file brings.

/// One key of a table.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// A value that works, as TOML.
    pub example: &'static str,
    /// Whether its value may be a secret, so that no diagnostic shows it.
    pub is_secret: bool,
    /// The keys of its own table, where it is one.
    pub keys: &'static [Key],
}

/// A table at the root of the file.
#[derive(Debug)]
pub struct Table {
    /// Its name, without brackets.
    pub name: &'static str,
    /// How it is written.
    pub form: Form,
    /// The keys that it always has.
    pub keys: &'static [Key],
}

/// How a table at the root of the file is written.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// `[table]`
    Single,
    /// `[table.NAME]`, with an example of a name.
    Named(&'static str),
    /// `[[table]]`
    List,
}

/// All tables and keys of a file.
#[derive(Debug)]
pub struct Schema {
    tables: &'static [&'static Table],
    /// Keys that a table has only with certain values of other keys.
    variants: Vec<&'static [Key]>,
}

impl Key {
    /// A key whose value cannot be a secret.
    pub const fn shown(name: &'static str, example: &'static str) -> Self {
        Self { name, example, is_secret: false, keys: &[] }
    }

    /// A key whose value may be a secret.
    pub const fn secret(name: &'static str, example: &'static str) -> Self {
        Self { name, example, is_secret: true, keys: &[] }
    }

    /// A key that is a table with these keys.
    pub const fn table(name: &'static str, example: &'static str, keys: &'static [Self]) -> Self {
        Self { name, example, is_secret: false, keys }
    }
}

impl Table {
    /// How its heading is written, such as `[source.NAME]`.
    pub fn heading(&self) -> String {
        match self.form {
            Form::Single => format!("[{}]", self.name),
            Form::Named(_) => format!("[{}.NAME]", self.name),
            Form::List => format!("[[{}]]", self.name),
        }
    }
}

impl Schema {
    /// These tables, and keys that some of them have only with certain values of other keys.
    pub fn new(
        tables: &'static [&'static Table],
        variants: impl IntoIterator<Item = &'static [Key]>,
    ) -> Self {
        Self { tables, variants: variants.into_iter().collect() }
    }

    /// The table of this name.
    pub fn table(&self, name: &str) -> Option<&'static Table> {
        self.tables.iter().find(|table| table.name == name).copied()
    }

    /// The names of the tables.
    pub(crate) fn table_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.tables.iter().map(|table| table.name)
    }

    /// Whether no key of this name is secret, in any table.
    pub(crate) fn is_harmless(&self, name: &str) -> bool {
        let keys = self.keys();
        let mut keys = keys.iter().filter(|key| key.name == name).peekable();
        keys.peek().is_some() && keys.all(|key| !key.is_secret)
    }

    /// Whether this word has a meaning in the file.
    pub(crate) fn is_known(&self, word: &str) -> bool {
        self.table(word).is_some()
            || REFERENCE_KINDS.contains(&word)
            || self.keys().iter().any(|key| key.name == word)
    }

    /// The keys of all tables, and of the tables in them.
    fn keys(&self) -> Vec<&'static Key> {
        let of_tables = self.tables.iter().flat_map(|table| table.keys);
        let of_variants = self.variants.iter().copied().flatten();
        let outer = of_tables.chain(of_variants);
        outer.flat_map(|key| std::iter::once(key).chain(key.keys)).collect()
    }
}

/// Whether a header, a variable or a parameter of this name usually contains a credential.
pub fn is_credential_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let words = ["authorization", "api-key", "apikey", "cookie", "password", "secret", "token"];
    words.iter().any(|word| name.contains(word))
}

/// The kinds of references to secrets.
const REFERENCE_KINDS: [&str; 3] = ["env", "file", "credential"];
