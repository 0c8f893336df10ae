//! The log. Lines wait in a bounded queue for a thread that writes them. So a log that nobody reads, whose
//! reader has ended or whose disk is full neither blocks nor ends anything else.
//!
//! The thread collects lines for a few milliseconds and writes them together: waking it and writing for
//! each line would cost a fifth of what it takes to record an event.

use std::{
    fs::File,
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::time::Instant;

/// Log lines that were not written since the process started.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// The queue of the thread that writes the log. When it is full, lines are dropped and counted.
#[derive(Clone)]
pub struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Notified when the thread has something to do.
    filled: Condvar,
    /// Notified when it has done it.
    emptied: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    /// The bytes that the thread has taken and not written yet.
    bytes_in_writing: usize,
    /// Whether [`Queue::flush`] waits until everything is written.
    is_urgent: bool,
}

impl Queue {
    /// Starts the thread, which writes to stderr.
    ///
    /// It writes to a separate descriptor: `std`'s handle has a lock, so one blocked write would block
    /// everything else that writes to stderr.
    ///
    /// # Errors
    ///
    /// The system gives no descriptor or no thread.
    pub fn to_stderr() -> io::Result<Self> {
        Self::to(File::from(rustix::io::dup(rustix::stdio::stderr())?))
    }

    fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let queue = Self(Arc::clone(&shared));
        thread::Builder::new().name("log".into()).spawn(move || write(&shared, out))?;
        Ok(queue)
    }

    /// Waits until nothing is left to be written, for at most `within`: a log that blocks does not
    /// keep the process from ending.
    pub fn flush(&self, within: Duration) {
        let mut waiting = self.0.waiting();
        waiting.is_urgent = true;
        self.0.filled.notify_one();
        // After that time, the lines that are left are lost with the process.
        drop(self.0.emptied.wait_timeout_while(waiting, within, |waiting| waiting.bytes() > 0));
    }

    fn push(&self, line: &[u8]) {
        let mut waiting = self.0.waiting();
        if waiting.bytes() + line.len() > LOG_BYTES_MAX {
            drop(waiting);
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let before = waiting.lines.len();
        waiting.lines.extend_from_slice(line);
        // Once for the first line and once when there are many: waking a thread costs more than a line.
        let is_due = before == 0 || (before < GATHERED_BYTES && !waiting.is_gathering());
        drop(waiting);
        if is_due {
            self.0.filled.notify_one();
        }
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines, gives others a short time to join them, and takes them all.
    fn take(&self) -> Vec<u8> {
        let waiting = self.filled.wait_while(self.waiting(), |waiting| waiting.lines.is_empty());
        let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let gathered =
            self.filled.wait_timeout_while(waiting, GATHER_TIME, |waiting| waiting.is_gathering());
        let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        waiting.bytes_in_writing = waiting.lines.len();
        std::mem::take(&mut waiting.lines)
    }

    fn written(&self) {
        let mut waiting = self.waiting();
        waiting.bytes_in_writing = 0;
        if waiting.lines.is_empty() {
            waiting.is_urgent = false;
            self.emptied.notify_all();
        }
    }
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.lines.len() + self.bytes_in_writing
    }

    fn is_gathering(&self) -> bool {
        !self.is_urgent && self.lines.len() < GATHERED_BYTES
    }
}

impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes lines as they arrive, as long as the process runs.
fn write(shared: &Shared, mut out: impl Write) {
    let mut is_torn = false;
    let mut reported = 0;
    let mut report_from = Instant::now();
    loop {
        is_torn = write_lines(&shared.take(), &mut out, is_torn);
        shared.written();
        if !is_torn && dropped() > reported && Instant::now() >= report_from {
            let lines = dropped() - reported;
            (reported, report_from) = (dropped(), Instant::now() + REPORT_EVERY);
            tracing::warn!(
                lines,
                "log lines were dropped, because the log could not be written fast enough"
            );
        }
    }
}

/// Writes all lines, and drops each that cannot be written. `is_torn`, before and after, says that
/// the last write failed, which may have left half a line behind.
fn write_lines(mut lines: &[u8], out: &mut impl Write, mut is_torn: bool) -> bool {
    while !lines.is_empty() {
        let separated = if is_torn { out.write_all(b"\n") } else { Ok(()) };
        is_torn = separated.is_err();
        match separated.and_then(|()| out.write(lines)) {
            Ok(written @ 1..) => lines = &lines[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => {
                is_torn = true;
                DROPPED.fetch_add(1, Ordering::Relaxed);
                let end = lines.iter().position(|&byte| byte == b'\n');
                lines = &lines[end.map_or(lines.len(), |end| end + 1)..];
            }
        }
    }
    is_torn
}

/// Bytes of lines that may wait to be written; further lines are dropped and counted.
const LOG_BYTES_MAX: usize = 8 << 20;
/// How long a line waits for others that are written with it.
const GATHER_TIME: Duration = Duration::from_millis(10);
/// Bytes of lines that are written without waiting for more.
const GATHERED_BYTES: usize = 256 << 10;
/// How often dropped lines are reported, at most.
const REPORT_EVERY: Duration = Duration::from_secs(1);
static DROPPED: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;

    /// Fails a given number of times, then keeps what it gets.
    #[derive(Clone)]
    struct Disk(Arc<Mutex<(usize, Vec<u8>)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (failures, kept) = &mut *self.0.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            kept.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn unwritable_lines_are_counted_and_later_ones_start_on_a_new_line() {
        let disk = Disk(Arc::new(Mutex::new((2, Vec::new()))));
        let queue = Queue::to(disk.clone()).unwrap();
        let before = dropped();
        for line in ["one\n", "two\n", "three\n"] {
            (&queue).write_all(line.as_bytes()).unwrap();
        }
        queue.flush(Duration::from_secs(10));
        assert_eq!(String::from_utf8_lossy(&disk.0.lock().unwrap().1), "\nthree\n");
        assert!(dropped() >= before + 2);
    }

    /// Counts its writes, and blocks in each until the sender of the channel is gone.
    struct Pipe(Receiver<()>, Arc<AtomicU64>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_log_stays_within_its_bounds_and_delays_nobody() {
        let (release, blocked) = sync_channel(0);
        let writes = Arc::<AtomicU64>::default();
        let queue = Queue::to(Pipe(blocked, Arc::clone(&writes))).unwrap();
        let (line, before) = (vec![b'x'; 64 << 10], dropped());
        for _ in 0..1_000 {
            (&queue).write_all(&line).unwrap();
        }
        assert_eq!(queue.0.waiting().bytes(), LOG_BYTES_MAX);
        assert!(dropped() - before >= 1_000 - 128);
        queue.flush(Duration::from_millis(20));
        drop(release);
        queue.flush(Duration::from_secs(10));
        assert_eq!(queue.0.waiting().bytes(), 0);
    }

    #[test]
    fn waiting_lines_are_written_together() {
        let (release, blocked) = sync_channel(0);
        let writes = Arc::<AtomicU64>::default();
        let queue = Queue::to(Pipe(blocked, Arc::clone(&writes))).unwrap();
        for _ in 0..1_000 {
            (&queue).write_all(b"a line\n").unwrap();
        }
        drop(release);
        queue.flush(Duration::from_secs(10));
        // The first that were there, which block, and all others.
        assert!(writes.load(Ordering::Relaxed) <= 2);
    }
}
