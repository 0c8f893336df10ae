//! Removes secrets from results, log lines, and what is stored of requests and output: parts of a secret URL, and values in the
//! environment of a program. Services and programs often repeat them.

mod forms;

use wilco_config::Setting;
use wilco_delivery::Reply;

use crate::{
    kind::{ATTEMPT_REQUEST_BYTES_MAX, Settings},
    text::LEGIBLE_CHARS_MAX,
};
use forms::{Needle, Output, needles};

/// The secrets of one destination: the forms in which each may occur, and the text that replaces it.
pub struct Hidden {
    secrets: Vec<(Vec<Needle>, String)>,
    /// The most bytes of an output that are kept; a longer one was truncated.
    output_max: usize,
}

impl Hidden {
    /// The secrets of these settings.
    pub fn of(settings: &dyn Settings) -> Self {
        Self::new(settings.hidden(), settings.output_bytes_max())
    }

    /// Replaces each of these secrets by the text next to it.
    pub(crate) fn new(secrets: Vec<(String, String)>, output_max: usize) -> Self {
        let secrets = secrets.into_iter().filter(|(secret, _)| secret.len() >= HIDDEN_BYTES_MIN);
        let secrets =
            secrets.map(|(secret, replacement)| (needles(secret.as_bytes()), replacement));
        Self { secrets: secrets.collect(), output_max }
    }

    /// The reply without the secrets, and with no more of the request than is kept.
    pub fn clean(&self, mut reply: Reply) -> Reply {
        let is_cut = reply.request.len() > ATTEMPT_REQUEST_BYTES_MAX;
        if let Some(request) = self.clean_bytes(reply.request.as_bytes(), is_cut) {
            reply.request = String::from_utf8_lossy(&request).into_owned();
        }
        // Only then, because half a secret would not be found.
        if reply.request.len() > ATTEMPT_REQUEST_BYTES_MAX {
            reply.request.truncate(reply.request.floor_char_boundary(ATTEMPT_REQUEST_BYTES_MAX));
            reply.request.push_str("… (cut off)");
        }
        if let Some(result) = self.clean_text(&reply.result) {
            reply.result = result;
        }
        let is_cut = reply.output.len() >= self.output_max;
        if let Some(output) = self.clean_bytes(&reply.output, is_cut) {
            reply.output = output;
        }
        reply
    }

    /// The text without the secrets; `None` if it contains none.
    pub(crate) fn clean_text(&self, text: &str) -> Option<String> {
        let is_cut = text.chars().count() >= LEGIBLE_CHARS_MAX;
        let clean = self.clean_bytes(text.as_bytes(), is_cut)?;
        Some(String::from_utf8_lossy(&clean).into_owned())
    }

    fn clean_bytes(&self, text: &[u8], is_cut: bool) -> Option<Vec<u8>> {
        if self.secrets.is_empty() {
            return None;
        }
        let output = Output::new(text, is_cut);
        let mut found: Vec<_> = self
            .secrets
            .iter()
            .flat_map(|(needles, replacement)| {
                needles.iter().map(move |needle| (needle, replacement))
            })
            .flat_map(|(needle, replacement)| {
                output.find(needle).into_iter().map(move |place| (place, replacement))
            })
            .collect();
        if found.is_empty() {
            return None;
        }
        // The longest of those that begin at one place, so that none is hidden only in part.
        found.sort_by_key(|(place, _)| (place.start, std::cmp::Reverse(place.end)));
        let (mut clean, mut end) = (Vec::with_capacity(text.len()), 0);
        for (place, replacement) in found {
            if place.start >= end {
                clean.extend_from_slice(&text[end..place.start]);
                clean.extend_from_slice(replacement.as_bytes());
            }
            end = end.max(place.end);
        }
        clean.extend_from_slice(&text[end..]);
        Some(clean)
    }
}

/// A secret value with the text that replaces it; `None` if it is not UTF-8.
pub(crate) fn hidden_value(name: &str, value: &Setting) -> Option<(String, String)> {
    let value = std::str::from_utf8(&value.0).ok()?.trim();
    Some((value.to_owned(), format!("(the value of {name})")))
}

/// A shorter part of a URL, such as `/hook`, or a shorter value, is not considered a secret.
const HIDDEN_BYTES_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::*;

    fn output(hidden: &Hidden, text: &str) -> String {
        let reply = Reply { output: text.into(), ..Reply::failed(text.into()) };
        let Reply { result, output, .. } = hidden.clean(reply);
        assert_eq!(result.as_bytes(), output);
        result
    }

    /// A secret that takes every escape to write.
    fn program(output_max: usize) -> Hidden {
        let secret = ("c/n\"\\ry+tök?n".into(), "(the value of TOKEN)".into());
        Hidden::new(vec![secret], output_max)
    }

    #[test]
    fn a_request_is_cut_off_only_after_its_secrets_were_hidden() {
        let hidden = Hidden::new(vec![("a-long-secret".into(), "(it)".into())], 10);
        let max = ATTEMPT_REQUEST_BYTES_MAX;
        for (before, after, expected) in [
            (0, 0, "(it)".to_owned()),
            (max - 4, 0, format!("{}(it)", "x".repeat(max - 4))),
            (max - 2, 9, format!("{}(i… (cut off)", "x".repeat(max - 2))),
            (max + 2, 0, format!("{}… (cut off)", "x".repeat(max))),
        ] {
            let request = ["x".repeat(before), "a-long-secret".into(), "y".repeat(after)].concat();
            let reply = hidden.clean(Reply { request, ..Reply::delivered() });
            assert_eq!(reply.request, expected, "{before} {after}");
        }
    }

    #[test]
    fn a_secret_is_hidden_in_every_form_in_which_it_is_repeated() {
        let hidden = program(1 << 10);
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
            assert_eq!(output(&hidden, text), "no (the value of TOKEN)!", "{text}");
        }
        for before in ["", "a:", "ab:", "abc:"] {
            for behind in ["", "d", "de"] {
                let whole = format!("{before}c/n\"\\ry+tök?n{behind}");
                let text = BASE64_STANDARD.encode(&whole);
                for text in
                    [&text, &text.replace('+', "-").replace('/', "_"), &text.replace('/', "\\/")]
                {
                    let expected = "no (the value of TOKEN)!";
                    assert_eq!(output(&hidden, &format!("no {text}!")), expected, "{whole}");
                }
            }
        }
    }

    #[test]
    fn a_secret_truncated_at_an_edge_is_hidden_too() {
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
                    let output = program(text.len()).clean(reply).output;
                    let left = String::from_utf8_lossy(&output).replace("(the value of TOKEN)", "");
                    let left = left.replace("no", "");
                    // An escape may be the longest thing that is shown of it.
                    assert!(left.trim().chars().count() < 11, "{left} of {text:?}");
                }
            }
        }
        let whole = Reply { output: b"no c/n\"".into(), ..Reply::failed(String::new()) };
        assert_eq!(program(1 << 10).clean(whole).output, b"no c/n\"", "not cut");
    }

    #[test]
    fn an_output_without_secrets_keeps_its_bytes() {
        for hidden in [Hidden::new(Vec::new(), 1 << 10), program(1 << 10)] {
            let reply = Reply { output: b"\xff\0%".into(), ..Reply::failed(String::new()) };
            assert_eq!(hidden.clean(reply).output, b"\xff\0%");
        }
    }
}
