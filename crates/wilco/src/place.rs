//! Where a value is in a request: a header, the JSON body, a form, the query.

use std::fmt;

use serde::Deserialize;

use crate::{
    Body, Head,
    mismatch::Mismatch,
    path::{self, Path},
};

/// Where a provider puts a value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub(crate) struct Place {
    at: At,
    /// The character between the items of a list; each item is a candidate.
    split: Option<char>,
    /// The prefix of the value, or of each item of the list. Items with another prefix are skipped.
    prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    /// A single value is taken from the first that is present; for signatures, each is a candidate.
    Headers(Vec<String>),
    Json(Path),
    Form(String),
    Query(String),
}

/// The half of a request in which to look.
#[derive(Clone, Copy)]
pub(crate) enum Half<'a> {
    Head(&'a Head),
    Body(&'a Body),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    header: Option<OneOrMore>,
    json: Option<Path>,
    form: Option<String>,
    query: Option<String>,
    split: Option<char>,
    #[serde(default)]
    prefix: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl TryFrom<Raw> for Place {
    type Error = &'static str;

    fn try_from(raw: Raw) -> Result<Self, Self::Error> {
        let at = match (raw.header, raw.json, raw.form, raw.query) {
            (Some(OneOrMore::One(name)), None, None, None) => At::Headers(vec![name]),
            (Some(OneOrMore::More(names)), None, None, None) => At::Headers(names),
            (None, Some(path), None, None) => At::Json(path),
            (None, None, Some(name), None) => At::Form(name),
            (None, None, None, Some(name)) => At::Query(name),
            _ => return Err("expected one of header, json, form, query"),
        };
        if let At::Headers(names) = &at
            && names.iter().any(|name| name.is_empty() || *name != name.to_ascii_lowercase())
        {
            return Err("expected header names in lower case");
        }
        Ok(Self { at, split: raw.split, prefix: raw.prefix })
    }
}

impl Place {
    /// The name of the header, if the value is in one.
    pub(crate) fn header(&self) -> Option<&str> {
        match &self.at {
            At::Headers(names) => names.first().map(String::as_str),
            _ => None,
        }
    }

    pub(crate) fn is_in_body(&self) -> bool {
        matches!(self.at, At::Json(_) | At::Form(_))
    }

    /// The path, if the value is in a JSON body.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.at {
            At::Json(path) => Some(path),
            At::Headers(_) | At::Form(_) | At::Query(_) => None,
        }
    }

    /// Every candidate in this half of the request.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] if there is none, or if a header occurs more than once.
    pub(crate) fn candidates(&self, half: Half<'_>) -> Result<Vec<Vec<u8>>, Mismatch> {
        let mut values: Vec<Vec<u8>> = Vec::with_capacity(1);
        match (&self.at, half) {
            (At::Headers(names), Half::Head(head)) => {
                for name in names {
                    let before = values.len();
                    values.extend(head.headers.all(name).map(<[u8]>::to_vec));
                    if values.len() > before + 1 {
                        let times = values.len() - before;
                        return Err(Mismatch::Repeated { header: name.clone(), times });
                    }
                }
            }
            (At::Query(name), Half::Head(head)) => {
                values.extend(in_form(head.query().as_bytes(), name));
            }
            (At::Json(path), Half::Body(body)) => values.extend(in_json(&body.contiguous(), path)),
            (At::Form(name), Half::Body(body)) => values.extend(in_form(&body.contiguous(), name)),
            (At::Headers(_) | At::Query(_), Half::Body(_))
            | (At::Json(_) | At::Form(_), Half::Head(_)) => {}
        }
        values.retain(|value| !value.is_empty());
        if values.is_empty() {
            return Err(Mismatch::Missing { place: self.to_string() });
        }
        let items: Vec<_> = values.iter().flat_map(|value| self.items(value)).collect();
        match items.len() {
            0 => Err(self.malformed(&format!("a value that begins with {:?}", self.prefix))),
            1..=CANDIDATES_MAX => Ok(items),
            _ => Err(self.malformed(&format!("a list of at most {CANDIDATES_MAX}"))),
        }
    }

    /// The first of the [`candidates`](Self::candidates).
    pub(crate) fn value(&self, half: Half<'_>) -> Result<Vec<u8>, Mismatch> {
        Ok(self.candidates(half)?.swap_remove(0))
    }

    /// The error for a value at this place that is not what was `expected`.
    pub(crate) fn malformed(&self, expected: &str) -> Mismatch {
        Mismatch::Malformed { place: self.to_string(), expected: expected.to_owned() }
    }

    /// The header that puts this value at this place, for signing. `None` if the place is not a
    /// header.
    pub(crate) fn write(&self, value: &str) -> Option<(String, String)> {
        match &self.at {
            At::Headers(names) => Some((names.first()?.clone(), format!("{}{value}", self.prefix))),
            _ => None,
        }
    }

    /// The character between the items of a list.
    pub(crate) fn split(&self) -> Option<char> {
        self.split
    }

    /// The items of a value that have the prefix, without it.
    fn items(&self, value: &[u8]) -> Vec<Vec<u8>> {
        let prefix = self.prefix.as_bytes();
        let Some(split) = self.split else {
            return value.strip_prefix(prefix).map(<[u8]>::to_vec).into_iter().collect();
        };
        let items = value.split(|byte| char::from(*byte) == split);
        let items = items.filter_map(|item| item.trim_ascii().strip_prefix(prefix));
        items.map(<[u8]>::to_vec).collect()
    }
}

/// As messages name it: `header x-hub-signature-256`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Headers(names) => write!(f, "header {}", names.join(" or ")),
            At::Json(path) => write!(f, "member {path} of the body"),
            At::Form(name) => write!(f, "form field {name}"),
            At::Query(name) => write!(f, "query parameter {name}"),
        }
    }
}

fn in_json(body: &[u8], path: &Path) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let value = path::values(text, &[path], true).ok()?.pop()??;
    Some(value.into_owned().into_bytes())
}

fn in_form(pairs: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut pairs = form_urlencoded::parse(pairs);
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned().into_bytes())
}

/// More than any provider sends while it rotates its keys, and few enough to check them all.
const CANDIDATES_MAX: usize = 16;
