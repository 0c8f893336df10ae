//! The log. Lines wait in a bounded queue for a thread that writes them, so that a log that nobody
//! reads, whose reader has ended or whose disk is full neither blocks nor ends anything else.

use std::{
    fs::File,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::time::Instant;
use tracing_subscriber::fmt::MakeWriter;

/// Log lines that were not written since the process started.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// The way to the thread that writes the log. A line that finds no room is dropped and counted.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: SyncSender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
}

enum Message {
    Line(Vec<u8>),
    /// Answered when every line before it was written or dropped.
    Flush(SyncSender<()>),
}

impl Queue {
    /// Starts the thread, which writes to stderr.
    ///
    /// It writes to a descriptor of its own: `std`'s handle has a lock, and whoever waits for a
    /// blocked write would take everybody else who writes there along.
    pub(crate) fn to_stderr() -> io::Result<Self> {
        Self::to(File::from(rustix::io::dup(rustix::stdio::stderr())?))
    }

    fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, messages) = sync_channel(LOG_LINES_MAX);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let waiting = Arc::clone(&waiting_bytes);
        thread::Builder::new().name("log".into()).spawn(move || write(&messages, &waiting, out))?;
        Ok(Self { sender, waiting_bytes })
    }

    /// Waits until all lines so far are written, for at most `within`: a log that blocks does not
    /// keep the process from ending.
    pub(crate) fn flush(&self, within: Duration) {
        let (sender, done) = sync_channel(1);
        let until = Instant::now() + within;
        let mut message = Message::Flush(sender);
        while let Err(error) = self.sender.try_send(message) {
            message = match error {
                std::sync::mpsc::TrySendError::Full(message) if Instant::now() < until => message,
                _ => return,
            };
            thread::sleep(FLUSH_RETRY);
        }
        // Past the time, what is left is lost with the process.
        let _ = done.recv_timeout(until.saturating_duration_since(Instant::now()));
    }

    fn push(&self, line: &[u8]) {
        let waiting = self.waiting_bytes.fetch_add(line.len(), Ordering::Relaxed);
        let has_room = waiting + line.len() <= LOG_BYTES_MAX;
        if !has_room || self.sender.try_send(Message::Line(line.to_vec())).is_err() {
            self.waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
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

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

/// Writes lines until every [`Queue`] is gone.
fn write(messages: &Receiver<Message>, waiting_bytes: &AtomicUsize, mut out: impl Write) {
    let mut is_torn = false;
    let mut reported = 0;
    let mut report_from = Instant::now();
    for message in messages {
        let line = match message {
            Message::Line(line) => line,
            Message::Flush(done) => {
                // Whoever asked has stopped waiting.
                let _ = done.send(());
                continue;
            }
        };
        waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
        // A write that failed may have left half a line behind.
        let separated = if is_torn { out.write_all(b"\n") } else { Ok(()) };
        is_torn = separated.and_then(|()| out.write_all(&line)).is_err();
        if is_torn {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        } else if dropped() > reported && Instant::now() >= report_from {
            let lines = dropped() - reported;
            (reported, report_from) = (dropped(), Instant::now() + REPORT_EVERY);
            tracing::warn!(
                lines,
                "log lines were dropped, because the log could not be written fast enough"
            );
        }
    }
}

/// Lines that wait to be written; one more is dropped and counted.
const LOG_LINES_MAX: usize = 8_192;
/// Bytes of them together.
const LOG_BYTES_MAX: usize = 8 << 20;
/// How often dropped lines are reported, at most.
const REPORT_EVERY: Duration = Duration::from_secs(1);
const FLUSH_RETRY: Duration = Duration::from_millis(5);
static DROPPED: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Fails as often as it is told to, then keeps what it gets.
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
    fn lines_that_cannot_be_written_are_counted_and_later_ones_start_on_a_line_of_their_own() {
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

    /// Blocks until the sender of the channel is gone.
    struct Pipe(Receiver<()>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_blocks_takes_no_more_than_its_bounds_and_delays_nobody() {
        let (release, blocked) = sync_channel(0);
        let queue = Queue::to(Pipe(blocked)).unwrap();
        let line = vec![b'x'; 64 << 10];
        for _ in 0..LOG_LINES_MAX {
            (&queue).write_all(&line).unwrap();
        }
        assert!(queue.waiting_bytes.load(Ordering::Relaxed) <= LOG_BYTES_MAX);
        queue.flush(Duration::from_millis(20));
        drop(release);
        queue.flush(Duration::from_secs(10));
        assert_eq!(queue.waiting_bytes.load(Ordering::Relaxed), 0);
    }
}
