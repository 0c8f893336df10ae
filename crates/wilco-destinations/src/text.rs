//! Texts that are shown to people.

use serde::Deserialize;
use wilco::Event;
use wilco_delivery::{Text, View};
use wilco_store::ALERTS;

/// What a message says about an event: what the template of `text` renders, or the text of an alert. An
/// alert has a text already: the configured templates are for the events of providers, and would render
/// nothing for it.
pub(crate) fn message_text(event: &Event, template: &Text) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Alert {
        text: String,
    }
    let text = if is_alert(event) {
        let alert: Result<Alert, _> = serde_json::from_reader(event.body.reader());
        alert.map_err(|_| "the alert has no text")?.text
    } else {
        let text = View::of(event).and_then(|view| template.render(&view));
        text.map_err(|error| format!("the template of text failed: {error}"))?
    };
    match text.trim().is_empty() {
        // No service accepts an empty text, and the next attempt would give the same.
        true => Err("the text is empty: there is nothing to send".into()),
        false => Ok(text),
    }
}

pub(crate) fn is_alert(event: &Event) -> bool {
    event.source.as_str() == ALERTS
}

/// Truncates a text to `max`, in whole characters, and marks that with an ellipsis.
pub(crate) fn cut(text: &str, max: usize, size: impl Fn(char) -> usize) -> String {
    let (mut total, mut end) = (0, 0);
    for (at, c) in text.char_indices() {
        if total + size(ELLIPSIS) <= max {
            end = at;
        }
        total += size(c);
        if total > max {
            return format!("{}{ELLIPSIS}", &text[..end]);
        }
    }
    text.to_owned()
}

/// The beginning of the output of a program or a service, for a log line or a listing.
pub fn legible(text: &str) -> String {
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(LEGIBLE_CHARS_MAX).map(plain).collect()
}

/// Characters of an output that a log line or a listing shows.
pub(crate) const LEGIBLE_CHARS_MAX: usize = 200;
const ELLIPSIS: char = '…';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_truncated_in_whole_characters_and_never_exceeds_its_maximum() {
        for (text, max, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("ab😀", 4, "ab😀"),
            ("ab😀c", 4, "ab…"),
            ("a😀😀", 4, "a😀…"),
            ("😀😀😀", 4, "😀…"),
            ("", 4, ""),
        ] {
            assert_eq!(cut(text, max, char::len_utf16), expected, "{text} in {max}");
        }
    }
}
