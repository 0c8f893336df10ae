//! `wilco send`: signs and sends as the provider does.

use std::{collections::BTreeMap, fs, io::Read as _, process::ExitCode, time::Duration};

use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use tokio::{task::JoinSet, time::Instant};
use wilco::{Secret, freispace, provider};

use super::{Failure, client_for, print, progress, rate, readable};
use crate::{
    client::{Answer, Client, ClientError},
    config,
};

/// Signs a sample event or a file and sends it, as the provider does
///
/// Exits with 0 when every answer was a 2xx; with --tamper, when every one was refused.
#[derive(Args)]
pub(super) struct Send {
    /// An event such as booking.created, or a file with a body, or - for stdin
    #[arg(value_name = "EVENT|FILE")]
    what: String,

    /// Where to, such as https://127.0.0.1:8443/webhook
    #[arg(long, value_name = "URL", value_parser = config::url)]
    to: http::Uri,

    /// The environment variable that has the secret
    #[arg(long, value_name = "NAME", default_value = "FREISPACE_SECRET")]
    secret_env: String,

    /// How many; past the first, samples get an id of their own, a file is sent as it is
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u32,

    /// At most so many a second
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<f64>,

    /// How many may wait for an answer at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    concurrency: usize,

    /// Sends each one twice, to the byte
    #[arg(long)]
    again: bool,

    /// Changes a byte after signing; the other side must refuse it
    #[arg(long)]
    tamper: bool,
}

impl Send {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let secret = Secret::from_env(&self.secret_env)
            .map_err(|error| Failure::configuration(error.to_string()))?;
        let bodies = Bodies::of(&self.what)?;
        let client = client_for(&self.to)?;
        let began = Instant::now();
        let exchanges = self.send_all(&client, &secret, &bodies).await?;
        self.report(&exchanges, began.elapsed())
    }

    async fn send_all(
        &self,
        client: &Client,
        secret: &Secret,
        bodies: &Bodies,
    ) -> Result<Vec<Exchange>, Failure> {
        let bar = progress(u64::from(self.count));
        let began = Instant::now();
        let mut under_way = JoinSet::new();
        let mut exchanges = Vec::new();
        for number in 0..self.count {
            if let Some(rate) = self.rate {
                let due = Duration::from_secs_f64(f64::from(number) / rate);
                tokio::time::sleep_until(began + due).await;
            }
            while under_way.len() >= self.concurrency.max(1) {
                exchanges.extend(under_way.join_next().await.into_iter().flatten().flatten());
            }
            let request = self.request(secret, bodies.body(number)?)?;
            let (client, bar) = (client.clone(), bar.clone());
            let times = if self.again { 2 } else { 1 };
            under_way.spawn(async move {
                let mut exchanges = Vec::new();
                for _ in 0..times {
                    exchanges.push(exchange(&client, request.clone()).await);
                }
                bar.inc(1);
                exchanges
            });
        }
        while let Some(ended) = under_way.join_next().await {
            exchanges.extend(ended.into_iter().flatten());
        }
        bar.finish_and_clear();
        Ok(exchanges)
    }

    fn request(&self, secret: &Secret, mut body: Vec<u8>) -> Result<Request<Full<Bytes>>, Failure> {
        let freispace = provider::find("freispace")
            .ok_or_else(|| Failure::failed("this wilco was built without freispace".into()))?;
        let (name, value) = freispace.scheme.sign(secret, &body);
        if self.tamper {
            match body.iter_mut().find(|byte| byte.is_ascii_lowercase()) {
                Some(letter) => letter.make_ascii_uppercase(),
                None => body.push(b' '),
            }
        }
        Request::post(&self.to)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("wilco-send/", env!("CARGO_PKG_VERSION")))
            .header(name, value)
            .body(Full::new(body.into()))
            .map_err(|error| Failure::usage(format!("no request could be made: {error}")))
    }

    fn report(&self, exchanges: &[Exchange], took: Duration) -> Result<ExitCode, Failure> {
        let is_right = |status: StatusCode| match self.tamper {
            true => status.is_client_error(),
            false => status.is_success(),
        };
        let are_right =
            exchanges.iter().all(|exchange| exchange.status.as_ref().is_ok_and(|s| is_right(*s)));
        if exchanges.len() <= 2 {
            for exchange in exchanges {
                print(&exchange.line())?;
            }
        } else {
            print(&summary(exchanges, took))?;
        }
        Ok(if are_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A request and what came back.
struct Exchange {
    status: Result<StatusCode, String>,
    took: Duration,
    event: Option<String>,
    message: String,
}

impl Exchange {
    fn line(&self) -> String {
        let took = readable(self.took);
        match &self.status {
            Ok(status) => {
                let event = self.event.as_deref().unwrap_or_default();
                let line = format!("{status} in {took}  {event}  {}", self.message);
                format!("{}\n", line.replace("    ", "  ").trim_end())
            }
            Err(error) => format!("no answer after {took}: {error}\n"),
        }
    }
}

async fn exchange(client: &Client, request: Request<Full<Bytes>>) -> Exchange {
    let began = Instant::now();
    let answer = client.send(request, TIMEOUT, ANSWER_BYTES_MAX).await;
    let took = began.elapsed();
    match answer {
        Ok(answer) => Exchange {
            took,
            event: answer
                .headers
                .get("x-wilco-event")
                .and_then(|id| Some(id.to_str().ok()?.into())),
            message: message(&answer),
            status: Ok(answer.status),
        },
        Err(error) => {
            let status = Err(explain(&error));
            Exchange { took, event: None, message: String::new(), status }
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

/// The answer's message, or the beginning of whatever it says.
fn message(answer: &Answer) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        message: String,
    }
    let said = serde_json::from_slice::<Body>(&answer.body).map(|body| body.message);
    let said = said.unwrap_or_else(|_| String::from_utf8_lossy(&answer.body).into_owned());
    said.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn summary(exchanges: &[Exchange], took: Duration) -> String {
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for exchange in exchanges {
        let answer = match &exchange.status {
            Ok(status) => format!("{status}  {}", exchange.message),
            Err(error) => error.clone(),
        };
        *answers.entry(answer).or_default() += 1;
    }
    let mut times: Vec<_> = exchanges.iter().map(|exchange| exchange.took).collect();
    times.sort_unstable();
    let at = |percent: usize| readable(times[(times.len() * percent / 100).min(times.len() - 1)]);
    let mut text = String::new();
    for (answer, count) in answers {
        text.push_str(&format!("{count:>8}  {answer}\n"));
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

/// What is sent: a sample, which can be had under many ids, or fixed bytes.
enum Bodies {
    Sample(&'static str),
    Fixed(Vec<u8>),
}

impl Bodies {
    fn of(what: &str) -> Result<Self, Failure> {
        if let Some(sample) = freispace::sample(what) {
            return Ok(Self::Sample(sample));
        }
        if what == "-" {
            let mut body = Vec::new();
            std::io::stdin().read_to_end(&mut body)?;
            return Ok(Self::Fixed(body));
        }
        fs::read(what).map(Self::Fixed).map_err(|error| {
            let names: Vec<_> = freispace::SAMPLES.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            Failure::usage(format!(
                "{what} is no sample and no file: {error}; samples are: {names}"
            ))
        })
    }

    fn body(&self, number: u32) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Fixed(body) => Ok(body.clone()),
            Self::Sample(sample) if number == 0 => Ok(sample.as_bytes().to_vec()),
            Self::Sample(sample) => {
                let id = sample_id(sample).unwrap_or_default();
                Ok(sample.replace(&id, &uuid()?).into_bytes())
            }
        }
    }
}

/// The id of the resource that a sample is about.
fn sample_id(sample: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(sample).ok()?;
    Some(value.get("id")?.as_str()?.to_owned())
}

/// A random UUID (RFC 9562, version 4).
fn uuid() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::failed(error.to_string()))?;
    let bits = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    Ok(parts.join("-"))
}

const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_can_be_had_under_another_id() {
        for (name, sample) in freispace::SAMPLES {
            let bodies = Bodies::of(name).unwrap_or_else(|_| panic!("{name}"));
            let [first, second, third] = [0, 1, 2].map(|n| bodies.body(n).ok().unwrap());
            assert_eq!(first, sample.as_bytes(), "{name}");
            assert!(first != second && second != third, "{name}");
            assert_eq!(
                sample_id(std::str::from_utf8(&third).unwrap()).unwrap().len(),
                36,
                "{name}"
            );
        }
    }

    #[test]
    fn a_rate_is_a_number_a_second() {
        assert_eq!(rate("10/s"), Ok(10.0));
        assert_eq!(rate("0.5"), Ok(0.5));
        for text in ["0", "-1/s", "fast", "inf", "10/min"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
