//! Redacts what must not be shown of a request: credentials in its headers and in its URL.

use form_urlencoded::parse;
use wilco::Headers;

/// Whether a header or parameter of this name usually carries a credential.
pub(crate) fn is_credential(name: &str) -> bool {
    wilco_config::is_credential_name(name) || CREDENTIALS.contains(&name)
}

/// The headers, with the secret ones redacted. Signatures are not secrets: they do not reveal the secret that made
/// them, and together with the body they show why they did not match.
pub(crate) fn headers(headers: &Headers, is_secret: impl Fn(&str) -> bool) -> Headers {
    let redacted = headers
        .iter()
        .map(|(name, value)| (name, if is_secret(name) { REDACTED.as_bytes() } else { value }));
    Headers::from_pairs(redacted)
}

/// The URL, with the secret parameters redacted.
pub(crate) fn url(url: &str, is_secret: impl Fn(&str) -> bool) -> String {
    let Some((before, query)) = url.split_once('?') else { return url.to_owned() };
    let pairs = query.split('&').map(|pair| {
        let (name, _) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = parse(pair.as_bytes()).next();
        let is_secret = decoded.is_some_and(|(name, _)| is_secret(&name));
        if is_secret { format!("{name}={REDACTED}") } else { pair.to_owned() }
    });
    format!("{before}?{}", pairs.collect::<Vec<_>>().join("&"))
}

pub(crate) const REDACTED: &str = "(redacted)";
/// Names of parameters that usually contain a credential, besides those that say so.
const CREDENTIALS: [&str; 6] = ["key", "auth", "code", "pass", "pwd", "jwt"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_a_head_are_redacted_and_nothing_else() {
        let is_secret = |name: &str| is_credential(name) || name == "s";
        for (query, expected) in [
            ("a=1&b=2", "a=1&b=2"),
            ("hub.mode=x&hub.verify_token=canary", "hub.mode=x&hub.verify_token=(redacted)"),
            ("tok%65n=canary&a", "tok%65n=(redacted)&a"),
            ("s=canary&key=canary", "s=(redacted)&key=(redacted)"),
            ("Password=canary", "Password=(redacted)"),
            ("sig=abc", "sig=abc"),
        ] {
            let redacted = url(&format!("/x?{query}"), is_secret);
            assert_eq!(redacted, format!("/x?{expected}"), "{query}");
        }
        let pairs = [("authorization", "canary"), ("s", "canary"), ("x-signature", "abc")];
        let redacted = headers(&Headers::from_pairs(pairs), is_secret);
        let expected =
            [("authorization", "(redacted)"), ("s", "(redacted)"), ("x-signature", "abc")];
        assert_eq!(redacted, Headers::from_pairs(expected));
    }
}
