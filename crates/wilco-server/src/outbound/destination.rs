//! Where events go. Each kind is a file; what they have in common is here.

mod chat;
mod command;
mod file;
mod function;
mod http;
mod line;
mod ntfy;
mod opener;
mod print;

use std::{
    pin::{Pin, pin},
    time::{Duration, UNIX_EPOCH},
};

use ::http::{HeaderMap, Request, StatusCode, Uri, header};
use futures_util::future::FusedFuture;
use jiff::Timestamp;
use serde::Deserialize;
use wilco::{Body, Event};
use wilco_config::{Setting, TableReader, is_credential_name, url};
use wilco_delivery::{Destination, Reply, Verdict};
use wilco_store::ALERTS;

use super::Hidden;
use crate::{
    client::{Answer, Client, Trust},
    clock,
    config::{Kinds, OUTPUT_BYTES_MAX, OpenError},
};

pub use function::Function;
pub(crate) use line::json_line;
pub(crate) use opener::Opener;

/// Every kind of destination that a file can name. Each is described in its own file.
pub const KINDS: Kinds = Kinds(&[
    &command::KIND,
    &http::KIND,
    &chat::SLACK,
    &chat::TEAMS,
    &chat::DISCORD,
    &ntfy::KIND,
    &file::KIND,
    &print::KIND,
]);

/// The URL of an HTTP service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TargetUrl {
    /// The URL.
    uri: Setting<Uri>,
    /// It came by a reference, or has a credential in its query: no result may show a part of it.
    is_secret: bool,
}

impl TargetUrl {
    fn new(uri: Uri, is_by_reference: bool) -> Self {
        let is_secret = is_by_reference || has_credential(&uri);
        Self { uri: Setting(uri), is_secret }
    }

    /// Reads the key `url`, in the file or by reference. A credential in the file is warned about.
    fn read(keys: &mut TableReader<'_>) -> Option<Self> {
        let uri = keys.parse_setting("url", url);
        keys.require("url");
        let (uri, is_by_reference) = (uri?, keys.is_by_reference("url"));
        if !is_by_reference && has_credential(&uri) {
            let what =
                "the query of this url has a credential, for all who can read the file".into();
            let variable = keys.name().to_ascii_uppercase().replace('-', "_");
            let hint = format!("such as url = {{ env = \"{variable}_URL\" }}");
            keys.warn_about("url", what, &hint);
        }
        Some(Self::new(uri, is_by_reference))
    }

    /// The path and the query of a secret URL, and each of their parts: a page that says "not found"
    /// likes to name what was not.
    fn hidden(&self) -> Vec<(String, String)> {
        if !self.is_secret {
            return Vec::new();
        }
        let (path, query) = (self.uri.0.path(), self.uri.0.query().unwrap_or_default());
        let values = query.split('&').filter_map(|pair| Some(pair.split_once('=')?.1));
        let parts = [path, query].into_iter().chain(path.split('/')).chain(values);
        parts.map(|part| (part.to_owned(), "(the secret URL)".to_owned())).collect()
    }
}

/// Whether a parameter in the query of a URL is a credential, as far as its name says so.
fn has_credential(uri: &Uri) -> bool {
    let mut parameters = uri.query().unwrap_or_default().split('&');
    parameters.any(|parameter| match parameter.split_once('=') {
        None | Some((_, "")) => false,
        Some((name, _)) => {
            let is_short = ["auth", "key", "pwd", "sig", "signature"].iter();
            is_credential_name(name)
                || is_short.into_iter().any(|word| name.eq_ignore_ascii_case(word))
        }
    })
}

/// A value that nothing may show, with the words that replace it; `None` where it is no text.
fn hidden_value(name: &str, value: &Setting) -> Option<(String, String)> {
    let value = std::str::from_utf8(&value.0).ok()?.trim();
    Some((value.to_owned(), format!("(the value of {name})")))
}

/// The text of an alert, which has one already: a template is about the events of a provider, and
/// would make nothing of it. `None` for any other event.
fn alert_text(event: &Event) -> Option<Result<String, String>> {
    #[derive(Deserialize)]
    struct Alert {
        text: String,
    }
    (event.source.as_str() == ALERTS).then(|| {
        let alert: Result<Alert, _> = serde_json::from_slice(&event.body.contiguous());
        alert.map(|alert| alert.text).map_err(|_| "the alert has no text".into())
    })
}

/// As much of a text as `max` has room for, in whole characters, and an ellipsis where it ends
/// early.
fn cut(text: &str, max: usize, size: impl Fn(char) -> usize) -> String {
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

/// A client for the destination with this URL.
fn client(url: &TargetUrl) -> Result<Client, OpenError> {
    Client::new(&url.uri.0, Trust::System).map_err(|error| OpenError(error.to_string()))
}

/// Connects to an HTTP destination. A request could mean anything to its service, so none is sent.
async fn check_connection(
    client: &Client,
    url: &TargetUrl,
    timeout: Duration,
) -> Result<String, String> {
    let uri = &url.uri.0;
    client.connect(uri, timeout).await.map_err(|error| error.to_string())?;
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let tls = if uri.scheme_str() == Some("https") { ", TLS" } else { "" };
    Ok(format!("connected to {host}{tls}"))
}

/// Sends a request of an HTTP destination. What the answer means is the same for all of them.
async fn post(
    client: &Client,
    request: Request<Body>,
    url: &TargetUrl,
    timeout: Duration,
) -> Reply {
    match client.send(request, timeout, OUTPUT_BYTES_MAX).await {
        Ok(answer) => Reply {
            verdict: verdict(answer.status, &answer.headers, clock::now()),
            result: match redirect(&answer, url) {
                Some(place) => {
                    format!("{}: redirects are not followed, this one is to {place}", answer.status)
                }
                None => answer.status.to_string(),
            },
            output: answer.body,
        },
        Err(error) => Reply::failed(error.to_string()),
    }
}

/// Where an answer wants to lead. A service that has a secret URL may name it, in other words too, so
/// of that no more than the host is said.
fn redirect(answer: &Answer, url: &TargetUrl) -> Option<String> {
    let place = answer.headers.get(header::LOCATION).filter(|_| answer.status.is_redirection())?;
    let place = legible(&String::from_utf8_lossy(place.as_bytes()));
    if !url.is_secret {
        return Some(place);
    }
    let uri: Option<Uri> = place.parse().ok();
    let host = uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.host()?)));
    Some(match host {
        Some((scheme, host)) => format!("{scheme}://{host}/…"),
        None => "another path of the same host".into(),
    })
}

/// The first characters of what a program or a service said, for a log line or a listing.
pub(crate) fn legible(text: &str) -> String {
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(LEGIBLE_CHARS_MAX).map(plain).collect()
}

fn verdict(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Verdict {
    match status {
        status if status.is_success() => Verdict::Delivered,
        StatusCode::GONE => Verdict::Refused,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Verdict::Failed { not_before: retry_after(headers, now) }
        }
        _ => Verdict::Failed { not_before: None },
    }
}

/// RFC 9110, section 10.2.3: seconds, or a date in any of the three forms of section 5.6.7, which is
/// counted from now. A fraction of a second, which some services send, counts as a whole one; a number
/// too large to be held is as long as any.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !whole.is_empty() && is_digits(whole) && is_digits(fraction) {
        let seconds = whole.parse().unwrap_or(u64::MAX);
        let is_more = fraction.bytes().any(|digit| digit != b'0');
        return Some(Duration::from_secs(seconds.saturating_add(is_more.into())));
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    date.checked_sub(now.as_duration().try_into().ok()?)
}

/// Does the work, and talks meanwhile, so that no full pipe holds it up.
async fn beside<T>(
    work: impl Future<Output = T>,
    mut talk: Pin<&mut (impl FusedFuture + Send)>,
) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            _ = &mut talk, if !talk.is_terminated() => {}
            done = &mut work => return done,
        }
    }
}

/// Characters of what was said that a log line or a listing shows.
pub(crate) const LEGIBLE_CHARS_MAX: usize = 200;
const ELLIPSIS: char = '…';
const FAILED: Verdict = Verdict::Failed { not_before: None };
/// How long the pipes of a program may still be read when it has ended.
const PIPES_GRACE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn a_text_is_cut_in_whole_characters_and_never_longer_than_it_may_be() {
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

    #[test]
    fn a_status_means_what_the_contract_says() {
        let failed = Verdict::Failed { not_before: None };
        for (status, expected) in [
            (200, Verdict::Delivered),
            (204, Verdict::Delivered),
            (301, failed),
            (400, failed),
            (410, Verdict::Refused),
            (429, failed),
            (500, failed),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(verdict(status, &HeaderMap::new(), NOW), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_heard_with_429_and_503_only() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "17".parse().unwrap());
        for (status, expected) in [(429, Some(17)), (503, Some(17)), (500, None)] {
            let not_before = expected.map(Duration::from_secs);
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(verdict(status, &headers, NOW), Verdict::Failed { not_before }, "{status}");
        }
    }

    #[test]
    fn retry_after_is_read_in_every_form_that_http_has() {
        for (text, expected) in [
            ("17", Some(17)),
            (" 17 ", Some(17)),
            ("0", Some(0)),
            ("3.0", Some(3)),
            ("2.25", Some(3)),
            ("18446744073709551615.5", Some(u64::MAX)),
            ("99999999999999999999999999", Some(u64::MAX)),
            ("Thu, 01 Jan 1970 00:01:40 GMT", Some(100)),
            ("Thursday, 01-Jan-70 00:01:40 GMT", Some(100)),
            ("Thu Jan  1 00:01:40 1970", Some(100)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("", None),
            (".5", None),
            ("soon", None),
            ("-5", None),
            ("+5", None),
            ("5 s", None),
        ] {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]);
            let read = retry_after(&headers, NOW).map(|wait| wait.as_secs());
            assert_eq!(read, expected, "{text:?}");
        }
        let later = NOW + Duration::from_secs(101);
        let date = "Thu, 01 Jan 1970 00:01:40 GMT".parse().unwrap();
        let headers = HeaderMap::from_iter([(header::RETRY_AFTER, date)]);
        assert_eq!(retry_after(&headers, later), None, "a date that has passed");
    }
}
