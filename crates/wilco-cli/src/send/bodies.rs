//! What is sent: samples as new events, or fixed bytes.

use std::{
    fs,
    io::{self, Read as _},
};

use wilco::{Provider, freispace, provider::uuid};
use wilco_server::clock;

use crate::{Failure, did_you_mean};

/// The bodies to send: a sample, with a new id each time, or fixed bytes.
pub(super) enum Bodies {
    Sample(String),
    Fixed(Vec<u8>),
}

impl Bodies {
    pub(super) fn of(what: &str) -> Result<Self, Failure> {
        if freispace::sample(what).is_some() {
            return Ok(Self::Sample(what.to_owned()));
        }
        if what == "-" {
            let mut body = Vec::new();
            std::io::stdin().read_to_end(&mut body)?;
            return Ok(Self::Fixed(body));
        }
        fs::read(what).map(Self::Fixed).map_err(|error| {
            let names: Vec<_> = freispace::SAMPLES.iter().map(|(name, _)| *name).collect();
            Failure::usage(match error.kind() {
                io::ErrorKind::NotFound => format!(
                    "{what:?} is neither a sample nor a file; the samples are {}{}",
                    names.join(", "),
                    did_you_mean(what, names.iter().copied())
                ),
                _ => format!("cannot read {what}: {error}"),
            })
        })
    }

    /// Whether every body has the same bytes.
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    /// The next body; a sample gets a new id, and dates around today.
    pub(super) fn body(&self, provider: &Provider) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Fixed(body) => Ok(body.clone()),
            Self::Sample(event) => {
                let mut random = [0; 16];
                getrandom::fill(&mut random)?;
                let id = uuid(u128::from_be_bytes(random));
                Ok(provider.sample(event, &id, clock::now()).into_bytes())
            }
        }
    }
}
