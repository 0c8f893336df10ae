//! `wilco send`: signs requests and sends them, as the provider does.

mod bodies;
mod exchange;
mod target;

use std::{process::ExitCode, time::Duration};

use clap::{Args, builder::PossibleValue};
use http::{Request, StatusCode, Uri};
use indicatif::ProgressBar;
use tokio::{signal::ctrl_c, task::JoinSet, time::Instant};
use wilco::{Body, Unsigned, freispace, provider};
use wilco_server::{client::Client, clock, config};

use super::{ConfigArgs, Failure, client_for, print, progress, rate};

use bodies::Bodies;
use exchange::{Exchange, exchange, summary};
use target::Target;

/// Sign a sample event or a file and send it, as the provider does
///
/// A sample gets a new id and new dates each time, so that it is a new event; a file is sent
/// unchanged. Exits with 0 if every answer was a 2xx or, with --tamper, if every request was
/// refused.
#[derive(Args)]
pub(crate) struct Send {
    #[command(flatten)]
    config: ConfigArgs,

    /// Sample event such as booking.created, file with a body, or - for stdin
    #[arg(value_name = "EVENT|FILE", value_parser = SampleOrFile, hide_possible_values = true)]
    what: String,

    /// URL to send to [default: that of the configuration, else https://127.0.0.1:8443/webhook]
    #[arg(long, value_name = "URL", value_parser = config::url)]
    to: Option<Uri>,

    /// Environment variable with the secret [default: the configured secret; with --to,
    /// FREISPACE_SECRET]
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
        let code = self.report(&exchanges, began.elapsed(), bodies.is_fixed())?;
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
            let request = self.request(target, bodies)?;
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

    fn request(&self, target: &Target, bodies: &Bodies) -> Result<Request<Body>, Failure> {
        let freispace = provider::find("freispace")
            .ok_or_else(|| Failure::failed("this wilco was built without freispace"))?;
        let mut body = bodies.body(freispace)?;
        let unsigned = Unsigned::post(&body, clock::now());
        let headers = freispace.test_headers(&target.secret, "", &unsigned);
        let headers = headers.map_err(Failure::usage)?;
        if self.tamper {
            match body.iter_mut().find(|byte| byte.is_ascii_lowercase()) {
                Some(letter) => letter.make_ascii_uppercase(),
                None => body.push(b' '),
            }
        }
        headers
            .iter()
            .fold(Request::post(&target.url), |request, (name, value)| request.header(name, value))
            .body(Body::from(body))
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

/// The exit code of a program that SIGINT ended, as a shell reports it.
const INTERRUPTED: u8 = 130;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_a_second() {
        assert_eq!(rate("10/s"), Ok(10.0));
        assert_eq!(rate("0.5"), Ok(0.5));
        for text in ["0", "-1/s", "fast", "inf", "10/min"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
