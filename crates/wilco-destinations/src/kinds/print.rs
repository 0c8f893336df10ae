//! A line of JSON on stdout for each event.

use std::{io::Write as _, sync::Arc, time::Duration};

use async_trait::async_trait;
use wilco_config::Unresolved;
use wilco_delivery::{Destination, Reply};
use wilco_store::Claim;

use crate::{
    destination::DestinationConfig,
    json_line::json_line,
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
        Ok(Arc::new(*self))
    }
}

#[async_trait]
impl Destination for Print {
    async fn deliver(&self, claim: &Claim) -> Reply {
        let line = json_line(claim.event());
        // A pipe that nobody reads blocks, so this runs on a thread for blocking work.
        let printed = tokio::task::spawn_blocking(move || {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush())
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
