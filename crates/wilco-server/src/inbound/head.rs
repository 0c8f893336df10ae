//! The head of a request as the library sees it, and what of it may be shown.

use form_urlencoded::parse;
use http::{Method, request::Parts};
use wilco::{Head, Headers, Scheme};

use crate::config::Source;

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
    let url = match (&source.public_url, parts.uri.query()) {
        (None, _) => parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
        (Some(url), None) => url.clone(),
        (Some(url), Some(query)) => format!("{url}?{query}"),
    };
    Head { method: method.into(), url, headers: Headers::from_pairs(fields) }
}

/// The head of a refused request as it is kept: without credentials. Signatures are kept, because they do
/// not reveal the secret, and together with the body they show why they did not match.
pub(super) fn blanked(head: &Head, scheme: &Scheme) -> (String, Headers) {
    let is_secret = |name: &str| is_credential(name) || scheme.is_sent_secret(name);
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name, if is_secret(name) { BLANKED.as_bytes() } else { value }));
    let url = match head.url.split_once('?') {
        None => head.url.clone(),
        Some((before, query)) => {
            let pairs = query.split('&').map(|pair| {
                let (name, _) = pair.split_once('=').unwrap_or((pair, ""));
                let decoded = parse(pair.as_bytes()).next();
                let is_secret = decoded.is_some_and(|(name, _)| is_secret(&name));
                if is_secret { format!("{name}={BLANKED}") } else { pair.to_owned() }
            });
            format!("{before}?{}", pairs.collect::<Vec<_>>().join("&"))
        }
    };
    (url, Headers::from_pairs(headers))
}

fn is_credential(name: &str) -> bool {
    wilco_config::is_credential_name(name) || CREDENTIALS.contains(&name)
}

pub(super) const POST: &str = "POST";
const BLANKED: &str = "(blanked)";
/// Names of parameters that usually contain a credential, besides those that say so.
const CREDENTIALS: [&str; 6] = ["key", "auth", "code", "pass", "pwd", "jwt"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_a_head_are_blanked_and_nothing_else() {
        let scheme = "algorithm = \"token\"\nsignature = { query = \"s\" }";
        let scheme: Scheme = toml::from_str(scheme).unwrap();
        for (query, expected) in [
            ("a=1&b=2", "a=1&b=2"),
            ("hub.mode=x&hub.verify_token=canary", "hub.mode=x&hub.verify_token=(blanked)"),
            ("tok%65n=canary&a", "tok%65n=(blanked)&a"),
            ("s=canary&key=canary", "s=(blanked)&key=(blanked)"),
            ("Password=canary", "Password=(blanked)"),
            ("sig=abc", "sig=abc"),
        ] {
            let head = Head { url: format!("/x?{query}"), ..Head::default() };
            assert_eq!(blanked(&head, &scheme).0, format!("/x?{expected}"), "{query}");
        }
    }
}
