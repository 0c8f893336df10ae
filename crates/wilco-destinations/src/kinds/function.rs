//! A Rust function as a destination.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use wilco::Event;
use wilco_delivery::{Destination, Policy, Reply};
use wilco_store::Claim;

use crate::{
    destination::DestinationConfig,
    kind::{OpenError, Settings, SharedSettings},
};

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// A function that is called with each event.
#[derive(Clone)]
pub struct Function(Arc<dyn Fn(Event) -> BoxFuture<'static, Outcome> + Send + Sync>);

impl Function {
    /// Calls `function`; an `Err` is a failed attempt.
    pub fn new<F, R, E>(function: F) -> Self
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self(Arc::new(move |event| {
            let called = function(event);
            Box::pin(async move { called.await.map_err(Into::into) })
        }))
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Function")
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl DestinationConfig {
    /// A Rust function.
    pub fn function(name: &str, function: Function) -> Self {
        let policy = Policy { concurrency: CONCURRENCY, ..Policy::default() };
        Self { policy, ..Self::new(name, SharedSettings::new(function)) }
    }
}

#[async_trait]
impl Settings for Function {
    fn kind(&self) -> &'static str {
        "function"
    }

    async fn open(&self, _: &str, timeout: Duration) -> Result<Arc<dyn Destination>, OpenError> {
        Ok(Arc::new(Call { function: self.clone(), timeout }))
    }
}

/// A function and its timeout.
struct Call {
    function: Function,
    timeout: Duration,
}

#[async_trait]
impl Destination for Call {
    async fn deliver(&self, claim: &Claim) -> Reply {
        let Function(function) = &self.function;
        let called = function(Event::clone(claim.event()));
        match tokio::time::timeout(self.timeout, called).await {
            Ok(Ok(())) => Reply::delivered(),
            Ok(Err(error)) => Reply::failed(error.to_string()),
            Err(_) => Reply::failed(format!("no answer within {} s", self.timeout.as_secs_f32())),
        }
    }

    async fn check(&self) -> Result<String, String> {
        Ok("a function of this program".into())
    }
}

/// How many calls may run at once.
const CONCURRENCY: usize = 8;
