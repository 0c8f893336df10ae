//! The threads of all that is not the way to a 2xx: routing, deliveries, the admin listener and the
//! certificate's files. Senders are answered on other threads, so that nothing here holds them up,
//! be it a function that blocks or a destination that answers without end.

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::spawn_blocking,
};

/// A runtime of its own, which is shut down when this is dropped.
pub(crate) struct Threads {
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
}

impl Threads {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("wilco-outbound")
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Mutex::new(Some(runtime)) })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Drops what still runs here, and with it the programs that it started. What blocks its thread
    /// is left behind after [`END`].
    pub(crate) async fn end(&self) {
        if let Some(runtime) = self.take() {
            // It fails where the caller's own runtime comes to its end, which drops the closure.
            let _ = spawn_blocking(move || runtime.shutdown_timeout(END)).await;
        }
    }

    fn take(&self) -> Option<Runtime> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.take() {
            runtime.shutdown_background();
        }
    }
}

/// As many, whatever the number of cores: they mostly wait.
const THREADS: usize = 2;
const END: Duration = Duration::from_secs(1);
