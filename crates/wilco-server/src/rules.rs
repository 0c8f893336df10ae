//! Looking into an event, in the one language for it: Jinja, as Ansible has it.
//!
//! The members of the body are the names; beside them stand `event` (id, name, source,
//! received_at), `headers` by their names in lower case, and `body`, the whole. What is absent is
//! undefined, also inside of what is absent: it is false, equals nothing, and prints nothing. Jinja
//! has it come before every number and differ from everything; a condition that would hold for no
//! better reason does not hold here.
//!
//! A rule is compiled when the file is read and runs with a limit of [`FUEL`] instructions. Numbers
//! come through as they stand in the body, whole ones to 128 bits.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Range,
    sync::{Arc, LazyLock},
};

use jiff::Timestamp;
use minijinja::{Environment, ErrorKind, Expression, UndefinedBehavior, Value};
use serde_json::value::RawValue;
use wilco::{Digest, Event, EventId, Headers, SourceName, freispace};

/// An expression: a condition, or a key.
#[derive(Clone)]
pub(crate) struct Rule {
    source: Arc<str>,
    expression: Arc<Expression<'static, 'static>>,
    /// The same, where comparing what is absent is an error; only where it makes a difference.
    strict: Option<Arc<Expression<'static, 'static>>>,
}

/// A text with places that are filled from an event.
#[derive(Clone)]
pub(crate) struct Text {
    source: Arc<str>,
    compiled: Arc<Environment<'static>>,
}

/// Why a rule cannot be read, or could not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct RuleError {
    pub(crate) what: String,
    /// Where in the rule, in bytes.
    pub(crate) place: Option<Range<usize>>,
    /// No event can be thought of with which it would run.
    pub(crate) is_hopeless: bool,
}

/// An event as rules see it.
#[derive(Clone, Debug)]
pub(crate) struct View(Value);

impl Rule {
    pub(crate) fn new(source: &str) -> Result<Self, RuleError> {
        let expression = LANGUAGE.compile_expression_owned(source.to_owned())?;
        let compares = source.contains(['<', '>', '!']);
        let strict = compares.then(|| STRICT.compile_expression_owned(source.to_owned()));
        let strict = strict.transpose()?.map(Arc::new);
        let rule = Self { source: source.into(), expression: Arc::new(expression), strict };
        try_out(|view| rule.expression.eval(&view.0).map(drop))?;
        Ok(rule)
    }

    /// Whether the expression holds for an event.
    pub(crate) fn holds(&self, view: &View) -> Result<bool, RuleError> {
        if !self.expression.eval(&view.0)?.is_true() {
            return Ok(false);
        }
        match self.strict.as_ref().map(|strict| strict.eval(&view.0)) {
            Some(Err(error)) if error.kind() == ErrorKind::UndefinedError => Ok(false),
            None | Some(_) => Ok(true),
        }
    }

    /// What the expression gives for an event, as a key; `None` where it gives nothing.
    pub(crate) fn key(&self, view: &View) -> Result<Option<String>, RuleError> {
        let value = self.expression.eval(&view.0)?;
        if value.is_undefined() || value.is_none() {
            return Ok(None);
        }
        let key = value.to_string();
        if key.len() > KEY_BYTES_MAX {
            let what = format!("the key has {} bytes; {KEY_BYTES_MAX} are the most", key.len());
            return Err(RuleError { what, place: None, is_hopeless: false });
        }
        Ok(Some(key))
    }

    pub(crate) fn source(&self) -> &str {
        &self.source
    }
}

impl Text {
    pub(crate) fn new(source: &str) -> Result<Self, RuleError> {
        let mut compiled = LANGUAGE.clone();
        compiled.add_template_owned(TEXT, source.to_owned())?;
        try_out(|view| compiled.get_template(TEXT)?.render(&view.0).map(drop))?;
        Ok(Self { source: source.into(), compiled: Arc::new(compiled) })
    }

    /// The text for an event.
    pub(crate) fn render(&self, view: &View) -> Result<String, RuleError> {
        let text = self.compiled.get_template(TEXT)?.render(&view.0)?;
        if text.len() > TEXT_BYTES_MAX {
            let what = format!("the text has {} bytes; {TEXT_BYTES_MAX} are the most", text.len());
            return Err(RuleError { what, place: None, is_hopeless: false });
        }
        Ok(text)
    }
}

/// What a rule names is looked up when it runs, so it runs with samples when the file is read: a
/// filter that there is not is then found before the first event.
fn try_out(run: impl Fn(&View) -> Result<(), minijinja::Error>) -> Result<(), RuleError> {
    let failures = SAMPLES.iter().filter_map(|view| run(view).err()).map(RuleError::from);
    failures.into_iter().find(|error| error.is_hopeless).map_or(Ok(()), Err)
}

impl View {
    pub(crate) fn of(event: &Event) -> Self {
        let body = std::str::from_utf8(&event.body).ok();
        let raw: Option<&RawValue> = body.and_then(|text| serde_json::from_str(text).ok());
        let whole = match (raw, body) {
            (Some(raw), _) => value(raw, 0),
            (None, Some(text)) => Value::from(text),
            (None, None) => Value::UNDEFINED,
        };
        let mut headers: HashMap<String, String> = HashMap::new();
        for (name, value) in event.headers.iter() {
            let value = String::from_utf8_lossy(value);
            headers
                .entry(name.to_ascii_lowercase())
                .and_modify(|all| {
                    all.push_str(", ");
                    all.push_str(&value);
                })
                .or_insert_with(|| value.clone().into_owned());
        }
        let about = [
            ("id", event.id.to_string()),
            ("name", event.name.clone()),
            ("source", event.source.to_string()),
            ("received_at", event.received_at.to_string()),
        ];
        let mut names: BTreeMap<String, Value> =
            raw.and_then(|raw| members(raw, 0)).unwrap_or_default();
        names.insert("event".into(), Value::from_pairs(about));
        names.insert("headers".into(), Value::from_pairs(headers));
        names.insert("body".into(), whole);
        Self(Value::from_pairs(names))
    }
}

/// A value of the body. It is read a level at a time, so that a number is seen as it stands there.
fn value(raw: &RawValue, depth: usize) -> Value {
    let text = raw.get();
    if depth > DEPTH_MAX {
        return Value::UNDEFINED;
    }
    match text.as_bytes().first() {
        Some(b'{') => members(raw, depth).map_or(Value::UNDEFINED, Value::from_pairs),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            Value::from(items.into_iter().map(|item| value(item, depth + 1)).collect::<Vec<_>>())
        }
        Some(b'"') => serde_json::from_str::<String>(text).map_or(Value::UNDEFINED, Value::from),
        Some(b't') => Value::from(true),
        Some(b'f') => Value::from(false),
        Some(b'n') => Value::from(()),
        _ => number(text),
    }
}

fn members(raw: &RawValue, depth: usize) -> Option<BTreeMap<String, Value>> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
    Some(members.into_iter().map(|(name, raw)| (name, value(raw, depth + 1))).collect())
}

/// What is too large for 128 bits stays the text that it is.
fn number(text: &str) -> Value {
    if let Ok(whole) = text.parse::<i64>() {
        return Value::from(whole);
    }
    if let Ok(whole) = text.parse::<i128>() {
        return Value::from(whole);
    }
    match text.parse::<f64>() {
        Ok(fraction) if text.contains(['.', 'e', 'E']) => Value::from(fraction),
        _ => Value::from(text),
    }
}

impl From<minijinja::Error> for RuleError {
    fn from(error: minijinja::Error) -> Self {
        let what = match (error.kind(), error.detail()) {
            (ErrorKind::OutOfFuel, _) => format!("it takes more than {FUEL} steps"),
            (ErrorKind::SyntaxError, Some(detail)) => detail.to_owned(),
            (_, Some(detail)) => detail.to_owned(),
            (kind, None) => kind.to_string(),
        };
        let is_hopeless = matches!(
            error.kind(),
            ErrorKind::SyntaxError
                | ErrorKind::UnknownFilter
                | ErrorKind::UnknownFunction
                | ErrorKind::UnknownTest
                | ErrorKind::TemplateNotFound
        );
        Self { what, place: error.range(), is_hopeless }
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({:?})", self.source)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({:?})", self.source)
    }
}

static LANGUAGE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut language = Environment::new();
    language.set_undefined_behavior(UndefinedBehavior::Chainable);
    language.set_fuel(Some(FUEL));
    // What is written is a chat's text, a header or JSON, and never a page.
    language.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    language
});

static STRICT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut strict = LANGUAGE.clone();
    strict.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    strict
});

static SAMPLES: LazyLock<Vec<View>> = LazyLock::new(|| {
    let sample = |(name, body): &(&str, &str)| {
        Some(View::of(&Event {
            id: EventId::from_bits(0),
            source: SourceName::new("sample").ok()?,
            name: (*name).to_owned(),
            subject: None,
            received_at: Timestamp::UNIX_EPOCH,
            secret: String::new(),
            digest: Digest::of(body.as_bytes()),
            conflict: false,
            headers: Headers::default(),
            body: body.to_string().into(),
        }))
    };
    [("empty", "{}")].iter().chain(freispace::SAMPLES).filter_map(sample).collect()
});

/// Instructions that one run of a rule may take.
const FUEL: u64 = 50_000;
/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 1 << 10;
/// The longest text, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// How deep rules look into a body.
const DEPTH_MAX: usize = 64;
const TEXT: &str = "text";

#[cfg(test)]
mod tests {
    use super::*;

    fn view(body: &[u8]) -> View {
        View::of(&Event {
            id: EventId::from_bits(7),
            source: SourceName::new("freispace").unwrap(),
            name: "booking.updated".into(),
            subject: None,
            received_at: jiff::Timestamp::UNIX_EPOCH,
            secret: String::new(),
            digest: Digest::of(body),
            conflict: false,
            headers: Headers::from_pairs([("x-one", "1"), ("x-two", "2"), ("x-two", "3")]),
            body: body.to_vec().into(),
        })
    }

    const BODY: &[u8] = br#"{"event":"other","id":"7f","data":{"size":9007199254740993,
        "huge":170141183460469231731687303715884105727,"long":123456789012345678901234567890123456789012,
        "net":-12.5,"name":"A \"b\"","null":null,"list":[1,{"x":"y"}],"status":{"name":"Confirmed"}}}"#;

    #[test]
    fn a_condition_holds_or_does_not() {
        for (rule, expected) in [
            ("data.status.name == 'Confirmed'", true),
            ("data.status.name == 'Draft'", false),
            ("data.absent", false),
            ("data.absent.deeper.still == 'x'", false),
            ("absent > 5", false),
            ("absent < 5", false),
            ("5 >= data.absent", false),
            ("data.absent != 'x'", false),
            ("data.absent.deeper < 5", false),
            ("not data.absent", true),
            ("data.absent is defined and data.absent < 5", false),
            ("data.absent is undefined or data.absent < 5", true),
            ("data.size > 5 and not data.absent", true),
            ("data.absent | default(3) < 5", true),
            ("data.absent == 'x' or id == '7f'", true),
            ("id != '8'", true),
            ("'x' in data.absent", false),
            ("data.null", false),
            ("data.size == 9007199254740993", true),
            ("data.size == 9007199254740992", false),
            ("data.size > 5 and data.net < 0", true),
            ("data.list[1].x == 'y'", true),
            ("event.name is startingwith 'booking.'", true),
            ("event.source == 'freispace'", true),
            ("headers['x-two'] == '2, 3'", true),
            ("body.event == 'other'", true),
            ("data.list | length == 2", true),
        ] {
            assert_eq!(Rule::new(rule).unwrap().holds(&view(BODY)), Ok(expected), "{rule}");
        }
    }

    #[test]
    fn a_text_is_filled_and_numbers_come_through_as_they_stand() {
        for (text, expected) in [
            ("{{ data.name }} is {{ data.status.name }}", "A \"b\" is Confirmed"),
            ("{{ data.absent.x }}|{{ nothing }}", "|"),
            ("{{ data.size }}", "9007199254740993"),
            ("{{ data.huge }}", "170141183460469231731687303715884105727"),
            ("{{ data.long }}", "123456789012345678901234567890123456789012"),
            ("{{ data.net }}", "-12.5"),
            ("{{ data | tojson }}", &{
                let text = "{\"huge\": 170141183460469231731687303715884105727, \"list\": [1, \
                            {\"x\": \"y\"}], \"long\": \"123456789012345678901234567890123456789012\", \
                            \"name\": \"A \\\"b\\\"\", \"net\": -12.5, \"null\": null, \"size\": \
                            9007199254740993, \"status\": {\"name\": \"Confirmed\"}}";
                text.to_owned()
            }),
            ("{{ event.id }}", "evt_00000000000000000000000007"),
            ("{% for item in data.list %}<{{ item }}>{% endfor %}", "<1><{'x': 'y'}>"),
        ] {
            assert_eq!(Text::new(text).unwrap().render(&view(BODY)).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_key_is_what_the_expression_gives() {
        for (rule, expected) in [
            ("id", Some("7f")),
            ("data.size", Some("9007199254740993")),
            ("data.absent", None),
            ("data.null", None),
            ("event.source ~ ':' ~ id", Some("freispace:7f")),
        ] {
            let key = Rule::new(rule).unwrap().key(&view(BODY)).unwrap();
            assert_eq!(key.as_deref(), expected, "{rule}");
        }
    }

    #[test]
    fn a_rule_that_cannot_be_read_says_where() {
        for (rule, place, what) in [
            ("data.name ==", 10..12, "unexpected end of input, expected expression"),
            ("data.name = 1", 10..11, "unexpected"),
        ] {
            let error = Rule::new(rule).unwrap_err();
            assert!(error.what.contains(what), "{rule}: {error}");
            assert_eq!((error.place, error.is_hopeless), (Some(place), true), "{rule}");
        }
        assert!(Text::new("{{ data.name").unwrap_err().is_hopeless);
    }

    #[test]
    fn what_there_is_not_is_found_when_the_rule_is_read() {
        for (rule, place, what) in [
            ("id | nofilter", 5..13, "filter nofilter is unknown"),
            ("nofunction(1)", 0..13, "nofunction is unknown"),
            ("id is notest", 6..12, "test notest is unknown"),
            ("type == 'booking' and data.start | nofilter", 35..43, "nofilter is unknown"),
        ] {
            let error = Rule::new(rule).unwrap_err();
            assert!(error.what.contains(what), "{rule}: {error}");
            assert_eq!(error.place, Some(place), "{rule}");
        }
        assert!(Text::new("{{ id | nofilter }}").is_err());
    }

    #[test]
    fn a_rule_that_fails_to_run_is_an_error_and_no_answer() {
        let nested = [b"[".repeat(400), b"]".repeat(400)].concat();
        for (rule, what) in [
            ("range(100000) | sum", "it takes more than 50000 steps"),
            ("data.name + 1", "unsupported types string and number"),
        ] {
            let error = Rule::new(rule).unwrap().holds(&view(BODY)).unwrap_err();
            assert!(error.what.contains(what), "{rule}: {error}");
            assert!(!error.is_hopeless, "{rule}");
        }
        for body in [&nested[..], b"\xff", b"plain", b""] {
            assert_eq!(Rule::new("data.x == 1").unwrap().holds(&view(body)), Ok(false));
        }
    }
}
