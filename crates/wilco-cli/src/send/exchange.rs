//! A request and its response, and what is reported about them.

use std::{collections::BTreeMap, time::Duration};

use http::{Request, StatusCode};
use tokio::time::Instant;
use wilco::Body;
use wilco_server::client::{Answer, Client, ClientError};

use crate::{readable, visible};

/// A request and its result.
pub(super) struct Exchange {
    pub(super) status: Result<StatusCode, String>,
    took: Duration,
    event: Option<String>,
    pub(super) is_duplicate: bool,
    message: String,
}

impl Exchange {
    pub(super) fn line(&self) -> String {
        let took = readable(self.took);
        match &self.status {
            Ok(status) => {
                let event = self.event.as_deref().unwrap_or_default();
                let message = match self.is_duplicate {
                    true => DUPLICATE,
                    false => &self.message,
                };
                let line = format!("{status} in {took}  {event}  {message}");
                format!("{}\n", line.replace("    ", "  ").trim_end())
            }
            Err(error) => format!("no answer after {took}: {error}\n"),
        }
    }
}

pub(super) async fn exchange(client: &Client, request: Request<Body>) -> Exchange {
    let began = Instant::now();
    let answer = client.send(request, TIMEOUT, ANSWER_BYTES_MAX).await;
    let took = began.elapsed();
    match answer {
        Ok(answer) => Exchange {
            took,
            event: answer
                .headers
                .get("x-wilco-event")
                .and_then(|id| Some(visible(id.to_str().ok()?))),
            is_duplicate: answer.headers.contains_key("x-wilco-duplicate"),
            message: message(&answer),
            status: Ok(answer.status),
        },
        Err(error) => {
            let status = Err(explain(&error));
            Exchange { took, event: None, is_duplicate: false, message: String::new(), status }
        }
    }
}

fn explain(error: &ClientError) -> String {
    let text = error.to_string();
    match text.contains("Connection refused") {
        true => format!("{text}; is wilco running there?"),
        false => text,
    }
}

/// The message of an answer, or the beginning of its text.
fn message(answer: &Answer) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        message: String,
    }
    let said = serde_json::from_slice::<Body>(&answer.body).map(|body| body.message);
    let said = said.unwrap_or_else(|_| String::from_utf8_lossy(&answer.body).into_owned());
    visible(&said.chars().filter(|c| !c.is_control()).take(200).collect::<String>())
}

pub(super) fn summary(exchanges: &[Exchange], took: Duration) -> String {
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for exchange in exchanges {
        let answer = match &exchange.status {
            Ok(status) => format!("{status}  {}", exchange.message),
            Err(error) => error.clone(),
        };
        *answers.entry(answer).or_default() += 1;
    }
    let duplicates = exchanges.iter().filter(|exchange| exchange.is_duplicate).count();
    let mut times: Vec<_> = exchanges.iter().map(|exchange| exchange.took).collect();
    times.sort_unstable();
    let at = |percent: usize| readable(times[(times.len() * percent / 100).min(times.len() - 1)]);
    let mut text = String::new();
    for (answer, count) in answers {
        text.push_str(&format!("{count:>8}  {answer}\n"));
    }
    if duplicates > 0 {
        text.push_str(&format!("{duplicates:>8}  of them {DUPLICATE}\n"));
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let rate = exchanges.len() as f64 / took.as_secs_f64();
    let (p50, p99, max) = (at(50), at(99), at(100));
    text.push_str(&format!(
        "{:>8}  in {}, {rate:.0} a second; p50 {p50}, p99 {p99}, slowest {max}\n",
        exchanges.len(),
        readable(took)
    ));
    text
}

const DUPLICATE: &str = "duplicate: already recorded, not delivered again";
const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 64 << 10;
