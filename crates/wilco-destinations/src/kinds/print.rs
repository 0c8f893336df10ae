//! A line of JSON on stdout for each event.

use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use wilco_config::Unresolved;
use wilco_delivery::{Destination, Reply};
use wilco_store::Claim;

use crate::{
    destination::DestinationConfig,
    json_line::JsonLine,
    kind::{Kind, OpenError, Settings, SharedSettings},
};

pub(crate) static KIND: Kind = Kind {
    name: "print",
    keys: &[],
    written_path: None,
    concurrency: 1,
    read: |_| Unresolved::new(|_| Some(SharedSettings::new(Print))),
};

/// Stdout, which has no settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print;

impl DestinationConfig {
    /// A line of JSON on stdout.
    pub fn print(name: &str) -> Self {
        Self::new(name, SharedSettings::new(Print))
    }
}

#[async_trait]
impl Settings for Print {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    async fn open(&self, _: &str, _: Duration) -> Result<Arc<dyn Destination>, OpenError> {
        Ok(Arc::new(Printer::default()))
    }
}

/// What prints lines.
#[derive(Default)]
struct Printer {
    /// Whether stdout is known to be at the beginning of a line.
    is_at_start: Arc<AtomicBool>,
}

#[async_trait]
impl Destination for Printer {
    async fn deliver(&self, claim: &Claim) -> Reply {
        let line = JsonLine::of(claim.event());
        let is_at_start = Arc::clone(&self.is_at_start);
        // A pipe that nobody reads blocks, so this runs on a thread for blocking work.
        let printed = tokio::task::spawn_blocking(move || {
            let mut stdout = io::stdout().lock();
            if !is_at_start.swap(false, Ordering::Relaxed) && is_torn().unwrap_or(false) {
                stdout.write_all(b"\n")?;
            }
            line.write_to(&mut stdout)?;
            stdout.flush()?;
            is_at_start.store(true, Ordering::Relaxed);
            Ok::<_, io::Error>(())
        });
        match printed.await {
            Ok(Ok(())) => Reply::delivered(),
            Ok(Err(error)) => Reply::failed(format!("cannot write to stdout: {error}")),
            Err(error) => Reply::failed(error.to_string()),
        }
    }

    async fn check(&self) -> Result<String, String> {
        Ok("standard output".into())
    }
}

/// Whether stdout is a file whose last line is incomplete: a process was killed while it wrote, or the
/// disk was full. The next line would be joined to that one and be lost to whoever reads lines.
fn is_torn() -> io::Result<bool> {
    if !fs::metadata(STDOUT)?.is_file() {
        return Ok(false);
    }
    let mut file = fs::File::open(STDOUT)?;
    let Some(last) = file.metadata()?.len().checked_sub(1) else { return Ok(false) };
    let mut byte = [0];
    file.seek(SeekFrom::Start(last))?;
    file.read_exact(&mut byte)?;
    Ok(byte != *b"\n")
}

/// Stdout as a file that can be read, where the system has that.
const STDOUT: &str = "/proc/self/fd/1";
