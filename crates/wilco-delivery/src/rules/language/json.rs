//! Values as JSON: what `tojson` gives, and how a list or an object is printed.

use minijinja::{
    Error, ErrorKind, Output, State, Value,
    value::{Kwargs, ValueKind},
};

use super::{Exact, is_nothing};

/// `value | tojson` and `value | tojson(indent=2)`.
#[expect(clippy::needless_pass_by_value, reason = "the language hands options over by value")]
pub(super) fn filter(
    state: &State,
    value: &Value,
    indent: Option<Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => options.get("indent")?,
    };
    options.assert_all_used()?;
    let indent = match indent {
        None => None,
        Some(indent) => match bool::try_from(indent.clone()) {
            Ok(is_pretty) => is_pretty.then_some(USUAL_INDENT),
            Err(_) => Some(usize::try_from(indent)?.min(INDENT_MAX)),
        },
    };
    write(value, indent, &|steps| state.consume_fuel(steps)).map(Value::from_safe_string)
}

/// Prints a value: nothing for an absent one, and JSON for a list or an object, because the language's own
/// format is not JSON.
pub(super) fn print(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        _ if is_nothing(value) => Ok(()),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            Ok(out.write_str(&write(value, None, &|steps| state.consume_fuel(steps))?)?)
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// The value as JSON, where `spend` allows the steps that it takes.
pub(super) fn write(
    value: &Value,
    indent: Option<usize>,
    spend: &dyn Fn(u64) -> Result<(), Error>,
) -> Result<String, Error> {
    let mut writer = Writer { out: String::new(), paid_bytes: 0, indent, spend, depth: 0 };
    writer.value(value)?;
    Ok(writer.out)
}

struct Writer<'a> {
    out: String,
    /// How much of it was paid for.
    paid_bytes: usize,
    indent: Option<usize>,
    spend: &'a dyn Fn(u64) -> Result<(), Error>,
    depth: usize,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value) -> Result<(), Error> {
        match value.kind() {
            _ if is_nothing(value) => self.push("null"),
            ValueKind::Bool => self.push(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => match f64::try_from(value.clone()) {
                Ok(number) if !number.is_finite() => self.push("null"),
                _ => self.push(&value.to_string()),
            },
            ValueKind::Seq | ValueKind::Iterable => self.nested(['[', ']'], value, Self::value),
            ValueKind::Map => self.nested(['{', '}'], value, |writer, name| {
                writer.text(&name.to_string())?;
                writer.push(": ")?;
                writer.value(&value.get_item(name)?)
            }),
            ValueKind::Invalid => Err(Error::new(ErrorKind::InvalidOperation, value.to_string())),
            _ => match Exact::of(value) {
                Some(number) => self.push(number.text()),
                None => self.text(&value.to_string()),
            },
        }
    }

    fn nested(
        &mut self,
        [open, close]: [char; 2],
        value: &Value,
        mut item: impl FnMut(&mut Self, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.depth == JSON_DEPTH_MAX {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                "it is nested too deeply for JSON",
            ));
        }
        self.depth += 1;
        self.out.push(open);
        let mut is_empty = true;
        for inner in value.try_iter()? {
            if !is_empty {
                self.out.push(',');
            }
            self.gap(is_empty)?;
            is_empty = false;
            item(self, &inner)?;
        }
        self.depth -= 1;
        if !is_empty && self.indent.is_some() {
            self.gap(true)?;
        }
        self.push(close.encode_utf8(&mut [0; 4]))
    }

    /// What is between an item and what is before it.
    fn gap(&mut self, is_first: bool) -> Result<(), Error> {
        match self.indent {
            Some(width) => self.push(&format!("\n{}", " ".repeat(width * self.depth))),
            None if is_first => Ok(()),
            None => self.push(" "),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Error> {
        self.push(&serde_json::to_string(text).unwrap_or_default())
    }

    fn push(&mut self, text: &str) -> Result<(), Error> {
        self.out.push_str(text);
        let steps = (self.out.len() - self.paid_bytes) / BYTES_PER_STEP;
        self.paid_bytes += steps * BYTES_PER_STEP;
        (self.spend)(u64::try_from(steps).unwrap_or(u64::MAX))
    }
}

/// As the language itself counts.
const BYTES_PER_STEP: usize = 4;
const JSON_DEPTH_MAX: usize = 128;
const USUAL_INDENT: usize = 2;
const INDENT_MAX: usize = 16;
