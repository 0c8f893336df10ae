//! Where events go. Each kind is a file; what they have in common is here.

mod command;
mod function;
mod http;
mod lines;
mod print;

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures_util::future::FusedFuture;

use super::{Destination, Reply, Verdict};
use crate::config::{self, Kind, OUTPUT_BYTES_MAX, Protocol};

pub(crate) use function::Function;

/// Makes the destination that the configuration describes.
pub(super) fn open(config: &config::Destination, functions: &[Function]) -> Arc<dyn Destination> {
    match &config.kind {
        Kind::Print => Arc::new(print::Print),
        Kind::Command(command) => match command.protocol {
            Protocol::Once => Arc::new(command::Command::new(command.clone(), config.timeout)),
            Protocol::Lines => {
                Arc::new(lines::Lines::new(config.name.clone(), command.clone(), config.timeout))
            }
        },
        Kind::Http { url, secret, body, headers } => {
            let form = http::Form { body: body.clone(), headers: headers.clone() };
            Arc::new(http::Http::new(url, secret.as_ref(), form, config.timeout))
        }
        Kind::Function(index) => {
            Arc::new(function::Call::new(functions.get(*index), config.timeout))
        }
    }
}

/// Does the work, and talks meanwhile, so that no full pipe holds it up.
async fn beside<T>(
    work: impl Future<Output = T>,
    mut talk: Pin<&mut (impl FusedFuture + Send)>,
) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = &mut talk, if !talk.is_terminated() => {}
        }
    }
}

const FAILED: Verdict = Verdict::Failed { not_before: None };
/// How long the pipes of a program may still be read when it has ended.
const PIPES_GRACE: Duration = Duration::from_millis(500);
