//! The text of a file as a tree of tables.

use toml::{Spanned, de::DeTable};

use crate::diagnostics::{Diagnostic, DiagnosticSink, Severity};

/// Parses TOML. `None` after at least one error was reported.
pub fn parse<'t>(text: &'t str, diagnostics: &DiagnosticSink) -> Option<Spanned<DeTable<'t>>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let is_valid = errors.is_empty();
    diagnostics.borrow_mut().extend(errors.iter().map(|error| Diagnostic {
        severity: Severity::Error,
        span: error.span().unwrap_or(0..0),
        message: error.message().into(),
        hint: SYNTAX_HINT.into(),
    }));
    is_valid.then_some(root)
}

const SYNTAX_HINT: &str = "TOML has lines such as key = \"text\", key = [\"a\", \"b\"] and [table]";
