//! A destination: what it is, and how it is treated.

use std::{path::PathBuf, time::Duration};

use wilco_delivery::Policy;

use super::SharedSettings;

/// A place where events go.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// What its kind made of its keys.
    pub(crate) settings: SharedSettings,
    /// How long an attempt may take.
    pub(crate) timeout: Duration,
    /// How its deliveries are treated.
    pub(crate) policy: Policy,
}

impl Destination {
    /// A destination with nothing said about it but what it is.
    pub(crate) fn new(name: &str, settings: SharedSettings) -> Self {
        let (timeout, policy) = (ATTEMPT_TIMEOUT, Policy::default());
        Self { name: name.into(), settings, timeout, policy }
    }
}

/// A program of somebody else, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// The program and its arguments; no shell reads them.
    pub(crate) words: Vec<String>,
    /// Variables that it gets besides those of wilco.
    pub(crate) environment: Vec<(String, Setting)>,
    /// Where it works; `None` for where wilco does.
    pub(crate) folder: Option<PathBuf>,
    /// Who it runs as; `None` for the user that wilco runs as.
    pub(crate) run_as: Option<RunAs>,
    /// What it may take.
    pub(crate) limits: Limits,
    /// How it is told of events.
    pub(crate) protocol: Protocol,
}

impl Command {
    /// A program that was told nothing else.
    pub(crate) fn new(words: Vec<String>) -> Self {
        Self {
            words,
            environment: Vec::new(),
            folder: None,
            run_as: None,
            limits: Limits::default(),
            protocol: Protocol::Once,
        }
    }
}

/// A user and a group of this system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunAs {
    /// The number of the user.
    pub(crate) user: u32,
    /// The number of the group; there are no further ones.
    pub(crate) group: u32,
}

/// What a program may take; `None` for what wilco itself may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Address space of each of its processes, in bytes.
    pub(crate) memory: Option<u64>,
    /// Processor time of each of its processes, in seconds.
    pub(crate) cpu: Option<u64>,
    /// Open files of each of its processes.
    pub(crate) files: Option<u64>,
    /// The last of what it says that is kept, in bytes.
    pub(crate) output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: None, cpu: None, files: None, output: OUTPUT_BYTES_MAX }
    }
}

/// How a program is told of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// It is started for each, with the body on its stdin.
    Once,
    /// It is kept, and gets a line for each.
    Lines,
}

/// A value that may be a secret: it is not shown. It has no name and may be anything, unlike a
/// [`Secret`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Setting<T = Vec<u8>>(pub T);

impl<T> std::fmt::Debug for Setting<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Setting(…)")
    }
}

/// How long an attempt may take, unless `timeout` says otherwise.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// What is kept of what a destination said, in bytes.
pub(crate) const OUTPUT_BYTES_MAX: usize = 64 << 10;
