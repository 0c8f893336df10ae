//! What filters and tests make of numbers that are kept as they were written.

use minijinja::{Environment, Error, State, Value, filters, tests, value::Kwargs};

use super::Exact;

/// The value with each such number as the 64-bit fraction next to it, also in lists and objects.
pub(super) fn plain(state: &State, value: Value) -> Result<Value, Error> {
    let mut approximately = |number: &Exact| Value::from(number.approximately());
    let plain = Exact::replaced(&value, &mut approximately, &mut || state.consume_fuel(1))?;
    Ok(plain.unwrap_or(value))
}

/// The same, but not in lists and objects.
pub(super) fn shallow(value: &Value) -> Value {
    Exact::of(value).map_or_else(|| value.clone(), |number| Value::from(number.approximately()))
}

/// `tojson`, with every number to the digit. The language can write no such number, so it writes a text
/// in its place that nobody can have foreseen.
pub(super) fn to_json(
    state: &State,
    value: &Value,
    indent: Option<Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    let mark = format!("number-{}-", getrandom::u64().unwrap_or_default());
    let mut numbers = Vec::new();
    let marked = Exact::replaced(
        value,
        &mut |number| {
            numbers.push(number.text().to_owned());
            Value::from(format!("{mark}{}", numbers.len() - 1))
        },
        &mut || state.consume_fuel(1),
    )?;
    let json = filters::tojson(marked.as_ref().unwrap_or(value), indent, options)?;
    let steps = json.as_str().map_or(0, str::len) / JSON_BYTES_PER_STEP;
    state.consume_fuel(u64::try_from(steps).unwrap_or(u64::MAX))?;
    if marked.is_none() {
        return Ok(json);
    }
    let quoted = format!("\"{mark}");
    let json = json.to_string();
    let mut parts = json.split(quoted.as_str());
    let mut exact = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (index, rest) = part.split_once('"').unwrap_or_default();
        let number = index.parse().ok().and_then(|index: usize| numbers.get(index));
        exact.push_str(number.map_or("null", String::as_str));
        exact.push_str(rest);
    }
    Ok(Value::from_safe_string(exact))
}

pub(super) fn add_tests(language: &mut Environment<'static>) {
    language
        .add_test("number", |value: &Value| Exact::of(value).is_some() || tests::is_number(value));
    language.add_test("integer", |value: &Value| {
        Exact::of(value).map_or_else(|| tests::is_integer(value), Exact::is_whole)
    });
    language.add_test("float", |value: &Value| {
        Exact::of(value).map_or_else(|| tests::is_float(value), |number| !number.is_whole())
    });
    language.add_test("odd", |value: &Value| tests::is_odd(shallow(value)));
    language.add_test("even", |value: &Value| tests::is_even(shallow(value)));
    language.add_test("divisibleby", |value: &Value, by: &Value| {
        tests::is_divisibleby(&shallow(value), &shallow(by))
    });
}

/// As the language itself counts.
const JSON_BYTES_PER_STEP: usize = 4;
