//! A chat: sends a text to an incoming webhook of Slack, Microsoft Teams or Discord.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{header, request};
use serde_json::{Value, json};
use wilco::Event;
use wilco_config::{Key, TableReader, TableView, Unresolved, ValueType, url};
use wilco_delivery::{Destination, Text};
use wilco_store::Claim;

use crate::{
    http_service::{Filled, HttpService, NotFilled, Requests, ServiceUrl},
    kind::{Kind, OpenError, Settings, SharedSettings},
    preview::PreviewPart,
    text::{cut, message_text},
};

pub(crate) static SLACK: Kind = Kind {
    name: "slack",
    keys: &[webhook_url("{ env = \"SLACK_WEBHOOK_URL\" }"), TEXT],
    written_path: None,
    concurrency: 1,
    read: |keys| ChatSettings::read(keys, Service::Slack, "https://hooks.slack.com/services/"),
};

pub(crate) static TEAMS: Kind = Kind {
    name: "teams",
    keys: &[webhook_url("{ env = \"TEAMS_WEBHOOK_URL\" }"), TEXT],
    written_path: None,
    concurrency: 1,
    read: |keys| ChatSettings::read(keys, Service::Teams, "https://"),
};

pub(crate) static DISCORD: Kind = Kind {
    name: "discord",
    keys: &[webhook_url("{ env = \"DISCORD_WEBHOOK_URL\" }"), TEXT],
    written_path: None,
    concurrency: 1,
    read: |keys| ChatSettings::read(keys, Service::Discord, "https://discord.com/api/webhooks/"),
};

const fn webhook_url(example: &'static str) -> Key {
    Key::new("url", ValueType::Reference, example)
        .required()
        .secret()
        .doc("the URL of the incoming webhook, which is a secret itself")
}

const TEXT: Key =
    Key::new("text", ValueType::Template, "\"{{ data.name }} is now {{ data.status.name }}\"")
        .required()
        .doc("what is said about an event");

/// A chat service with incoming webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Slack,
    Teams,
    Discord,
}

#[derive(Clone, Debug, PartialEq)]
struct ChatSettings {
    service: Service,
    /// The URL of the webhook; whoever knows it can write there.
    url: ServiceUrl,
    /// The template of the text.
    text: Text,
}

impl ChatSettings {
    /// Whoever knows the URL of an incoming webhook can write there, so it is a secret.
    fn read(
        keys: &mut TableReader<'_>,
        service: Service,
        begins: &'static str,
    ) -> Unresolved<SharedSettings> {
        let reference = keys.reference("url");
        let text = keys.template("text", Text::parse);
        Unresolved::new(move |table| {
            let reference = reference?;
            let found = reference.setting(table)?;
            let url = std::str::from_utf8(&found.0).ok().and_then(|text| url(text).ok());
            if url.is_none() {
                let what = "the url that it leads to is not that of a webhook".into();
                let hint = format!("it begins with {begins}; copy it completely, and nothing else");
                reference.error(table, what, &hint);
            }
            let url = ServiceUrl::new(url?, true);
            Some(SharedSettings::new(Self { service, url, text: text? }))
        })
    }
}

#[async_trait]
impl Settings for ChatSettings {
    fn kind(&self) -> &'static str {
        match self.service {
            Service::Slack => SLACK.name,
            Service::Teams => TEAMS.name,
            Service::Discord => DISCORD.name,
        }
    }

    async fn open(&self, _: &str, timeout: Duration) -> Result<Arc<dyn Destination>, OpenError> {
        HttpService::open(&self.url, timeout, self.clone())
    }

    fn preview(&self, event: &Event) -> Result<Vec<PreviewPart>, String> {
        let text = message_text(event, &self.text)?;
        Ok(vec![self.url.preview(), PreviewPart::text("text", text)])
    }

    fn hidden(&self) -> Vec<(String, String)> {
        self.url.hidden()
    }

    fn advise(&self, table: &TableView<'_>, is_about: &dyn Fn(&str) -> bool) {
        table.advise("text", self.text.advice(is_about, false));
    }
}

impl Requests for ChatSettings {
    fn fill(&self, request: request::Builder, claim: &Claim) -> Result<Filled, NotFilled> {
        let text = message_text(claim.event(), &self.text)?;
        let request = request.header(header::CONTENT_TYPE, "application/json");
        Ok((request, message(self.service, &text).to_string().into()))
    }
}

/// The text in the format of a service, truncated to its limit. Data of an event cannot mention people, nor
/// show a link under a misleading text.
fn message(service: Service, text: &str) -> Value {
    match service {
        Service::Slack => json!({ "text": slack(text) }),
        Service::Teams => teams(text),
        Service::Discord => json!({
            "content": cut(&unlinked(text), DISCORD_CHARS_MAX, char::len_utf16),
            // No @everyone, no role, no user: part of the text comes from the event
            // (<https://docs.discord.com/developers/resources/message#allowed-mentions-object>).
            "allowed_mentions": { "parse": [] },
        }),
    }
}

/// Mentions and links are written with `&`, `<` and `>`
/// (<https://api.slack.com/reference/surfaces/formatting#escaping>).
fn slack(text: &str) -> String {
    let escaped = |c: char| match c {
        '&' => "&amp;".len(),
        '<' | '>' => "&lt;".len(),
        c => c.len_utf16(),
    };
    // Truncated before it is escaped, so that no `&amp;` is cut in two.
    let text = cut(text, SLACK_CHARS_MAX, escaped);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// An Adaptive Card, the only format that a Workflows webhook accepts
/// (<https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using>).
fn teams(text: &str) -> Value {
    let in_json = |c: char| match c {
        '"' | '\\' | '\n' | '\r' | '\t' => 2 * "\\n".len(),
        c if c.is_ascii_control() => 2 * "\\u0000".len(),
        c => c.len_utf8().max(2 * c.len_utf16()),
    };
    let text = cut(&unlinked(text), TEAMS_BYTES_MAX, in_json);
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [{ "type": "TextBlock", "text": text, "wrap": true }],
            },
        }],
    })
}

/// In Markdown, `[text](address)` shows a link under any text; a zero-width space in between makes it
/// literal.
fn unlinked(text: &str) -> String {
    text.replace("](", "]\u{200b}(")
}

/// Characters of a Discord message, counted in UTF-16 code units, of which there are never fewer
/// (<https://docs.discord.com/developers/resources/webhook#execute-webhook>).
const DISCORD_CHARS_MAX: usize = 2_000;
/// Characters of a Slack message, escaped, in UTF-16 code units; Slack itself cuts longer ones off
/// (<https://api.slack.com/changelog/2018-04-truncating-really-long-messages>).
const SLACK_CHARS_MAX: usize = 40_000;
/// Bytes of a text for Teams in JSON, in UTF-8 or UTF-16, whichever is more: a message may have about 28 KB,
/// in an unspecified encoding, including the rest of the card
/// (<https://learn.microsoft.com/microsoftteams/limits-specifications-teams>).
const TEAMS_BYTES_MAX: usize = 26_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_gets_no_more_than_it_accepts() {
        for unit in ["a", "&", "<", "\"", "\n", "\u{1}", "é", "😀", "](", "\\"] {
            let long = unit.repeat(100_000);
            let slack = message(Service::Slack, &long)["text"].as_str().unwrap().to_owned();
            assert!((39_990..=40_000).contains(&slack.encode_utf16().count()), "{unit:?}");
            assert!(!slack[slack.len() - 7..].contains("&a…"), "{slack}");
            let discord = message(Service::Discord, &long)["content"].as_str().unwrap().to_owned();
            assert!((1_990..=2_000).contains(&discord.encode_utf16().count()), "{unit:?}");
            let teams = message(Service::Teams, &long).to_string();
            let bytes = teams.len().max(2 * teams.encode_utf16().count());
            assert!((22_000..28_000).contains(&bytes), "{unit:?}: {bytes}");
            for text in [slack, discord] {
                assert!(text.ends_with('…'), "{unit:?}");
            }
        }
    }

    #[test]
    fn a_text_cannot_mention_anybody_or_disguise_a_link() {
        for (text, in_slack, elsewhere) in [
            ("<!channel> & <https://a|b>", "&lt;!channel&gt; &amp; &lt;https://a|b&gt;", ""),
            ("[bank](https://a)", "[bank](https://a)", "[bank]\u{200b}(https://a)"),
            ("*bold* [x] (y)", "*bold* [x] (y)", "*bold* [x] (y)"),
        ] {
            let elsewhere = if elsewhere.is_empty() { text } else { elsewhere };
            assert_eq!(message(Service::Slack, text)["text"], in_slack);
            assert_eq!(message(Service::Discord, text)["content"], elsewhere);
            let card = message(Service::Teams, text);
            assert_eq!(card["attachments"][0]["content"]["body"][0]["text"], elsewhere);
        }
    }
}
