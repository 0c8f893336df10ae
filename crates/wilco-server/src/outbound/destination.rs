//! Where events go. Each kind is a file; what they have in common is here.

mod chat;
mod command;
mod file;
mod function;
mod http;
mod line;
mod lines;
mod print;

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use ::http::{HeaderMap, Request, StatusCode, header};
use bytes::Bytes;
use futures_util::future::FusedFuture;
use http_body_util::Full;
use jiff::Timestamp;

use super::{Destination, Reply, Verdict};
use crate::{
    client::Client,
    clock,
    config::{self, Kind, OUTPUT_BYTES_MAX, Protocol},
};

pub(crate) use function::Function;
pub(crate) use line::json_line;

/// Makes the destination that the configuration describes.
pub(super) fn open(config: &config::Destination, functions: &[Function]) -> Arc<dyn Destination> {
    match &config.kind {
        Kind::Print => Arc::new(print::Print),
        Kind::Command(command) => match command.protocol {
            Protocol::Once => Arc::new(command::Command::new(command.clone(), config.timeout)),
            Protocol::Lines => {
                Arc::new(lines::Lines::new(config.name.clone(), command.clone(), config.timeout))
            }
        },
        Kind::Http { url, secret, body, headers } => {
            let form = http::Form { body: body.clone(), headers: headers.clone() };
            Arc::new(http::Http::new(url, secret.as_ref(), form, config.timeout))
        }
        Kind::Chat { service, url, text } => {
            Arc::new(chat::Chat::new(*service, url, text, config.timeout))
        }
        Kind::File { path, max_size, keep } => Arc::new(file::File::new(path, *max_size, *keep)),
        Kind::Function(index) => {
            Arc::new(function::Call::new(functions.get(*index), config.timeout))
        }
    }
}

/// Sends a request of an HTTP destination. What the answer means is the same for all of them.
async fn post(
    client: &Result<Client, String>,
    request: Request<Full<Bytes>>,
    timeout: Duration,
) -> Reply {
    let client = match client {
        Ok(client) => client,
        Err(error) => return Reply::failed(error.clone()),
    };
    match client.send(request, timeout, OUTPUT_BYTES_MAX).await {
        Ok(answer) => Reply {
            verdict: verdict(answer.status, &answer.headers, clock::now()),
            result: answer.status.to_string(),
            output: answer.body,
        },
        Err(error) => Reply::failed(error.to_string()),
    }
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

/// RFC 9110, section 10.2.3: seconds, or a date, which is counted from now.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    date.duration_since(now).try_into().ok()
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

const FAILED: Verdict = Verdict::Failed { not_before: None };
/// How long the pipes of a program may still be read when it has ended.
const PIPES_GRACE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

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
        headers.insert(header::RETRY_AFTER, "Thu, 01 Jan 1970 00:01:40 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers, NOW), Some(Duration::from_secs(100)));
        for odd in ["soon", "-5", "Wed, 31 Dec 1969 23:59:59 GMT"] {
            headers.insert(header::RETRY_AFTER, odd.parse().unwrap());
            assert_eq!(retry_after(&headers, NOW), None, "{odd}");
        }
    }
}
