//! Diagnostics as a terminal shows them: each under its line of the file.

use std::fmt::Write as _;

use ariadne::{Color, Config, IndexType, Label, Report, ReportKind, Source};
use wilco_server::config::{Diagnostic, Diagnostics, Severity};

/// All of them, each drawn under its line.
pub(crate) fn draw(diagnostics: &Diagnostics, is_coloured: bool) -> String {
    let mut drawn = String::new();
    let excerpt = diagnostics.excerpt();
    if excerpt.is_empty() {
        for Diagnostic { message, hint, .. } in diagnostics.list() {
            let _ = writeln!(drawn, "Error: {message}\n  Help: {hint}");
        }
        return drawn;
    }
    let name = diagnostics.path().display().to_string();
    for Diagnostic { severity, span, message, hint } in diagnostics.list() {
        let start = span.start.min(excerpt.len().saturating_sub(1));
        let end = span.end.clamp(start + 1, excerpt.len().max(start + 1));
        let place = (name.as_str(), start..end);
        let (kind, color) = match severity {
            Severity::Error => (ReportKind::Error, Color::Red),
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
