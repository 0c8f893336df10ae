//! What is signed, as the provider's documentation writes it: `{timestamp}.{body}`.

use std::{borrow::Cow, fmt, iter};

use serde::Deserialize;

use crate::{
    Body, Digest,
    path::{self, Path},
    place::Place,
};

/// The bytes that a signature covers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(in crate::verify) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::verify) enum Part {
    Text(String),
    /// The raw body.
    Body,
    /// The timestamp as text, exactly as it was sent.
    Timestamp,
    Id,
    Method,
    /// The URL as the provider calls it: with scheme, host and query.
    Url(Port),
    Secret,
    /// Path and query of the URL.
    Path,
    /// The value of this header.
    Header(Place),
    /// The SHA-256 of the body in lower-case hex.
    BodySha256,
    /// The names and values of the form, sorted, without separators (Twilio).
    Form,
    /// A value of the JSON body; empty if it is absent.
    Json(Path),
}

/// Whether the URL names the default port of its scheme, which some providers' proxies add or drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verify) enum Port {
    AsSent,
    Added,
    Dropped,
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) =
                after.split_once('}').ok_or_else(|| format!("missing }} in {text:?}"))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::try_from(name)?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }
}

impl TryFrom<&str> for Part {
    type Error = String;

    /// Reads what is between the braces.
    fn try_from(name: &str) -> Result<Self, String> {
        Ok(match name {
            "body" => Self::Body,
            "timestamp" => Self::Timestamp,
            "id" => Self::Id,
            "method" => Self::Method,
            "url" => Self::Url(Port::AsSent),
            "url+port" => Self::Url(Port::Added),
            "url-port" => Self::Url(Port::Dropped),
            "secret" => Self::Secret,
            "path" => Self::Path,
            "body-sha256" => Self::BodySha256,
            "form" => Self::Form,
            _ => match name.split_once(':') {
                Some(("json", path)) => Self::Json(Path::try_from(path.to_owned())?),
                Some(("header", header)) => Self::Header(Place::of_header(header)?),
                _ => return Err(format!("unknown part {{{name}}}: expected one of {KNOWN}")),
            },
        })
    }
}

/// As files write it.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Body => f.write_str("{body}"),
            Part::Timestamp => f.write_str("{timestamp}"),
            Part::Id => f.write_str("{id}"),
            Part::Method => f.write_str("{method}"),
            Part::Url(Port::AsSent) => f.write_str("{url}"),
            Part::Url(Port::Added) => f.write_str("{url+port}"),
            Part::Url(Port::Dropped) => f.write_str("{url-port}"),
            Part::Secret => f.write_str("{secret}"),
            Part::Path => f.write_str("{path}"),
            Part::Header(place) => write!(f, "{{header:{}}}", place.header().unwrap_or_default()),
            Part::BodySha256 => f.write_str("{body-sha256}"),
            Part::Form => f.write_str("{form}"),
            Part::Json(path) => write!(f, "{{json:{path}}}"),
        })
    }
}

impl Template {
    /// The parts before the body and after it, if the signature can be computed while the body
    /// arrives: that is, if no other part depends on the body.
    pub(super) fn around_body(&self) -> Option<(&[Part], &[Part])> {
        let is_late = |part: &Part| matches!(part, Part::Form | Part::Json(_) | Part::BodySha256);
        let at = self.0.iter().position(|part| *part == Part::Body)?;
        let (before, after) = (&self.0[..at], &self.0[at + 1..]);
        let again = after.contains(&Part::Body) || self.0.iter().any(is_late);
        (!again).then_some((before, after))
    }

    /// Whether a part is a value out of the body.
    pub(super) fn has_value_of_body(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Form | Part::Json(_)))
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.0
    }

    pub(super) fn has(&self, part: &Part) -> bool {
        self.0.contains(part)
    }

    pub(super) fn without(&self, part: &Part) -> Self {
        Self(self.0.iter().filter(|other| *other != part).cloned().collect())
    }

    /// This with the part after it, and this with the part before it.
    pub(super) fn with(&self, part: &Part) -> [Self; 2] {
        let this = || self.0.iter().cloned();
        let part = || iter::once(part.clone());
        [this().chain(part()).collect(), part().chain(this()).collect()].map(Self)
    }

    /// The signed message: all parts of the template, joined.
    pub(super) fn message(&self, values: &Values, secret: &[u8], body: &Body) -> Vec<u8> {
        let whole = || body.in_one_piece().unwrap_or_default();
        let mut message = Vec::new();
        for part in &self.0 {
            match part {
                Part::Body => message.extend_from_slice(&whole()),
                Part::Form if values.is_form => message.extend(sorted_form(&whole())),
                Part::Json(path) => message.extend(json_value(&whole(), path)),
                Part::BodySha256 => {
                    let digest = values.digest.or_else(|| Digest::of_body(body).ok());
                    let text = digest.map(|digest| digest.to_string());
                    message.extend(text.unwrap_or_default().into_bytes());
                }
                _ => message.extend_from_slice(&part.bytes(values, secret).unwrap_or_default()),
            }
        }
        message
    }
}

/// The values besides the body that a signature covers. `None` until the body is there, if it has
/// them.
#[derive(Default)]
pub(in crate::verify) struct Values {
    pub(super) timestamp: Option<Vec<u8>>,
    pub(super) id: Option<Vec<u8>>,
    pub(super) method: String,
    pub(super) url: String,
    /// The signed headers.
    pub(super) headers: Vec<(Place, Vec<u8>)>,
    /// Whether the body is a form that is signed.
    pub(super) is_form: bool,
    /// The digest of the body, if it was computed while that arrived.
    pub(in crate::verify) digest: Option<Digest>,
}

impl Part {
    /// The bytes of a part that does not depend on the body.
    pub(super) fn bytes<'a>(
        &'a self,
        values: &'a Values,
        secret: &'a [u8],
    ) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Text(text) => Some(text.as_bytes().into()),
            Self::Timestamp => values.timestamp.as_deref().map(Cow::Borrowed),
            Self::Id => values.id.as_deref().map(Cow::Borrowed),
            Self::Method => Some(values.method.as_bytes().into()),
            Self::Url(port) => Some(with_port(&values.url, *port).into_owned().into_bytes().into()),
            Self::Secret => Some(secret.into()),
            Self::Path => Some(path_of(&values.url).as_bytes().into()),
            Self::Header(place) => {
                let value = values.headers.iter().find(|(header, _)| header == place);
                value.map(|(_, value)| value.as_slice().into())
            }
            Self::Body | Self::Form | Self::Json(_) | Self::BodySha256 => None,
        }
    }
}

/// The path of a URL with its query, as a request names it.
fn path_of(url: &str) -> &str {
    if url.starts_with('/') {
        return url;
    }
    let Some((_, rest)) = url.split_once("://") else { return url };
    rest.find(['/', '?']).map_or("/", |at| &rest[at..])
}

/// The URL with the default port of its scheme, or without a port.
fn with_port(url: &str, port: Port) -> Cow<'_, str> {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (host, has_port) = match authority.rsplit_once(':') {
        Some((host, digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => (host, true),
        _ => (authority, false),
    };
    match port {
        Port::Added if !has_port => {
            let number = if scheme == "https" { 443 } else { 80 };
            format!("{scheme}://{host}:{number}{path}").into()
        }
        Port::Dropped if has_port => format!("{scheme}://{host}{path}").into(),
        _ => url.into(),
    }
}

/// Names and values, sorted by both, each pair once.
fn sorted_form(body: &[u8]) -> Vec<u8> {
    let mut pairs: Vec<_> = form_urlencoded::parse(body).collect();
    pairs.sort();
    pairs.dedup();
    pairs.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()].concat()).collect()
}

fn json_value(body: &[u8], path: &Path) -> Vec<u8> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let value =
        path::values(text, &[path], true).ok().and_then(|mut values| values.pop()).flatten();
    value.map(|value| value.into_owned().into_bytes()).unwrap_or_default()
}

const KNOWN: &str = "{body}, {timestamp}, {id}, {method}, {url}, {url+port}, {url-port}, {secret}, \
                     {path}, {header:NAME}, {body-sha256}, {form}, {json:PATH}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_is_added_or_dropped() {
        for (url, added, dropped) in [
            (
                "https://a.example/x?y=1:2",
                "https://a.example:443/x?y=1:2",
                "https://a.example/x?y=1:2",
            ),
            ("http://a.example", "http://a.example:80", "http://a.example"),
            ("http://a.example:8080/x", "http://a.example:8080/x", "http://a.example/x"),
        ] {
            assert_eq!(with_port(url, Port::AsSent), url);
            assert_eq!(with_port(url, Port::Added), added);
            assert_eq!(with_port(url, Port::Dropped), dropped);
        }
    }

    #[test]
    fn the_path_of_a_url_includes_its_query() {
        for (url, expected) in [
            ("https://a.example/x?y=1", "/x?y=1"),
            ("https://a.example?y=/1", "?y=/1"),
            ("https://a.example", "/"),
            ("/x?u=https://b", "/x?u=https://b"),
        ] {
            assert_eq!(path_of(url), expected, "{url}");
        }
    }

    #[test]
    fn a_template_is_read_into_its_parts() {
        let parts = Template::try_from("v0:{timestamp}:{body}{json:a[0].b}!".to_owned()).unwrap().0;
        let path = Path::try_from("a[0].b".to_owned()).unwrap();
        let text = |text: &str| Part::Text(text.into());
        let expected =
            [text("v0:"), Part::Timestamp, text(":"), Part::Body, Part::Json(path), text("!")];
        assert_eq!(parts, expected);
    }

    #[test]
    fn a_template_is_shown_as_it_is_written() {
        for text in [
            "v0:{timestamp}:{body}!",
            "{id}.{method}{url}{url+port}{url-port}{path}",
            "{secret}{form}{json:a[0].b}{header:x-date}{body-sha256}",
        ] {
            assert_eq!(Template::try_from(text.to_owned()).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_template_with_an_unknown_part_is_refused() {
        for (text, expected) in [
            ("{bodi}", "unknown part {bodi}: expected one of {body}, "),
            ("{body", "missing }"),
            ("{json:}", "invalid path"),
            ("{header:X-A}", "expected header names in lower case"),
            ("{header:}", "expected header names in lower case"),
        ] {
            let error = Template::try_from(text.to_owned()).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_signature_is_computed_while_the_body_arrives_unless_another_part_needs_the_body() {
        for (text, expected) in [
            ("{timestamp}.{body}", true),
            ("{body}{timestamp}{secret}", true),
            ("{body}", true),
            ("{url}{form}", false),
            ("{timestamp}{json:signature.token}", false),
            ("{body}{body}", false),
            ("{timestamp}", false),
            ("{header:x-a}{path}{body}", true),
            ("{method}{body-sha256}", false),
        ] {
            let template = Template::try_from(text.to_owned()).unwrap();
            assert_eq!(template.around_body().is_some(), expected, "{text}");
        }
    }
}
