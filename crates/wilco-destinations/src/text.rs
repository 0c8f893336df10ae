//! Texts that are shown to people.

use serde::Deserialize;
use wilco::Event;
use wilco_store::ALERTS;

/// The text of an alert; `None` for any other event. An alert has a text already: the configured templates
/// are for the events of providers, and would render nothing for it.
pub(crate) fn alert_text(event: &Event) -> Option<Result<String, String>> {
    #[derive(Deserialize)]
    struct Alert {
        text: String,
    }
    (event.source.as_str() == ALERTS).then(|| {
        let alert: Result<Alert, _> = serde_json::from_slice(&event.body.contiguous());
        alert.map(|alert| alert.text).map_err(|_| "the alert has no text".into())
    })
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
