//! What no result, log line or stored output may show: parts of a secret URL, and what a program was
//! given in its environment. Services and programs like to repeat it.

use super::Reply;
use crate::config::{HeaderText, Kind, Setting, TargetUrl};

/// The secrets of one destination, each with the words that stand in its place; the longest first, so
/// that none is hidden in part only.
#[derive(Default)]
pub(crate) struct Hidden(Vec<(String, String)>);

impl Hidden {
    pub(super) fn of(kind: &Kind) -> Self {
        let mut secrets = match kind {
            Kind::Http { url, headers, .. } => {
                let values = headers.iter().filter_map(|(name, text)| match text {
                    HeaderText::Secret(value) => of_value(name.as_str(), value),
                    HeaderText::Template(_) => None,
                });
                // A service names the token rather than the scheme before it.
                let tokens = values.flat_map(|(value, words)| {
                    let token = value.rsplit(' ').next().unwrap_or_default().to_owned();
                    [(token, words.clone()), (value, words)]
                });
                of_url(url).into_iter().chain(tokens).collect()
            }
            Kind::Chat { url, .. } => of_url(url),
            Kind::Command(command) => {
                let values = command.environment.iter();
                values.filter_map(|(name, value)| of_value(name, value)).collect()
            }
            Kind::Print | Kind::File { .. } | Kind::Function(_) => Vec::new(),
        };
        secrets.retain(|(secret, _)| secret.len() >= HIDDEN_BYTES_MIN);
        secrets.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// A reply without them.
    pub(super) fn clean(&self, mut reply: Reply) -> Reply {
        if let Some(result) = self.clean_text(&reply.result) {
            reply.result = result;
        }
        if let Some(output) = self.clean_text(&String::from_utf8_lossy(&reply.output)) {
            reply.output = output.into_bytes();
        }
        reply
    }

    /// A text without them; `None` where it has none.
    pub(super) fn clean_text(&self, text: &str) -> Option<String> {
        if !self.0.iter().any(|(secret, _)| text.contains(secret)) {
            return None;
        }
        let clean = |text: String, (secret, words): &(String, String)| text.replace(secret, words);
        Some(self.0.iter().fold(text.to_owned(), clean))
    }
}

fn of_value(name: &str, value: &Setting) -> Option<(String, String)> {
    let value = std::str::from_utf8(&value.0).ok()?.trim();
    Some((value.to_owned(), format!("(the value of {name})")))
}

/// The path and the query of a secret URL, and each of their parts: a page that says "not found" likes
/// to name what was not.
fn of_url(url: &TargetUrl) -> Vec<(String, String)> {
    if !url.is_secret {
        return Vec::new();
    }
    let (path, query) = (url.uri.path(), url.uri.query().unwrap_or_default());
    let values = query.split('&').filter_map(|pair| Some(pair.split_once('=')?.1));
    let parts = [path, query].into_iter().chain(path.split('/')).chain(values);
    parts.map(|part| (part.to_owned(), "(the secret URL)".to_owned())).collect()
}

/// A shorter part of a URL, such as `/hook`, or a shorter value, is no secret.
const HIDDEN_BYTES_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Command;

    fn said(kind: &Kind, text: &str) -> String {
        let reply = Reply { output: text.into(), ..Reply::failed(text.into()) };
        let Reply { result, output, .. } = Hidden::of(kind).clean(reply);
        assert_eq!(result.as_bytes(), output);
        result
    }

    #[test]
    fn a_header_from_a_reference_is_not_said_and_neither_is_its_token() {
        let value = HeaderText::Secret(Setting(b"Bearer canary-token".to_vec()));
        let kind = Kind::Http {
            url: TargetUrl { uri: http::Uri::from_static("https://a.example/"), is_secret: false },
            secret: None,
            body: None,
            headers: vec![(http::header::AUTHORIZATION, value)],
        };
        for text in ["no Bearer canary-token", "no canary-token"] {
            assert_eq!(said(&kind, text), "no (the value of authorization)");
        }
    }

    #[test]
    fn of_a_secret_url_no_part_is_said() {
        let uri =
            "https://a.example/services/T000/canary-path?v=1&sig=canary-query".parse().unwrap();
        let kind = |is_secret| Kind::Http {
            url: TargetUrl { uri: http::Uri::clone(&uri), is_secret },
            secret: None,
            body: None,
            headers: Vec::new(),
        };
        for (text, expected) in [
            ("no /services/T000/canary-path", "no (the secret URL)"),
            (
                "at /services/T000/canary-path?v=1&sig=canary-query",
                "at (the secret URL)?(the secret URL)",
            ),
            (r"no \/T000\/canary-path", r"no \/T000\/(the secret URL)"),
            ("v=1&amp;sig=canary-query", "v=1&amp;sig=(the secret URL)"),
            ("404 at a.example", "404 at a.example"),
        ] {
            assert_eq!(said(&kind(true), text), expected);
            assert_eq!(said(&kind(false), text), text);
        }
    }

    #[test]
    fn what_a_program_was_given_is_named_and_not_shown() {
        let mut command = Command::new(vec!["x".into()]);
        command.environment =
            [("TOKEN", &b"canary-token\n"[..]), ("MODE", b"fast"), ("X", b"\xff")]
                .map(|(name, value)| (name.into(), Setting(value.into())))
                .into();
        let kind = Kind::Command(command);
        let expected = "401 for (the value of TOKEN), fast";
        assert_eq!(said(&kind, "401 for canary-token, fast"), expected);
    }

    #[test]
    fn an_output_without_secrets_keeps_its_bytes() {
        let reply = Reply { output: b"\xff\0".into(), ..Reply::failed(String::new()) };
        assert_eq!(Hidden::default().clean(reply).output, b"\xff\0");
    }
}
