//! What no result, log line or stored output may show: parts of a secret URL, and what a program was
//! given in its environment. Services and programs like to repeat it.

mod forms;

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{LEGIBLE_CHARS_MAX, Reply};
use crate::config::{HeaderText, Kind, OUTPUT_BYTES_MAX, Setting, TargetUrl};
use forms::{Needle, Said, needles};

/// The secrets of one destination: what each may be found by, and the words that stand in its place.
pub(crate) struct Hidden {
    secrets: Vec<(Vec<Needle>, String)>,
    /// The most of an output that is kept; a longer one was cut.
    output_max: usize,
}

impl Hidden {
    pub(super) fn of(kind: &Kind) -> Self {
        let secrets: Vec<(String, String)> = match kind {
            Kind::Http { url, headers, .. } => {
                let values = headers.iter().filter_map(|(name, text)| match text {
                    HeaderText::Secret(value) => of_value(name.as_str(), value),
                    HeaderText::Template(_) => None,
                });
                let values = values.flat_map(|(value, words)| {
                    parts_of_header(&value).into_iter().map(move |part| (part, words.clone()))
                });
                of_url(url).into_iter().chain(values).collect()
            }
            Kind::Chat { url, .. } => of_url(url),
            Kind::Command(command) => {
                let values = command.environment.iter();
                values.filter_map(|(name, value)| of_value(name, value)).collect()
            }
            Kind::Print | Kind::File { .. } | Kind::Function(_) => Vec::new(),
        };
        let output_max = match kind {
            Kind::Command(command) => command.limits.output,
            _ => OUTPUT_BYTES_MAX,
        };
        let secrets = secrets.into_iter().filter(|(secret, _)| secret.len() >= HIDDEN_BYTES_MIN);
        let secrets = secrets.map(|(secret, words)| (needles(secret.as_bytes()), words));
        Self { secrets: secrets.collect(), output_max }
    }

    /// A reply without them.
    pub(super) fn clean(&self, mut reply: Reply) -> Reply {
        if let Some(result) = self.clean_text(&reply.result) {
            reply.result = result;
        }
        let is_cut = reply.output.len() >= self.output_max;
        if let Some(output) = self.clean_bytes(&reply.output, is_cut) {
            reply.output = output;
        }
        reply
    }

    /// A text without them; `None` where it has none.
    pub(super) fn clean_text(&self, text: &str) -> Option<String> {
        let is_cut = text.chars().count() >= LEGIBLE_CHARS_MAX;
        let clean = self.clean_bytes(text.as_bytes(), is_cut)?;
        Some(String::from_utf8_lossy(&clean).into_owned())
    }

    fn clean_bytes(&self, text: &[u8], is_cut: bool) -> Option<Vec<u8>> {
        if self.secrets.is_empty() {
            return None;
        }
        let said = Said::new(text, is_cut);
        let mut found: Vec<_> = self
            .secrets
            .iter()
            .flat_map(|(needles, words)| needles.iter().map(move |needle| (needle, words)))
            .flat_map(|(needle, words)| {
                said.find(needle).into_iter().map(move |place| (place, words))
            })
            .collect();
        if found.is_empty() {
            return None;
        }
        // Of those that begin at one place the longest, so that none is hidden in part only.
        found.sort_by_key(|(place, _)| (place.start, std::cmp::Reverse(place.end)));
        let (mut clean, mut end) = (Vec::with_capacity(text.len()), 0);
        for (place, words) in found {
            if place.start >= end {
                clean.extend_from_slice(&text[end..place.start]);
                clean.extend_from_slice(words.as_bytes());
            }
            end = end.max(place.end);
        }
        clean.extend_from_slice(&text[end..]);
        Some(clean)
    }
}

fn of_value(name: &str, value: &Setting) -> Option<(String, String)> {
    let value = std::str::from_utf8(&value.0).ok()?.trim();
    Some((value.to_owned(), format!("(the value of {name})")))
}

/// A service names the token rather than the scheme before it, and a password rather than its Base64.
fn parts_of_header(value: &str) -> Vec<String> {
    let token = value.rsplit(' ').next().unwrap_or_default();
    let decoded = BASE64_STANDARD.decode(token).ok().and_then(|text| String::from_utf8(text).ok());
    let password = decoded.as_ref().and_then(|text| Some(text.split_once(':')?.1.to_owned()));
    [Some(value.to_owned()), Some(token.to_owned()), password].into_iter().flatten().collect()
}

/// The path and the query of a secret URL, and each of their parts: a page that says "not found" likes
/// to name what was not.
fn of_url(url: &TargetUrl) -> Vec<(String, String)> {
    if !url.is_secret {
        return Vec::new();
    }
    let (path, query) = (url.uri.0.path(), url.uri.0.query().unwrap_or_default());
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
            url: TargetUrl::new(http::Uri::from_static("https://a.example/"), false),
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
            url: TargetUrl { uri: Setting(http::Uri::clone(&uri)), is_secret },
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
            ("v=1&amp;sig=canary-query", "(the secret URL)"),
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

    /// A program with a secret in its environment that takes every escape to write.
    fn program(output_max: usize) -> Kind {
        let mut command = Command::new(vec!["x".into()]);
        command.environment = vec![("TOKEN".into(), Setting("c/n\"\\ry+tök?n".into()))];
        command.limits.output = output_max;
        Kind::Command(command)
    }

    #[test]
    fn a_secret_is_hidden_in_every_form_in_which_it_is_repeated() {
        let kind = program(1 << 10);
        for text in [
            r#"no c/n"\ry+tök?n!"#,
            "no c%2Fn%22%5Cry%2Bt%C3%B6k%3Fn!",
            "no c%2fn%22%5cry%2bt%c3%b6k%3fn!",
            r#"no c\/n\"\\ry+tök?n!"#,
            r#"no c/n\"\\ry+t\u00f6k?n!"#,
            r#"no c\u002Fn\u0022\u005cry\u002bt\u00F6k\u003fn!"#,
            r#"no c\x2fn"\\ry+t\xc3\xb6k?n!"#,
            "no c/n&quot;\\ry+tök?n!",
            "no c&#x2F;n&#34;\\ry&#43;tök?n!",
            "no c%252Fn%2522%255Cry%252Bt%25C3%25B6k%253Fn!",
            "no c%5C%2Fn%5C%22%5C%5Cry%2Bt%C3%B6k%3Fn!",
        ] {
            assert_eq!(said(&kind, text), "no (the value of TOKEN)!", "{text}");
        }
        for before in ["", "a:", "ab:", "abc:"] {
            for behind in ["", "d", "de"] {
                let whole = format!("{before}c/n\"\\ry+tök?n{behind}");
                let text = BASE64_STANDARD.encode(&whole);
                for text in
                    [&text, &text.replace('+', "-").replace('/', "_"), &text.replace('/', "\\/")]
                {
                    let expected = "no (the value of TOKEN)!";
                    assert_eq!(said(&kind, &format!("no {text}!")), expected, "{whole}");
                }
            }
        }
    }

    #[test]
    fn the_password_in_basic_authorization_is_hidden_as_well() {
        let value = HeaderText::Secret(Setting(b"Basic dXNlcjpjYW5hcnktcGFzcw==".to_vec()));
        let kind = Kind::Http {
            url: TargetUrl::new(http::Uri::from_static("https://a.example/"), false),
            secret: None,
            body: None,
            headers: vec![(http::header::AUTHORIZATION, value)],
        };
        for text in ["canary-pass", "dXNlcjpjYW5hcnktcGFzcw==", "Basic dXNlcjpjYW5hcnktcGFzcw=="] {
            assert_eq!(said(&kind, &format!("no {text}!")), "no (the value of authorization)!");
        }
    }

    #[test]
    fn a_secret_that_is_cut_at_an_edge_is_hidden_too() {
        let secret = "c/n\"\\ry+tök?n";
        let forms = [
            secret.to_owned(),
            secret.replace('/', "%2F").replace('?', "%3F"),
            secret.replace('\\', "\\\\").replace('"', "\\\"").replace('ö', "\\u00f6"),
            BASE64_STANDARD.encode(secret),
        ];
        for form in forms.iter().map(String::as_bytes) {
            for cut in 1..form.len() {
                for text in [[b"no ", &form[..cut]].concat(), [&form[cut..], b" no"].concat()] {
                    let reply = Reply { output: text.clone(), ..Reply::failed(String::new()) };
                    let output = Hidden::of(&program(text.len())).clean(reply).output;
                    let left = String::from_utf8_lossy(&output).replace("(the value of TOKEN)", "");
                    let left = left.replace("no", "");
                    // An escape may be the longest thing that is shown of it.
                    assert!(left.trim().chars().count() < 11, "{left} of {text:?}");
                }
            }
        }
        let whole = Reply { output: b"no c/n\"".into(), ..Reply::failed(String::new()) };
        assert_eq!(Hidden::of(&program(1 << 10)).clean(whole).output, b"no c/n\"", "not cut");
    }

    #[test]
    fn an_output_without_secrets_keeps_its_bytes() {
        for kind in [Kind::Print, program(1 << 10)] {
            let reply = Reply { output: b"\xff\0%".into(), ..Reply::failed(String::new()) };
            assert_eq!(Hidden::of(&kind).clean(reply).output, b"\xff\0%");
        }
    }
}
