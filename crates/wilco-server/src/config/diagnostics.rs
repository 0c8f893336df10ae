//! What is wrong with a file, or looks wrong, each with its place and a hint.

mod excerpt;

use std::{
    cell::RefCell,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{Spanned, de::DeTable};

use super::Known;

pub(crate) use excerpt::{is_ordinary, is_path, target};

/// Everything that is to be said about one file: faults, with which it cannot be used, and warnings,
/// with which it can.
#[derive(Debug)]
pub struct Diagnostics {
    path: PathBuf,
    text: String,
    known: Known,
    list: Vec<Diagnostic>,
}

/// One thing that is wrong or looks wrong, where, and what to do about it.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Whether the file can be used in spite of it.
    pub severity: Severity,
    /// Bytes of the file.
    pub place: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// Whether the file can be used in spite of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Fault,
    /// It can, but probably does not do what was meant.
    Warning,
}

/// The diagnostics found so far while a file is read.
pub(crate) type Found = RefCell<Vec<Diagnostic>>;

impl Diagnostics {
    pub(crate) fn new(path: &Path, text: String, known: Known, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|diagnostic| diagnostic.place.start);
        Self { path: path.into(), text, known, list }
    }

    /// The file itself cannot be read.
    pub(crate) fn unreadable(path: &Path, known: Known, cause: &std::io::Error) -> Self {
        let message = format!("cannot read {}: {cause}", path.display());
        let hint = match cause.kind() {
            std::io::ErrorKind::NotFound => {
                "`wilco init` writes one, `--config FILE` names another"
            }
            std::io::ErrorKind::InvalidData => "save it as UTF-8",
            std::io::ErrorKind::PermissionDenied => "let the user that runs wilco read it",
            _ => "`--config FILE` names another",
        };
        let (severity, hint) = (Severity::Fault, hint.into());
        let diagnostic = Diagnostic { severity, place: 0..0, message, hint };
        Self { path: path.into(), text: String::new(), known, list: vec![diagnostic] }
    }

    /// As these, with a fault of a key that is found only when its value is used.
    #[must_use]
    pub fn with_fault(mut self, table: &str, key: &str, message: String, hint: &str) -> Self {
        let (root, _) = DeTable::parse_recoverable(&self.text);
        let table = root.get_ref().get(table).and_then(|table| table.get_ref().as_table());
        let place = table.and_then(|table| table.get(key)).map_or(0..0, Spanned::span);
        let (severity, hint) = (Severity::Fault, hint.into());
        self.list.push(Diagnostic { severity, place, message, hint });
        Self::new(&self.path, self.text, self.known, self.list)
    }

    /// Whether the file cannot be used.
    pub fn has_faults(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Fault)
    }

    /// All of them, in the order of their places.
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// The file that they are about.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, byte for byte, with a star for whatever may be a secret: what is shown of it ends up
    /// in logs and in answers of the API. Empty where the file cannot be read.
    pub fn excerpt(&self) -> String {
        excerpt::without_secrets(&self.text, self.known)
    }

    /// One line each, for a log: `wilco.toml:3:8: the message (the hint)`.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.list.iter().map(|Diagnostic { place, message, hint, .. }| {
            let before = self.text.get(..place.start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!("{}:{line}:{column}: {message} ({hint})", self.path.display())
        })
    }
}

/// As [`lines`](Diagnostics::lines), each ended.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().try_for_each(|line| writeln!(f, "{line}"))
    }
}
