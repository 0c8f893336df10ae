//! What a program writes to its standard output and standard error.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::sleep,
};

/// The end of a program's output, stdout and stderr in the order in which they were read.
pub(crate) struct OutputTail {
    bytes: Mutex<VecDeque<u8>>,
    bytes_max: usize,
}

impl OutputTail {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes: Mutex::default(), bytes_max }
    }

    /// Reads to the end of the pipe, no faster than [`OUTPUT_BURST_BYTES`] in each
    /// [`OUTPUT_PAUSE`]: a program that floods its pipe must not slow down others.
    pub(crate) async fn read_all<R: AsyncRead + Unpin>(&self, pipe: Option<R>) {
        let Some(mut pipe) = pipe else { return };
        let mut part = vec![0; 8 << 10];
        let mut burst = 0;
        while let Ok(read @ 1..) = pipe.read(&mut part).await {
            self.push(&part[..read]);
            burst += read;
            if burst >= OUTPUT_BURST_BYTES {
                burst = 0;
                sleep(OUTPUT_PAUSE).await;
            }
        }
    }

    fn push(&self, part: &[u8]) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend(part);
        let excess = bytes.len().saturating_sub(self.bytes_max);
        bytes.drain(..excess);
    }

    /// The output so far.
    pub(crate) fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

/// Bytes of a program's output that are read without a pause: 50 MiB a second at most.
const OUTPUT_BURST_BYTES: usize = 1 << 20;
const OUTPUT_PAUSE: Duration = Duration::from_millis(20);
