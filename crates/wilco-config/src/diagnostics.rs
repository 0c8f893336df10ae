//! What is wrong with a file, or looks wrong: each with its span and a hint.

use std::{
    cell::RefCell,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::{Spanned, de::DeTable};

use crate::{excerpt, key::Schema};

/// The diagnostics of one file: errors, with which it cannot be used, and warnings, with which it can.
#[derive(Debug)]
pub struct Diagnostics {
    path: PathBuf,
    text: String,
    schema: Arc<Schema>,
    list: Vec<Diagnostic>,
}

/// One thing that is wrong or looks wrong, where, and how to fix it.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Whether the file can be used in spite of it.
    pub severity: Severity,
    /// Bytes of the file.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// How to fix it.
    pub hint: String,
}

/// Whether the file can be used in spite of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but probably does not do what was meant.
    Warning,
}

/// Collects diagnostics while a file is read. Readers of several tables share it.
pub type DiagnosticSink = RefCell<Vec<Diagnostic>>;

/// Why a text in a language such as that of templates cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// What is wrong.
    pub message: String,
    /// Where in the text, in bytes; `None` for the whole of it.
    pub span: Option<Range<usize>>,
    /// How to fix it.
    pub hint: String,
}

/// Something about a text that works, but probably not as it was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What looks wrong.
    pub message: String,
    /// How to fix it.
    pub hint: String,
    /// The words of the text that it is about, where they are known.
    pub words: Option<String>,
}

impl Diagnostics {
    /// The diagnostics of a file, in any order.
    pub fn new(path: &Path, text: String, schema: Arc<Schema>, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|diagnostic| diagnostic.span.start);
        Self { path: path.into(), text, schema, list }
    }

    /// The file itself cannot be read.
    pub fn unreadable(path: &Path, schema: Arc<Schema>, cause: &std::io::Error) -> Self {
        let message = format!("cannot read {}: {cause}", path.display());
        let hint = match cause.kind() {
            std::io::ErrorKind::NotFound => {
                "`wilco init` writes one, `--config FILE` names another"
            }
            std::io::ErrorKind::InvalidData => "save it as UTF-8",
            std::io::ErrorKind::PermissionDenied => "make it readable for wilco's user",
            _ => "`--config FILE` names another",
        };
        let (severity, hint) = (Severity::Error, hint.into());
        let diagnostic = Diagnostic { severity, span: 0..0, message, hint };
        Self { path: path.into(), text: String::new(), schema, list: vec![diagnostic] }
    }

    /// Adds an error about a key that is found only when its value is used.
    #[must_use]
    pub fn with_error(mut self, table: &str, key: &str, message: String, hint: &str) -> Self {
        let (root, _) = DeTable::parse_recoverable(&self.text);
        let table = root.get_ref().get(table).and_then(|table| table.get_ref().as_table());
        let span = table.and_then(|table| table.get(key)).map_or(0..0, Spanned::span);
        let (severity, hint) = (Severity::Error, hint.into());
        self.list.push(Diagnostic { severity, span, message, hint });
        Self::new(&self.path, self.text, self.schema, self.list)
    }

    /// Whether the file cannot be used.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// All of them, in the order of the file.
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// The file that they are about.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, byte for byte, with an asterisk for whatever may be a secret, because excerpts end up
    /// in logs and in answers of the API. Empty where the file cannot be read.
    pub fn excerpt(&self) -> String {
        excerpt::without_secrets(&self.text, &self.schema)
    }

    /// One line each, for a log: `wilco.toml:3:8: the message (the hint)`.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.list.iter().map(|Diagnostic { span, message, hint, .. }| {
            let before = self.text.get(..span.start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!("{}:{line}:{column}: {message} ({hint})", self.path.display())
        })
    }
}

/// As [`lines`](Diagnostics::lines), each with a line break.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl TextError {
    /// An error about the whole text.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, hint: hint.into() }
    }
}
