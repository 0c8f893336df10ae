//! The log as lines of JSON.
//!
//! There is a line for each event that is recorded, so that it matters what a line costs. The formatter
//! of `tracing_subscriber` passes each name and value through a serializer.

use std::fmt::{self, Write as _};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, format::Writer};
use wilco_server::clock;

/// Formats an event of the log as an object: time, level, message and fields.
pub(crate) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line { writer, written: Ok(()) };
        let level = event.metadata().level().as_str();
        write!(line.writer, "{{\"timestamp\":\"{:.3}\",\"level\":\"{level}\"", clock::now())?;
        event.record(&mut line);
        line.written?;
        line.writer.write_str("}\n")
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    written: fmt::Result,
}

impl Line<'_> {
    /// Writes a field whose value `write` writes.
    fn field(&mut self, field: &Field, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let name = field.name();
        let named = |writer: &mut Writer<'_>| {
            writer.write_str(",\"")?;
            writer.write_str(name)?;
            writer.write_str("\":")?;
            write(writer)
        };
        if self.written.is_ok() {
            self.written = named(&mut self.writer);
        }
    }

    fn text(&mut self, field: &Field, write: impl FnOnce(&mut Escaped<'_, '_>) -> fmt::Result) {
        self.field(field, |writer| {
            writer.write_char('"')?;
            write(&mut Escaped(writer))?;
            writer.write_char('"')
        });
    }
}

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, |text| write!(text, "{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, |text| text.write_str(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |writer| write!(writer, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, |writer| write!(writer, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, |writer| write!(writer, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.field(field, |writer| write!(writer, "{value:?}")),
            false => self.field(field, |writer| writer.write_str("null")),
        }
    }
}

/// Text within the quotes of a JSON string (RFC 8259, section 7).
struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (at, byte) in text.bytes().enumerate() {
            if byte >= b' ' && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.0.write_str(&text[plain..at])?;
            plain = at + 1;
            match byte {
                b'"' => self.0.write_str("\\\"")?,
                b'\\' => self.0.write_str("\\\\")?,
                b'\n' => self.0.write_str("\\n")?,
                b'\r' => self.0.write_str("\\r")?,
                b'\t' => self.0.write_str("\\t")?,
                control => write!(self.0, "\\u{control:04x}")?,
            }
        }
        self.0.write_str(&text[plain..])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Kept {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_line_is_a_json_object_whatever_its_fields_hold() {
        let kept = Kept::default();
        let lines = tracing_subscriber::fmt().event_format(JsonLines).with_writer(kept.clone());
        let odd: String = (0..=0x7f_u8).map(char::from).chain(['é', '🦀', '\u{2028}']).collect();
        let error = std::io::Error::other("a \"cause\"\n");
        tracing::subscriber::with_default(lines.finish(), || {
            tracing::warn!(odd, shown = %odd, debug = ?odd, text = odd.as_str(), %error, "said {odd}");
            tracing::info!(u = u64::MAX, i = i64::MIN, yes = true, f = 1.0, nan = f64::NAN, "");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [first, second] = lines.try_into().unwrap();
        for (key, expected) in [
            ("level", "WARN"),
            ("message", &format!("said {odd}")),
            ("odd", &odd),
            ("shown", &odd),
            ("debug", &format!("{odd:?}")),
            ("text", &odd),
            ("error", "a \"cause\"\n"),
        ] {
            assert_eq!(first[key], expected, "{key}");
        }
        let time = first["timestamp"].as_str().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok() && time.len() == 24, "{time}");
        let mut fields = second;
        fields.as_object_mut().unwrap().remove("timestamp");
        let expected = json!({
            "level": "INFO", "message": "", "u": u64::MAX, "i": i64::MIN, "yes": true, "f": 1.0,
            "nan": null,
        });
        assert_eq!(fields, expected);
    }
}
