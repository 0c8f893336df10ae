//! A program that is kept running: it reads a line for each event, and writes a line for each answer.

mod flight;

use std::{io, pin::pin, process::ExitStatus, sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::{FutureExt as _, future::FusedFuture as _};
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{ChildStdin, ChildStdout},
    sync::{Mutex, mpsc},
    task::{JoinSet, yield_now},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use wilco::Event;
use wilco_delivery::{Destination, Reply};
use wilco_store::Claim;

use super::{PIPES_GRACE, check, while_driving};
use crate::{
    child::{ChildProcess, OutputTail, Pipes, Program},
    hidden::Hidden,
    stored_body::while_reading,
    text::legible,
    trace,
};
use flight::InFlight;

pub(super) struct Lines {
    name: String,
    hidden: Arc<Hidden>,
    program: Program,
    /// What is recorded with each attempt.
    request: String,
    timeout: Duration,
    slot: Mutex<Slot>,
}

/// The current worker. A new one is started once the tasks of its predecessor have ended.
#[derive(Default)]
struct Slot {
    worker: Option<Arc<Worker>>,
    tasks: JoinSet<()>,
}

impl Lines {
    pub(super) fn new(
        name: String,
        hidden: Hidden,
        program: Program,
        request: String,
        timeout: Duration,
    ) -> Self {
        let (hidden, slot) = (Arc::new(hidden), Mutex::default());
        Self { name, hidden, program, request, timeout, slot }
    }

    /// The running worker, or a new one.
    async fn worker(&self) -> Result<Arc<Worker>, String> {
        let mut slot = self.slot.lock().await;
        if let Some(worker) = slot.worker.as_ref().filter(|worker| !worker.in_flight.is_over()) {
            return Ok(Arc::clone(worker));
        }
        while slot.tasks.join_next().await.is_some() {}
        let (child, pipes) = ChildProcess::start(&self.program, &[])?;
        let (lines, to_write) = mpsc::channel(1);
        let in_flight = InFlight::new(self.name.clone(), &self.hidden, self.program.limits.output);
        let in_flight = Arc::new(in_flight);
        let worker = Arc::new(Worker { lines, in_flight, end: CancellationToken::new() });
        let (in_flight, end) = (Arc::clone(&worker.in_flight), worker.end.clone());
        slot.tasks.spawn(attend(child, pipes, to_write, in_flight, end));
        slot.worker = Some(Arc::clone(&worker));
        Ok(worker)
    }
}

#[async_trait]
impl Destination for Lines {
    async fn deliver(&self, claim: &Claim) -> Reply {
        let worker = match self.worker().await {
            Ok(worker) => worker,
            Err(why) => return Reply::failed(why),
        };
        let id = claim.event().delivered_id();
        let (event, attempt) = (Arc::clone(claim.event()), claim.attempt());
        let trace = trace::passed_on(claim);
        let line = match while_reading(claim, move || line(&event, attempt, trace)).await {
            Ok(line) => line,
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Reply::unsendable(error.to_string());
            }
            Err(error) => return Reply::failed(format!("the body cannot be read: {error}")),
        };
        let answer = match worker.in_flight.enter(&id) {
            Ok(answer) => answer,
            Err(why) => return Reply::failed(why),
        };
        let asked = async {
            // If the write fails, the worker has ended, and the reply says so.
            let _ = worker.lines.send(line).await;
            answer.await
        };
        let reply = match timeout(self.timeout, asked).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => Reply::failed("the worker was dropped".into()),
            Err(_) => {
                worker.in_flight.leave(&id);
                worker.in_flight.end("the worker was killed: another event had no answer in time");
                worker.end.cancel();
                let result =
                    format!("killed after {} s without an answer", self.timeout.as_secs_f32());
                Reply { output: worker.in_flight.output.so_far(), ..Reply::failed(result) }
            }
        };
        Reply { request: self.request.clone(), ..reply }
    }

    async fn check(&self) -> Result<String, String> {
        check(&self.program).await
    }

    async fn close(&self) {
        let mut slot = self.slot.lock().await;
        // Dropping the worker drops the sender of its lines, which closes its stdin.
        let end = slot.worker.take().map(|worker| worker.end.clone());
        if timeout(CLOSE_GRACE, slot.tasks.join_next()).await.is_err() {
            end.iter().for_each(CancellationToken::cancel);
        }
        while slot.tasks.join_next().await.is_some() {}
    }
}

/// A running worker process, as deliveries see it.
struct Worker {
    lines: mpsc::Sender<Vec<u8>>,
    in_flight: Arc<InFlight>,
    end: CancellationToken,
}

/// Limits the output lines of a worker that answer no event: a worker that never stops printing must not
/// flood the log or keep the processor busy.
#[derive(Default)]
struct Stray {
    second: Option<Instant>,
    lines: u32,
}

impl Stray {
    /// Counts a line at `now`; returns whether to log it, and how long to pause reading.
    fn count(&mut self, now: Instant) -> (bool, Option<Duration>) {
        let began = *self.second.get_or_insert(now);
        if now.saturating_duration_since(began) >= SECOND {
            *self = Self { second: Some(now), lines: 0 };
        }
        self.lines += 1;
        let is_logged = self.lines <= STRAY_LOGGED_MAX;
        let ends = self.second.unwrap_or(now) + SECOND;
        let is_flood = self.lines >= STRAY_LINES_MAX;
        (is_logged, is_flood.then(|| ends.saturating_duration_since(now)))
    }
}

/// An event as a line for a worker.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<u32>,
    event: &'a str,
    source: &'a str,
    attempt: u32,
    received_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// A worker reads a line as a whole, so that of its body is in memory here too.
fn line(
    event: &Event,
    attempt: u32,
    (traceparent, tracestate): (Option<String>, Option<String>),
) -> io::Result<Vec<u8>> {
    let whole = event.body.contiguous(LINE_BODY_BYTES_MAX)?;
    let body = std::str::from_utf8(&whole);
    let line = Line {
        id: &event.delivered_id(),
        item: event.item,
        event: &event.name,
        source: event.source.as_str(),
        attempt,
        received_at: event.received_at.to_string(),
        traceparent,
        tracestate,
        body: body.ok(),
        body_base64: body.is_err().then(|| BASE64_STANDARD.encode(&whole)),
    };
    // Texts and numbers can always be serialized.
    let mut line = serde_json::to_vec(&line).unwrap_or_default();
    line.push(b'\n');
    Ok(line)
}

/// Why the output of a worker is no longer read.
enum Stopped {
    /// The worker has probably ended.
    Closed(&'static str),
    /// The worker has to be killed.
    Wrong(String),
}

/// Runs one worker until it has ended.
async fn attend(
    mut child: ChildProcess,
    Pipes { stdin, stdout, stderr }: Pipes,
    lines: mpsc::Receiver<Vec<u8>>,
    in_flight: Arc<InFlight>,
    end: CancellationToken,
) {
    let mut hear = pin!(in_flight.output.read_all(stderr).fuse());
    let life = async {
        let over = tokio::select! {
            over = read(stdout, &in_flight) => over,
            over = feed(stdin, lines) => over,
            () = end.cancelled() => Stopped::Wrong("the worker was killed".into()),
        };
        match over {
            Stopped::Wrong(why) => Err(why),
            Stopped::Closed(what) => {
                timeout(PIPES_GRACE, child.wait()).await.map_err(|_| format!("the worker {what}"))
            }
        }
    };
    let life = while_driving(life, hear.as_mut()).await;
    if life.is_ok() && !hear.is_terminated() {
        let _ = timeout(PIPES_GRACE, hear.as_mut()).await;
    }
    in_flight
        .end(&life.map_or_else(|why| why, |ended| final_output(&child, ended, &in_flight.output)));
    while_driving(child.terminate(), hear).await;
}

fn final_output(
    child: &ChildProcess,
    ended: io::Result<ExitStatus>,
    output: &OutputTail,
) -> String {
    match child.describe_end(ended, &output.so_far()).1 {
        how if how.starts_with("cannot start ") => how,
        how => format!("the worker ended: {how}"),
    }
}

async fn read(stdout: Option<ChildStdout>, in_flight: &InFlight) -> Stopped {
    let closed = Stopped::Closed("closed its stdout");
    let Some(stdout) = stdout else { return closed };
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    let mut stray = Stray::default();
    loop {
        line.clear();
        let mut part = (&mut stdout).take(LINE_BYTES_MAX + 1);
        match part.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return closed,
            Ok(_) if part.limit() == 0 && !line.ends_with(b"\n") => {
                let kib = LINE_BYTES_MAX >> 10;
                return Stopped::Wrong(format!(
                    "the worker was killed: it wrote a line over {kib} KiB"
                ));
            }
            Ok(_) => {
                // Stderr output from before this line belongs to this answer, so it is read first.
                yield_now().await;
                let line = line.trim_ascii_end();
                if in_flight.answered(line) {
                    continue;
                }
                let (is_logged, pause) = stray.count(Instant::now());
                let destination = &in_flight.name;
                if is_logged {
                    let line = legible(&String::from_utf8_lossy(line));
                    let line = in_flight.hidden.clean_text(&line).unwrap_or(line);
                    tracing::warn!(
                        destination,
                        line,
                        "the worker wrote a line that is not an answer to an event"
                    );
                }
                if let Some(pause) = pause {
                    let lines = stray.lines - STRAY_LOGGED_MAX;
                    tracing::warn!(destination, lines, "the worker wrote more such lines");
                    sleep(pause).await;
                }
            }
        }
    }
}

/// Writes the lines. After the last one it closes the pipe, and waits to be dropped.
async fn feed(stdin: Option<ChildStdin>, mut lines: mpsc::Receiver<Vec<u8>>) -> Stopped {
    let Some(mut stdin) = stdin else { return Stopped::Closed("closed its stdin") };
    while let Some(line) = lines.recv().await {
        if stdin.write_all(&line).await.is_err() {
            return Stopped::Closed("closed its stdin");
        }
    }
    drop(stdin);
    std::future::pending().await
}

/// The time from the end of its input to SIGTERM.
const CLOSE_GRACE: Duration = Duration::from_secs(5);
/// The largest body that a worker gets, in bytes.
const LINE_BODY_BYTES_MAX: usize = 4 << 20;
/// The longest line that a worker may write, in bytes.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// Lines a second that answer no event; after that many, the output is not read until the second is over.
const STRAY_LINES_MAX: u32 = 100;
/// How many of them are logged.
const STRAY_LOGGED_MAX: u32 = 5;
const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use wilco::{Digest, EventId, Headers, Origin, SourceName};

    use super::*;

    #[test]
    fn a_few_stray_lines_a_second_are_logged_and_a_flood_is_paused() {
        let (mut stray, now) = (Stray::default(), Instant::now());
        let first: Vec<_> = (0..STRAY_LINES_MAX).map(|_| stray.count(now)).collect();
        assert_eq!(first.iter().filter(|(is_logged, _)| *is_logged).count(), 5);
        let pauses: Vec<_> = first.iter().filter_map(|(_, pause)| *pause).collect();
        assert_eq!(pauses, [SECOND], "only the last line of the second's share");
        assert_eq!(stray.count(now + SECOND), (true, None), "the next second starts at none");
    }

    #[test]
    fn a_body_that_is_not_text_is_sent_as_base64() {
        let rest = r#""source":"s","attempt":2,"received_at":"1970-01-01T00:00:00Z""#;
        for (body, expected) in [
            (&b"{\"\xc3\xa4\":\n\"\\\\\"}"[..], r#""body":"{\"ä\":\n\"\\\\\"}""#),
            (b"\xff\n", r#""body_base64":"/wo=""#),
            (b"", r#""body":"""#),
        ] {
            let event = Event {
                id: EventId::from_bits(1),
                source: SourceName::new("s").unwrap(),
                provider: "freispace".into(),
                name: "a\nb".into(),
                subject: None,
                received_at: Timestamp::UNIX_EPOCH,
                secret_name: String::new(),
                digest: Digest([0; 32]),
                conflict: false,
                origin: Origin::Webhook,
                item: None,
                headers: Headers::default(),
                body: body.into(),
            };
            let id = event.delivered_id();
            let expected = format!("{{\"id\":\"{id}\",\"event\":\"a\\nb\",{rest},{expected}}}\n");
            assert_eq!(
                String::from_utf8(line(&event, 2, (None, None)).unwrap()).unwrap(),
                expected
            );
        }
    }

    #[test]
    fn the_output_of_a_worker_is_truncated_and_made_legible() {
        assert_eq!(legible("a\u{1b}[31m\nb"), "a\u{fffd}[31m\u{fffd}b");
        assert_eq!(legible(&"ä".repeat(300)), "ä".repeat(200));
    }
}
