//! What is wrong with a file, or looks wrong, each with its place and a hint.

mod excerpt;

use std::{
    cell::RefCell,
    fmt::Write as _,
    ops::Range,
    path::{Path, PathBuf},
};

use ariadne::{Color, Config, IndexType, Label, Report, ReportKind, Source};
use toml::{Spanned, de::DeTable};

pub(crate) use excerpt::{is_ordinary, is_path, target};

/// Everything that is to be said about one file: faults, with which it cannot be used, and warnings,
/// with which it can.
#[derive(Debug)]
pub(crate) struct Diagnostics {
    path: PathBuf,
    text: String,
    list: Vec<Diagnostic>,
}

/// One thing that is wrong or looks wrong, where, and what to do about it.
#[derive(Clone, Debug)]
pub(crate) struct Diagnostic {
    pub(crate) severity: Severity,
    /// Bytes of the file.
    pub(crate) place: Range<usize>,
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// Whether the file can be used in spite of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// It cannot.
    Fault,
    /// It can, but probably does not do what was meant.
    Warning,
}

/// The diagnostics found so far while a file is read.
pub(crate) type Found = RefCell<Vec<Diagnostic>>;

impl Diagnostics {
    pub(crate) fn new(path: &Path, text: String, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|diagnostic| diagnostic.place.start);
        Self { path: path.into(), text, list }
    }

    /// The file itself cannot be read.
    pub(crate) fn unreadable(path: &Path, cause: &std::io::Error) -> Self {
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
        Self { path: path.into(), text: String::new(), list: vec![diagnostic] }
    }

    /// As these, with a fault of a key that is found only when its value is used.
    pub(crate) fn with_fault(
        mut self,
        table: &str,
        key: &str,
        message: String,
        hint: &str,
    ) -> Self {
        let (root, _) = DeTable::parse_recoverable(&self.text);
        let table = root.get_ref().get(table).and_then(|table| table.get_ref().as_table());
        let place = table.and_then(|table| table.get(key)).map_or(0..0, Spanned::span);
        let (severity, hint) = (Severity::Fault, hint.into());
        self.list.push(Diagnostic { severity, place, message, hint });
        Self::new(&self.path, self.text, self.list)
    }

    pub(crate) fn has_faults(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Fault)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    /// One line each, for a log: `wilco.toml:3:8: the message (the hint)`.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.list.iter().map(|Diagnostic { place, message, hint, .. }| {
            let before = self.text.get(..place.start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!("{}:{line}:{column}: {message} ({hint})", self.path.display())
        })
    }

    /// All of them, each drawn under its line, ready for a terminal. No value that may be a secret
    /// is shown: what is drawn ends up in logs and in answers of the API.
    pub(crate) fn draw(&self, is_coloured: bool) -> String {
        let mut drawn = String::new();
        if self.text.is_empty() {
            for Diagnostic { message, hint, .. } in &self.list {
                let _ = writeln!(drawn, "Error: {message}\n  Help: {hint}");
            }
            return drawn;
        }
        let name = self.path.display().to_string();
        let excerpt = excerpt::without_secrets(&self.text);
        for Diagnostic { severity, place, message, hint } in &self.list {
            let start = place.start.min(self.text.len().saturating_sub(1));
            let end = place.end.clamp(start + 1, self.text.len().max(start + 1));
            let place = (name.as_str(), start..end);
            let (kind, color) = match severity {
                Severity::Fault => (ReportKind::Error, Color::Red),
                Severity::Warning => (ReportKind::Warning, Color::Yellow),
            };
            let config = Config::default().with_color(is_coloured).with_index_type(IndexType::Byte);
            let report = Report::build(kind, place.clone())
                .with_config(config)
                .with_message(message)
                .with_label(Label::new(place).with_color(color).with_message(hint));
            let mut bytes = Vec::new();
            let source = (name.as_str(), Source::from(excerpt.as_str()));
            // Writing into memory does not fail.
            let _ = report.finish().write(source, &mut bytes);
            drawn.push_str(&String::from_utf8_lossy(&bytes));
        }
        drawn
    }
}
