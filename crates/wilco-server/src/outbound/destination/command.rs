//! A program: the raw body on its stdin, no shell, an environment of its own, and an end.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    os::unix::{ffi::OsStringExt as _, process::ExitStatusExt as _},
    pin::pin,
    process::{ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{FutureExt as _, future::FusedFuture as _};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    time::timeout,
};
use wilco_store::Claim;

use super::{Destination, OUTPUT_BYTES_MAX, Reply, Verdict};
use crate::config::Setting;

pub(super) struct Command {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, OsString)>,
    timeout: Duration,
}

impl Command {
    pub(super) fn new(
        words: &[String],
        environment: &[(String, Setting)],
        timeout: Duration,
    ) -> Self {
        let (program, arguments) =
            words.split_first().map_or_else(Default::default, |(p, a)| (p.clone(), a.to_vec()));
        let environment = environment
            .iter()
            .map(|(name, value)| (name.clone(), OsString::from_vec(value.0.clone())))
            .collect();
        Self { program, arguments, environment, timeout }
    }

    fn start(&self, claim: &Claim) -> io::Result<Child> {
        let event = claim.event();
        let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        tokio::process::Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", path)
            .env("WILCO_EVENT", variable(&event.name))
            .env("WILCO_EVENT_ID", event.id.to_string())
            .env("WILCO_SOURCE", event.source.as_str())
            .env("WILCO_DELIVERY_ID", format!("dlv_{}", claim.delivery()))
            .env("WILCO_ATTEMPT", claim.attempt().to_string())
            .env("WILCO_RECEIVED_AT", event.received_at.to_string())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
    }
}

#[async_trait]
impl Destination for Command {
    async fn deliver(&self, claim: &Claim) -> Reply {
        let mut child = match self.start(claim) {
            Ok(child) => child,
            Err(error) => {
                return Reply::failed(format!("cannot start {}: {error}", self.program));
            }
        };
        let mut group = Group::of(&child);
        let said = Said::default();
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut talk = pin!(talk(pipes, &claim.event().body, &said).fuse());
        let end = async {
            loop {
                tokio::select! {
                    ended = child.wait() => return ended,
                    ((), (), ()) = &mut talk, if !talk.is_terminated() => {}
                }
            }
        };
        let ended = timeout(self.timeout, end).await;
        let (verdict, result) = match ended {
            Ok(ended) => {
                // What the program left behind may hold its pipes open: its own end is what counts.
                if !talk.is_terminated() {
                    let _ = timeout(PIPES_GRACE, talk).await;
                }
                ended.map_or_else(|error| (FAILED, format!("lost sight of it: {error}")), judge)
            }
            Err(_) => {
                group.terminate(&mut child).await;
                (FAILED, format!("killed after {} s", self.timeout.as_secs_f32()))
            }
        };
        group.is_over = true;
        Reply { verdict, result, output: said.take() }
    }
}

/// Writes the body and hears what is said, all at once, so that no full pipe stops the other.
async fn talk(
    (stdin, stdout, stderr): (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>),
    body: &[u8],
    said: &Said,
) -> ((), (), ()) {
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read its input may end well all the same.
            let _ = stdin.write_all(body).await;
        }
    };
    tokio::join!(feed, said.hear(stdout), said.hear(stderr))
}

/// 65 is `EX_DATAERR` of sysexits: the input is at fault, so that trying again is of no use.
fn judge(status: ExitStatus) -> (Verdict, String) {
    match (status.code(), status.signal()) {
        (Some(0), _) => (Verdict::Delivered, "exit 0".into()),
        (Some(EX_DATAERR), _) => (Verdict::Refused, format!("exit {EX_DATAERR}")),
        (Some(code), _) => (FAILED, format!("exit {code}")),
        (None, Some(signal)) => (FAILED, format!("ended by signal {signal}")),
        (None, None) => (FAILED, "ended in an unknown way".into()),
    }
}

/// The program and all that it started. If the attempt is dropped, they are killed.
struct Group {
    leader: Option<Pid>,
    is_over: bool,
}

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self { leader: id.and_then(Pid::from_raw), is_over: false }
    }

    fn kill(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            // It fails where all of them have ended, which is what is wanted.
            let _ = kill_process_group(leader, signal);
        }
    }

    /// Asks all of them to end, and after a while makes them.
    async fn terminate(&self, child: &mut Child) {
        self.kill(Signal::TERM);
        let _ = timeout(TERM_GRACE, child.wait()).await;
        self.kill(Signal::KILL);
        let _ = child.wait().await;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.is_over {
            self.kill(Signal::KILL);
        }
    }
}

/// The last of what a program said, stdout and stderr as they came.
#[derive(Default)]
struct Said(Mutex<VecDeque<u8>>);

impl Said {
    async fn hear<R: AsyncRead + Unpin>(&self, pipe: Option<R>) {
        let Some(mut pipe) = pipe else { return };
        let mut part = vec![0; 8 << 10];
        while let Ok(read @ 1..) = pipe.read(&mut part).await {
            let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            said.extend(&part[..read]);
            let excess = said.len().saturating_sub(OUTPUT_BYTES_MAX);
            said.drain(..excess);
        }
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

/// An event's name comes from a body. A variable cannot hold a NUL, and a program with one that is
/// too long (`MAX_ARG_STRLEN`, execve(2)) cannot be started at all.
fn variable(name: &str) -> String {
    name.chars().filter(|c| *c != '\0').take(NAME_CHARS_MAX).collect()
}

const FAILED: Verdict = Verdict::Failed { not_before: None };
const EX_DATAERR: i32 = 65;
const NAME_CHARS_MAX: usize = 4_096;
/// From SIGTERM to SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(5);
const PIPES_GRACE: Duration = Duration::from_millis(500);
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
