//! `wilco listen`: a developer's machine gets what a wilco elsewhere records.

mod forward;
mod place;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode, Uri};
use jiff::Timestamp;
use serde::Serialize;
use tokio::{signal::ctrl_c, time::sleep};
use wilco::Secret;
use wilco_server::{
    admin::{self, EventDetail, EventSummary, FollowChanges, StreamStart, StreamedKind},
    config,
};

use super::{
    Failure, RemoteArgs, Screen, Server, Times, instant, json_line, note, print, readable, refusal,
    visible,
};
use forward::{Forward, Outcome};
use place::Place;

/// Forward what a wilco elsewhere records to this machine, to develop a handler
///
/// Each event is sent to a URL of this machine as its provider would send it, but signed with a
/// test secret, and shown with the answer. This goes on where it left off, also after a restart of
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

/// One event that was forwarded, or not.
#[derive(Serialize)]
struct Line<'a> {
    id: String,
    source: &'a str,
    event: &'a str,
    subject: Option<&'a str>,
    received_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Why the stream has to be opened again.
struct Interrupted(String);

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
        tokio::select! {
            ended = self.follow(&server, &mut place, &mut forward) => ended.map(|()| ExitCode::SUCCESS),
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

    /// Follows the stream, and opens it again whenever it ends.
    async fn follow(
        &self,
        server: &Server,
        place: &mut Place,
        forward: &mut Forward,
    ) -> Result<(), Failure> {
        let mut since = self.since;
        let mut wait = RECONNECT_FIRST;
        let mut is_away = false;
        loop {
            let path = self.path(place, since)?;
            let why = match server.messages(&path).await? {
                Err(why) => Interrupted(why),
                Ok(mut messages) => {
                    if std::mem::take(&mut is_away) {
                        note("connected again");
                    }
                    wait = RECONNECT_FIRST;
                    loop {
                        let message = match messages.next().await {
                            Ok(message) => message,
                            Err(error) => break Interrupted(error.to_string()),
                        };
                        if message.kind == "event" {
                            let event = serde_json::from_str(&message.data)?;
                            if let Err(why) = self.handle(server, forward, &event).await? {
                                break why;
                            }
                        }
                        if !message.id.is_empty() {
                            place.set(&message.id)?;
                            // From now on it goes on there.
                            since = None;
                        }
                    }
                }
            };
            if !std::mem::replace(&mut is_away, true) {
                note(&format!("{}; trying again", why.0));
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

    /// Forwards one event and prints what became of it.
    async fn handle(
        &self,
        server: &Server,
        forward: &mut Forward,
        event: &EventSummary,
    ) -> Result<Result<(), Interrupted>, Failure> {
        let answer = match server
            .ask(Method::GET, &format!("/api/v1/events/{}", event.id), Bytes::new())
            .await
        {
            Ok(answer) => answer,
            Err(failure) => return Ok(Err(Interrupted(failure.text))),
        };
        match answer.status {
            status if status.is_success() => {}
            // It will never be there again.
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                let why = refusal(answer.status, &answer.body).text;
                return self.print(event, &Err(format!("not forwarded: {why}"))).map(Ok);
            }
            _ if event.damaged => {
                return self.print(event, &Err("not forwarded: it is damaged".into())).map(Ok);
            }
            status => return Ok(Err(Interrupted(refusal(status, &answer.body).text))),
        }
        let detail: EventDetail = serde_json::from_slice(&answer.body)?;
        let payload = detail.summary.payload;
        if !payload.is_kept() {
            let why = format!("not forwarded: its body was {}", payload.as_str());
            return self.print(event, &Err(why)).map(Ok);
        }
        let body = match (&detail.body, &detail.body_base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(text)) => BASE64_STANDARD.decode(text).map_err(Failure::failed)?,
            (None, None) => {
                let path = format!("/api/v1/events/{}/body", event.id);
                match server.ask(Method::GET, &path, Bytes::new()).await {
                    Ok(answer) if answer.status.is_success() => answer.body,
                    Ok(answer) => {
                        return Ok(Err(Interrupted(refusal(answer.status, &answer.body).text)));
                    }
                    Err(failure) => return Ok(Err(Interrupted(failure.text))),
                }
            }
        };
        let mut wait = RECONNECT_FIRST;
        loop {
            let outcome = forward.send(&detail, &body).await?;
            self.print(event, &outcome)?;
            let is_done = outcome.is_ok_and(|outcome| outcome.status.is_success());
            if is_done || !self.retry {
                return Ok(Ok(()));
            }
            sleep(wait).await;
            wait = RETRY_LONGEST.min(wait * 2);
        }
    }

    fn print(
        &self,
        event: &EventSummary,
        outcome: &Result<Outcome, String>,
    ) -> Result<(), Failure> {
        if self.json {
            let line = Line {
                id: event.id.to_string(),
                source: &event.source,
                event: &event.event,
                subject: event.subject.as_deref(),
                received_at: event.received_at,
                status: outcome.as_ref().ok().map(|outcome| outcome.status.as_u16()),
                took_ms: outcome.as_ref().ok().map(|outcome| outcome.took.as_secs_f64() * 1_000.0),
                error: outcome.as_ref().err().cloned(),
            };
            return print(&json_line(&line)?);
        }
        let became = match outcome {
            Ok(Outcome { status, took }) => {
                let mark = if status.is_success() { "✓" } else { "✗" };
                format!("{mark} {status} in {}", readable(*took))
            }
            Err(why) => format!("✗ {}", visible(why)),
        };
        let (at, name) = (Times::new(false).time(event.received_at), visible(&event.event));
        let about = visible(event.title.as_deref().or(event.subject.as_deref()).unwrap_or("-"));
        let became = Screen::stdout().painted(&became);
        print(&format!("{at}  {name}  {about}  {}  {became}\n", event.id))
    }
}

const SECRET_BYTES: usize = 32;
const RECONNECT_FIRST: Duration = Duration::from_millis(250);
const RECONNECT_LONGEST: Duration = Duration::from_secs(10);
const RETRY_LONGEST: Duration = Duration::from_secs(30);
