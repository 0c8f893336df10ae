//! A client of freispace's API for webhook endpoints. Source: the OpenAPI definition "freispace REST API"
//! 1.0.0 in github.com/freispace/storage-collector (`docs/freispace-api-definition.txt`); read 2026-11.

use std::time::Duration;

use clap::Args;
use http::{Method, Request, StatusCode, Uri, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use wilco::Body;
use wilco_server::{
    client::{Answer, Client, retry_after},
    clock, config,
};

use crate::{Failure, client_for, note, visible};

/// Which API to use, and with which token.
#[derive(Args)]
pub(crate) struct ApiArgs {
    /// Environment variable with the API token
    #[arg(long, value_name = "NAME", default_value = "FREISPACE_TOKEN")]
    token_env: String,
    /// API to use, such as https://api-external.demo.freispace.com
    #[arg(long, value_name = "URL", default_value = PRODUCTION, value_parser = api_url)]
    api: String,
}

/// freispace's API.
pub(crate) struct Api {
    /// Without a slash at the end.
    pub(crate) url: String,
    token: String,
    token_env: String,
    client: Client,
}

/// A webhook endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) description: Option<String>,
    pub(crate) events: Vec<String>,
    /// `enabled` or `disabled`.
    pub(crate) status: Option<String>,
}

/// A new endpoint, with the secret that freispace shows only in this answer.
#[derive(Deserialize)]
pub(crate) struct Created {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// What an endpoint is to be.
#[derive(Serialize)]
pub(crate) struct NewEndpoint<'a> {
    pub(crate) url: &'a str,
    pub(crate) description: Option<&'a str>,
    pub(crate) enabled_events: &'a [String],
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Endpoint>,
    pagination_links: Option<Links>,
}

#[derive(Deserialize)]
struct Links {
    next: Option<String>,
}

impl ApiArgs {
    pub(crate) fn connect(&self) -> Result<Api, Failure> {
        let name = &self.token_env;
        let token = std::env::var(name).unwrap_or_default().trim().to_owned();
        let is_valid = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_valid {
            let what = if token.is_empty() { "is not set" } else { "is not an API token" };
            return Err(Failure::configuration(format!(
                "environment variable {name} {what}; create a token in freispace (team settings, \
                 Integrations) and export {name}=…"
            )));
        }
        let uri: Uri = self.api.parse().map_err(|_| Failure::usage("invalid --api"))?;
        let (url, token_env) = (self.api.clone(), name.clone());
        Ok(Api { url, token, token_env, client: client_for(&uri)? })
    }
}

impl Api {
    /// Every endpoint of the team.
    pub(crate) async fn list(&self) -> Result<Vec<Endpoint>, Failure> {
        let mut all = Vec::new();
        for number in 1..=LISTING_PAGES_MAX {
            let page: Page = self.get(&format!("?page={number}")).await?;
            let is_last = page.data.is_empty()
                || page.pagination_links.is_none_or(|links| links.next.is_none());
            all.extend(page.data);
            if is_last {
                return Ok(all);
            }
        }
        Err(Failure::failed(format!("{} lists endpoints without an end", self.url)))
    }

    /// One endpoint.
    pub(crate) async fn show(&self, id: &str) -> Result<Endpoint, Failure> {
        self.get(&format!("/{}", checked(id)?)).await
    }

    /// Creates an endpoint. The secret in the answer cannot be had again.
    pub(crate) async fn create(&self, endpoint: &NewEndpoint<'_>) -> Result<Created, Failure> {
        let body = serde_json::to_vec(endpoint).map_err(Failure::failed)?;
        let uncertain = |failure: Failure| {
            let text = failure.text;
            Failure::failed(format!(
                "{text}; the endpoint may have been created all the same: see `wilco freispace list`"
            ))
        };
        let answer = self.exchange(Method::POST, "", &body).await.map_err(uncertain)?;
        let answer = self.expect(answer, "write")?;
        self.read(&answer).map_err(uncertain)
    }

    /// Removes an endpoint; false if there was none.
    pub(crate) async fn remove(&self, id: &str) -> Result<bool, Failure> {
        let answer = self.exchange(Method::DELETE, &format!("/{}", checked(id)?), &[]).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        self.expect(answer, "write").map(|_| true)
    }

    /// Removes an endpoint whose secret is lost, and returns a sentence about it.
    pub(crate) async fn undo_create(&self, id: &str) -> String {
        match self.remove(id).await {
            Ok(_) => format!("endpoint {id} was removed again"),
            Err(failure) => format!(
                "endpoint {id} could not be removed again ({}); its secret is lost, so remove it: \
                 `wilco freispace remove {id}`",
                failure.text
            ),
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = self.exchange(Method::GET, path, &[]).await?;
        self.read(&self.expect(answer, "read")?)
    }

    fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Failure> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            // The body may contain a secret, and serde's message a part of the body.
            let (line, column) = (error.line(), error.column());
            Failure::failed(format!(
                "unexpected answer from {} (line {line}, column {column}); is --api right?",
                self.url
            ))
        })
    }

    /// Sends a request, and again after a wait while there are too many of them.
    async fn exchange(&self, method: Method, path: &str, body: &[u8]) -> Result<Answer, Failure> {
        let url = format!("{}{PATH}{path}", self.url);
        let mut waits = 0;
        loop {
            let request = Request::builder()
                .method(&method)
                .uri(&url)
                .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
                // Without it, the answer to an error is a page for people.
                .header(header::ACCEPT, "application/json")
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::USER_AGENT, concat!("wilco/", env!("CARGO_PKG_VERSION")))
                .body(Body::from(body.to_vec()))
                .map_err(|error| Failure::usage(format!("cannot build the request: {error}")))?;
            let answer = self.client.send(request, TIMEOUT, ANSWER_BYTES_MAX).await;
            let answer = answer.map_err(|error| {
                let at = &self.url;
                Failure::failed(format!("cannot reach freispace at {at}: {error}"))
            })?;
            if answer.status != StatusCode::TOO_MANY_REQUESTS {
                return Ok(answer);
            }
            let wait = retry_after(&answer.headers, clock::now()).unwrap_or(RATE_WINDOW);
            if wait > WAIT_MAX || waits == WAITS_MAX {
                let wait = wait.as_secs();
                return Err(Failure::failed(format!(
                    "freispace takes no more requests of this team for {wait} s (429); try again \
                     then, or look at the limits of your subscription"
                )));
            }
            note(&format!("freispace asks to wait {} s (429)", wait.as_secs()));
            tokio::time::sleep(wait).await;
            waits += 1;
        }
    }

    /// An answer that is a success, or the failure that it is.
    fn expect(&self, answer: Answer, permission: &str) -> Result<Answer, Failure> {
        let (status, name) = (answer.status, &self.token_env);
        if status.is_success() {
            return Ok(answer);
        }
        let said = said(status, &answer.body);
        Err(Failure::failed(match status {
            StatusCode::UNAUTHORIZED => format!(
                "freispace does not accept the token in {name} ({said}); copy it again, or create a \
                 new one (team settings, Integrations)"
            ),
            // The API definition uses this status for an invalid token as well.
            StatusCode::FORBIDDEN => format!(
                "freispace refuses the token in {name} ({said}); is it complete and not expired, and \
                 may it {permission} webhooks? See team settings, Integrations"
            ),
            StatusCode::NOT_FOUND => {
                format!("not found at {} ({said}); see `wilco freispace list`", self.url)
            }
            StatusCode::UNPROCESSABLE_ENTITY => {
                format!("freispace does not accept this endpoint ({said})")
            }
            _ if status.is_server_error() => {
                format!("freispace has a problem of its own ({said}); try again later")
            }
            _ => format!("unexpected answer from {} ({said}); is --api right?", self.url),
        }))
    }
}

/// The status, and what the body says about it: `message`, and every text in `errors`.
fn said(status: StatusCode, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut texts = vec![status.as_u16().to_string()];
    collect_texts(&body["message"], &mut texts);
    collect_texts(&body["errors"], &mut texts);
    texts.dedup();
    let text = visible(&texts.join(": "));
    text.chars().take(SAID_CHARS_MAX).collect()
}

fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.trim_end_matches('.').to_owned()),
        Value::Array(values) => values.iter().for_each(|value| collect_texts(value, texts)),
        Value::Object(values) => values.values().for_each(|value| collect_texts(value, texts)),
        _ => {}
    }
}

/// An id goes into the path of a URL.
fn checked(id: &str) -> Result<&str, Failure> {
    let is_id = |c: char| c.is_ascii_alphanumeric() || c == '-';
    match !id.is_empty() && id.chars().all(is_id) {
        true => Ok(id),
        false => Err(Failure::usage(format!(
            "invalid id {id:?}: expected one such as 12345678-1234-1234-1234-123456789012"
        ))),
    }
}

fn api_url(text: &str) -> Result<String, String> {
    let url = config::url(text)?;
    let is_here = matches!(url.host(), Some("127.0.0.1" | "localhost"));
    if url.scheme_str() == Some("https") || is_here {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    Err("the token would be sent in plain text: expected https://".into())
}

const PRODUCTION: &str = "https://api.freispace.com";
const PATH: &str = "/v1/webhooks";
const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 1 << 20;
const LISTING_PAGES_MAX: u32 = 100;
/// How long 60 requests of a team may take; the wait if the answer names none.
const RATE_WINDOW: Duration = Duration::from_secs(60);
/// A longer wait is a matter of the subscription, and is reported.
const WAIT_MAX: Duration = Duration::from_secs(300);
const WAITS_MAX: u32 = 3;
/// Of what freispace says about an error.
const SAID_CHARS_MAX: usize = 500;
