//! The two servers, each a separate process.

use std::{
    env, fs,
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{bodies, http};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Reads the request and answers.
    Bare,
    /// Verifies, records, answers.
    Wilco,
}

impl Kind {
    /// Its name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Wilco => "wilco",
        }
    }
}

/// A running server. It is killed where it is dropped without [`Server::stop`].
pub(crate) struct Server {
    kind: Kind,
    child: Child,
    log: PathBuf,
    admin: SocketAddr,
    /// Where it takes requests.
    pub(crate) address: SocketAddr,
    /// Its process.
    pub(crate) id: u32,
    /// From its start until it was ready.
    pub(crate) start: Duration,
}

impl Server {
    /// Starts one in the empty folder `dir` and waits until it is ready.
    ///
    /// # Errors
    ///
    /// It cannot be started, ends, or is not ready in time; the error has the end of its log.
    pub(crate) async fn start(kind: Kind, wilco: &Path, dir: &Path) -> io::Result<Self> {
        let [address, second] = free_addresses()?;
        match kind {
            Kind::Bare => Self::spawn(kind, bare(address)?, dir, address, address).await,
            Kind::Wilco => {
                let command = durable(wilco, dir, ("off", ""), address, second)?;
                Self::spawn(kind, command, dir, address, second).await
            }
        }
    }

    /// Starts wilco on whatever store `dir` has, with `more` at the end of its configuration, which is in `[store]`.
    ///
    /// # Errors
    ///
    /// Like [`start`](Self::start).
    pub(crate) async fn wilco(wilco: &Path, dir: &Path, more: &str) -> io::Result<Self> {
        let [address, admin] = free_addresses()?;
        let command = durable(wilco, dir, ("off", more), address, admin)?;
        Self::spawn(Kind::Wilco, command, dir, address, admin).await
    }

    /// Starts wilco with TLS and a certificate that nobody trusts.
    ///
    /// # Errors
    ///
    /// Like [`start`](Self::start).
    pub(crate) async fn wilco_tls(wilco: &Path, dir: &Path) -> io::Result<Self> {
        let [address, admin] = free_addresses()?;
        let command = durable(wilco, dir, ("self-signed", ""), address, admin)?;
        Self::spawn(Kind::Wilco, command, dir, address, admin).await
    }

    async fn spawn(
        kind: Kind,
        mut command: Command,
        dir: &Path,
        address: SocketAddr,
        admin: SocketAddr,
    ) -> io::Result<Self> {
        let log = dir.join("log");
        let output = File::create(&log)?;
        let begun = Instant::now();
        let child = command
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().ok_or_else(|| io::Error::other("the server has no process id"))?;
        let start = Duration::ZERO;
        let mut server = Self { kind, child, log, admin, address, id, start };
        server.wait_until_ready().await?;
        server.start = begun.elapsed();
        Ok(server)
    }

    /// How many events it has recorded; `None` for the bare one, which records nothing.
    ///
    /// # Errors
    ///
    /// Its metrics cannot be read.
    pub(crate) async fn recorded(&self) -> io::Result<Option<u64>> {
        if self.kind == Kind::Bare {
            return Ok(None);
        }
        let (metrics, _) = self.page("/metrics").await?;
        Ok(Some(sum(&metrics, "wilco_events_total")))
    }

    /// How many deliveries are not at their end, by its metrics.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub(crate) async fn unfinished(&self) -> io::Result<u64> {
        Ok(sum(&self.page("/metrics").await?.0, "wilco_deliveries"))
    }

    /// How many events have lost their payload because of their age.
    ///
    /// # Errors
    ///
    /// Its metrics cannot be read.
    pub(crate) async fn pruned(&self) -> io::Result<u64> {
        Ok(sum(&self.page("/metrics").await?.0, "wilco_pruned_payloads_total"))
    }

    /// The body of a page of its admin listener, and how long it took.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(crate) async fn page(&self, path: &str) -> io::Result<(String, Duration)> {
        let begun = Instant::now();
        let (status, body) = http::get(self.admin, path, &self.token()?).await?;
        if status != 200 {
            return Err(self.complaint(&format!("GET {path} answered {status}")));
        }
        Ok((body, begun.elapsed()))
    }

    /// Its admin listener, and the token for it.
    ///
    /// # Errors
    ///
    /// The token cannot be read.
    pub(crate) fn admin(&self) -> io::Result<(SocketAddr, String)> {
        Ok((self.admin, self.token()?))
    }

    /// The token that it created next to its store.
    fn token(&self) -> io::Result<String> {
        let path = self.log.with_file_name("wilco.db.token");
        Ok(std::fs::read_to_string(path)?.trim().to_owned())
    }

    /// Ends it by SIGKILL.
    ///
    /// # Errors
    ///
    /// It cannot be waited for.
    pub(crate) async fn kill(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Ends it by SIGTERM.
    ///
    /// # Errors
    ///
    /// wilco did not end, or not with exit code 0.
    pub(crate) async fn stop(mut self) -> io::Result<()> {
        let pid = i32::try_from(self.id).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the server's process id is out of range"))?;
        kill_process(pid, Signal::TERM)?;
        match timeout(STOP_TIME_MAX, self.child.wait()).await {
            Ok(status) => match (self.kind, status?) {
                (Kind::Wilco, status) if !status.success() => {
                    Err(self.complaint(&format!("after SIGTERM: {status}")))
                }
                _ => Ok(()),
            },
            Err(_) => Err(self.complaint("it did not end after SIGTERM")),
        }
    }

    async fn wait_until_ready(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + START_TIME_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.complaint(&format!("it ended at its start: {status}")));
            }
            // Refused connections are what a start looks like from outside.
            if let Ok((200, _)) = http::get(self.admin, "/readyz", "").await {
                return Ok(());
            }
            sleep(READY_LOOK).await;
        }
        Err(self.complaint("it was not ready in time"))
    }

    /// What went wrong, with the last lines that the server wrote.
    fn complaint(&self, what: &str) -> io::Error {
        let log = fs::read(&self.log).unwrap_or_default();
        let end = log.len().saturating_sub(LOG_BYTES_SHOWN);
        let end = String::from_utf8_lossy(log.get(end..).unwrap_or_default());
        io::Error::other(format!("{}: {what}\n{}", self.kind.name(), end.trim_end()))
    }
}

fn bare(address: SocketAddr) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("bare").arg(address.to_string());
    Ok(command)
}

fn durable(
    wilco: &Path,
    dir: &Path,
    (tls, more): (&str, &str),
    address: SocketAddr,
    admin: SocketAddr,
) -> io::Result<Command> {
    let store = dir.join("wilco.db");
    let config = dir.join("wilco.toml");
    // A Rust string's escapes are TOML's, as far as paths need them.
    let url = format!("sqlite:{}", store.display());
    fs::write(
        &config,
        format!(
            "[listen]\naddress = \"{address}\"\ntls = \"{tls}\"\n\n\
             [admin]\naddress = \"{admin}\"\n\n\
             [source.freispace]\nprovider = \"freispace\"\npath = \"/webhook\"\n\
             secrets = [{{ env = \"FREISPACE_SECRET\" }}]\n\n\
             [store]\nurl = {url:?}\n{more}"
        ),
    )?;
    let mut command = Command::new(wilco);
    command.args(["serve", "--config"]).arg(config);
    // What the caller logs at is not what is measured.
    command.env_remove("RUST_LOG").env("FREISPACE_SECRET", bodies::SECRET);
    Ok(command)
}

/// Two addresses on loopback that nobody listens on at this moment.
fn free_addresses() -> io::Result<[SocketAddr; 2]> {
    // Both are held at once, or they could be the same.
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let second = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok([first.local_addr()?, second.local_addr()?])
}

/// The sum over all labels of one metric, in Prometheus' text format.
fn sum(metrics: &str, name: &str) -> u64 {
    let samples = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let labelled = samples.filter(|rest| rest.starts_with(['{', ' ']));
    // Label values may hold blanks and braces: the value stands behind the last of both.
    let values = labelled.filter_map(|rest| {
        let value = rest.rsplit_once('}').map_or(rest, |(_, value)| value);
        value.split_ascii_whitespace().next()?.parse::<u64>().ok()
    });
    values.sum()
}

/// A large store is checked after a kill.
const START_TIME_MAX: Duration = Duration::from_secs(180);
const READY_LOOK: Duration = Duration::from_millis(5);
/// wilco lets running attempts end for 30 s, and has none here.
const STOP_TIME_MAX: Duration = Duration::from_secs(40);
const LOG_BYTES_SHOWN: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_no_other_is_taken_for_it() {
        let metrics = "# TYPE wilco_events counter\n\
            wilco_events_total{source=\"freispace\",event=\"booking.updated\"} 40\n\
            wilco_events_total{source=\"a } b\",event=\"x\"} 2 1700000000\n\
            wilco_events_total_created{source=\"x\"} 9\n\
            wilco_attempts_total{source=\"x\"} 7\n# EOF\n";
        assert_eq!(sum(metrics, "wilco_events_total"), 42);
    }
}
