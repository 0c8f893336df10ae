//! The keys of each type of destination.

use super::{Keys, bytes, growing, url};
use crate::{
    config::{
        FILE_BYTES, FILES_KEPT, HeaderText, Kind, Service, Setting, TargetUrl, has_credential,
    },
    rules::{RuleError, Text},
};

pub(super) fn http(keys: &mut Keys<'_>) -> Option<Kind> {
    let url = keys.one_setting("url", url);
    let secret = keys.setting("secret");
    let body = keys.rule("body", Text::new);
    let headers = keys.rules("headers", header, secret_header);
    if url.is_none() {
        keys.require("url");
    }
    let (url, is_by_reference) = (url?, keys.is_by_reference("url"));
    if !is_by_reference && has_credential(&url) {
        let what = "the query of this url has a credential, for all who can read the file".into();
        let variable = keys.name().to_ascii_uppercase().replace('-', "_");
        let hint = format!("such as url = {{ env = \"{variable}_URL\" }}");
        keys.warn_about("url", what, &hint);
    }
    let url = TargetUrl::new(url, is_by_reference);
    Some(Kind::Http { url, secret, body, headers })
}

/// The URL of an incoming webhook is all that somebody needs to write there, so it is a secret.
pub(super) fn chat(keys: &mut Keys<'_>, service: Service) -> Option<Kind> {
    let (variable, begins) = match service {
        Service::Slack => ("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/"),
        Service::Teams => ("TEAMS_WEBHOOK_URL", "https://"),
        Service::Discord => ("DISCORD_WEBHOOK_URL", "https://discord.com/api/webhooks/"),
    };
    let found = keys.setting("url");
    let text = keys.rule("text", Text::new);
    keys.require_such("url", &format!("such as url = {{ env = \"{variable}\" }}"));
    keys.require("text");
    let found = found?;
    let url = std::str::from_utf8(&found.0).ok().and_then(|text| url(text).ok());
    if url.is_none() {
        let what = "the url that it leads to is no URL of a webhook".into();
        let hint = format!("it begins with {begins}; copy it whole, and nothing else");
        keys.complain_about("url", what, &hint);
    }
    let url = TargetUrl::new(url?, true);
    Some(Kind::Chat { service, url, text: text? })
}

pub(super) fn file(keys: &mut Keys<'_>) -> Option<Kind> {
    let path = keys.text("path");
    let max_size = keys.one("max_size", |text| match bytes(text)? {
        0 => Err("a file of no size holds no line".into()),
        size => Ok(size),
    });
    let keep = keys.integer("keep", 1..=FILES_KEPT_MAX).unwrap_or(FILES_KEPT);
    keys.require("path");
    let path = path?;
    let found = growing(path.text);
    let hint = "make the folder, and let the user that runs wilco write there";
    let path = found.map_err(|what| keys.complain_at(&path, what, hint)).ok()?;
    Some(Kind::File { path, max_size: max_size.unwrap_or(FILE_BYTES), keep })
}

fn header(name: &str, text: &str) -> Result<(http::HeaderName, HeaderText), RuleError> {
    let name = header_name(name)?;
    if text.contains(['\r', '\n']) {
        return Err(fault("a header has no line break"));
    }
    Ok((name, HeaderText::Template(Text::new(text)?)))
}

fn secret_header(name: &str, value: Setting) -> Result<(http::HeaderName, HeaderText), RuleError> {
    let name = header_name(name)?;
    match http::HeaderValue::from_bytes(&value.0) {
        Ok(_) => Ok((name, HeaderText::Secret(value))),
        Err(_) => Err(fault("what it leads to has a byte that no header can have")),
    }
}

fn header_name(name: &str) -> Result<http::HeaderName, RuleError> {
    let parsed = http::HeaderName::try_from(name);
    let name = parsed.map_err(|_| fault("it is no name of a header"))?;
    let text = name.as_str();
    if text.starts_with("webhook-") || text.starts_with("x-wilco-") || RESERVED.contains(&text) {
        return Err(fault("wilco writes this header itself"));
    }
    Ok(name)
}

fn fault(what: &str) -> RuleError {
    RuleError { what: what.into(), place: None, is_hopeless: true }
}

/// Headers that say how the request itself is to be read.
const RESERVED: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "te"];
/// How many full files may be kept: each is looked for when the next is full.
const FILES_KEPT_MAX: usize = 1_000;
