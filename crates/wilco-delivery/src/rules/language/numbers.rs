//! Filters and tests over numbers that are kept as they were written.

use minijinja::{
    Environment, Error, State, Value, filters, tests,
    value::{Rest, ValueOrKwargs},
};

use super::{Exact, is_nothing};

/// The value with each such number as the nearest 64-bit float, even in lists and objects.
pub(super) fn plain(state: &State, value: Value) -> Result<Value, Error> {
    let mut approximately = |number: &Exact| Value::from(number.approximately());
    let plain = Exact::replaced(&value, &mut approximately, &mut || state.consume_fuel(1))?;
    Ok(plain.unwrap_or(value))
}

/// The same, except in lists and objects.
pub(super) fn shallow(value: &Value) -> Value {
    Exact::of(value).map_or_else(|| value.clone(), |number| Value::from(number.approximately()))
}

/// `text | format(…)`.
pub(super) fn format(
    state: &mut State,
    text: &Value,
    args: Rest<ValueOrKwargs>,
) -> Result<Value, Error> {
    if is_nothing(text) {
        return Ok(Value::UNDEFINED);
    }
    let args = args.into_values();
    let rest = |args: Vec<Value>| Rest(args.into_iter().map(ValueOrKwargs::from).collect());
    let done = filters::format(state, text, rest(args.clone()));
    // `%s` takes a number as it was sent, `%.2f` does not.
    done.or_else(|_| filters::format(state, text, rest(args.iter().map(shallow).collect())))
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
