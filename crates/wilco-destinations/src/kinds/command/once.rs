//! A program that is started for each event: it reads the raw body, and its exit code is the answer.

use std::{io, pin::pin, time::Duration};

use async_trait::async_trait;
use futures_util::{FutureExt as _, future::FusedFuture as _};
use tokio::{io::AsyncWriteExt as _, sync::oneshot, time::timeout};
use wilco::Body;
use wilco_delivery::{Destination, Reply, Verdict};
use wilco_store::Claim;

use super::{FAILED, PIPES_GRACE, check, while_driving};
use crate::{
    child::{ChildProcess, OutputTail, Pipes, Program},
    stored_body::read_at,
    trace,
};

pub(super) struct Once {
    program: Program,
    /// What is recorded with each attempt.
    request: String,
    timeout: Duration,
}

impl Once {
    pub(super) fn new(program: Program, request: String, timeout: Duration) -> Self {
        Self { program, request, timeout }
    }
}

#[async_trait]
impl Destination for Once {
    async fn deliver(&self, claim: &Claim) -> Reply {
        let (mut child, pipes) = match ChildProcess::start(&self.program, &variables(claim)) {
            Ok(started) => started,
            Err(why) => return Reply::failed(why),
        };
        let output = OutputTail::new(self.program.limits.output);
        let (unread, is_unread) = oneshot::channel();
        let mut talk = pin!(talk(pipes, &claim.event().body, unread, &output).fuse());
        let ended = async {
            tokio::select! {
                ended = child.wait() => Ok(ended),
                Ok(error) = is_unread => Err(format!("the body cannot be read: {error}")),
            }
        };
        let ended = timeout(self.timeout, while_driving(ended, talk.as_mut())).await;
        let ended =
            ended.unwrap_or_else(|_| Err(format!("killed after {} s", self.timeout.as_secs_f32())));
        if ended.is_err() {
            while_driving(child.terminate(), talk.as_mut()).await;
        }
        // A process that could not be killed may keep the pipes open.
        if !talk.is_terminated() {
            let _ = timeout(PIPES_GRACE, talk).await;
        }
        let output = output.so_far();
        let (verdict, result) = match ended {
            Ok(ended) => {
                let (code, how) = child.describe_end(ended, &output);
                (judge(code), how)
            }
            Err(why) => (FAILED, why),
        };
        Reply { verdict, result, request: self.request.clone(), output }
    }

    async fn check(&self) -> Result<String, String> {
        check(&self.program).await
    }
}

fn variables(claim: &Claim) -> Vec<(&'static str, String)> {
    let event = claim.event();
    let mut variables = vec![
        ("WILCO_EVENT", variable(&event.name)),
        ("WILCO_EVENT_ID", event.delivered_id()),
        ("WILCO_SOURCE", event.source.as_str().into()),
        ("WILCO_DELIVERY_ID", format!("dlv_{}", claim.delivery())),
        ("WILCO_ATTEMPT", claim.attempt().to_string()),
        ("WILCO_RECEIVED_AT", event.received_at.to_string()),
    ];
    variables.extend(event.item.map(|item| ("WILCO_ITEM", item.to_string())));
    let (traceparent, tracestate) = trace::passed_on(claim);
    variables.extend(traceparent.map(|value| ("TRACEPARENT", value)));
    variables.extend(tracestate.map(|value| ("TRACESTATE", value)));
    variables
}

/// The name of an event comes from a body. A variable cannot contain a NUL, and a program with a variable
/// that is too long (`MAX_ARG_STRLEN`, execve(2)) cannot be started.
fn variable(name: &str) -> String {
    name.chars().filter(|c| *c != '\0').take(NAME_CHARS_MAX).collect()
}

/// Writes the body and reads the output at the same time, so that no full pipe blocks the other.
/// The input of a program does not end before the body does: it would take the part for the whole.
async fn talk(
    pipes: Pipes,
    body: &Body,
    unread: oneshot::Sender<io::Error>,
    output: &OutputTail,
) -> ((), (), ()) {
    let feed = async {
        let Some(mut stdin) = pipes.stdin else { return };
        let mut at = 0;
        while at < body.len() {
            match read_at(body, at).await {
                Ok(chunk) => {
                    // A program may succeed without reading its input.
                    if stdin.write_all(&chunk).await.is_err() {
                        return;
                    }
                    at += chunk.len();
                }
                Err(error) => {
                    let _ = unread.send(error);
                    return std::future::pending().await;
                }
            }
        }
    };
    tokio::join!(feed, output.read_all(pipes.stdout), output.read_all(pipes.stderr))
}

/// 65 is `EX_DATAERR` of sysexits: the input is invalid, so a retry would not help.
fn judge(code: Option<i32>) -> Verdict {
    match code {
        Some(0) => Verdict::Delivered,
        Some(EX_DATAERR) => Verdict::Refused,
        _ => FAILED,
    }
}

const EX_DATAERR: i32 = 65;
const NAME_CHARS_MAX: usize = 4_096;
