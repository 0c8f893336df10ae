//! A child process: a program that a destination starts, without a shell, with a separate environment and
//! within limits. After its timeout, nothing that it started keeps running.
//!
//! wilco does not start the program directly but through a supervisor process, which runs the same binary
//! (`wilco supervise`). The supervisor is a subreaper: a process whose parent has ended becomes its child,
//! so it finds everything that the program started. The kernel signals it when wilco has ended.

mod check;
mod launch;
mod output;
mod program;
mod supervisor;
mod tree;

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::{ffi::OsStrExt as _, process::ExitStatusExt as _},
    process::{ExitStatus, Stdio},
    sync::OnceLock,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    time::{sleep, timeout},
};

use crate::script::{find_program, has_crlf, search_path};

pub(crate) use check::{check, find_fault};
pub(crate) use launch::{LaunchSpec, Stage};
pub(crate) use output::OutputTail;
pub(crate) use program::{Limits, Program, RunAs};
pub use supervisor::main;
pub(crate) use tree::{descendants, signal_descendant};

/// Sets the soft limit on open files for programs, instead of the current one of this process.
pub fn keep_file_limit(soft: u64) {
    // It cannot be set already: the limit is raised only once, at the start.
    let _ = INITIAL_FILES.set(soft);
}

fn initial_files() -> Option<u64> {
    INITIAL_FILES.get().copied()
}

/// A running program and everything that it started. Dropping it kills them.
pub(crate) struct ChildProcess {
    supervisor: Child,
    program: String,
    has_ended: bool,
}

/// wilco's ends of a child's pipes.
pub(crate) struct Pipes {
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
}

impl ChildProcess {
    /// Starts the program with these variables and those of its configuration, and no others. Whether the
    /// program itself could be started is known later, from [`describe_end`](Self::describe_end).
    pub(crate) fn start(
        program: &Program,
        variables: &[(&str, String)],
    ) -> Result<(Self, Pipes), String> {
        let name = program.argv.first().cloned().unwrap_or_default();
        let environment = program.environment.iter();
        let supervisor = tokio::process::Command::new(OWN_PROGRAM)
            .arg0("wilco")
            .arg(VERB)
            .args(LaunchSpec::of(program).arguments(Stage::Supervise))
            .env_clear()
            .env("PATH", search_path())
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .envs(environment.map(|(name, value)| (name, OsStr::from_bytes(&value.0))))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut supervisor = supervisor.map_err(|error| format!("cannot start {name}: {error}"))?;
        let pipes = Pipes {
            stdin: supervisor.stdin.take(),
            stdout: supervisor.stdout.take(),
            stderr: supervisor.stderr.take(),
        };
        Ok((Self { supervisor, program: name, has_ended: false }, pipes))
    }

    /// Waits until the program and everything that it started have ended.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.supervisor.wait().await;
        self.has_ended = true;
        status
    }

    /// Asks all these processes to end, and kills those that do not.
    pub(crate) async fn terminate(&mut self) {
        self.signal(Signal::TERM);
        if timeout(SUPERVISOR_GRACE, self.wait()).await.is_ok() {
            return;
        }
        // A program of the same user can stop its supervisor.
        if let Some(supervisor) = self.pid() {
            for _ in 0..ROUNDS_MAX {
                let left = descendants(supervisor);
                if left.is_empty() {
                    break;
                }
                for pid in left {
                    signal_descendant(supervisor, pid, Signal::KILL);
                }
                sleep(ROUND).await;
            }
        }
        self.signal(Signal::KILL);
        let _ = self.wait().await;
    }

    /// The exit code, and a short text about how the program ended. If it could not be started, the last
    /// line of its output says why.
    pub(crate) fn describe_end(
        &self,
        status: io::Result<ExitStatus>,
        output: &[u8],
    ) -> (Option<i32>, String) {
        let status = match status {
            Ok(status) => status,
            Err(error) => return (None, format!("cannot wait for the program: {error}")),
        };
        let cannot_start = format!("cannot start {}: ", self.program);
        let last_line = String::from_utf8_lossy(output.trim_ascii_end());
        let last_line = last_line.rsplit('\n').next().unwrap_or_default();
        match (status.code(), status.signal()) {
            (Some(NOT_EXECUTABLE | NOT_FOUND), _) if last_line.starts_with(&cannot_start) => {
                (None, last_line.into())
            }
            (Some(code), _) if HANDLED.contains(&(code - SIGNAL_BASE)) => {
                (None, format!("ended by signal {}", code - SIGNAL_BASE))
            }
            (Some(code @ (2 | NOT_EXECUTABLE | NOT_FOUND)), _)
                if find_program(&self.program).is_some_and(|path| has_crlf(&path)) =>
            {
                let what = format!("exit {code}: the first line of {} ends in CRLF", self.program);
                (Some(code), what)
            }
            (Some(code), _) => (Some(code), format!("exit {code}")),
            (None, Some(signal)) => (None, format!("ended by signal {signal}")),
            (None, None) => (None, "ended without an exit code or signal".into()),
        }
    }

    fn pid(&self) -> Option<Pid> {
        self.supervisor.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    fn signal(&self, signal: Signal) {
        if let Some(supervisor) = self.pid() {
            // It fails if the supervisor has ended already.
            let _ = kill_process(supervisor, signal);
        }
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        if !self.has_ended {
            self.signal(KILL_AT_ONCE);
        }
    }
}

/// The soft limit on open files that this process was started with, if it was raised.
static INITIAL_FILES: OnceLock<u64> = OnceLock::new();
/// The first argument of a supervisor.
pub const VERB: &str = "supervise";
/// The binary of this process, even if its file has been replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Makes the supervisor kill the program without asking it to end first.
const KILL_AT_ONCE: Signal = Signal::QUIT;
/// The time from SIGTERM to SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(5);
/// How long the supervisor tries to kill a process that cannot be killed: one of another user, or one that
/// waits for a disk.
const KILL_GRACE: Duration = Duration::from_secs(2);
/// The time from SIGTERM until the supervisor itself is killed.
const SUPERVISOR_GRACE: Duration = Duration::from_secs(8);
const _: () = assert!(TERM_GRACE.as_secs() + KILL_GRACE.as_secs() < SUPERVISOR_GRACE.as_secs());
/// The interval at which the remaining processes are listed.
const ROUND: Duration = Duration::from_millis(10);
const ROUNDS_MAX: usize = 20;
/// The exit codes of shells for a program that cannot be run, or does not exist.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
const SIGNAL_BASE: i32 = 128;
/// Signals that the supervisor handles, so it cannot end by them itself: if one of them ended the program,
/// it exits with 128 plus the number. For all others it ends as the program did.
const HANDLED: [i32; 5] = [
    Signal::HUP.as_raw(),
    Signal::INT.as_raw(),
    Signal::QUIT.as_raw(),
    Signal::PIPE.as_raw(),
    Signal::TERM.as_raw(),
];

/// An argument list, as the kernel takes it.
type Arguments = Vec<OsString>;
