//! The keys of each type of destination.

use super::{Keys, url};
use crate::{
    config::Kind,
    rules::{RuleError, Text},
};

pub(super) fn http(keys: &mut Keys<'_>) -> Option<Kind> {
    let url = keys.one_setting("url", url);
    let secret = keys.setting("secret");
    let body = keys.rule("body", Text::new);
    let headers = keys.rules("headers", header);
    if url.is_none() {
        keys.demand("url", "url = \"https://erp.example.com/hooks\"");
    }
    Some(Kind::Http { url: url?, secret, body, headers })
}

fn header(name: &str, text: &str) -> Result<(http::HeaderName, Text), RuleError> {
    let fault = |what| RuleError { what, place: None, is_hopeless: true };
    let parsed = http::HeaderName::try_from(name);
    let parsed = parsed.map_err(|_| fault("it is no name of a header".into()))?;
    let name = parsed.as_str();
    if name.starts_with("webhook-") || name.starts_with("x-wilco-") || RESERVED.contains(&name) {
        return Err(fault("wilco writes this header itself".into()));
    }
    if text.contains(['\r', '\n']) {
        return Err(fault("a header has no line break".into()));
    }
    Ok((parsed, Text::new(text)?))
}

/// Headers that say how the request itself is to be read.
const RESERVED: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "te"];
