//! Rules: expressions and templates over an event, in Jinja (`docs/rules.md`).
//!
//! The members of the body are variables. Further variables are `event` (id, name, source, received_at,
//! backfilled, and item if it is one), `headers` by their names in lower case, and `body`, the whole body. Of an
//! item that a route splits off, the body is that item. A value that is absent or
//! null prints nothing, contains nothing, and makes a comparison false. A comparison of two different types is
//! false too.
//!
//! A rule is compiled when the file is read. Its result depends only on the event, so a rule that fails
//! for an event fails each time.

mod advice;
mod body;
mod language;
mod number;
mod parse;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Range,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, LazyLock},
};

use jiff::Timestamp;
use minijinja::{ErrorKind, Value};
use wilco::{Digest, Event, EventId, Headers, Origin, SourceName, freispace};

pub use advice::unmatched;
pub(crate) use number::Exact;

use body::Body;
use language::Compiled;

/// An expression: a condition, or a key.
#[derive(Clone)]
pub struct Rule {
    source: Arc<str>,
    compiled: Arc<Compiled>,
}

/// A template: a text that is filled from an event.
#[derive(Clone)]
pub struct Text {
    source: Arc<str>,
    compiled: Arc<Compiled>,
}

/// Why a rule cannot be compiled, or failed for an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct RuleError {
    /// What is wrong.
    pub what: String,
    /// Where in the rule, in bytes.
    pub place: Option<Range<usize>>,
    /// It fails for every event.
    pub is_hopeless: bool,
}

/// An event as rules see it.
#[derive(Clone, Debug)]
pub struct View {
    names: Value,
    /// Bytes of the event's body.
    body_bytes: usize,
    /// Why nothing of the body is among the names.
    unread: Option<String>,
}

impl Rule {
    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// [`RuleError`] where it cannot be read, or names what does not exist.
    pub fn new(source: &str) -> Result<Self, RuleError> {
        let compiled = Arc::new(Compiled::expression(source)?);
        let rule = Self { source: source.into(), compiled };
        try_out(|view| rule.evaluate(view).map(drop))?;
        Ok(rule)
    }

    /// Whether the expression is true for an event.
    ///
    /// # Errors
    ///
    /// [`RuleError`] where it fails for this event.
    pub fn holds(&self, view: &View) -> Result<bool, RuleError> {
        Ok(self.evaluate(view)?.is_true())
    }

    /// The value of the expression for an event, as a key; `None` if it is absent or null.
    ///
    /// # Errors
    ///
    /// [`RuleError`] where it fails for this event.
    pub fn key(&self, view: &View) -> Result<Option<String>, RuleError> {
        let value = self.evaluate(view)?;
        if value.is_undefined() || value.is_none() {
            return Ok(None);
        }
        let key = value.to_string();
        if key.len() > KEY_BYTES_MAX {
            let bytes = key.len();
            let what = format!("the key has {bytes} bytes, more than {KEY_BYTES_MAX}");
            return Err(RuleError::failed(what));
        }
        Ok(Some(key))
    }

    /// As it is written in the file.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The values in an event of the members that the expression names: `data.size is 4`.
    pub fn found(&self, view: &View) -> Vec<String> {
        let members = self.compiled.members();
        let found = members.into_iter().take(FOUND_MAX).map(|path| {
            let value = view.member(&path);
            format!("{path} is {}", shown(&value))
        });
        found.collect()
    }

    fn evaluate(&self, view: &View) -> Result<Value, RuleError> {
        view.require_names_of(&self.compiled)?;
        view.try_both(|names| self.compiled.evaluate(names, steps(view.body_bytes)))
    }
}

impl Text {
    /// As it is written in the file.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Compiles a template.
    ///
    /// # Errors
    ///
    /// [`RuleError`] where it cannot be read, or names what does not exist.
    pub fn new(source: &str) -> Result<Self, RuleError> {
        let compiled = Arc::new(Compiled::template(source)?);
        let text = Self { source: source.into(), compiled };
        try_out(|view| text.render(view).map(drop))?;
        Ok(text)
    }

    /// The text for an event.
    ///
    /// # Errors
    ///
    /// [`RuleError`] where it fails for this event.
    pub fn render(&self, view: &View) -> Result<String, RuleError> {
        view.require_names_of(&self.compiled)?;
        let bytes_max = TEXT_BYTES_MAX + TEXT_BYTES_PER_BYTE * view.body_bytes;
        view.try_both(|names| self.compiled.render(names, steps(view.body_bytes), bytes_max))
    }
}

/// A panic over an event is a failure for that event: routing continues, and one unusual event does not
/// end the process at each start.
pub(crate) fn contained<T>(run: impl FnOnce() -> Result<T, RuleError>) -> Result<T, RuleError> {
    panic::catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(RuleError::failed("it panicked; the log says where".into())))
}

/// The budget of one run grows with the body: to filter a megabyte takes more steps than to compare two
/// words.
fn steps(body_bytes: usize) -> u64 {
    FUEL.saturating_add(u64::try_from(body_bytes).unwrap_or(u64::MAX).saturating_mul(FUEL_PER_BYTE))
}

/// The language looks up names only when a rule runs. So each rule is run with samples when the file is
/// read, to find a function that does not exist before the first event.
fn try_out(run: impl Fn(&View) -> Result<(), RuleError>) -> Result<(), RuleError> {
    let mut failures = SAMPLES.iter().filter_map(|(_, view)| run(view).err());
    failures.find(|error| error.is_hopeless).map_or(Ok(()), Err)
}

impl View {
    /// Reads an event. What cannot be read as JSON is seen as a text or as nothing, so this fails only
    /// where reading panics. Of a body over 4 MiB nothing is read: rules that look into it fail.
    ///
    /// # Errors
    ///
    /// [`RuleError`] where reading panicked.
    pub fn of(event: &Event) -> Result<Self, RuleError> {
        contained(|| Ok(Self::read(event)))
    }

    fn read(event: &Event) -> Self {
        let json = event.body.contiguous(RULE_BODY_BYTES_MAX);
        let unread = json.as_ref().err().map(ToString::to_string);
        let json = json.unwrap_or_default();
        let text = std::str::from_utf8(&json).ok().filter(|_| unread.is_none());
        let (whole, mut names) = match (text.and_then(body::read), text) {
            (Some(Body::Object(members)), _) => (Value::from_pairs(members.clone()), members),
            (Some(Body::Other(value)), _) => (value, BTreeMap::new()),
            (None, Some(text)) => (Value::from(text), BTreeMap::new()),
            (None, None) => (Value::UNDEFINED, BTreeMap::new()),
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
            ("id", event.delivered_id().into()),
            ("name", Value::from(event.name.as_str())),
            ("source", Value::from(event.source.as_str())),
            ("received_at", event.received_at.to_string().into()),
            ("item", event.item.map_or(Value::UNDEFINED, Value::from)),
            ("backfilled", Value::from(event.origin.is_backfilled())),
        ];
        names.insert("event".into(), Value::from_pairs(about));
        names.insert("headers".into(), Value::from_pairs(headers));
        names.insert("body".into(), whole);
        let body_bytes = if unread.is_none() { event.body.len() } else { 0 };
        Self { names: Value::from_pairs(names), body_bytes, unread }
    }

    /// Fails if a rule looks into a body that was not read: it would see an event without values.
    fn require_names_of(&self, compiled: &Compiled) -> Result<(), RuleError> {
        let Some(unread) = &self.unread else { return Ok(()) };
        let is_of_body =
            |member: &String| !matches!(member.split('.').next(), Some("event" | "headers"));
        match compiled.members().iter().any(is_of_body) {
            true => Err(RuleError::failed(unread.clone())),
            false => Ok(()),
        }
    }

    /// Runs a rule over the variables. If it fails with numbers that are kept as they were written, it is
    /// run again with the language's own numbers, which `range(data.count)`, for example, needs.
    fn try_both<T>(&self, run: impl Fn(&Value) -> Result<T, RuleError>) -> Result<T, RuleError> {
        contained(|| {
            let error = match run(&self.names) {
                Err(error) if !error.is_hopeless => error,
                done => return done,
            };
            let plain = Exact::replaced(
                &self.names,
                &mut |number| Value::from(number.approximately()),
                &mut || Ok(()),
            );
            match plain {
                Ok(Some(names)) => run(&names).map_err(|_| error),
                Ok(None) | Err(_) => Err(error),
            }
        })
    }

    /// The value at a path such as `data.status.name`.
    fn member(&self, path: &str) -> Value {
        let step = |value: Value, name: &str| value.get_attr(name).unwrap_or(Value::UNDEFINED);
        path.split('.').fold(self.names.clone(), step)
    }
}

/// A value as shown to people, truncated if it is long.
fn shown(value: &Value) -> String {
    if value.is_undefined() || value.is_none() {
        return "absent or null".into();
    }
    let text = language::shown(value);
    match text.char_indices().nth(FOUND_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl RuleError {
    /// It failed for this event.
    pub(crate) fn failed(what: String) -> Self {
        Self { what, place: None, is_hopeless: false }
    }

    fn of(error: &minijinja::Error, steps: u64) -> Self {
        let what = match (error.kind(), error.detail()) {
            (ErrorKind::OutOfFuel, _) => format!("it takes more than {steps} steps"),
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

impl From<minijinja::Error> for RuleError {
    /// For compilation, when nothing runs and no step is taken.
    fn from(error: minijinja::Error) -> Self {
        Self::of(&error, 0)
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

/// An empty body, and one of each documented event, with its name.
static SAMPLES: LazyLock<Vec<(&str, View)>> = LazyLock::new(|| {
    let samples = [("empty", "{}")].into_iter().chain(freispace::SAMPLES.iter().copied());
    samples.filter_map(|(name, body)| Some((name, sample(name, body)?))).collect()
});

fn sample(name: &str, body: &str) -> Option<View> {
    View::of(&Event {
        id: EventId::from_bits(0),
        source: SourceName::new("sample").ok()?,
        provider: "freispace".into(),
        name: name.to_owned(),
        subject: None,
        received_at: Timestamp::UNIX_EPOCH,
        secret_name: String::new(),
        digest: Digest::of(body.as_bytes()),
        conflict: false,
        origin: Origin::Webhook,
        item: None,
        headers: Headers::default(),
        body: body.to_owned().into(),
    })
    .ok()
}

/// Steps that one run of a rule may take: instructions, and for every 64 bytes of text that it makes
/// or every 4 bytes of JSON one more. So they bound its memory as well as its time.
const FUEL: u64 = 100_000;
/// The largest body that rules, templates and `split` read, in bytes. It is in memory meanwhile, as values
/// that take several times as much.
pub(crate) const RULE_BODY_BYTES_MAX: usize = 4 << 20;
/// Further steps for each byte of the body.
const FUEL_PER_BYTE: u64 = 1;
/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 1 << 10;
/// The longest text, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Bytes by which that grows with each byte of the body.
const TEXT_BYTES_PER_BYTE: usize = 4;
/// Members of a condition of which the value is shown next to it.
const FOUND_MAX: usize = 8;
/// How much of each value is shown.
const FOUND_CHARS_MAX: usize = 80;

#[cfg(test)]
mod tests;
