//! An upgrade in place, on SIGUSR2: this process starts its successor, from the program that its path names
//! by now, and hands its listening sockets over to it.
//!
//! | running wilco | | successor |
//! |---|---|---|
//! | starts the successor, and goes on serving | | |
//! | | ← `ready` | has read its configuration and certificates |
//! | lets attempts end, then requests; closes the store | | |
//! | | the sockets → | opens the store, and serves |
//! | | ← `ready` | |
//! | exits | | |
//!
//! New connections wait in the sockets from the moment at which the old process stops accepting until the
//! new one begins. If the successor ends before it is ready, the old process serves on, or starts again.

use std::{
    env, fs,
    io::{self, ErrorKind, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::UnixStream,
    process::{Child, Command},
    time::{Instant, timeout, timeout_at},
};
use wilco_server::service::PassedSockets;

/// What this process needs to know to start a successor.
pub(crate) struct Upgrade {
    program: io::Result<PathBuf>,
    /// The soft limit on open files that this process had at its start.
    files: Option<u64>,
}

/// A process that is about to take the place of this one.
pub(crate) struct Successor {
    child: Child,
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
        let start = || {
            let program = self.program.as_ref().map_err(|error| io::Error::from(error.kind()))?;
            let (mut here, there) = StdUnixStream::pair()?;
            let mut command = Command::new(program);
            command.args(env::args_os().skip(1)).env(VARIABLE, "1");
            // They are about this process, by its number.
            for name in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
                command.env_remove(name);
            }
            command.stdin(Stdio::from(OwnedFd::from(there)));
            let child = command.spawn()?;
            self.restore_file_limit(&child);
            // It waits for this, so that it has its limits when it begins.
            here.write_all(READY)?;
            here.set_nonblocking(true)?;
            let channel = UnixStream::from_std(here)?;
            let prepared_by = Instant::now() + PREPARE_TIMEOUT;
            Ok(Successor { child, channel, prepared_by, is_done: false })
        };
        start().map_err(|error: io::Error| match &self.program {
            Ok(program) => format!("cannot start {}: {error}", program.display()),
            Err(_) => format!("cannot find the program of this process: {error}"),
        })
    }

    /// The successor raises the limit itself, and gives the programs of destinations the one before.
    fn restore_file_limit(&self, child: &Child) {
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let (Some(pid), Some(files)) = (pid, self.files) {
            let limit = Rlimit { current: Some(files), ..getrlimit(Resource::Nofile) };
            // Where that is forbidden, programs get the raised limit.
            let _ = prlimit(Some(pid), Resource::Nofile, limit);
        }
    }
}

impl Successor {
    pub(super) fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Waits until it only needs the sockets and the store. May be cancelled and called again.
    pub(super) async fn prepared(&mut self) -> Result<(), String> {
        match timeout_at(self.prepared_by, self.hear()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.ended().await),
            Err(_) => Err(format!("the new process is not ready after {PREPARE_TIMEOUT:?}")),
        }
    }

    /// Gives it the sockets, and waits until it serves.
    pub(super) async fn take_over(&mut self, sockets: &PassedSockets) -> Result<(), String> {
        let send = || sockets.send(self.channel.as_fd());
        let sent = self.channel.async_io(Interest::WRITABLE, send).await;
        if let Err(error) = sent {
            return Err(format!("cannot pass the sockets on: {error}"));
        }
        if self.hear().await.is_err() {
            return Err(self.ended().await);
        }
        self.is_done = true;
        Ok(())
    }

    /// Waits until it is gone: it still has to say why, and may hold the store.
    async fn ended(&mut self) -> String {
        // What becomes of it does not matter any more.
        let _ = timeout(END_GRACE, self.child.wait()).await;
        let _ = self.child.kill().await;
        "the new process has ended; its log says why".into()
    }

    async fn hear(&mut self) -> io::Result<()> {
        self.channel.read_exact(&mut [0; READY.len()]).await.map(drop)
    }
}

/// A successor that is not wanted any more, or has failed, must not go on.
impl Drop for Successor {
    fn drop(&mut self) {
        if !self.is_done {
            // It fails if it has ended already.
            let _ = self.child.start_kill();
        }
    }
}

impl Predecessor {
    /// The one that started this process to take its place.
    pub(super) fn find() -> io::Result<Option<Self>> {
        if env::var_os(VARIABLE).is_none() {
            return Ok(None);
        }
        let stdin = rustix::stdio::stdin().try_clone_to_owned()?;
        rustix::stdio::dup2_stdin(fs::File::open("/dev/null")?)?;
        let channel = StdUnixStream::from(stdin);
        channel.set_nonblocking(true)?;
        Ok(Some(Self(UnixStream::from_std(channel)?)))
    }

    /// Waits until the limits of this process are set.
    pub(super) async fn begin(&mut self) {
        // If the other process has ended, that is found out later.
        let _ = self.0.read_exact(&mut [0; READY.len()]).await;
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

const VARIABLE: &str = "WILCO_TAKES_OVER";
const READY: &[u8; 1] = b"r";
/// How long a successor may take to read its configuration and certificates.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one that has failed may take to end.
const END_GRACE: Duration = Duration::from_secs(5);
