//! The parameters of a page: its state, which is all in the URL, or what a form carries.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, http::request::Parts};
use jiff::{SignedDuration, Timestamp};

/// Names and values, without those that are empty: a form sends them for what is not filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::admin) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a query, or the body of a form.
    pub(in crate::admin) fn parse(text: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(text).into_owned();
        Self(pairs.filter(|(_, value)| !value.trim().is_empty()).collect())
    }

    /// The value with this name; empty if there is none.
    pub(in crate::admin) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The value with this name, if there is one.
    pub(in crate::admin) fn text(&self, name: &str) -> Option<String> {
        Some(self.get(name).to_owned()).filter(|text| !text.is_empty())
    }

    /// Whether there are none.
    pub(in crate::admin) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the value with this name is this one.
    pub(in crate::admin) fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == value
    }

    /// Whether one of these names, which spaces divide, has a value.
    pub(in crate::admin) fn has_any(&self, names: &str) -> bool {
        names.split(' ').any(|name| !self.get(name).is_empty())
    }

    /// Whether the value with this name is none of the known ones.
    pub(in crate::admin) fn is_other(&self, name: &str, known: &[String]) -> bool {
        let value = self.get(name);
        !value.is_empty() && known.iter().all(|known| known != value)
    }

    /// These with another value, or without any if it is empty.
    pub(in crate::admin) fn with(&self, name: &str, value: &str) -> Self {
        let mut pairs = self.0.clone();
        pairs.retain(|(key, _)| key != name);
        if !value.is_empty() {
            pairs.push((name.into(), value.into()));
        }
        Self(pairs)
    }

    /// These as the API takes them: it has no ranges that end now.
    pub(in crate::admin) fn for_api(&self, now: Timestamp) -> Self {
        let query = self.with("range", "");
        match RANGES.iter().find(|(name, ..)| self.is("range", name)) {
            Some((_, _, minutes)) => {
                let since = now - SignedDuration::from_mins(*minutes);
                query.with("since", &since.to_string())
            }
            None => query,
        }
    }

    /// As a query.
    pub(in crate::admin) fn query(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    /// The page that a form names to go back to: only one of here.
    pub(in crate::admin) fn back(&self) -> &str {
        let back = self.get("back");
        let is_local = back.starts_with('/') && !back.starts_with("//") && !back.starts_with("/\\");
        let is_plain = back.bytes().all(|byte| byte.is_ascii_graphic());
        if is_local && is_plain { back } else { "/" }
    }
}

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default().as_bytes()))
    }
}

/// The ranges of time that a page offers: in the URL, in words, in minutes.
pub(in crate::admin) const RANGES: [(&str, &str, i64); 5] = [
    ("15m", "last 15 minutes", 15),
    ("1h", "last hour", 60),
    ("24h", "last 24 hours", 24 * 60),
    ("7d", "last 7 days", 7 * 24 * 60),
    ("30d", "last 30 days", 30 * 24 * 60),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_parameters_are_dropped_and_the_others_kept() {
        let parameters = Parameters::parse(b"source=&event=booking.*&state=dead&cursor=+");
        assert_eq!((parameters.get("event"), parameters.get("source")), ("booking.*", ""));
        assert_eq!(parameters.with("state", "").query(), "event=booking.*");
        assert_eq!(parameters.with("event", "a b&c").query(), "state=dead&event=a+b%26c");
    }

    #[test]
    fn a_form_leads_back_only_to_a_page_of_the_dashboard() {
        for (back, expected) in [
            ("/events?state=dead", "/events?state=dead"),
            ("//evil.example/", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example/", "/"),
            ("javascript:alert(1)", "/"),
            ("/a\r\nset-cookie: x", "/"),
            ("", "/"),
        ] {
            let query = Parameters::default().with("back", back).query();
            assert_eq!(Parameters::parse(query.as_bytes()).back(), expected, "{back}");
        }
    }
}
