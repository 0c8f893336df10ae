//! `wilco listen`: a developer's machine gets what a wilco elsewhere records.

mod forward;
mod place;
mod rows;

use std::{convert::Infallible, path::PathBuf, process::ExitCode, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode, Uri};
use jiff::Timestamp;
use tokio::{signal::ctrl_c, time::sleep};
use wilco::Secret;
use wilco_server::{
    admin::{self, EventDetail, EventSummary, FollowChanges, StreamStart, StreamedKind},
    client::Answer,
    config,
};

use super::{Failure, Messages, RemoteArgs, Server, instant, note, refusal};
use forward::Forward;
use place::Place;
use rows::Rows;

/// Forward what a wilco elsewhere records to this machine, to develop a handler
///
/// Each event is sent to a URL of this machine as its provider would send it, but signed with a
/// test secret, and shown with the answer. This continues where it left off, even after a restart of
/// either side.
#[derive(Args)]
pub(crate) struct Listen {
    #[command(flatten)]
    remote: RemoteArgs,
    /// URL that gets the events, such as http://localhost:3000/webhook
    #[arg(long, value_name = "URL", value_parser = config::url)]
    forward: Uri,
    /// Environment variable with the secret to sign with [default: one is made and printed]
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,
    /// Only events of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only events with this name; booking.* matches every event about bookings
    #[arg(long, value_name = "GLOB")]
    event: Option<String>,
    /// Only events with a delivery to this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Begin with the events received since this time: 14:00, yesterday, 2h (ago); 0s leaves out what
    /// came meanwhile [default: where it left off, at first with the next event]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    since: Option<Timestamp>,
    /// File that keeps where it left off [default: one in the state folder of the user]
    #[arg(long, value_name = "FILE")]
    place: Option<PathBuf>,
    /// Send an event again until the answer is a 2xx, and only then the next one
    #[arg(long)]
    retry: bool,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

/// What became of an event.
enum Outcome {
    Answered { status: StatusCode, took: Duration },
    NoAnswer(String),
    NotForwarded(String),
}

impl Outcome {
    fn is_success(&self) -> bool {
        matches!(self, Self::Answered { status, .. } if status.is_success())
    }
}

/// Why a stream is not followed any further.
enum Ended {
    /// It is opened again.
    Interrupted(String),
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Listen {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let server = self.remote.server()?;
        let mut place = self.place(&server)?;
        let (secret, is_made) = self.secret()?;
        note(&format!("events of the wilco at {} go to {}", server.shown(), self.forward));
        if is_made {
            let secret = String::from_utf8_lossy(secret.expose());
            note(&format!("they are signed with the secret {secret}"));
        }
        let mut forward = Forward::new(self.forward.clone(), secret)?;
        let mut rows = Rows::new(self.json);
        tokio::select! {
            ended = self.follow(&server, &mut place, &mut forward, &mut rows) => ended.map(|never| match never {}),
            interrupt = ctrl_c() => Ok(interrupt.map(|()| ExitCode::SUCCESS)?),
        }
    }

    fn place(&self, server: &Server) -> Result<Place, Failure> {
        match &self.place {
            Some(path) => Place::at(path.clone()),
            None => {
                let Self { forward, source, event, destination, .. } = self;
                let filter = [source, event, destination].map(|text| text.as_deref().unwrap_or(""));
                let of = format!("{}\n{forward}\n{}", server.shown(), filter.join("\n"));
                Place::of(&of)
            }
        }
    }

    /// The secret to sign with, and whether it was made just now.
    fn secret(&self) -> Result<(Secret, bool), Failure> {
        if let Some(name) = &self.secret_env {
            return Ok((Secret::from_env(name).map_err(Failure::configuration)?, false));
        }
        let mut random = [0; SECRET_BYTES];
        getrandom::fill(&mut random)?;
        // Hexadecimal digits are valid text, hexadecimal and Base64, so they suit nearly every provider.
        let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((Secret::new("test secret", text.into_bytes()).map_err(Failure::failed)?, true))
    }

    /// Follows the stream, and opens it again whenever it is interrupted.
    async fn follow(
        &self,
        server: &Server,
        place: &mut Place,
        forward: &mut Forward,
        rows: &mut Rows,
    ) -> Result<Infallible, Failure> {
        let mut since = self.since;
        let mut wait = RECONNECT_FIRST;
        let mut is_away = false;
        loop {
            let path = self.path(place, since)?;
            let ended = match server.messages(&path).await? {
                Err(why) => Ended::Interrupted(why),
                Ok(messages) => {
                    if std::mem::take(&mut is_away) {
                        note("connected again");
                    }
                    wait = RECONNECT_FIRST;
                    let all = self.forward_all(messages, server, place, &mut since, forward, rows);
                    let Err(ended) = all.await;
                    ended
                }
            };
            let why = match ended {
                Ended::Interrupted(why) => why,
                Ended::Failed(failure) => return Err(failure),
            };
            if !std::mem::replace(&mut is_away, true) {
                note(&format!("{why}; trying again"));
            }
            sleep(wait).await;
            wait = RECONNECT_LONGEST.min(wait * 2);
        }
    }

    fn path(&self, place: &Place, since: Option<Timestamp>) -> Result<String, Failure> {
        let after = place.get().filter(|_| since.is_none()).map(str::to_owned);
        let query = admin::query(&FollowChanges {
            source: self.source.clone(),
            event: self.event.clone(),
            destination: self.destination.clone(),
            only: Some(StreamedKind::Events),
            after,
            from: since.map(StreamStart::Time),
        })?;
        Ok(format!("/api/v1/stream?{query}"))
    }

    /// Forwards the events of a stream until it ends.
    async fn forward_all(
        &self,
        mut messages: Messages,
        server: &Server,
        place: &mut Place,
        since: &mut Option<Timestamp>,
        forward: &mut Forward,
        rows: &mut Rows,
    ) -> Result<Infallible, Ended> {
        loop {
            let message = messages.next().await;
            let message = message.map_err(|error| Ended::Interrupted(error.to_string()))?;
            if message.kind == "event" {
                let event = serde_json::from_str(&message.data)?;
                self.forward_one(server, forward, rows, &event).await?;
            }
            if !message.id.is_empty() {
                place.set(&message.id)?;
                // From now on it continues there.
                *since = None;
            }
        }
    }

    /// Forwards one event and prints what became of it.
    async fn forward_one(
        &self,
        server: &Server,
        forward: &mut Forward,
        rows: &mut Rows,
        event: &EventSummary,
    ) -> Result<(), Ended> {
        let (detail, body) = match load(server, event).await? {
            Ok(loaded) => loaded,
            Err(why) => return Ok(rows.print(event, &Outcome::NotForwarded(why))?),
        };
        let mut wait = RECONNECT_FIRST;
        loop {
            let outcome = forward.send(&detail, &body).await?;
            rows.print(event, &outcome)?;
            if outcome.is_success() || !self.retry {
                return Ok(());
            }
            sleep(wait).await;
            wait = RETRY_LONGEST.min(wait * 2);
        }
    }
}

/// An event with its body. An error inside says why it can never be forwarded.
async fn load(
    server: &Server,
    event: &EventSummary,
) -> Result<Result<(EventDetail, Vec<u8>), String>, Ended> {
    let path = format!("/api/v1/events/{}", event.id);
    let answer = get(server, &path).await?;
    match answer.status {
        status if status.is_success() => {}
        // It will never be there again.
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            return Ok(Err(refusal(answer.status, &answer.body).text));
        }
        _ if event.damaged => return Ok(Err("it is damaged".into())),
        status => return Err(Ended::Interrupted(refusal(status, &answer.body).text)),
    }
    let detail: EventDetail = serde_json::from_slice(&answer.body)?;
    let payload = detail.summary.payload;
    if !payload.is_kept() {
        return Ok(Err(format!("its body was {}", payload.as_str())));
    }
    let body = match (&detail.body, &detail.body_base64) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(text)) => BASE64_STANDARD.decode(text).map_err(Failure::failed)?,
        (None, None) => {
            let answer = get(server, &format!("{path}/body")).await?;
            if !answer.status.is_success() {
                return Err(Ended::Interrupted(refusal(answer.status, &answer.body).text));
            }
            answer.body
        }
    };
    Ok(Ok((detail, body)))
}

async fn get(server: &Server, path: &str) -> Result<Answer, Ended> {
    let answer = server.ask(Method::GET, path, Bytes::new()).await;
    answer.map_err(|failure| Ended::Interrupted(failure.text))
}

const SECRET_BYTES: usize = 32;
const RECONNECT_FIRST: Duration = Duration::from_millis(250);
const RECONNECT_LONGEST: Duration = Duration::from_secs(10);
const RETRY_LONGEST: Duration = Duration::from_secs(30);
