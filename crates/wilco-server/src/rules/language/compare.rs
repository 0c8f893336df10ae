//! What comparisons mean: what is absent or null is nothing, and kinds do not mix.

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Rest, ValueKind},
};

use super::is_nothing;

/// `a < b`, and `a < b <= c`: each operator as a text, and behind it its right side.
pub(super) fn chain(state: &State, first: Value, rest: Rest<Value>) -> Result<bool, Error> {
    let mut left = first;
    let mut rest = rest.0.into_iter();
    while let Some(operator) = rest.next() {
        let right = rest.next().ok_or(ErrorKind::MissingArgument)?;
        if !holds(state, &left, operator.as_str().unwrap_or_default(), &right)? {
            return Ok(false);
        }
        left = right;
    }
    Ok(true)
}

/// Whether two values compare so. Nothing equals nothing; other than that a comparison with nothing,
/// or of two kinds, is false, so that `!=` of two kinds is true.
pub(super) fn holds(
    state: &State,
    left: &Value,
    operator: &str,
    right: &Value,
) -> Result<bool, Error> {
    // Texts are compared by their bytes, of which one step pays for so many.
    let shorter = left.as_str().map_or(0, str::len).min(right.as_str().map_or(0, str::len));
    state.consume_fuel(u64::try_from(shorter / BYTES_PER_STEP).unwrap_or(u64::MAX))?;
    Ok(match operator {
        "==" => equal(left, right),
        "!=" => !equal(left, right),
        "in" => contains(state, right, left)?,
        "not in" => !contains(state, right, left)?,
        _ if is_nothing(left) || is_nothing(right) || !is_same_kind(left, right) => false,
        "<" => left < right,
        "<=" => left <= right,
        ">" => left > right,
        ">=" => left >= right,
        _ => return Err(Error::new(ErrorKind::InvalidOperation, "unknown comparison")),
    })
}

fn equal(left: &Value, right: &Value) -> bool {
    match (is_nothing(left), is_nothing(right)) {
        (true, true) => true,
        (false, false) => is_same_kind(left, right) && left == right,
        _ => false,
    }
}

fn is_same_kind(left: &Value, right: &Value) -> bool {
    let is_list = |kind| matches!(kind, ValueKind::Seq | ValueKind::Iterable);
    left.kind() == right.kind() || is_list(left.kind()) && is_list(right.kind())
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

/// As the language itself counts.
const BYTES_PER_STEP: usize = 64;
