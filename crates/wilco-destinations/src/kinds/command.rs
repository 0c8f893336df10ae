//! A configured program: started for each event, or kept running.

mod keys;
mod lines;
mod once;

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::FusedFuture;
use wilco::Event;
use wilco_config::{Key, Setting, ValueType};
use wilco_delivery::{Destination, Verdict};

use crate::{
    child::{self, Program},
    destination::DestinationConfig,
    hidden::{Hidden, hidden_value},
    kind::{Kind, OpenError, Settings, SharedSettings},
    preview::{PreviewPart, shown},
    script::executable,
};

pub(crate) static KIND: Kind = Kind {
    name: "command",
    keys: &[
        Key::new(
            "command",
            ValueType::ListOf(&ValueType::Text),
            "[\"/usr/local/bin/my-handler\", \"--verbose\"]",
        )
        .required()
        .secret()
        .doc("the program and its arguments; no shell reads them"),
        Key::new(
            "environment",
            ValueType::MapOf(&ValueType::TextOrReference),
            "{ PROJECTS_ROOT = \"/srv/projects\" }",
        )
        .secret()
        .doc(
            "variables that it gets: texts or references; no name begins with \
             `WILCO_`",
        ),
        Key::new("folder", ValueType::Path, "\"/srv/projects\"")
            .absence("that of wilco")
            .doc("its working folder"),
        Key::new("run_as", ValueType::Text, "\"nobody\"").absence("the user of wilco").doc(
            "`\"user\"` or `\"user:group\"`, names or numbers; only if wilco runs as \
             root",
        ),
        Key::new(
            "limits",
            ValueType::Table("limits", LIMITS),
            "{ memory = \"512 MiB\", cpu = \"60 s\", files = 256, output = \"64 KiB\" }",
        )
        .doc("the resources that it may use"),
        Key::new("protocol", ValueType::OneOf(&["once", "lines"]), "\"once\"")
            .default("\"once\"")
            .doc(
                "`\"once\"`, or `\"lines\"` for [a program that keeps \
                 running](destinations.md#command-with-lines)",
            ),
    ],
    written_path: None,
    concurrency: 1,
    read: |keys| keys::read(keys).map(SharedSettings::new),
};

const LIMITS: &[Key] = &[
    Key::new("memory", ValueType::Size, "\"512 MiB\"")
        .absence("not limited")
        .doc("address space of each process, at least 1 MiB"),
    Key::new("cpu", ValueType::Duration, "\"60 s\"")
        .absence("not limited")
        .doc("processor time of each process, in whole seconds"),
    Key::new("files", ValueType::Integer(FILES_MIN, FILES_MAX), "256")
        .absence("not limited")
        .doc("open files of each process, 8 to 1,048,576"),
    Key::new("output", ValueType::Size, "\"64 KiB\"")
        .default("\"64 KiB\"")
        .doc("how much of the end of its output is stored, at most 64 KiB"),
];

/// A program and how it gets events.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Command {
    program: Program,
    protocol: Protocol,
}

/// How a program gets events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// It is started for each event, with the body on its standard input.
    Once,
    /// It is kept running, and gets a line for each event.
    Lines,
}

impl DestinationConfig {
    /// A program and its arguments.
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
        let (program, request) = (self.program.clone(), shown(&self.parts()));
        Ok(match self.protocol {
            Protocol::Once => Arc::new(once::Once::new(program, request, timeout)),
            Protocol::Lines => {
                let (name, hidden) = (name.into(), Hidden::of(self));
                Arc::new(lines::Lines::new(name, hidden, program, request, timeout))
            }
        })
    }

    fn preview(&self, _: &Event) -> Result<Vec<PreviewPart>, String> {
        Ok(self.parts())
    }

    fn hidden(&self) -> Vec<(String, String)> {
        let values = self.program.environment.iter();
        values.filter_map(|(name, value)| hidden_value(name, value)).collect()
    }

    fn output_bytes_max(&self) -> usize {
        self.program.limits.output
    }

    fn starts_programs(&self) -> bool {
        true
    }
}

impl Command {
    /// What is started. An argument may be a credential as well as a variable, so neither is shown.
    fn parts(&self) -> Vec<PreviewPart> {
        let Program { argv, environment, folder, run_as, limits: _ } = &self.program;
        let mut argv = argv.iter().cloned();
        let mut parts = vec![PreviewPart::text("command", argv.next().unwrap_or_default())];
        let arguments: Vec<_> = argv.collect();
        if !arguments.is_empty() {
            parts.push(PreviewPart::secret("command (arguments)", arguments.join("\0")));
        }
        let variable = |(name, value): &(String, Setting)| {
            PreviewPart::secret(format!("environment.{name}"), value.0.clone())
        };
        parts.extend(environment.iter().map(variable));
        let folder = folder.iter().map(|folder| folder.display().to_string());
        parts.extend(folder.map(|folder| PreviewPart::text("folder", folder)));
        let run_as = run_as.map(|user| format!("{}:{}", user.user, user.group));
        parts.extend(run_as.map(|user| PreviewPart::text("run_as", user)));
        let protocol = match self.protocol {
            Protocol::Once => "once",
            Protocol::Lines => "lines",
        };
        parts.push(PreviewPart::text("protocol", protocol));
        parts
    }
}

async fn check(program: &Program) -> Result<String, String> {
    child::check(program).await?;
    let name = program.argv.first().map(String::as_str).unwrap_or_default();
    Ok(format!("can start {name}"))
}

/// Splits a command line as a shell would, and checks that its program can be run.
///
/// # Errors
///
/// It cannot be split, or its program cannot be run.
pub fn command_line(line: &str) -> Result<Vec<String>, String> {
    let words = shlex::split(line).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| {
        format!("invalid command {line:?}: is it empty, or is a quote left open?")
    })?;
    executable(&words[0])?;
    Ok(words)
}

/// Waits for `work`, and drives `pipes` meanwhile so that a full pipe does not block it.
async fn while_driving<T>(
    work: impl Future<Output = T>,
    mut pipes: Pin<&mut (impl FusedFuture + Send)>,
) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            _ = &mut pipes, if !pipes.is_terminated() => {}
            done = &mut work => return done,
        }
    }
}

const FAILED: Verdict = Verdict::Failed { not_before: None };
/// The range of the limit on open files.
const FILES_MIN: u64 = 8;
const FILES_MAX: u64 = 1 << 20;
/// How long the pipes of a program are read after it has ended.
const PIPES_GRACE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use wilco_delivery::Reply;

    use super::*;

    #[test]
    fn secrets_given_to_a_program_are_named_and_not_shown() {
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
