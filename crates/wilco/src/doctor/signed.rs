//! Which bytes the sender may have signed.

use super::Change;
use crate::{Algorithm, Head, Scheme};

/// The scheme with other parts signed, for each that some provider signs and this request has.
pub(super) fn other_parts(scheme: &Scheme, head: &Head) -> Vec<(Change, Scheme)> {
    let times = headers_that(head, is_time);
    let ids = headers_that(head, is_id);
    let mut found = Vec::new();
    let mut push = |template: &str, shown: String, time: Option<&str>, id: Option<&str>| {
        if let Some(other) = scheme.signing(template, time, id) {
            let what = format!("{shown} as what is signed");
            found.push((Change::about("signed-parts", what, FIX), other));
        }
    };
    for template in WITHOUT_TIME {
        push(template, template.to_owned(), None, None);
    }
    for time in &times {
        for template in WITH_TIME {
            push(
                template,
                template.replace("{timestamp}", &format!("{{{time}}}")),
                Some(time),
                None,
            );
        }
        for id in &ids {
            for template in WITH_ID {
                let shown = template.replace("{timestamp}", &format!("{{{time}}}"));
                push(template, shown.replace("{id}", &format!("{{{id}}}")), Some(time), Some(id));
            }
        }
    }
    if scheme.has_timestamp() {
        for template in WITH_TIME {
            push(template, template.to_owned(), None, None);
        }
    }
    found
}

/// The scheme with other algorithms that take a shared secret.
pub(super) fn other_algorithms(scheme: &Scheme) -> Vec<(Change, Scheme)> {
    let others = Algorithm::ALL.iter().filter(|algorithm| **algorithm != scheme.algorithm());
    let schemes = others.flat_map(|algorithm| {
        let change = Change::about(
            "algorithm",
            format!("{} as the algorithm", algorithm.word()),
            ALGORITHM_FIX,
        );
        scheme.computed_with(*algorithm).into_iter().map(move |scheme| (change.clone(), scheme))
    });
    schemes.collect()
}

/// The same head at other URLs by which the provider may know the endpoint.
pub(super) fn other_urls(scheme: &Scheme, head: &Head) -> Vec<(Change, Head)> {
    if !scheme.signs_url() {
        return Vec::new();
    }
    let (base, query) = head.url.split_once('?').map_or((&*head.url, None), |(b, q)| (b, Some(q)));
    let (protocol, rest) = base.split_once("://").unwrap_or(("https", base));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let header = |name: &str| head.headers.all(name).next().map(text);
    let hosts = [header("host"), header("x-forwarded-host"), header("x-original-host")];
    let host_only = authority.rsplit_once(':').map(|(host, _)| host.to_owned());
    let hosts = [Some(authority.to_owned()), host_only].into_iter().chain(hosts).flatten();
    let bare = path.trim_end_matches('/');
    let mut urls = Vec::new();
    for host in hosts {
        for protocol in [protocol, "https", "http"] {
            for path in [path, bare, &format!("{bare}/")] {
                for query in [query, None] {
                    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
                    urls.push(format!("{protocol}://{host}{path}{query}"));
                }
            }
        }
    }
    let mut seen = vec![head.url.clone()];
    urls.retain(|url| {
        let is_new = !seen.contains(url);
        seen.push(url.clone());
        is_new
    });
    let changed = urls.into_iter().map(|url| {
        let shown = url.split('?').next().unwrap_or_default();
        let what = format!("the URL {shown}");
        (Change::about("url", what, URL_FIX), Head { url, ..head.clone() })
    });
    changed.collect()
}

fn headers_that(head: &Head, has: impl Fn(&str, &str) -> bool) -> Vec<&str> {
    let texts = head.headers.iter().filter_map(|(name, value)| {
        let value = std::str::from_utf8(value).ok()?;
        has(name, value).then_some(name)
    });
    texts.take(HEADERS_MAX).collect()
}

fn is_time(name: &str, value: &str) -> bool {
    let is_number = matches!(value.len(), 10 | 13) && value.bytes().all(|b| b.is_ascii_digit());
    is_number || (name.contains("time") && value.parse::<jiff::Timestamp>().is_ok())
}

fn is_id(name: &str, value: &str) -> bool {
    let is_called_so =
        ["-id", "delivery", "request", "nonce", "uuid"].iter().any(|p| name.contains(p));
    is_called_so && (8..=128).contains(&value.len())
}

const WITHOUT_TIME: [&str; 8] = [
    "{body}",
    "{url}{body}",
    "{path}{body}",
    "{method}{url}{body}",
    "{method}{path}{body}",
    "{body-sha256}",
    "{url}",
    "{url}{form}",
];
const WITH_TIME: [&str; 13] = [
    "{timestamp}.{body}",
    "{timestamp}{body}",
    "{timestamp}:{body}",
    "v0:{timestamp}:{body}",
    "v1:{timestamp}:{body}",
    "{body}{timestamp}",
    "{body}.{timestamp}",
    "{timestamp}\n{body}",
    "{timestamp}|{body}",
    "{timestamp}{url}{body}",
    "{timestamp}{method}{path}{body}",
    "{method}{url}{body}{timestamp}",
    "{timestamp}",
];
const WITH_ID: [&str; 4] = [
    "{id}.{timestamp}.{body}",
    "{id}{timestamp}{body}",
    "{id}:{timestamp}:{body}",
    "{timestamp}.{id}.{body}",
];
const FIX: &str = "the sender signs other parts of the request than this provider: is it another provider, \
                   or another version of its webhooks?";
const ALGORITHM_FIX: &str = "the sender computes its signature in another way than this provider: choose the \
                             algorithm at the sender, or another provider here";
const URL_FIX: &str =
    "set public_url of the source to the URL that is registered at the provider, to the letter";
/// Headers that are tried as a time or as an id.
const HEADERS_MAX: usize = 4;
