//! The head of a request as the library sees it, and what of it may be shown.

use form_urlencoded::parse;
use http::{Method, request::Parts};
use wilco::{Head, Headers, Scheme};

use crate::{config::Source, redaction};

/// The method of a request that this source takes: of an event, or of a handshake.
pub(super) fn method(source: &Source, method: &Method, has_body: bool) -> Option<&'static str> {
    if method == Method::POST {
        return Some(POST);
    }
    let mut methods = source.provider.handshake_methods().filter(|_| !has_body);
    methods.find(|known| *known == method.as_str())
}

/// The head as schemes and handshakes see it. Its URL is the one by which the provider knows the
/// endpoint, with the query of this request; what was requested, if nobody said which one that is.
pub(super) fn head(parts: &Parts, method: &'static str, source: &Source) -> Head {
    let fields = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let requested = || parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let url = source.known_url(parts.uri.query()).unwrap_or_else(requested);
    Head { method: method.into(), url, headers: Headers::from_pairs(fields) }
}

/// The head of a refused request without credentials.
pub(super) fn redacted(head: &Head, scheme: &Scheme) -> Head {
    let is_secret = |name: &str| redaction::is_credential(name) || scheme.is_sent_secret(name);
    Head {
        method: head.method.clone(),
        url: redaction::url(&head.url, is_secret),
        headers: redaction::headers(&head.headers, is_secret),
    }
}

/// The names in this head that carry the secret itself. What they are called need not say so.
pub(super) fn sent_secrets(head: &Head, scheme: &Scheme) -> Vec<String> {
    let query = head.url.split_once('?').map_or("", |(_, query)| query);
    let parameters = parse(query.as_bytes()).map(|(name, _)| name.into_owned());
    let names = head.headers.iter().map(|(name, _)| name.to_owned()).chain(parameters);
    names.filter(|name| scheme.is_sent_secret(name)).collect()
}

pub(super) const POST: &str = "POST";
