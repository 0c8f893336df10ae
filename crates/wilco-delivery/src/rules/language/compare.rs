//! Comparisons: absent and null are nothing, and values of different types never compare.

use std::cmp::Ordering;

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Rest, ValueKind},
};

use super::{Exact, is_nothing};

/// `a < b`, and `a < b <= c`: each operator as a text, followed by its right side.
pub(super) fn chain(state: &mut State, first: Value, rest: Rest<Value>) -> Result<bool, Error> {
    let mut left = first;
    let mut rest = rest.0.into_iter();
    while let Some(operator) = rest.next() {
        let right = rest.next().ok_or(ErrorKind::MissingArgument)?;
        let operator = operator.as_str().unwrap_or_default();
        note_mixed(state, &left, operator, &right);
        if !holds(state, &left, operator, &right)? {
            return Ok(false);
        }
        left = right;
    }
    Ok(true)
}

/// Notes the first comparison of two different types, for `wilco check`.
fn note_mixed(state: &mut State, left: &Value, operator: &str, right: &Value) {
    let is_of_something = !is_nothing(left) && !is_nothing(right);
    let is_mixed = is_of_something && !is_same_kind(left, right);
    if is_mixed && !operator.ends_with("in") && state.get_temp(MIXED).is_none() {
        let what = format!("compares a {} with a {}", Exact::kind(left), Exact::kind(right));
        state.set_temp(MIXED, Value::from(what));
    }
}

/// Whether two values compare so. Nothing equals nothing; other than that a comparison with nothing,
/// or of two kinds, is false, so that `!=` of two kinds is true.
pub(super) fn holds(
    state: &State,
    left: &Value,
    operator: &str,
    right: &Value,
) -> Result<bool, Error> {
    // Texts are compared byte by byte and numbers digit by digit; one step pays for several.
    let length = |value: &Value| match Exact::of(value) {
        Some(number) => number.text().len(),
        None => value.as_str().map_or(0, str::len),
    };
    let compared = match (Exact::of(left), Exact::of(right)) {
        (None, None) => length(left).min(length(right)),
        _ => length(left) + length(right),
    };
    state.consume_fuel(u64::try_from(compared / BYTES_PER_STEP).unwrap_or(u64::MAX))?;
    Ok(match operator {
        "==" => equal(left, right),
        "!=" => !equal(left, right),
        "in" => contains(state, right, left)?,
        "not in" => !contains(state, right, left)?,
        _ if is_nothing(left) || is_nothing(right) || !is_same_kind(left, right) => false,
        "<" => order(left, right).is_lt(),
        "<=" => order(left, right).is_le(),
        ">" => order(left, right).is_gt(),
        ">=" => order(left, right).is_ge(),
        _ => return Err(Error::new(ErrorKind::InvalidOperation, "unknown comparison")),
    })
}

fn equal(left: &Value, right: &Value) -> bool {
    match (is_nothing(left), is_nothing(right)) {
        (true, true) => true,
        (false, false) if is_same_kind(left, right) => {
            Exact::compare(left, right).map_or_else(|| left == right, Ordering::is_eq)
        }
        _ => false,
    }
}

fn order(left: &Value, right: &Value) -> Ordering {
    Exact::compare(left, right).unwrap_or_else(|| left.cmp(right))
}

fn is_same_kind(left: &Value, right: &Value) -> bool {
    let is_list = |kind| matches!(kind, ValueKind::Seq | ValueKind::Iterable);
    let (left, right) = (Exact::kind(left), Exact::kind(right));
    left == right || is_list(left) && is_list(right)
}

fn contains(state: &State, container: &Value, value: &Value) -> Result<bool, Error> {
    if let (Some(text), Some(part)) = (container.as_str(), value.as_str()) {
        state.consume_fuel(u64::try_from(text.len() / BYTES_PER_STEP).unwrap_or(u64::MAX))?;
        return Ok(text.contains(part));
    }
    match container.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            for item in container.try_iter()? {
                state.consume_fuel(1)?;
                if equal(&item, value) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        ValueKind::Map => {
            let Some(name) = value.as_str() else { return Ok(false) };
            Ok(container.get_attr(name).is_ok_and(|member| !member.is_undefined()))
        }
        _ => Ok(false),
    }
}

/// Where a run notes that it compared two kinds, for whoever asks.
pub(super) const MIXED: &str = "mixed";
/// As the language itself counts.
const BYTES_PER_STEP: usize = 64;
