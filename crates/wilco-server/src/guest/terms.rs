//! The terms that a program runs on, and how they are handed to its warden: as arguments.

use std::{ffi::OsString, path::PathBuf};

use rustix::process::{Pid, getpid};

use super::Arguments;
use crate::config::{Command, RunAs};

/// What a warden is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Who asks; when that process is gone, the guest has to go too.
    pub(super) host: Pid,
    pub(super) folder: Option<PathBuf>,
    pub(super) run_as: Option<RunAs>,
    pub(super) memory: Option<u64>,
    pub(super) cpu: Option<u64>,
    pub(super) files: Option<u64>,
    /// The soft limit on open files that wilco had before it raised its own.
    pub(super) own_files: Option<u64>,
    pub(super) words: Arguments,
}

/// What a warden's process does with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Starts the program, and sees that nothing is left of it.
    Keep,
    /// Takes the limits on itself and becomes the program.
    Become,
}

impl Terms {
    pub(super) fn of(command: &Command) -> Self {
        let limits = &command.limits;
        Self {
            host: getpid(),
            folder: command.folder.clone(),
            run_as: command.run_as,
            memory: limits.memory,
            cpu: limits.cpu,
            files: limits.files,
            own_files: super::own_files(),
            words: command.words.iter().map(Into::into).collect(),
        }
    }

    pub(super) fn has_limits(&self) -> bool {
        self.memory.is_some() || self.cpu.is_some() || self.files.is_some()
    }

    pub(super) fn arguments(&self, stage: Stage) -> Arguments {
        let mut arguments: Arguments = vec![HOST.into(), self.host.to_string().into()];
        if stage == Stage::Become {
            arguments.push(BECOME.into());
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
            (OWN_FILES, number(self.own_files)),
        ];
        for (name, value) in options {
            arguments.extend(value.into_iter().flat_map(|value| [name.into(), value]));
        }
        arguments.push("--".into());
        arguments.extend(self.words.iter().cloned());
        arguments
    }

    /// `None` where wilco did not write them.
    pub(super) fn read(mut arguments: impl Iterator<Item = OsString>) -> Option<(Stage, Self)> {
        let mut stage = Stage::Keep;
        let mut host = None;
        let (mut folder, mut run_as, mut memory, mut cpu) = Default::default();
        let (mut files, mut own_files) = Default::default();
        loop {
            let name = arguments.next()?;
            match name.to_str()? {
                "--" => break,
                BECOME => stage = Stage::Become,
                HOST => host = Pid::from_raw(number(arguments.next())?),
                FOLDER => folder = Some(arguments.next()?.into()),
                RUN_AS => run_as = Some(user_and_group(arguments.next())?),
                MEMORY => memory = Some(number(arguments.next())?),
                CPU => cpu = Some(number(arguments.next())?),
                FILES => files = Some(number(arguments.next())?),
                OWN_FILES => own_files = Some(number(arguments.next())?),
                _ => return None,
            }
        }
        let words = arguments.collect();
        let host = host?;
        Some((stage, Self { host, folder, run_as, memory, cpu, files, own_files, words }))
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

const HOST: &str = "--host";
const BECOME: &str = "--become";
const FOLDER: &str = "--folder";
const RUN_AS: &str = "--run-as";
const MEMORY: &str = "--memory";
const CPU: &str = "--cpu";
const FILES: &str = "--files";
const OWN_FILES: &str = "--own-files";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_warden_is_told_is_what_it_reads() {
        let plain = Terms {
            host: getpid(),
            folder: None,
            run_as: None,
            memory: None,
            cpu: None,
            files: None,
            own_files: None,
            words: vec!["/bin/sh".into(), "--".into(), "--memory".into(), "".into()],
        };
        let full = Terms {
            folder: Some("/srv/a b".into()),
            run_as: Some(RunAs { user: 1, group: 2 }),
            memory: Some(1 << 40),
            cpu: Some(60),
            files: Some(8),
            own_files: Some(1_024),
            words: vec!["x".into()],
            ..plain
        };
        for terms in [plain, full] {
            for stage in [Stage::Keep, Stage::Become] {
                let read = Terms::read(terms.arguments(stage).into_iter());
                assert_eq!(read.as_ref(), Some(&(stage, clone(&terms))));
            }
        }
    }

    fn clone(terms: &Terms) -> Terms {
        Terms { folder: terms.folder.clone(), words: terms.words.clone(), ..*terms }
    }

    #[test]
    fn what_wilco_did_not_write_is_not_read() {
        for line in ["", "--host", "--host x -- a", "-- a", "--host 1 --memory -1 -- a", "--host 1"]
        {
            let words = line.split_whitespace().map(OsString::from);
            assert_eq!(Terms::read(words), None, "{line}");
        }
    }
}
