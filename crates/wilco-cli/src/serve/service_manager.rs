//! What systemd is told while wilco runs, by the protocol of [sd_notify(3)].
//!
//! [sd_notify(3)]: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html

use std::{
    convert::Infallible,
    env,
    ffi::OsStr,
    future::pending,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    process,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use wilco_server::service::Service;

/// The service manager that started this process, if it wants to be told anything.
pub(super) struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear that wilco works.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names.
    pub(super) fn find() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let connected = connect(&name);
            connected.inspect_err(|error| tracing::warn!(%error, "cannot notify systemd")).ok()
        });
        let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let is_meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|&micros| micros > 0 && is_meant);
        Self { socket, watchdog: watchdog.map(Duration::from_micros) }
    }

    /// While the tasks exist, the start may take long, as the recovery of a large store does.
    pub(super) fn starting(&self) -> JoinSet<()> {
        let mut extending = JoinSet::new();
        let Some(socket) = self.socket.as_ref().and_then(|socket| socket.try_clone().ok()) else {
            return extending;
        };
        extending.spawn(async move {
            let mut interval = interval(EXTEND_EVERY);
            for _ in 0..EXTENSIONS_MAX {
                interval.tick().await;
                send(&socket, &format!("STATUS=opening the store\n{}", extension(EXTENSION)));
            }
        });
        extending
    }

    /// It listens and has recovered its store, or has finished a reload.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// It reads its configuration again. Then it is [`ready`](Self::ready).
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It ends within this time.
    pub(super) fn stopping(&self, within: Duration) {
        let extension = extension(within + EXTENSION);
        self.send(&format!("STOPPING=1\nSTATUS=finishing requests and attempts\n{extension}"));
    }

    /// Another process takes the place of this one.
    pub(super) fn replaced(&self, by: i32, status: &str) {
        self.send(&format!("WATCHDOG=1\nMAINPID={by}\nSTATUS={status}"));
    }

    /// Tells it again and again that wilco works, as long as that is so. A service that was closed
    /// responds, too.
    pub(super) async fn watch(&self, service: &Service) -> Infallible {
        let Some(half) = self.watchdog.map(|watchdog| watchdog / 2) else { return pending().await };
        let mut interval = interval(half);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if timeout(half, service.respond()).await.is_ok() {
                self.send("WATCHDOG=1");
            } else {
                tracing::error!(within = ?half, "the store or a thread does not respond");
            }
        }
    }

    fn send(&self, state: &str) {
        if let Some(socket) = &self.socket {
            send(socket, state);
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // It must never hold up wilco.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn send(socket: &UnixDatagram, state: &str) {
    if let Err(error) = socket.send(state.as_bytes()) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}

fn extension(time: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", time.as_micros())
}

/// How long a start or a stop may take longer, each time that is asked for.
const EXTENSION: Duration = Duration::from_secs(30);
const EXTEND_EVERY: Duration = Duration::from_secs(10);
/// So that a start that never ends is ended after an hour.
const EXTENSIONS_MAX: u32 = 360;
