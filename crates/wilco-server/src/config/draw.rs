//! Faults of a file, drawn under the line that they are in.

use std::fmt::Write as _;

use ariadne::{Color, Config, IndexType, Label, Report, ReportKind, Source};

use super::Faults;

impl Faults {
    /// All faults, one picture each, ready for a terminal.
    pub(crate) fn draw(&self, is_coloured: bool) -> String {
        let (text, mut drawn) = (self.without_secrets(), String::new());
        for fault in &self.faults {
            if self.text.is_empty() {
                let _ = writeln!(drawn, "Error: {}", fault.what);
                let _ = writeln!(drawn, "  Help: {}", fault.way_out.as_deref().unwrap_or_default());
                continue;
            }
            let name = self.path.display().to_string();
            let start = fault.place.start.min(self.text.len().saturating_sub(1));
            let end = fault.place.end.clamp(start + 1, self.text.len().max(start + 1));
            let place = (name.as_str(), start..end);
            let config = Config::default().with_color(is_coloured).with_index_type(IndexType::Byte);
            let label = Label::new(place.clone()).with_color(Color::Red);
            let mut report = Report::build(ReportKind::Error, place)
                .with_config(config)
                .with_message(&fault.what)
                .with_label(label.with_message(fault.way_out.as_deref().unwrap_or("here")));
            if fault.way_out.is_none() {
                report = report.with_config(config.with_compact(false));
            }
            let mut bytes = Vec::new();
            let source = (name.as_str(), Source::from(text.as_str()));
            // Writing into memory does not fail.
            let _ = report.finish().write(source, &mut bytes);
            drawn.push_str(&String::from_utf8_lossy(&bytes));
        }
        drawn
    }

    /// The text, with every secret that stands in it blotted out: what is drawn ends up in logs.
    fn without_secrets(&self) -> String {
        let mut bytes = self.text.clone().into_bytes();
        for hidden in self.faults.iter().filter_map(|fault| fault.hidden.clone()) {
            let place = bytes.get_mut(hidden).unwrap_or_default();
            for byte in place.iter_mut().filter(|byte| !b"\"' \r\n".contains(byte)) {
                *byte = b'*';
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
