//! What HTTP destinations share: their URL, how a request is sent, and what a response means.

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header, request};
use jiff::Timestamp;
use wilco::Body;
use wilco_config::{
    Reference, Setting, TableReader, TableView, TextOrReference, is_credential_name,
};
use wilco_delivery::{Destination, Reply, Verdict};
use wilco_store::Claim;

use crate::{
    client::{Answer, Client, Trust, retry_after},
    clock,
    kind::{ATTEMPT_REQUEST_BYTES_MAX, OUTPUT_BYTES_MAX, OpenError},
    preview::{AS_RECEIVED, NOT_SHOWN, PreviewPart},
    stored_body::while_reading,
    text::legible,
};

/// What a kind of HTTP destination sends.
pub(crate) trait Requests: Send + Sync + 'static {
    /// Completes a POST request to the URL of the destination with further headers, and gives its
    /// body.
    fn fill(&self, request: request::Builder, claim: &Claim) -> Result<Filled, NotFilled>;
}

/// Why no request was made.
pub(crate) enum NotFilled {
    /// No attempt can send one: that depends only on the event and the file.
    Unsendable(String),
    /// The body could not be read.
    Unread(io::Error),
}

impl From<String> for NotFilled {
    fn from(why: String) -> Self {
        Self::Unsendable(why)
    }
}

impl From<io::Error> for NotFilled {
    fn from(error: io::Error) -> Self {
        Self::Unread(error)
    }
}

/// A request and its body.
pub(crate) type Filled = (request::Builder, Body);

/// An HTTP destination of any kind.
pub(crate) struct HttpService<R> {
    requests: Arc<R>,
    url: ServiceUrl,
    timeout: Duration,
    client: Client,
}

impl<R: Requests> HttpService<R> {
    pub(crate) fn open(
        url: &ServiceUrl,
        timeout: Duration,
        requests: R,
    ) -> Result<Arc<dyn Destination>, OpenError> {
        let client = Client::new(&url.uri.0, Trust::System);
        let client = client.map_err(|error| OpenError(error.to_string()))?;
        Ok(Arc::new(Self { requests: Arc::new(requests), url: url.clone(), timeout, client }))
    }

    async fn request(&self, claim: &Claim) -> Result<Request<Body>, NotFilled> {
        let request = Request::post(&self.url.uri.0)
            .header(header::USER_AGENT, concat!("wilco/", env!("CARGO_PKG_VERSION")));
        let (requests, its_claim) = (Arc::clone(&self.requests), claim.clone());
        let (request, body) =
            while_reading(claim, move || Ok(requests.fill(request, &its_claim))).await??;
        Ok(request.body(body).map_err(|error| format!("cannot build the request: {error}"))?)
    }
}

#[async_trait]
impl<R: Requests> Destination for HttpService<R> {
    async fn deliver(&self, claim: &Claim) -> Reply {
        let request = match self.request(claim).await {
            Ok(request) => request,
            Err(NotFilled::Unsendable(why)) => return Reply::unsendable(why),
            Err(NotFilled::Unread(error)) => {
                return Reply::failed(format!("the body cannot be read: {error}"));
            }
        };
        let recorded = self.url.recorded(&request, &claim.event().body);
        let reply = match self.client.send(request, self.timeout, OUTPUT_BYTES_MAX).await {
            Ok(answer) => reply(answer, &self.url),
            Err(error) => Reply::failed(error.to_string()),
        };
        Reply { request: recorded, ..reply }
    }

    /// Only connects: a request could have any effect there.
    async fn check(&self) -> Result<String, String> {
        let uri = &self.url.uri.0;
        self.client.connect(uri, self.timeout).await.map_err(|error| error.to_string())?;
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let tls = if uri.scheme_str() == Some("https") { ", TLS" } else { "" };
        Ok(format!("connected to {host}{tls}"))
    }
}

/// The URL of an HTTP service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceUrl {
    /// The URL.
    pub(crate) uri: Setting<Uri>,
    /// Whether no result may show a part of it: it came from a reference, or has a credential in its query.
    pub(crate) is_secret: bool,
}

/// The URL of an HTTP service as the file has it.
pub(crate) enum UrlInFile {
    Here(ServiceUrl),
    /// Where a reference leads, and how to parse what is there.
    There(Reference, ParseUrl),
}

type ParseUrl = fn(&str) -> Result<Uri, String>;

impl ServiceUrl {
    pub(crate) fn new(uri: Uri, is_by_reference: bool) -> Self {
        let is_secret = is_by_reference || has_credential(&uri);
        Self { uri: Setting(uri), is_secret }
    }

    /// The URL as a part of a preview.
    pub(crate) fn preview(&self) -> PreviewPart {
        let url = self.uri.0.to_string();
        if self.is_secret { PreviewPart::secret("url", url) } else { PreviewPart::text("url", url) }
    }

    /// A request to it, as it is recorded with its attempt.
    fn recorded(&self, request: &Request<Body>, received: &Body) -> String {
        let uri = request.uri();
        let uri = match self.is_secret {
            true => host_of(uri).unwrap_or_else(|| NOT_SHOWN.into()),
            false => uri.to_string(),
        };
        let mut text = format!("{} {uri}\n", request.method());
        for (name, value) in request.headers() {
            let value = match is_secret_header(name, value) {
                true => NOT_SHOWN.into(),
                false => String::from_utf8_lossy(value.as_bytes()),
            };
            text.extend([name.as_str(), ": ", &value, "\n"]);
        }
        let body = request.body();
        // Only a body that was received is ever stored.
        let changed = (!body.is_stored() && body != received).then(|| body.chunks().next());
        text.push('\n');
        match changed.flatten() {
            Some(Ok(start)) => {
                let start = &start[..start.len().min(2 * ATTEMPT_REQUEST_BYTES_MAX)];
                text.push_str(&String::from_utf8_lossy(start));
            }
            _ => text.push_str(AS_RECEIVED),
        }
        text
    }

    /// The path and the query of a secret URL, and each of their parts: a "not found" page often names what
    /// was not found.
    pub(crate) fn hidden(&self) -> Vec<(String, String)> {
        if !self.is_secret {
            return Vec::new();
        }
        let (path, query) = (self.uri.0.path(), self.uri.0.query().unwrap_or_default());
        let values = query.split('&').filter_map(|pair| Some(pair.split_once('=')?.1));
        let parts = [path, query].into_iter().chain(path.split('/')).chain(values);
        parts.map(|part| (part.to_owned(), "(the secret URL)".to_owned())).collect()
    }
}

impl UrlInFile {
    /// Reads the key `url`, in the file or by reference. A credential in the file is warned about. The
    /// errors of `parse` must show nothing of the text.
    pub(crate) fn read(keys: &mut TableReader<'_>, parse: ParseUrl) -> Option<Self> {
        let text = match keys.text_or_reference("url")? {
            TextOrReference::Text(text) => text.text,
            TextOrReference::Reference(reference) => return Some(Self::There(reference, parse)),
        };
        let uri = parse_url(keys, text.as_bytes(), parse)?;
        if has_credential(&uri) {
            let what =
                "the query of this url has a credential, for all who can read the file".into();
            let variable = keys.name().to_ascii_uppercase().replace('-', "_");
            let hint = format!("such as url = {{ env = \"{variable}_URL\" }}");
            keys.warn_about("url", what, &hint);
        }
        Some(Self::Here(ServiceUrl::new(uri, false)))
    }

    /// The URL itself.
    pub(crate) fn resolve(self, table: &TableView<'_>) -> Option<ServiceUrl> {
        match self {
            Self::Here(url) => Some(url),
            Self::There(reference, parse) => {
                let text = reference.setting(table)?;
                Some(ServiceUrl::new(parse_url(table, &text.0, parse)?, true))
            }
        }
    }
}

fn parse_url(table: &TableView<'_>, text: &[u8], parse: ParseUrl) -> Option<Uri> {
    let text = std::str::from_utf8(text).map_err(|_| "url is not UTF-8".to_owned());
    let hint = table.example_hint("url");
    text.and_then(parse).map_err(|what| table.error_about("url", what, &hint)).ok()
}

/// Whether a parameter in the query of a URL is a credential, judging by its name.
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

/// What a response means, which is the same for all kinds.
fn reply(answer: Answer, url: &ServiceUrl) -> Reply {
    let result = match redirect(&answer, url) {
        Some(place) => {
            format!("{}: redirects are not followed, this one is to {place}", answer.status)
        }
        None => answer.status.to_string(),
    };
    let verdict = verdict(answer.status, &answer.headers, clock::now());
    Reply { output: answer.body, ..Reply::new(verdict, result) }
}

/// The target of a redirect. A service with a secret URL may repeat it there, in some form, so only the
/// host is shown.
fn redirect(answer: &Answer, url: &ServiceUrl) -> Option<String> {
    let place = answer.headers.get(header::LOCATION).filter(|_| answer.status.is_redirection())?;
    let place = legible(&String::from_utf8_lossy(place.as_bytes()));
    if !url.is_secret {
        return Some(place);
    }
    let host = place.parse().ok().as_ref().and_then(host_of);
    Some(host.unwrap_or_else(|| "another path of the same host".into()))
}

/// What of a secret URL may be shown.
fn host_of(uri: &Uri) -> Option<String> {
    Some(format!("{}://{}/{NOT_SHOWN}", uri.scheme_str()?, uri.host()?))
}

/// Whether the value of a header is not shown: a credential, wherever it comes from, or a signature, which could be
/// sent again.
pub(crate) fn is_secret_header(name: &HeaderName, value: &HeaderValue) -> bool {
    let name = name.as_str();
    value.is_sensitive() || is_credential_name(name) || name.contains("signature")
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
    fn retry_after_counts_only_with_429_and_503() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "17".parse().unwrap());
        for (status, expected) in [(429, Some(17)), (503, Some(17)), (500, None)] {
            let not_before = expected.map(Duration::from_secs);
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(verdict(status, &headers, NOW), Verdict::Failed { not_before }, "{status}");
        }
    }
}
