//! A program of somebody else, kept in bounds: no shell, an environment of its own, and nothing left
//! of it when its time is over.
//!
//! wilco does not start the program itself but a warden, which is wilco again (`wilco guest`). Every
//! process that the program starts, and that loses its parent, becomes a child of the warden, so
//! that it finds all of them; and the kernel tells it when wilco is gone.

mod family;
mod terms;
mod warden;

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    io,
    os::unix::{ffi::OsStrExt as _, process::ExitStatusExt as _},
    process::{ExitStatus, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    time::{sleep, timeout},
};

use crate::config::{self, find_program, has_crlf};

pub(crate) use family::{descendants, tell};
pub(crate) use terms::{Stage, Terms};
pub(crate) use warden::main;

/// Programs get this soft limit on open files and not the one that this process has by now.
pub(crate) fn keep_file_limit(soft: u64) {
    // It was empty: the limit is raised once, at the start.
    let _ = OWN_FILES.set(soft);
}

fn own_files() -> Option<u64> {
    OWN_FILES.get().copied()
}

/// A program that runs, and all that it started. If it is dropped, they are killed.
pub(crate) struct Guest {
    warden: Child,
    program: String,
    is_over: bool,
}

/// The ends of a guest's pipes.
pub(crate) struct Pipes {
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
}

impl Guest {
    /// Starts the program with these variables and those of its configuration, and no others. What
    /// keeps the program itself from starting is told later, by [`how`](Self::how).
    pub(crate) fn start(
        command: &config::Command,
        variables: &[(&str, String)],
    ) -> Result<(Self, Pipes), String> {
        let program = command.words.first().cloned().unwrap_or_default();
        let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        let terms = Terms::of(command);
        let warden = tokio::process::Command::new(OWN_PROGRAM)
            .arg0("wilco")
            .arg(VERB)
            .args(terms.arguments(Stage::Keep))
            .env_clear()
            .env("PATH", path)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .envs(
                command.environment.iter().map(|(name, value)| (name, OsStr::from_bytes(&value.0))),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut warden = warden.map_err(|error| format!("cannot start {program}: {error}"))?;
        let pipes = Pipes {
            stdin: warden.stdin.take(),
            stdout: warden.stdout.take(),
            stderr: warden.stderr.take(),
        };
        Ok((Self { warden, program, is_over: false }, pipes))
    }

    /// Waits until the program and all that it started have ended.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let ended = self.warden.wait().await;
        self.is_over = true;
        ended
    }

    /// Asks all of them to end, and after a while makes them.
    pub(crate) async fn terminate(&mut self) {
        self.tell(Signal::TERM);
        if timeout(WARDEN_GRACE, self.ended()).await.is_ok() {
            return;
        }
        // A guest of the same user can stop its own warden.
        if let Some(warden) = self.pid() {
            for _ in 0..ROUNDS_MAX {
                let left = descendants(warden);
                if left.is_empty() {
                    break;
                }
                for pid in left {
                    tell(warden, pid, Signal::KILL);
                }
                sleep(ROUND).await;
            }
        }
        self.tell(Signal::KILL);
        let _ = self.ended().await;
    }

    /// How it ended, in a few words, for people; what it said last is looked at for why it could not
    /// be started.
    pub(crate) fn how(&self, ended: io::Result<ExitStatus>, said: &[u8]) -> (Option<i32>, String) {
        let status = match ended {
            Ok(status) => status,
            Err(error) => return (None, format!("lost sight of it: {error}")),
        };
        let cannot_start = format!("cannot start {}: ", self.program);
        let last = String::from_utf8_lossy(said.trim_ascii_end());
        let last = last.rsplit('\n').next().unwrap_or_default();
        match (status.code(), status.signal()) {
            (Some(NOT_EXECUTABLE | NOT_FOUND), _) if last.starts_with(&cannot_start) => {
                (None, last.into())
            }
            (Some(code), _) if HEARD.contains(&(code - SIGNAL_BASE)) => {
                (None, format!("ended by signal {}", code - SIGNAL_BASE))
            }
            (Some(code @ (2 | NOT_EXECUTABLE | NOT_FOUND)), _)
                if find_program(&self.program).is_some_and(|path| has_crlf(&path)) =>
            {
                (
                    Some(code),
                    format!("exit {code}: the first line of {} ends in CRLF", self.program),
                )
            }
            (Some(code), _) => (Some(code), format!("exit {code}")),
            (None, Some(signal)) => (None, format!("ended by signal {signal}")),
            (None, None) => (None, "ended in an unknown way".into()),
        }
    }

    fn pid(&self) -> Option<Pid> {
        self.warden.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    fn tell(&self, signal: Signal) {
        if let Some(warden) = self.pid() {
            // It fails where the warden has ended, which is what is wanted.
            let _ = kill_process(warden, signal);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if !self.is_over {
            self.tell(AT_ONCE);
        }
    }
}

/// The last of what a program said, stdout and stderr as they came.
pub(crate) struct Said {
    bytes: Mutex<VecDeque<u8>>,
    bytes_max: usize,
}

impl Said {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes: Mutex::default(), bytes_max }
    }

    /// Reads to the end of the pipe, no faster than [`OUTPUT_BURST_BYTES`] in each
    /// [`OUTPUT_PAUSE`]: a program that floods its pipe waits, and not everybody else.
    pub(crate) async fn hear<R: AsyncRead + Unpin>(&self, pipe: Option<R>) {
        let Some(mut pipe) = pipe else { return };
        let mut part = vec![0; 8 << 10];
        let mut burst = 0;
        while let Ok(read @ 1..) = pipe.read(&mut part).await {
            self.keep(&part[..read]);
            burst += read;
            if burst >= OUTPUT_BURST_BYTES {
                burst = 0;
                sleep(OUTPUT_PAUSE).await;
            }
        }
    }

    fn keep(&self, part: &[u8]) {
        let mut said = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend(part);
        let excess = said.len().saturating_sub(self.bytes_max);
        said.drain(..excess);
    }

    pub(crate) fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

/// The soft limit on open files that this process was started with, where it was raised.
static OWN_FILES: OnceLock<u64> = OnceLock::new();
/// The first argument of a warden.
pub(crate) const VERB: &str = "guest";
/// Whatever became of the file since wilco was started, this is what runs.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Asks the warden to kill without asking.
const AT_ONCE: Signal = Signal::QUIT;
/// From SIGTERM to SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(5);
/// How long the warden tries to kill what cannot be killed: a process of another user, or one that
/// waits for a disk.
const KILL_GRACE: Duration = Duration::from_secs(2);
/// From SIGTERM to the end of the warden's own time.
const WARDEN_GRACE: Duration = Duration::from_secs(8);
const _: () = assert!(TERM_GRACE.as_secs() + KILL_GRACE.as_secs() < WARDEN_GRACE.as_secs());
/// Between two looks at what is still there.
const ROUND: Duration = Duration::from_millis(10);
const ROUNDS_MAX: usize = 20;
/// Bytes of a program's output that are read without a pause: 50 MiB a second at most.
const OUTPUT_BURST_BYTES: usize = 1 << 20;
const OUTPUT_PAUSE: Duration = Duration::from_millis(20);
/// What shells exit with when a program cannot be run, or is not there.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
const SIGNAL_BASE: i32 = 128;
/// Signals that the warden does not end by: where a guest ended by one, it exits with 128 and the
/// number. For all others it ends as its guest did.
const HEARD: [i32; 5] = [
    Signal::HUP.as_raw(),
    Signal::INT.as_raw(),
    Signal::QUIT.as_raw(),
    Signal::PIPE.as_raw(),
    Signal::TERM.as_raw(),
];
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// An argument list, as it is handed over.
type Arguments = Vec<OsString>;
