//! Numbers of a body that keep the digits with which they were sent: `1.10`, `1E2`, and integers of more
//! than 128 bits. The language itself would convert them to 64-bit floats, or fail.
//!
//! They are printed, compared, and used as keys and in JSON exactly as sent. In calculations, the nearest
//! 64-bit float is used.

use std::{cmp::Ordering, fmt, sync::Arc};

use minijinja::{
    Error, Value,
    value::{DynObject, Object, ObjectRepr, ValueKind},
};

/// A number that is kept as it was written.
pub(crate) struct Exact(Box<str>);

impl Exact {
    /// The nearest 64-bit float.
    pub(super) fn approximately(&self) -> f64 {
        self.0.parse().unwrap_or(f64::NAN)
    }

    pub(super) fn is_whole(&self) -> bool {
        !self.0.contains(['.', 'e', 'E'])
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Reads a number of a JSON text.
    pub(super) fn read(text: &str) -> Value {
        let whole = text.parse::<i64>().map(Value::from);
        let whole = whole.or_else(|_| text.parse::<i128>().map(Value::from));
        let whole = whole.or_else(|_| text.parse::<u128>().map(Value::from));
        let number = whole.ok().or_else(|| {
            // The language prints a short fraction with the same digits.
            let is_short = text.len() < SHORT_CHARS && !text.contains(['e', 'E']);
            is_short.then(|| text.parse::<f64>().ok().map(Value::from))?
        });
        let number = number.filter(|number| number.to_string() == text);
        number.unwrap_or_else(|| Value::from_object(Self(text.into())))
    }

    /// The number, if it is one that is kept as it was written.
    pub(super) fn of(value: &Value) -> Option<&Self> {
        value.downcast_object_ref()
    }

    /// The kind of a value; numbers kept as written are numbers, too.
    pub(super) fn kind(value: &Value) -> ValueKind {
        if Self::of(value).is_some() { ValueKind::Number } else { value.kind() }
    }

    /// Compares two numbers to the last digit, if at least one of them is kept as it was written.
    pub(super) fn compare(left: &Value, right: &Value) -> Option<Ordering> {
        if Self::of(left).is_none() && Self::of(right).is_none() {
            return None;
        }
        Some(Decimal::of(&left.to_string())?.cmp(&Decimal::of(&right.to_string())?))
    }

    /// The value with each such number replaced, even in lists and objects; `None` if it has none. `step` is
    /// called before each value.
    pub(super) fn replaced(
        value: &Value,
        replace: &mut dyn FnMut(&Exact) -> Value,
        step: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Option<Value>, Error> {
        replaced_at(value, replace, step, 0)
    }
}

impl Object for Exact {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        Decimal::of(&self.0).is_none_or(|decimal| !decimal.digits.is_empty())
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<Self>()?;
        Some(Decimal::of(&self.0)?.cmp(&Decimal::of(&other.0)?))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn replaced_at(
    value: &Value,
    replace: &mut dyn FnMut(&Exact) -> Value,
    step: &mut dyn FnMut() -> Result<(), Error>,
    depth: usize,
) -> Result<Option<Value>, Error> {
    if let Some(number) = Exact::of(value) {
        return Ok(Some(replace(number)));
    }
    if depth > DEPTH_MAX {
        return Ok(None);
    }
    let mut is_changed = false;
    let mut inner = |item: Value| -> Result<Value, Error> {
        step()?;
        let replaced = replaced_at(&item, replace, step, depth + 1)?;
        is_changed |= replaced.is_some();
        Ok(replaced.unwrap_or(item))
    };
    let whole = match value.kind() {
        ValueKind::Seq => Value::from(value.try_iter()?.map(inner).collect::<Result<Vec<_>, _>>()?),
        ValueKind::Map => {
            let members = value.try_iter()?.map(|name| {
                let member = value.get_item(&name)?;
                Ok((name, inner(member)?))
            });
            Value::from_pairs(members.collect::<Result<Vec<_>, Error>>()?)
        }
        _ => return Ok(None),
    };
    Ok(is_changed.then_some(whole))
}

/// A number as `0.digits · 10^point`, without zeros around its digits; zero has none.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    digits: Vec<u8>,
    point: i64,
}

impl Decimal {
    fn of(text: &str) -> Option<Self> {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = [whole, fraction].concat();
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        // An exponent of more than 64 bits counts as the largest.
        let is_small = exponent.starts_with('-');
        let exponent = exponent.parse().unwrap_or(if is_small { i64::MIN } else { i64::MAX });
        let significant = digits.trim_start_matches('0');
        let zeros = digits.len() - significant.len();
        let places = i64::try_from(whole.len()).ok()? - i64::try_from(zeros).ok()?;
        let digits = significant.trim_end_matches('0').as_bytes().to_vec();
        let is_zero = digits.is_empty();
        Some(Self {
            is_negative: is_negative && !is_zero,
            point: if is_zero { i64::MIN } else { exponent.saturating_add(places) },
            digits,
        })
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let size = |of: &Self| (of.point, of.digits.clone());
        match (self.is_negative, other.is_negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => size(self).cmp(&size(other)),
            (true, true) => size(other).cmp(&size(self)),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The language prints fractions with fewer characters as they were sent, unless they end in a zero.
const SHORT_CHARS: usize = 17;
/// Deeper than any body is looked into.
const DEPTH_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_printed_as_it_was_sent() {
        for (text, is_exact) in [
            ("0", false),
            ("-1", false),
            ("1.1", false),
            ("-12.5", false),
            ("340282366920938463463374607431768211455", false),
            ("-0", true),
            ("1.10", true),
            ("0.0", false),
            ("1.00", true),
            ("1e2", true),
            ("1E+2", true),
            ("1e400", true),
            ("0.30000000000000004", true),
            ("3.141592653589793238462643383279", true),
            ("340282366920938463463374607431768211456", true),
        ] {
            let number = Exact::read(text);
            assert_eq!(number.to_string(), text);
            assert_eq!(Exact::of(&number).is_some(), is_exact, "{text}");
            assert_eq!(Exact::kind(&number), ValueKind::Number, "{text}");
            let is_zero = text.trim_start_matches(['-', '0', '.']).is_empty();
            assert_eq!(number.is_true(), !is_zero, "{text}");
        }
    }

    #[test]
    fn numbers_compare_to_the_last_digit() {
        let rows = [
            "-1e99999999999999999999",
            "-100000000000000000000000000000000000000000000001",
            "-1e47",
            "-1.10",
            "-1e-99999999999999999999",
            "0.00",
            "1e-99999999999999999999",
            "0.0999",
            "1e-1",
            "1.10",
            "1.100000000000000000000000000000001",
            "11.0e0",
            "1e47",
            "100000000000000000000000000000000000000000000001",
            "1e400",
            "1e99999999999999999999",
        ];
        for (index, left) in rows.iter().enumerate() {
            for (other, right) in rows.iter().enumerate() {
                let compared = Decimal::of(left).unwrap().cmp(&Decimal::of(right).unwrap());
                assert_eq!(compared, index.cmp(&other), "{left} {right}");
            }
        }
        for (left, right) in [("1.10", "1.1"), ("1e2", "100"), ("-0", "0"), ("-0.0", "0e7")] {
            let [exact, plain] = [left, right].map(Exact::read);
            assert_eq!(Exact::compare(&exact, &plain), Some(Ordering::Equal), "{left} {right}");
            assert_eq!(Exact::compare(&plain, &exact), Some(Ordering::Equal), "{left} {right}");
        }
        assert_eq!(Exact::compare(&Exact::read("1"), &Exact::read("1.5")), None);
        assert_eq!(Exact::compare(&Exact::read("1.10"), &Value::from(f64::NAN)), None);
    }
}
