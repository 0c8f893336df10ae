//! A program of somebody else: started for each event, or kept.

mod keys;
mod lines;
mod once;

use std::{sync::Arc, time::Duration};

use super::{
    Destination, FAILED, Hidden, PIPES_GRACE, Reply, Verdict, beside, hidden_value, legible,
};
use crate::config::{self, Command, Key, Kind, Protocol, Settings, SharedSettings};

pub(super) static KIND: Kind = Kind {
    name: "command",
    keys: &[
        Key::hidden("command", "[\"/usr/local/bin/my-handler\", \"--verbose\"]"),
        Key::hidden("environment", "{ PROJECTS_ROOT = \"/srv/projects\" }"),
        Key::shown("folder", "\"/srv/projects\""),
        Key::shown("run_as", "\"nobody\""),
        Key::shown(
            "limits",
            "{ memory = \"512 MiB\", cpu = \"60 s\", files = 256, output = \"64 KiB\" }",
        ),
        Key::shown("limits.memory", "\"512 MiB\""),
        Key::shown("limits.cpu", "\"60 s\""),
        Key::shown("limits.files", "256"),
        Key::shown("limits.output", "\"64 KiB\""),
        Key::shown("protocol", "\"once\""),
    ],
    concurrency: 1,
    read: |keys| keys::read(keys).map(Program).map(SharedSettings::new),
};

/// A program, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Program(Command);

impl Program {
    /// A program about which nothing else is configured.
    fn new(words: Vec<String>) -> Self {
        Self(Command::new(words))
    }
}

impl config::Destination {
    /// A program, and its arguments.
    pub fn command(name: &str, words: Vec<String>) -> Self {
        Self::new(name, SharedSettings::new(Program::new(words)))
    }
}

impl Settings for Program {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn open(&self, name: &str, timeout: Duration) -> Arc<dyn Destination> {
        let command = self.0.clone();
        match command.protocol {
            Protocol::Once => Arc::new(once::Once::new(command, timeout)),
            Protocol::Lines => {
                Arc::new(lines::Lines::new(name.into(), Hidden::of(self), command, timeout))
            }
        }
    }

    fn hidden(&self) -> Vec<(String, String)> {
        let values = self.0.environment.iter();
        values.filter_map(|(name, value)| hidden_value(name, value)).collect()
    }

    fn output_bytes_max(&self) -> usize {
        self.0.limits.output
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Setting;

    #[test]
    fn what_a_program_was_given_is_named_and_not_shown() {
        let mut program = Program::new(vec!["x".into()]);
        program.0.environment =
            [("TOKEN", &b"canary-token\n"[..]), ("MODE", b"fast"), ("X", b"\xff")]
                .map(|(name, value)| (name.into(), Setting(value.into())))
                .into();
        let reply = Hidden::of(&program).clean(Reply::failed("401 for canary-token, fast".into()));
        assert_eq!(reply.result, "401 for (the value of TOKEN), fast");
    }
}
