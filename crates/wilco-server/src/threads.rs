//! The threads for everything but the path to a 2xx: routing, deliveries, the admin listener and the
//! reload of certificates. Senders are answered on other threads, so that nothing here delays them, not
//! even a function that blocks or a destination whose answer never ends.

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::spawn_blocking,
};

/// A separate runtime, which is shut down when this is dropped.
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

    /// Drops the tasks that still run here, and with them the programs that they started. A task that
    /// blocks its thread is abandoned after [`END`].
    pub(crate) async fn end(&self) {
        if let Some(runtime) = self.take() {
            // It fails if the caller's runtime is shutting down, which drops the closure.
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

/// Independent of the number of cores, because these threads mostly wait.
const THREADS: usize = 2;
const END: Duration = Duration::from_secs(1);
