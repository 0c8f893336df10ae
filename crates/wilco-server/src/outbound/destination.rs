//! Where events go. Each kind is a file; what they have in common is here.

mod command;
mod function;
mod http;
mod print;

use std::sync::Arc;

use super::{Destination, Reply, Verdict};
use crate::config::{self, Kind};

pub(crate) use function::Function;

/// Makes the destination that the configuration describes.
pub(super) fn open(config: &config::Destination, functions: &[Function]) -> Arc<dyn Destination> {
    match &config.kind {
        Kind::Print => Arc::new(print::Print),
        Kind::Command { command, environment } => {
            Arc::new(command::Command::new(command, environment, config.timeout))
        }
        Kind::Http { url, secret, body, headers } => {
            let form = http::Form { body: body.clone(), headers: headers.clone() };
            Arc::new(http::Http::new(url, secret.as_ref(), form, config.timeout))
        }
        Kind::Function(index) => {
            Arc::new(function::Call::new(functions.get(*index), config.timeout))
        }
    }
}

/// What is kept of what a destination said, in bytes.
const OUTPUT_BYTES_MAX: usize = 64 << 10;
