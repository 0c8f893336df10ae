//! The launch specification of a program, and its form as arguments of the supervisor.

use std::{ffi::OsString, path::PathBuf};

use rustix::process::{Pid, getpid};

use super::{Arguments, Program, RunAs};
use crate::script::{find_program, is_text_without_interpreter};

/// How a program is to be started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LaunchSpec {
    /// The process of wilco that starts the program; when it has ended, the program has to end too.
    pub(super) parent: Pid,
    pub(super) folder: Option<PathBuf>,
    pub(super) run_as: Option<RunAs>,
    pub(super) memory: Option<u64>,
    pub(super) cpu: Option<u64>,
    pub(super) files: Option<u64>,
    /// The soft limit on open files that wilco had before it raised its own.
    pub(super) initial_files: Option<u64>,
    pub(super) argv: Arguments,
}

/// What a supervisor process does with a launch specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Starts the program, and makes sure that no process of it is left.
    Supervise,
    /// Sets the limits for itself and becomes the program.
    Become,
    /// Becomes the user of the program in its folder, and reports why the program cannot be started.
    Check,
}

impl LaunchSpec {
    pub(super) fn of(program: &Program) -> Self {
        let limits = &program.limits;
        Self {
            parent: getpid(),
            folder: program.folder.clone(),
            run_as: program.run_as,
            memory: limits.memory,
            cpu: limits.cpu,
            files: limits.files,
            initial_files: super::initial_files(),
            argv: program.argv.iter().map(Into::into).collect(),
        }
    }

    pub(super) fn has_limits(&self) -> bool {
        self.memory.is_some() || self.cpu.is_some() || self.files.is_some()
    }

    /// The path at which this process finds the program.
    pub(super) fn path(&self) -> Option<PathBuf> {
        find_program(self.argv.first()?.to_str()?)
    }

    /// Whether the program is a text file without an interpreter, which execvp(3) passes to a shell. It
    /// does so only if nothing else has to be done between fork and exec.
    pub(super) fn is_read_by_shell(&self) -> bool {
        let is_direct = !self.has_limits() && self.run_as.is_none();
        is_direct && self.is_text_without_interpreter()
    }

    pub(super) fn is_text_without_interpreter(&self) -> bool {
        self.path().as_deref().is_some_and(is_text_without_interpreter)
    }

    pub(super) fn arguments(&self, stage: Stage) -> Arguments {
        let mut arguments: Arguments = vec![PARENT.into(), self.parent.to_string().into()];
        match stage {
            Stage::Supervise => {}
            Stage::Become => arguments.push(BECOME.into()),
            Stage::Check => arguments.push(CHECK.into()),
        }
        let run_as = self.run_as.map(|who| format!("{}:{}", who.user, who.group).into());
        let number = |number: Option<u64>| number.map(|number| number.to_string().into());
        let folder = self.folder.clone().map(PathBuf::into_os_string);
        let options = [
            (FOLDER, folder),
            (RUN_AS, run_as),
            (MEMORY, number(self.memory)),
            (CPU, number(self.cpu)),
            (FILES, number(self.files)),
            (INITIAL_FILES, number(self.initial_files)),
        ];
        for (name, value) in options {
            arguments.extend(value.into_iter().flat_map(|value| [name.into(), value]));
        }
        arguments.push("--".into());
        arguments.extend(self.argv.iter().cloned());
        arguments
    }

    /// Parses the arguments; `None` if wilco did not write them.
    pub(super) fn read(mut arguments: impl Iterator<Item = OsString>) -> Option<(Stage, Self)> {
        let mut stage = Stage::Supervise;
        let mut parent = None;
        let (mut folder, mut run_as, mut memory, mut cpu) = Default::default();
        let (mut files, mut initial_files) = Default::default();
        loop {
            let name = arguments.next()?;
            match name.to_str()? {
                "--" => break,
                BECOME => stage = Stage::Become,
                CHECK => stage = Stage::Check,
                PARENT => parent = Pid::from_raw(number(arguments.next())?),
                FOLDER => folder = Some(arguments.next()?.into()),
                RUN_AS => run_as = Some(user_and_group(arguments.next())?),
                MEMORY => memory = Some(number(arguments.next())?),
                CPU => cpu = Some(number(arguments.next())?),
                FILES => files = Some(number(arguments.next())?),
                INITIAL_FILES => initial_files = Some(number(arguments.next())?),
                _ => return None,
            }
        }
        let argv = arguments.collect();
        let parent = parent?;
        Some((stage, Self { parent, folder, run_as, memory, cpu, files, initial_files, argv }))
    }
}

fn number<T: std::str::FromStr>(argument: Option<OsString>) -> Option<T> {
    argument?.to_str()?.parse().ok()
}

fn user_and_group(argument: Option<OsString>) -> Option<RunAs> {
    let argument = argument?;
    let (user, group) = argument.to_str()?.split_once(':')?;
    Some(RunAs { user: user.parse().ok()?, group: group.parse().ok()? })
}

const PARENT: &str = "--parent";
const BECOME: &str = "--become";
const CHECK: &str = "--check";
const FOLDER: &str = "--folder";
const RUN_AS: &str = "--run-as";
const MEMORY: &str = "--memory";
const CPU: &str = "--cpu";
const FILES: &str = "--files";
const INITIAL_FILES: &str = "--initial-files";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_spec_survives_its_arguments() {
        let plain = LaunchSpec {
            parent: getpid(),
            folder: None,
            run_as: None,
            memory: None,
            cpu: None,
            files: None,
            initial_files: None,
            argv: vec!["/bin/sh".into(), "--".into(), "--memory".into(), "".into()],
        };
        let full = LaunchSpec {
            folder: Some("/srv/a b".into()),
            run_as: Some(RunAs { user: 1, group: 2 }),
            memory: Some(1 << 40),
            cpu: Some(60),
            files: Some(8),
            initial_files: Some(1_024),
            argv: vec!["x".into()],
            ..plain
        };
        for spec in [plain, full] {
            for stage in [Stage::Supervise, Stage::Become, Stage::Check] {
                let read = LaunchSpec::read(spec.arguments(stage).into_iter());
                assert_eq!(read.as_ref(), Some(&(stage, clone(&spec))));
            }
        }
    }

    fn clone(spec: &LaunchSpec) -> LaunchSpec {
        LaunchSpec { folder: spec.folder.clone(), argv: spec.argv.clone(), ..*spec }
    }

    #[test]
    fn arguments_that_wilco_did_not_write_are_refused() {
        for line in
            ["", "--parent", "--parent x -- a", "-- a", "--parent 1 --memory -1 -- a", "--parent 1"]
        {
            let argv = line.split_whitespace().map(OsString::from);
            assert_eq!(LaunchSpec::read(argv), None, "{line}");
        }
    }
}
