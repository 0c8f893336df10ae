//! Blanks what must not be shown of a request: credentials in its headers and in its URL.

use form_urlencoded::parse;
use wilco::Headers;

/// Whether a header or parameter of this name usually carries a credential.
pub(crate) fn is_credential(name: &str) -> bool {
    wilco_config::is_credential_name(name) || CREDENTIALS.contains(&name)
}

/// The headers, with the secret ones blanked. Signatures are not secrets: they do not reveal the secret that made
/// them, and together with the body they show why they did not match.
pub(crate) fn headers(headers: &Headers, is_secret: impl Fn(&str) -> bool) -> Headers {
    let blanked = headers
        .iter()
        .map(|(name, value)| (name, if is_secret(name) { BLANKED.as_bytes() } else { value }));
    Headers::from_pairs(blanked)
}

/// The URL, with the secret parameters blanked.
pub(crate) fn url(url: &str, is_secret: impl Fn(&str) -> bool) -> String {
    let Some((before, query)) = url.split_once('?') else { return url.to_owned() };
    let pairs = query.split('&').map(|pair| {
        let (name, _) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = parse(pair.as_bytes()).next();
        let is_secret = decoded.is_some_and(|(name, _)| is_secret(&name));
        if is_secret { format!("{name}={BLANKED}") } else { pair.to_owned() }
    });
    format!("{before}?{}", pairs.collect::<Vec<_>>().join("&"))
}

const BLANKED: &str = "(blanked)";
/// Names of parameters that usually contain a credential, besides those that say so.
const CREDENTIALS: [&str; 6] = ["key", "auth", "code", "pass", "pwd", "jwt"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_a_head_are_blanked_and_nothing_else() {
        let is_secret = |name: &str| is_credential(name) || name == "s";
        for (query, expected) in [
            ("a=1&b=2", "a=1&b=2"),
            ("hub.mode=x&hub.verify_token=canary", "hub.mode=x&hub.verify_token=(blanked)"),
            ("tok%65n=canary&a", "tok%65n=(blanked)&a"),
            ("s=canary&key=canary", "s=(blanked)&key=(blanked)"),
            ("Password=canary", "Password=(blanked)"),
            ("sig=abc", "sig=abc"),
        ] {
            let blanked = url(&format!("/x?{query}"), is_secret);
            assert_eq!(blanked, format!("/x?{expected}"), "{query}");
        }
        let pairs = [("authorization", "canary"), ("s", "canary"), ("x-signature", "abc")];
        let blanked = headers(&Headers::from_pairs(pairs), is_secret);
        let expected = [("authorization", "(blanked)"), ("s", "(blanked)"), ("x-signature", "abc")];
        assert_eq!(blanked, Headers::from_pairs(expected));
    }
}
