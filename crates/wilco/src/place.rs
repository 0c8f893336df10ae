//! Where a value is in a request: a header, the JSON body, a form, the query.

use std::fmt;

use serde::Deserialize;

use crate::{
    Arrival, Body, Head,
    mismatch::Mismatch,
    path::{self, Path},
};

/// Where a provider puts a value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PlaceText")]
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
    /// The value itself, the same in every request.
    Text(String),
    /// A claim of the token that the request is signed with.
    Claim(String),
}

/// The half of a request in which to look.
#[derive(Clone, Copy)]
pub(crate) enum Half<'a> {
    Head(&'a Head),
    Body(&'a Body),
}

/// A place as files write it, which may leave a part to the family that the file builds on.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PlaceText {
    pub(crate) header: Option<OneOrMore>,
    pub(crate) json: Option<Path>,
    pub(crate) form: Option<String>,
    pub(crate) query: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) claim: Option<String>,
    pub(crate) split: Option<char>,
    pub(crate) prefix: Option<String>,
}

/// A name, or several of which any counts.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl PlaceText {
    /// This place, with what it leaves open taken from `family`.
    pub(crate) fn over(self, family: Self) -> Self {
        let is_open = matches!(
            self,
            Self { header: None, json: None, form: None, query: None, text: None, claim: None, .. }
        );
        let split = self.split.or(family.split);
        let prefix = self.prefix.clone().or_else(|| family.prefix.clone());
        Self { split, prefix, ..if is_open { family } else { self } }
    }
}

impl TryFrom<PlaceText> for Place {
    type Error = &'static str;

    fn try_from(raw: PlaceText) -> Result<Self, Self::Error> {
        let headers = |names| match names {
            OneOrMore::One(name) => vec![name],
            OneOrMore::More(names) => names,
        };
        let found = [
            raw.header.map(|names| At::Headers(headers(names))),
            raw.json.map(At::Json),
            raw.form.map(At::Form),
            raw.query.map(At::Query),
            raw.text.map(At::Text),
            raw.claim.map(At::Claim),
        ];
        let mut found = found.into_iter().flatten();
        let (Some(at), None) = (found.next(), found.next()) else {
            return Err("expected one of header, json, form, query, text, claim");
        };
        match &at {
            At::Headers(names) => {
                let is_odd = |name: &String| name.is_empty() || *name != name.to_ascii_lowercase();
                if names.is_empty() || names.iter().any(is_odd) {
                    return Err("expected header names in lower case");
                }
            }
            At::Form(name) | At::Query(name) | At::Text(name) | At::Claim(name) => {
                if name.is_empty() {
                    return Err("the name of a place is empty");
                }
            }
            At::Json(_) => {}
        }
        Ok(Self { at, split: raw.split, prefix: raw.prefix.unwrap_or_default() })
    }
}

impl Place {
    /// The header of this name.
    pub(crate) fn of_header(name: &str) -> Result<Self, &'static str> {
        let header = Some(OneOrMore::One(name.to_owned()));
        Self::try_from(PlaceText { header, ..PlaceText::default() })
    }

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
            _ => None,
        }
    }

    /// The name of the field, if the value is in a form.
    pub(crate) fn form(&self) -> Option<&str> {
        match &self.at {
            At::Form(name) => Some(name),
            _ => None,
        }
    }

    /// The claim of the token, if the value is in one.
    pub(crate) fn claim(&self) -> Option<&str> {
        match &self.at {
            At::Claim(name) => Some(name),
            _ => None,
        }
    }

    pub(crate) fn is_constant(&self) -> bool {
        matches!(self.at, At::Text(_))
    }

    pub(crate) fn is_in_query(&self) -> bool {
        matches!(self.at, At::Query(_))
    }

    /// Whether the value is in a header or a query parameter of this name.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        match &self.at {
            At::Headers(names) => names.iter().any(|header| header == name),
            At::Query(parameter) => parameter == name,
            _ => false,
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
            (At::Json(path), Half::Body(body)) => {
                let body = body.in_one_piece().ok();
                values.extend(body.and_then(|body| in_json(&body, path)));
            }
            (At::Form(name), Half::Body(body)) => {
                let body = body.in_one_piece().ok();
                values.extend(body.and_then(|body| in_form(&body, name)));
            }
            (At::Text(text), Half::Head(_)) => values.push(text.clone().into_bytes()),
            // A claim is read by the scheme, which knows the token.
            (At::Headers(_) | At::Query(_) | At::Text(_), Half::Body(_))
            | (At::Json(_) | At::Form(_), Half::Head(_))
            | (At::Claim(_), _) => {}
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

    /// The value in a request that has arrived.
    pub(crate) fn value_in(&self, arrival: &Arrival) -> Option<Vec<u8>> {
        let half = match self.is_in_body() {
            true => Half::Body(&arrival.body),
            false => Half::Head(&arrival.head),
        };
        self.value(half).ok()
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

impl Place {
    /// As descriptions name it: with what is before the value.
    pub(crate) fn in_full(&self) -> String {
        match (self.prefix.as_str(), self.split) {
            ("", None) => self.to_string(),
            ("", Some(_)) => format!("{self}, in a list"),
            (prefix, None) => format!("{self}, after {prefix:?}"),
            (prefix, Some(_)) => format!("{self}, after {prefix:?} in a list"),
        }
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
            At::Text(text) => write!(f, "constant {text:?}"),
            At::Claim(name) => write!(f, "claim {name} of the token"),
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
