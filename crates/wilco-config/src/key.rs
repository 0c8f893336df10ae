//! What a file can contain: tables and keys, as rows that the owner of the file brings.

/// One key of a table: everything that the reader, the manual and the JSON schema say about it.
///
/// It is written as one row beside the code that reads it:
///
/// ```
/// use wilco_config::{Key, ValueType};
///
/// static KEYS: &[Key] = &[
///     Key::new("max_size", ValueType::Size, "\"100 MiB\"").default("\"100 MiB\"").doc("Of one file."),
/// ];
/// ```
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value can be.
    pub value_type: ValueType,
    /// A value that works, as TOML.
    pub example: &'static str,
    /// The value that is used if it is missing, as TOML.
    pub default: Option<&'static str>,
    /// What happens if it is missing, in words, where that is not a value.
    pub absence: Option<&'static str>,
    /// What it does, as Markdown in one line.
    pub doc: &'static str,
    /// Whether it must be there.
    pub is_required: bool,
    /// Whether its value may be a secret, so that no diagnostic shows it.
    pub is_secret: bool,
}

/// What the value of a key can be.
#[derive(Clone, Copy, Debug)]
pub enum ValueType {
    /// Any text.
    Text,
    /// A path of the file system.
    Path,
    /// A size, such as `"1 MiB"`.
    Size,
    /// A time span, such as `"30 s"`.
    Duration,
    /// A time span, or `"forever"`.
    DurationOrForever,
    /// `true` or `false`.
    Boolean,
    /// A number in a time span, such as `"10/s"`.
    Rate,
    /// A whole number in this range.
    Integer(u64, u64),
    /// A number in this range.
    Number(f64, f64),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// An expression in the language of rules.
    Expression,
    /// A template in the language of rules.
    Template,
    /// A reference to a secret.
    Reference,
    /// A text, or a reference to a secret.
    TextOrReference,
    /// A list. A single text can be written without brackets, but not a single reference.
    ListOf(&'static ValueType),
    /// A table of this kind with these keys. The name is one of the JSON schema, for one table only.
    Table(&'static str, &'static [Key]),
    /// A table of names, each with such a value.
    MapOf(&'static ValueType),
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
    /// What is impossible without it, in words; `None` if the file can leave it out.
    pub without: Option<&'static str>,
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

/// Where a reference leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReferenceKind {
    /// A variable of the environment.
    Env,
    /// A file.
    File,
    /// What systemd's `LoadCredential=` passes (systemd.exec(5)).
    Credential,
}

/// All tables and keys of a file.
#[derive(Debug)]
pub struct Schema {
    /// The tables.
    pub tables: &'static [&'static Table],
    /// The variants of tables.
    pub variants: Vec<Variant>,
}

/// Keys that a table has only if its key `type` has a certain value.
#[derive(Debug)]
pub struct Variant {
    /// The name of the table.
    pub table: &'static str,
    /// The value of `type`.
    pub name: &'static str,
    /// The keys that it has in addition to those of the table.
    pub keys: &'static [Key],
}

impl Key {
    /// A key that can be omitted, and whose value is not a secret.
    pub const fn new(name: &'static str, value_type: ValueType, example: &'static str) -> Self {
        Self {
            name,
            value_type,
            example,
            default: None,
            absence: None,
            doc: "",
            is_required: false,
            is_secret: false,
        }
    }

    /// Sets the value that is used if it is missing, as TOML.
    #[must_use]
    pub const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// Says what happens if it is missing, where that is not a value.
    #[must_use]
    pub const fn absence(self, absence: &'static str) -> Self {
        Self { absence: Some(absence), ..self }
    }

    /// Says what it does, as Markdown in one line.
    #[must_use]
    pub const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }

    /// Makes it required.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// Hides its value in diagnostics, because it may be a secret.
    #[must_use]
    pub const fn secret(self) -> Self {
        Self { is_secret: true, ..self }
    }

    /// The keys in its value, if that is a table.
    pub fn keys(&self) -> &'static [Self] {
        match self.value_type {
            ValueType::Table(_, keys) => keys,
            _ => &[],
        }
    }
}

impl ValueType {
    /// What the manual calls it.
    pub fn name(self) -> String {
        match self {
            Self::Text | Self::OneOf(_) => "text".into(),
            Self::Path => "path".into(),
            Self::Size => "size".into(),
            Self::Duration => "time".into(),
            Self::Rate => "rate".into(),
            Self::Boolean => "true or false".into(),
            Self::Integer(..) | Self::Number(..) => "number".into(),
            Self::Expression => "expression".into(),
            Self::Template => "template".into(),
            Self::Reference => "reference".into(),
            Self::TextOrReference => "text or reference".into(),
            Self::ListOf(item) => format!("list of {}s", item.name()),
            Self::Table(..) => "table".into(),
            Self::DurationOrForever => "time or forever".into(),
            Self::MapOf(_) => "table of names".into(),
        }
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

    /// As [`heading`](Table::heading), with an example of a name.
    pub(crate) fn example_heading(&self) -> String {
        match self.form {
            Form::Named(example) => format!("[{}.{example}]", self.name),
            Form::Single | Form::List => self.heading(),
        }
    }
}

impl Schema {
    /// These tables, and their variants.
    pub fn new(
        tables: &'static [&'static Table],
        variants: impl IntoIterator<Item = Variant>,
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

    /// Whether a key of this name is a path, in any table.
    pub(crate) fn is_path(&self, name: &str) -> bool {
        let keys = self.keys();
        keys.iter().any(|key| key.name == name && matches!(key.value_type, ValueType::Path))
    }

    /// Whether this word has a meaning in the file.
    pub(crate) fn is_known(&self, word: &str) -> bool {
        self.table(word).is_some()
            || ReferenceKind::find(word).is_some()
            || self.keys().iter().any(|key| key.name == word)
    }

    /// The keys of all tables, and of the tables in them.
    fn keys(&self) -> Vec<&'static Key> {
        let of_tables = self.tables.iter().flat_map(|table| table.keys);
        let of_variants = self.variants.iter().flat_map(|variant| variant.keys);
        let outer = of_tables.chain(of_variants);
        outer.flat_map(|key| std::iter::once(key).chain(key.keys())).collect()
    }
}

impl ReferenceKind {
    pub(crate) const ALL: [Self; 3] = [Self::Env, Self::File, Self::Credential];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::File => "file",
            Self::Credential => "credential",
        }
    }

    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Whether a header, a variable or a parameter of this name usually contains a credential.
pub fn is_credential_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let words = ["authorization", "api-key", "apikey", "cookie", "password", "secret", "token"];
    words.iter().any(|word| name.contains(word))
}
