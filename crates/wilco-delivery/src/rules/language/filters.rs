//! Replaces filters that fail in the language itself for an absent value, or a list with a null in it.

use std::{borrow::Cow, sync::Arc};

use minijinja::{
    Environment, Error, State, Value, filters,
    value::{Kwargs, Rest, ValueOrKwargs},
};

use super::is_nothing;

/// Registers the filters. These do not fail for an absent value, or a list with a null in it.
pub(super) fn add(language: &mut Environment<'static>) {
    language.add_filter("split", |value: &Value, by: Option<Arc<str>>, times: Option<i64>| {
        if is_nothing(value) { Ok(Value::UNDEFINED) } else { filters::split(value, by, times) }
    });
    language.add_filter("lines", |value: &Value| {
        if is_nothing(value) { Ok(Value::UNDEFINED) } else { filters::lines(value) }
    });
    language.add_filter("dictsort", |value: &Value, options: Kwargs| {
        if is_nothing(value) { Ok(Value::UNDEFINED) } else { filters::dictsort(value, options) }
    });
    language.add_filter("abs", |value: Value| {
        if is_nothing(&value) { Ok(Value::UNDEFINED) } else { filters::abs(value) }
    });
    language.add_filter(
        "round",
        |value: Value, digits: Option<i32>, how: Option<Cow<'_, str>>, options: Kwargs| {
            if is_nothing(&value) {
                return Ok(Value::UNDEFINED);
            }
            filters::round(value, digits, how.as_deref(), options)
        },
    );
    language.add_filter("attr", |value: &Value, name: &Value| {
        if is_nothing(value) { Ok(Value::UNDEFINED) } else { filters::attr(value, name) }
    });
    for name in ["length", "count"] {
        language.add_filter(
            name,
            |value: &Value| {
                if is_nothing(value) { Ok(0) } else { filters::length(value) }
            },
        );
    }
    language.add_filter("map", map);
    language.add_filter("selectattr", selectattr);
    language.add_filter("rejectattr", rejectattr);
}

fn map(state: &mut State, list: Value, args: Rest<ValueOrKwargs>) -> Result<Vec<Value>, Error> {
    // `map("upper")` has a filter that deals with null; `map(attribute="name")` has not.
    let has_filter = args.first().is_some_and(|first| first.as_str().is_some());
    filters::map(state, if has_filter { list } else { without_null(list)? }, args)
}

fn selectattr(
    state: &mut State,
    list: Value,
    name: Cow<'_, str>,
    test: Option<Cow<'_, str>>,
    args: Rest<ValueOrKwargs>,
) -> Result<Vec<Value>, Error> {
    filters::selectattr(state, without_null(list)?, name, test, args)
}

fn rejectattr(
    state: &mut State,
    list: Value,
    name: Cow<'_, str>,
    test: Option<Cow<'_, str>>,
    args: Rest<ValueOrKwargs>,
) -> Result<Vec<Value>, Error> {
    filters::rejectattr(state, without_null(list)?, name, test, args)
}

/// The list without those of its items that are null and so have no members.
fn without_null(list: Value) -> Result<Value, Error> {
    let Ok(items) = list.try_iter() else { return Ok(list) };
    let items: Vec<_> = items.collect();
    if items.iter().any(is_nothing) {
        return Ok(items.into_iter().filter(|item| !is_nothing(item)).collect());
    }
    Ok(list)
}
