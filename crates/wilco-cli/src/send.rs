//! `wilco send`: signs requests and sends them, as the provider does.

use std::{collections::BTreeMap, fs, io::Read as _, process::ExitCode, time::Duration};

use bytes::Bytes;
use clap::{Args, builder::PossibleValue};
use http::{Request, StatusCode, Uri, header};
use http_body_util::Full;
use indicatif::ProgressBar;
use jiff::{ToSpan as _, civil::Date};
use tokio::{signal::ctrl_c, task::JoinSet, time::Instant};
use wilco::{Secret, Unsigned, freispace, provider};
use wilco_server::{
    client::{Answer, Client, ClientError},
    clock,
    config::{self, Address, Config},
};

use super::{Failure, File, client_for, did_you_mean, print, progress, rate, readable, visible};

/// Sign a sample event or a file and send it, as the provider does
///
/// A sample gets a new id and new dates each time, so that it is a new event; a file is sent unchanged.
/// Exits with 0 if every answer was a 2xx or, with --tamper, if every request was refused.
#[derive(Args)]
pub(crate) struct Send {
    #[command(flatten)]
    file: File,

    /// Sample event such as booking.created, file with a body, or - for stdin
    #[arg(value_name = "EVENT|FILE", value_parser = SampleOrFile, hide_possible_values = true)]
    what: String,

    /// URL to send to [default: that of the configuration, else https://127.0.0.1:8443/webhook]
    #[arg(long, value_name = "URL", value_parser = config::url)]
    to: Option<Uri>,

    /// Environment variable with the secret [default: the configured secret; with --to, FREISPACE_SECRET]
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,

    /// How many events to send
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u32,

    /// Send at most this many per second, such as 10/s
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<f64>,

    /// How many requests to have in progress at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    concurrency: usize,

    /// Send each event a second time, with identical bytes, as a duplicate
    #[arg(long)]
    again: bool,

    /// Change a byte after signing, so that the receiver must refuse it
    #[arg(long)]
    tamper: bool,
}

/// Accepts any text, and offers the names of the samples for completion.
#[derive(Clone)]
struct SampleOrFile;

impl clap::builder::TypedValueParser for SampleOrFile {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        clap::builder::StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(freispace::SAMPLES.iter().map(|(name, _)| PossibleValue::new(*name))))
    }
}

/// The URL that requests go to, and the secret that signs them.
struct Target {
    url: Uri,
    secret: Secret,
}

impl Target {
    fn of(send: &Send) -> Result<Self, Failure> {
        let from_env = |name: &str| {
            Secret::from_env(name).map_err(|error| Failure::configuration(error.to_string()))
        };
        let named = send.secret_env.as_deref();
        let (url, configured) = match (&send.to, send.file.find()) {
            (Some(url), _) => (url.clone(), None),
            (None, None) => (Uri::from_static(URL_WITHOUT_FILE), None),
            (None, Some(_)) => {
                let config = send.file.load()?;
                let (url, secret) = endpoint(&config)?;
                (url, Some(secret))
            }
        };
        let secret = match (named, configured) {
            (Some(name), _) => from_env(name)?,
            (None, Some(secret)) => secret,
            (None, None) => from_env("FREISPACE_SECRET")?,
        };
        Ok(Self { url, secret })
    }
}

/// The URL and secret of the only source in a configuration.
fn endpoint(config: &Config) -> Result<(Uri, Secret), Failure> {
    let [source] = config.sources.as_slice() else {
        let count = config.sources.len();
        let text = format!("the configuration has {count} sources; choose one with --to URL");
        return Err(Failure::usage(text));
    };
    let tcp = config.listen.addresses.iter().find_map(|address| match address {
        Address::Tcp(address) => Some(*address),
        Address::Unix(_) => None,
    });
    let (Some(mut address), Some(secret)) = (tcp, source.secrets.first()) else {
        let text = "the configuration listens only on a Unix socket; name a URL with --to";
        return Err(Failure::usage(text.into()));
    };
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let scheme = if config.listen.tls == config::Tls::Off { "http" } else { "https" };
    let url = config::url(&format!("{scheme}://{address}{}", source.path));
    Ok((url.map_err(Failure::usage)?, secret.clone()))
}

impl Send {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let target = Target::of(&self)?;
        let bodies = Bodies::of(&self.what)?;
        let client = client_for(&target.url)?;
        let began = Instant::now();
        let bar = progress(u64::from(self.count));
        let mut exchanges = Vec::new();
        let is_interrupted = tokio::select! {
            sent = self.send_all(&client, &target, &bodies, &bar, &mut exchanges) => {
                sent?;
                false
            }
            interrupt = ctrl_c() => {
                interrupt?;
                true
            }
        };
        bar.finish_and_clear();
        let code = self.report(&exchanges, began.elapsed(), matches!(bodies, Bodies::Fixed(_)))?;
        Ok(if is_interrupted { ExitCode::from(INTERRUPTED) } else { code })
    }

    /// Adds each result to `exchanges` as it arrives, so that an interruption keeps what is there.
    async fn send_all(
        &self,
        client: &Client,
        target: &Target,
        bodies: &Bodies,
        bar: &ProgressBar,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let mut in_flight = JoinSet::new();
        for number in 0..self.count {
            if let Some(rate) = self.rate {
                let due = Duration::from_secs_f64(f64::from(number) / rate);
                tokio::time::sleep_until(began + due).await;
            }
            while in_flight.len() >= self.concurrency.max(1) {
                exchanges.extend(in_flight.join_next().await.into_iter().flatten().flatten());
            }
            let request = self.request(target, bodies.body()?)?;
            let (client, bar) = (client.clone(), bar.clone());
            let times = if self.again { 2 } else { 1 };
            in_flight.spawn(async move {
                let mut exchanges = Vec::new();
                for _ in 0..times {
                    exchanges.push(exchange(&client, request.clone()).await);
                }
                bar.inc(1);
                exchanges
            });
        }
        while let Some(ended) = in_flight.join_next().await {
            exchanges.extend(ended.into_iter().flatten());
        }
        Ok(())
    }

    fn request(&self, target: &Target, mut body: Vec<u8>) -> Result<Request<Full<Bytes>>, Failure> {
        let freispace = provider::find("freispace")
            .ok_or_else(|| Failure::failed("this wilco was built without freispace".into()))?;
        let unsigned = Unsigned::post(&body, clock::now());
        let signed = freispace.scheme.sign(&target.secret, &unsigned);
        let signed = signed.map_err(|error| Failure::usage(error.to_string()))?;
        if self.tamper {
            match body.iter_mut().find(|byte| byte.is_ascii_lowercase()) {
                Some(letter) => letter.make_ascii_uppercase(),
                None => body.push(b' '),
            }
        }
        let request = Request::post(&target.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("wilco-send/", env!("CARGO_PKG_VERSION")));
        signed
            .iter()
            .fold(request, |request, (name, value)| request.header(name, value))
            .body(Full::new(body.into()))
            .map_err(|error| Failure::usage(format!("cannot build the request: {error}")))
    }

    fn report(
        &self,
        exchanges: &[Exchange],
        took: Duration,
        is_fixed: bool,
    ) -> Result<ExitCode, Failure> {
        let is_right = |status: StatusCode| match self.tamper {
            true => status.is_client_error(),
            false => status.is_success(),
        };
        let are_right =
            exchanges.iter().all(|exchange| exchange.status.as_ref().is_ok_and(|s| is_right(*s)));
        if self.count <= 2 && exchanges.len() <= 2 {
            for exchange in exchanges {
                print(&exchange.line())?;
            }
        } else if !exchanges.is_empty() {
            print(&summary(exchanges, took))?;
        }
        if is_fixed && !self.again && exchanges.iter().any(|exchange| exchange.is_duplicate) {
            print("these exact bytes were sent before; change the body to send a new event\n")?;
        }
        Ok(if are_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A request and its result.
struct Exchange {
    status: Result<StatusCode, String>,
    took: Duration,
    event: Option<String>,
    is_duplicate: bool,
    message: String,
}

impl Exchange {
    fn line(&self) -> String {
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

fn summary(exchanges: &[Exchange], took: Duration) -> String {
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

/// The bodies to send: a sample, with a new id each time, or fixed bytes.
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
            let hint = did_you_mean(what, names.iter().copied());
            let names = names.join(", ");
            Failure::usage(format!(
                "{what:?} is neither a sample nor a file{hint}: {error}; the samples are {names}"
            ))
        })
    }

    /// The next body; a sample gets a new id, and dates around today.
    fn body(&self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Fixed(body) => Ok(body.clone()),
            Self::Sample(sample) => {
                let id = sample_id(sample).unwrap_or_default();
                let today = clock::now().to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
                Ok(moved_to(&sample.replace(&id, &uuid()?), today).into_bytes())
            }
        }
    }
}

/// Moves all dates of a sample by the same number of whole weeks, so that the project in it begins
/// within the week before today.
fn moved_to(sample: &str, today: Date) -> String {
    let days = (today - SAMPLES_BEGIN).get_days();
    let weeks = days.div_euclid(7);
    let mut moved = String::with_capacity(sample.len());
    // A date stands at the beginning of a text: "2026-05-12" or "2026-05-12T00:00:00".
    for (number, part) in sample.split('"').enumerate() {
        if number > 0 {
            moved.push('"');
        }
        let date = part.get(..10).filter(|_| part.len() == 10 || part[10..].starts_with('T'));
        let date = date.and_then(|date| date.parse::<Date>().ok());
        match date.and_then(|date| date.checked_add(weeks.weeks()).ok()) {
            Some(date) => moved.push_str(&format!("{date}{}", &part[10..])),
            None => moved.push_str(part),
        }
    }
    moved
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

const URL_WITHOUT_FILE: &str = "https://127.0.0.1:8443/webhook";
const DUPLICATE: &str = "duplicate: already recorded, not delivered again";
/// The exit code of a program that SIGINT ended, as a shell reports it.
const INTERRUPTED: u8 = 130;
/// When the project in the samples begins.
const SAMPLES_BEGIN: Date = jiff::civil::date(2026, 4, 13);
const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_new_event_each_time_and_stays_valid() {
        for (name, sample) in freispace::SAMPLES {
            let bodies = Bodies::of(name).unwrap_or_else(|_| panic!("{name}"));
            let [first, second] = [(); 2].map(|()| bodies.body().ok().unwrap());
            assert!(first != second && first != sample.as_bytes(), "{name}");
            let shape = |body: &str| shape(&serde_json::from_str(body).unwrap());
            let first = std::str::from_utf8(&first).unwrap();
            assert_eq!(shape(first), shape(sample), "{name}");
            assert_ne!(sample_id(first), sample_id(sample), "{name}");
            assert_eq!(sample_id(first).unwrap().len(), 36, "{name}");
        }
    }

    /// A value with all digits alike.
    fn shape(value: &serde_json::Value) -> String {
        let is_hex = |c: char| c.is_ascii_hexdigit();
        value.to_string().chars().map(|c| if is_hex(c) { '0' } else { c }).collect()
    }

    #[test]
    fn dates_move_by_whole_weeks_and_nothing_else_does() {
        let text =
            r#"{"at":"2026-04-14T09:30:00","day":"2026-04-13","n":"2026-04-13x","k":"P318-1"}"#;
        for (today, expected) in [
            ((2026, 4, 13), text.to_owned()),
            ((2026, 4, 19), text.to_owned()),
            ((2026, 12, 1), text.replace("04-14T", "12-01T").replace("04-13\"", "11-30\"")),
        ] {
            let (year, month, day) = today;
            assert_eq!(moved_to(text, jiff::civil::date(year, month, day)), expected);
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
