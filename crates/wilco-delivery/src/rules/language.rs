//! The language of rules: Jinja by `minijinja`, with wilco's own meaning of null, of comparisons and
//! of times.

mod compare;
mod filters;
mod json;
mod local;
mod numbers;
mod rewrite;

use std::{borrow::Cow, io, sync::LazyLock};

use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value};

use super::{Exact, RuleError};
use rewrite::{Filters, Pieces, Rewritten, Used, UsedKind};

/// An expression or a template that was compiled.
pub(super) struct Compiled {
    environment: Environment<'static>,
    rewritten: Rewritten,
}

impl Compiled {
    /// Compiles an expression: [`Compiled::evaluate`] gives its value.
    pub(super) fn expression(source: &str) -> Result<Self, RuleError> {
        LANGUAGE.compile_expression(source)?;
        Self::new(source, &Pieces::of(source, true), ["{% set result = (", ") %}"])
    }

    /// Compiles a template: [`Compiled::render`] gives its text.
    pub(super) fn template(source: &str) -> Result<Self, RuleError> {
        LANGUAGE.template_from_str(source)?;
        Self::new(source, &Pieces::of(source, false), ["", ""])
    }

    fn new(source: &str, pieces: &Pieces<'_>, around: [&str; 2]) -> Result<Self, RuleError> {
        pieces.used().iter().try_for_each(check_name)?;
        let rewritten = pieces.rewrite(source, SPELLED_OUT, around);
        let mut environment = LANGUAGE.clone();
        environment.add_template_owned(NAME, rewritten.source.clone())?;
        Ok(Self { environment, rewritten })
    }

    /// The value of an expression.
    pub(super) fn evaluate(&self, names: &Value, steps: u64) -> Result<Value, RuleError> {
        self.run(steps, |template| {
            let rendered = template.render_captured(names)?;
            Ok(rendered.state().lookup("result").unwrap_or(Value::UNDEFINED))
        })
    }

    /// The text of a template, of at most `bytes_max` bytes.
    pub(super) fn render(
        &self,
        names: &Value,
        steps: u64,
        bytes_max: usize,
    ) -> Result<String, RuleError> {
        let mut out = Bounded { bytes: Vec::new(), bytes_max, is_full: false };
        let rendered =
            self.run(steps, |template| template.render_captured_to(names, &mut out).map(drop));
        if out.is_full {
            return Err(RuleError::failed(format!("the text is longer than {bytes_max} bytes")));
        }
        rendered?;
        Ok(String::from_utf8_lossy(&out.bytes).into_owned())
    }

    /// Which two kinds it compares first, if it does: `compares a string with a number`.
    pub(super) fn mixed(&self, names: &Value, steps: u64) -> Option<String> {
        let mixed = self.run(steps, |template| {
            let rendered = template.render_captured(names)?;
            Ok(rendered.state().get_temp(compare::MIXED))
        });
        mixed.ok()?.map(|what| what.to_string())
    }

    /// The members that it names, such as `data.status.name`, in alphabetical order.
    pub(super) fn members(&self) -> Vec<String> {
        let template = self.environment.get_template(NAME);
        let names = template.map(|template| template.undeclared_variables(true));
        let mut names: Vec<_> = names.into_iter().flatten().collect();
        names.sort_unstable();
        names
    }

    fn run<T>(
        &self,
        steps: u64,
        run: impl FnOnce(&minijinja::Template<'_, '_>) -> Result<T, Error>,
    ) -> Result<T, RuleError> {
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(steps));
        let result = environment.get_template(NAME).and_then(|template| run(&template));
        result.map_err(|error| {
            let mut error = RuleError::of(&error, steps);
            error.place = error.place.map(|place| self.rewritten.written(&place));
            error
        })
    }
}

/// A value as shown to people: a text in quotes, a list or an object as JSON.
pub(super) fn shown(value: &Value) -> String {
    json::write(value, None, &|_| Ok(())).unwrap_or_else(|_| value.to_string())
}

/// Absent or null.
fn is_nothing(value: &Value) -> bool {
    value.is_undefined() || value.is_none()
}

/// Finds unknown filters and tests anywhere in a rule when the file is read: the language itself looks
/// them up only when it evaluates them.
fn check_name(used: &Used<'_>) -> Result<(), RuleError> {
    let name = used.name;
    let mut state = LANGUAGE.empty_state();
    let (found, word, known, missing) = match used.kind {
        UsedKind::Filter => {
            (state.apply_filter(name, &[]).err(), "filter", FILTERS, ErrorKind::UnknownFilter)
        }
        UsedKind::Test => {
            (state.perform_test(name, &[]).err(), "test", TESTS, ErrorKind::UnknownTest)
        }
    };
    let fault = |what| Err(RuleError { what, place: Some(used.place.clone()), is_hopeless: true });
    if found.is_some_and(|error| error.kind() == missing) {
        let hint = match nearest(name, known) {
            _ if TIME_FILTERS.contains(&name) => {
                ": write `local(\"Europe/Berlin\", \"%H:%M\")` for a time".into()
            }
            Some(near) => format!(": did you mean {near}?"),
            None => String::new(),
        };
        return fault(format!("unknown {word} {name}{hint}"));
    }
    match &used.argument {
        Some(zone) if used.kind == UsedKind::Filter && name == "local" => {
            local::zone(zone).map(drop).or_else(fault)
        }
        _ => Ok(()),
    }
}

fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let near = known.iter().map(|known| (strsim::jaro_winkler(name, known), *known));
    let best = near.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(likeness, _)| *likeness > LIKENESS_MIN).map(|(_, known)| known)
}

/// A writer with a limit in bytes.
struct Bounded {
    bytes: Vec<u8>,
    bytes_max: usize,
    is_full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.bytes_max {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

static LANGUAGE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut language = Environment::new();
    language.set_undefined_behavior(UndefinedBehavior::Chainable);
    // The output is a chat message, a header or JSON, never HTML.
    language.set_auto_escape_callback(|_| AutoEscape::None);
    language.set_formatter(json::print);
    language.add_filter(SPELLED_OUT.compare, compare::chain);
    language.add_filter(SPELLED_OUT.number, |value: &Value| numbers::shallow(value));
    language.add_filter(SPELLED_OUT.numbers, numbers::plain);
    language.add_filter("tojson", json::filter);
    language.add_filter("local", |value: &Value, zone: &Value, format: Option<Cow<'_, str>>| {
        local::local(value, zone, format.as_deref())
    });
    add_tests(&mut language);
    language.add_filter("format", numbers::format);
    filters::add(&mut language);
    language
});

fn add_tests(language: &mut Environment<'static>) {
    language.add_test("none", |value: &Value| is_nothing(value));
    numbers::add_tests(language);
    for (operator, names) in [
        ("==", &["eq", "equalto", "=="][..]),
        ("!=", &["ne", "!="]),
        ("<", &["lt", "lessthan", "<"]),
        ("<=", &["le", "<="]),
        (">", &["gt", "greaterthan", ">"]),
        (">=", &["ge", ">="]),
        ("in", &["in"]),
    ] {
        for name in names {
            language.add_test(*name, move |state: &State, left: &Value, right: &Value| {
                compare::holds(state, left, operator, right)
            });
        }
    }
}

/// Registers the filters that docs/rules.md lists.
pub(super) const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "local",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "zip",
];
/// Registers the tests, except for the operators.
pub(super) const TESTS: &[&str] = &[
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "even",
    "false",
    "float",
    "ge",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
    "upper",
];
/// Names that filters for times have in other template languages.
const TIME_FILTERS: &[&str] = &[
    "astimezone",
    "as_timestamp",
    "date",
    "dateformat",
    "datetime",
    "datetimeformat",
    "in_zone",
    "strftime",
    "time",
    "timeformat",
    "timestamp_custom",
    "timestamp_local",
    "to_datetime",
];
/// How similar a known name has to be to be suggested.
const LIKENESS_MIN: f64 = 0.8;
/// Filters that calculate with their input, or sort it.
const CALCULATING: &[&str] = &[
    "abs", "dictsort", "float", "groupby", "int", "local", "max", "min", "round", "sort", "sum",
    "unique",
];
/// The filters that comparisons and calculations are compiled to.
const SPELLED_OUT: Filters =
    Filters { compare: "_compare", number: "_number", numbers: "_numbers" };
const NAME: &str = "rule";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_filter_and_test_exists() {
        let mut state = LANGUAGE.empty_state();
        for name in FILTERS {
            let error = state.apply_filter(name, &[]).err();
            assert!(error.is_none_or(|e| e.kind() != ErrorKind::UnknownFilter), "{name}");
        }
        for name in TESTS {
            let error = state.perform_test(name, &[]).err();
            assert!(error.is_none_or(|e| e.kind() != ErrorKind::UnknownTest), "{name}");
        }
    }

    #[test]
    fn the_rewritten_expression_means_the_same() {
        let names = minijinja::context! {
            a => 7, b => 2, c => 1.5, text => "x", list => [3, 1, 2],
            map => minijinja::context! { in => 4, not => 5, x => [1, 2] },
        };
        for source in [
            "{{ a + b * c - -a // b }} {{ (a + b) * c ** -b }} {{ -a ** b }} {{ - map.in | abs }}",
            "{{ -a | abs + -b }} {{ a-b }} {{ a -b }} {{ map.x[-1] - map.in }} {{ -map['not'] }}",
            "{{ list[-b:] }} {{ list[b - 1:a - -b:b] }} {{ [a, -b, a % b] }} {{ (a,) + (b,) }}",
            "{{ {'k': -a, 'l': a + b, text: -b} }} {{ list | map('string') | join(text ~ -a) }}",
            "{{ a if b - 2 else -c }} {{ not -a }} {{ a and -b or c + 1 }} {{ -a is odd }}",
            "{{ a is divisibleby b + 1 }} {{ a is divisibleby -b }} {{ a is not odd and b is even }}",
            "{{ text ~ a + text ~ b }} {{ text ~ a * b ~ -c }} {{ text + text ~ a }} {{ text * b }}",
            "{{ list + list }} {{ list | sort | last - list | min }} {{ list | sum + 1 | round }}",
            "{% for x in list + [a - b] if x - 1 %}{{ x * loop.index - 1 }},{% endfor %}",
            "{% for k, v in map | items %}{{ k ~ -1 }}{% else %}{{ -a }}{% endfor %}",
            "{% set x, y = a + b, -c %}{{ x - y }}{%- set z = -x -%}{{ z }}",
            "{% macro m(x, y=1 - b) %}{{ x * y }}{% endmacro %}{{ m(-a) }} {{ m(y=-c, x=a + b) }}",
            "{% set args = [a, b] %}{% macro m(x, y) %}{{ x - y }}{% endmacro %}{{ m(*args) }}",
            "{% if a - 7 %}x{% elif -b + 2 %}y{% else %}{{ '-' ~ a }}{% endif %}{{ range(a - b) | list }}",
            "{% filter replace('7', a - b) %}{{ a }} - {{ -a }}{% endfilter %}{% raw %}{{ -a }}{% endraw %}",
            "{{ c | round(b - 1) }} {{ '%d-%s' | format(a * b, -c) }} {{ c | int - a }} {# -a + b #}",
            "{% with x = a * b %}{{ -x }}{% endwith %} {{ dict(x=-a, y=a / b) }} {{ 1 - -1 - 1 }}",
        ] {
            let written = LANGUAGE.render_str(source, &names);
            let written = written.unwrap_or_else(|error| panic!("{source}: {error}"));
            let spelled_out = Compiled::template(source).and_then(|text| {
                let steps = 100_000;
                text.render(&names, steps, 1 << 10)
            });
            assert_eq!(spelled_out, Ok(written), "{source}");
        }
    }
}
