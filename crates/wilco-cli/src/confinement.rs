//! `wilco serve --landlock`: the process gives up what its configuration does not need.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};
use wilco_server::config::Config;

use super::Failure;

/// The limits that the process has, for as long as it runs.
pub(crate) struct Confinement {
    written: BTreeSet<PathBuf>,
}

impl Confinement {
    /// Allows this thread, and those that it starts, to write only where the configuration says, and to
    /// start no programs. Has to be called before another thread exists: the kernel does not reach them.
    pub(crate) fn enter(config: &Config) -> Result<Self, Failure> {
        if let Some(name) = config.program_starter() {
            let why = format!("destination {name} starts programs, and --landlock forbids that");
            return Err(Failure::configuration(format!("{why}; start wilco without it")));
        }
        let mut written = BTreeSet::new();
        for folder in config.written_folders() {
            let found = fs::canonicalize(&folder).map_err(|error| unusable(&folder, &error))?;
            written.insert(found);
        }
        match restrict(&written) {
            Ok(RulesetStatus::NotEnforced) => Err(Failure::configuration(
                "this kernel has no Landlock: start wilco without --landlock, or use Linux 5.13 or later \
                 with `landlock` among the security modules",
            )),
            Ok(_) => Ok(Self { written }),
            Err(error) => Err(Failure::failed(format!("cannot restrict itself: {error}"))),
        }
    }

    /// Whether a changed configuration can do with what was allowed at the start.
    pub(crate) fn check(&self, config: &Config) -> Result<(), String> {
        if let Some(name) = config.program_starter() {
            return Err(format!(
                "destination {name} starts programs, and wilco was started with --landlock, which forbids \
                 that; restart it without"
            ));
        }
        for folder in config.written_folders() {
            let found =
                fs::canonicalize(&folder).map_err(|error| unusable(&folder, &error).text)?;
            if !self.written.iter().any(|written| found.starts_with(written)) {
                return Err(format!(
                    "wilco was started with --landlock, and may not write in {}; restart it",
                    found.display()
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn folders(&self) -> String {
        let shown: Vec<_> =
            self.written.iter().map(|folder| folder.display().to_string()).collect();
        shown.join(" ")
    }
}

fn unusable(folder: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot use the folder {}: {error}", folder.display()))
}

/// Everything may be read, because certificates, secrets and time zones are all over the system. Execution is
/// in no rule, so nothing may be executed.
fn restrict(written: &BTreeSet<PathBuf>) -> Result<RulesetStatus, RulesetError> {
    let all = AccessFs::from_all(ABI::V3);
    let mut rules = Ruleset::default().handle_access(all)?.create()?;
    if let Ok(root) = PathFd::new("/") {
        rules = rules.add_rule(PathBeneath::new(root, AccessFs::ReadFile | AccessFs::ReadDir))?;
    }
    for folder in written {
        if let Ok(folder) = PathFd::new(folder) {
            rules = rules.add_rule(PathBeneath::new(folder, all & !AccessFs::Execute))?;
        }
    }
    Ok(rules.restrict_self()?.ruleset)
}
