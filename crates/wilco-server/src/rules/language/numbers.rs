//! What filters and tests make of numbers that are kept as they were written.

use minijinja::{Environment, Error, State, Value, tests};

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
