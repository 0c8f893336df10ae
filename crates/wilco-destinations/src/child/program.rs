//! A program and its limits.

use std::path::PathBuf;

use wilco_config::Setting;

use crate::kind::OUTPUT_BYTES_MAX;

/// A configured program and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// The program and its arguments; no shell reads them.
    pub(crate) argv: Vec<String>,
    /// Variables that it gets in addition to those of wilco.
    pub(crate) environment: Vec<(String, Setting)>,
    /// Its working folder; `None` for that of wilco.
    pub(crate) folder: Option<PathBuf>,
    /// Who it runs as; `None` for the user that wilco runs as.
    pub(crate) run_as: Option<RunAs>,
    /// The resources that it may use.
    pub(crate) limits: Limits,
}

impl Program {
    /// A program about which nothing else is configured.
    pub(crate) fn new(argv: Vec<String>) -> Self {
        let (environment, limits) = (Vec::new(), Limits::default());
        Self { argv, environment, folder: None, run_as: None, limits }
    }
}

/// A user and a group of this system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunAs {
    /// The id of the user.
    pub(crate) user: u32,
    /// The id of the group. The program has no supplementary groups.
    pub(crate) group: u32,
}

/// The resources that a program may use; `None` for as much as wilco itself may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Address space of each of its processes, in bytes.
    pub(crate) memory: Option<u64>,
    /// Processor time of each of its processes, in seconds.
    pub(crate) cpu: Option<u64>,
    /// Open files of each of its processes.
    pub(crate) files: Option<u64>,
    /// The end of its output that is kept, in bytes.
    pub(crate) output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: None, cpu: None, files: None, output: OUTPUT_BYTES_MAX }
    }
}
