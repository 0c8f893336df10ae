//! A program of the user's: started for each event, or kept running.

mod keys;
mod lines;
mod once;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use wilco_config::Key;

use super::{
    Destination, FAILED, Hidden, PIPES_GRACE, Reply, Verdict, beside, hidden_value, legible,
};
use crate::{
    child::{self, Program},
    config::{self, Kind, OpenError, Settings, SharedSettings},
};

pub(super) static KIND: Kind = Kind {
    name: "command",
    keys: &[
        Key::secret("command", "[\"/usr/local/bin/my-handler\", \"--verbose\"]"),
        Key::secret("environment", "{ PROJECTS_ROOT = \"/srv/projects\" }"),
        Key::shown("folder", "\"/srv/projects\""),
        Key::shown("run_as", "\"nobody\""),
        Key::table(
            "limits",
            "{ memory = \"512 MiB\", cpu = \"60 s\", files = 256, output = \"64 KiB\" }",
            &[
                Key::shown("memory", "\"512 MiB\""),
                Key::shown("cpu", "\"60 s\""),
                Key::shown("files", "256"),
                Key::shown("output", "\"64 KiB\""),
            ],
        ),
        Key::shown("protocol", "\"once\""),
    ],
    concurrency: 1,
    read: |keys| keys::read(keys).map(SharedSettings::new),
};

/// A program, and how it gets events.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Command {
    program: Program,
    protocol: Protocol,
}

/// How a program gets events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// It is started for each, with the body on its standard input.
    Once,
    /// It is kept running, and gets a line for each.
    Lines,
}

impl config::Destination {
    /// A program, and its arguments.
    pub fn command(name: &str, argv: Vec<String>) -> Self {
        let command = Command { program: Program::new(argv), protocol: Protocol::Once };
        Self::new(name, SharedSettings::new(command))
    }
}

#[async_trait]
impl Settings for Command {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    async fn open(&self, name: &str, timeout: Duration) -> Result<Arc<dyn Destination>, OpenError> {
        let program = self.program.clone();
        Ok(match self.protocol {
            Protocol::Once => Arc::new(once::Once::new(program, timeout)),
            Protocol::Lines => {
                Arc::new(lines::Lines::new(name.into(), Hidden::of(self), program, timeout))
            }
        })
    }

    fn hidden(&self) -> Vec<(String, String)> {
        let values = self.program.environment.iter();
        values.filter_map(|(name, value)| hidden_value(name, value)).collect()
    }

    fn output_bytes_max(&self) -> usize {
        self.program.limits.output
    }
}

async fn check(program: &Program) -> Result<String, String> {
    child::check(program).await?;
    let name = program.argv.first().map(String::as_str).unwrap_or_default();
    Ok(format!("can start {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wilco_config::Setting;

    #[test]
    fn what_a_program_was_given_is_named_and_not_shown() {
        let mut program = Program::new(vec!["x".into()]);
        program.environment =
            [("TOKEN", &b"canary-token\n"[..]), ("MODE", b"fast"), ("X", b"\xff")]
                .map(|(name, value)| (name.into(), Setting(value.into())))
                .into();
        let command = Command { program, protocol: Protocol::Once };
        let reply = Hidden::of(&command).clean(Reply::failed("401 for canary-token, fast".into()));
        assert_eq!(reply.result, "401 for (the value of TOKEN), fast");
    }
}
