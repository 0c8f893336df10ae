//! An upgrade in place, on SIGUSR2: this process starts its successor, from the program that its path names
//! by now, and hands its listening sockets over to it.
//!
//! | running wilco | | [launcher] | | successor |
//! |---|---|---|---|---|
//! | starts the launcher, and keeps serving | | starts the successor | | |
//! | | ← its process id | | | waits |
//! | | `ready` → | | | reads its configuration and certificates |
//! | | ← `ready` | | | |
//! | lets attempts end, then requests; closes the store | | | | |
//! | | the sockets → | | | opens the store, and serves |
//! | | ← `ready` | | | |
//! | kills the launcher, so that the successor is not its child | | | | |
//! | tells systemd, and exits | | | | |
//!
//! New connections wait in the sockets from the moment at which the old process stops accepting until the
//! new one begins. If the successor ends before it is ready, the old process keeps serving, or starts again.

mod launcher;

use std::{
    env, fs,
    io::{self, ErrorKind},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::UnixStream,
    process::{Child, Command},
    time::{Instant, timeout, timeout_at},
};
use wilco_server::service::PassedSockets;

use launcher::Launched;

pub(crate) use launcher::launcher;

/// What this process needs to know to start a successor.
pub(crate) struct Upgrade {
    program: io::Result<PathBuf>,
    /// The soft limit on open files that this process had at its start.
    files: Option<u64>,
}

/// A process that is about to take the place of this one.
pub(crate) struct Successor {
    program: PathBuf,
    launcher: Child,
    /// Known once the launcher has started it.
    process: Option<Pid>,
    channel: UnixStream,
    prepared_by: Instant,
    is_done: bool,
}

/// The process whose place this one takes.
pub(crate) struct Predecessor(UnixStream);

impl Upgrade {
    /// To be called before the program is replaced by a newer one.
    pub(super) fn new() -> Self {
        Self { program: env::current_exe(), files: None }
    }

    pub(super) fn had_file_limit(&mut self, soft: Option<u64>) {
        self.files = soft;
    }

    /// Starts a successor with the arguments and the environment of this process.
    pub(super) fn start(&self) -> Result<Successor, String> {
        let program = self.program.as_ref();
        let program =
            program.map_err(|error| format!("cannot find the program of this process: {error}"))?;
        let start = || -> io::Result<_> {
            let (here, there) = StdUnixStream::pair()?;
            let mut command = Command::new(OWN_PROGRAM);
            let files = self.files.map(|files| files.to_string());
            command.arg0("wilco").arg(launcher::VERB).arg(files.unwrap_or_default());
            command.arg(program).args(env::args_os().skip(1)).env(VARIABLE, "1");
            // They are about this process, by its number.
            for name in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
                command.env_remove(name);
            }
            command.stdin(Stdio::from(OwnedFd::from(there)));
            let launcher = command.spawn()?;
            here.set_nonblocking(true)?;
            let channel = UnixStream::from_std(here)?;
            let prepared_by = Instant::now() + PREPARE_TIMEOUT;
            let program = program.clone();
            Ok(Successor { program, launcher, process: None, channel, prepared_by, is_done: false })
        };
        start().map_err(|error| cannot_start(program, &error))
    }
}

impl Successor {
    /// Its process id, once it is [`prepared`](Self::prepared).
    pub(super) fn id(&self) -> i32 {
        Pid::as_raw(self.process)
    }

    /// Waits until it only needs the sockets and the store. May be cancelled and called again.
    pub(super) async fn prepared(&mut self) -> Result<(), String> {
        let prepared_by = self.prepared_by;
        let too_late = || format!("the new process is not ready after {PREPARE_TIMEOUT:?}");
        timeout_at(prepared_by, self.prepare()).await.unwrap_or_else(|_| Err(too_late()))
    }

    async fn prepare(&mut self) -> Result<(), String> {
        if self.process.is_none() {
            let mut launched = Launched::default();
            // All of it arrives at once, so that nothing is lost if this is cancelled.
            if self.channel.read_exact(&mut launched).await.is_err() {
                return Err(self.ended().await);
            }
            let launched = i32::from_ne_bytes(launched);
            if launched <= 0 {
                let error = io::Error::from_raw_os_error(-launched);
                return Err(cannot_start(&self.program, &error));
            }
            self.process = Pid::from_raw(launched);
            // The buffer is empty, so this never waits, and it cannot be cancelled. If the successor has ended
            // already, the next line finds that out.
            let _ = rustix::io::write(&self.channel, READY);
        }
        match self.ready().await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.ended().await),
        }
    }

    /// Gives it the sockets, and waits until it serves and is not a descendant of this process any more.
    pub(super) async fn take_over(&mut self, sockets: &PassedSockets) -> Result<(), String> {
        let send = || sockets.send(self.channel.as_fd());
        let sent = self.channel.async_io(Interest::WRITABLE, send).await;
        if let Err(error) = sent {
            return Err(format!("cannot pass the sockets on: {error}"));
        }
        if self.ready().await.is_err() {
            return Err(self.ended().await);
        }
        self.is_done = true;
        // If the launcher has ended already, so much the better.
        let _ = self.launcher.kill().await;
        Ok(())
    }

    async fn ready(&mut self) -> io::Result<()> {
        self.channel.read_exact(&mut [0; READY.len()]).await.map(drop)
    }

    /// Waits until it is gone: it still has to say why, and may hold the store.
    async fn ended(&mut self) -> String {
        match timeout(END_GRACE, self.launcher.wait()).await {
            Ok(status) => {
                let how =
                    status.map_or_else(|error| error.to_string(), |status| status.to_string());
                format!("the new process has ended ({how}); its log says why")
            }
            Err(_) => {
                self.kill();
                // The launcher ends when the successor has.
                let _ = self.launcher.wait().await;
                "the new process did not end, and was killed".into()
            }
        }
    }

    fn kill(&mut self) {
        match self.process {
            // Either fails if it has ended already.
            Some(process) => drop(kill_process(process, Signal::KILL)),
            // A successor whose id is not known yet ends when this process closes the channel.
            None => drop(self.launcher.start_kill()),
        }
    }
}

/// A successor that is not wanted any more, or has failed, must not go on.
impl Drop for Successor {
    fn drop(&mut self) {
        let has_ended = self.is_done || !matches!(self.launcher.try_wait(), Ok(None));
        if !has_ended {
            self.kill();
        }
    }
}

impl Predecessor {
    /// The one that started this process to take its place. Waits until it knows the id of this process,
    /// and so can end it.
    pub(super) async fn find() -> io::Result<Option<Self>> {
        if env::var_os(VARIABLE).is_none() {
            return Ok(None);
        }
        let stdin = rustix::stdio::stdin().try_clone_to_owned()?;
        rustix::stdio::dup2_stdin(fs::File::open("/dev/null")?)?;
        let channel = StdUnixStream::from(stdin);
        channel.set_nonblocking(true)?;
        let mut channel = UnixStream::from_std(channel)?;
        let begun = channel.read_exact(&mut [0; READY.len()]).await;
        begun.map_err(|_| io::Error::other("the process that was to hand over has ended"))?;
        Ok(Some(Self(channel)))
    }

    /// Says that this process only needs the sockets and the store, and waits for the sockets. If the
    /// other process ends instead, there are none, and this one starts like any other.
    pub(super) async fn sockets(&mut self) -> io::Result<PassedSockets> {
        let gone = |error: &io::Error| {
            matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
        };
        if let Err(error) = self.0.write_all(READY).await
            && !gone(&error)
        {
            return Err(error);
        }
        let receive = || PassedSockets::receive(self.0.as_fd());
        match self.0.async_io(Interest::READABLE, receive).await {
            Ok(sockets) => Ok(sockets.unwrap_or_default()),
            Err(error) if gone(&error) => Ok(PassedSockets::default()),
            Err(error) => Err(error),
        }
    }

    /// Says that this process serves, so that the other one can end.
    pub(super) async fn release(mut self) {
        // If it has ended already, nobody waits for this.
        let _ = self.0.write_all(READY).await;
    }
}

fn cannot_start(program: &Path, error: &io::Error) -> String {
    format!("cannot start {}: {error}", program.display())
}

/// The binary of this process, even if its file has been replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";
const VARIABLE: &str = "WILCO_TAKES_OVER";
const READY: &[u8; 1] = b"r";
/// How long a successor may take to read its configuration and certificates.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one that has failed may take to end.
const END_GRACE: Duration = Duration::from_secs(5);
