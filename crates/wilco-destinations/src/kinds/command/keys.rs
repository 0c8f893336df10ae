//! The keys of a destination that runs a program.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{getegid, geteuid};
use wilco_config::{
    Reference, Setting, SpannedStr, TableReader, TableView, TextOrReference, Unresolved, duration,
    is_credential_name, size,
};

use super::{Command, Protocol};
use crate::{
    child::{Limits, Program, RunAs},
    kind::OUTPUT_BYTES_MAX,
    script::{executable, first_line_fault, is_text_without_interpreter, missing_script},
};

pub(super) fn read(keys: &mut TableReader<'_>) -> Unresolved<Command> {
    let argv = keys.parse_list("command", |text| Ok(text.to_owned()));
    let environment = keys.entries("environment").into_iter();
    let environment: Vec<_> =
        environment.map(|(name, value)| Variable::read(keys, &name, value)).collect();
    let folder = keys.parse("folder", |text| Ok(PathBuf::from(text)));
    let run_as = keys.parse("run_as", |text| Ok(text.to_owned()));
    let limits = keys.table("limits", limits).unwrap_or_default();
    let protocols = [("once", Protocol::Once), ("lines", Protocol::Lines)];
    let protocol = keys.one_of("protocol", &protocols).unwrap_or(Protocol::Once);
    Unresolved::new(move |table| {
        let environment = environment.into_iter().filter_map(|each| each.resolve(table)).collect();
        let run_as = run_as.and_then(|name| find_run_as(table, &name));
        let is_folder = |folder: &PathBuf| match check_folder(folder) {
            Ok(()) => true,
            Err(what) => {
                table.error_about("folder", what, &table.example_hint("folder"));
                false
            }
        };
        let folder = folder.filter(is_folder);
        let argv = find_command(table, argv?, folder.as_ref())?;
        let program = Program { argv, environment, folder, run_as, limits };
        Some(Command { program, protocol })
    })
}

/// A variable of the environment as the file has it.
struct Variable {
    name: String,
    value: ValueInFile,
}

enum ValueInFile {
    Here(Setting),
    There(Reference),
}

impl Variable {
    fn read(table: &TableView<'_>, name: &SpannedStr<'_>, value: TextOrReference<'_>) -> Self {
        if name.text.is_empty()
            || name.text.contains(['=', '\0'])
            || name.text.starts_with("WILCO_")
        {
            let hint = "a name has no =, and does not begin with WILCO_, which wilco uses itself";
            table.error_at(name, "invalid name of an environment variable".into(), hint);
        }
        let value = match value {
            TextOrReference::Reference(reference) => ValueInFile::There(reference),
            TextOrReference::Text(text) => {
                if is_credential_name(name.text) {
                    let message =
                        "a credential is in the file itself, where everyone who reads it sees it"
                            .into();
                    let hint = "such as { env = \"NAME\" }, { file = \"/path\" } or \
                                { credential = \"name\" }";
                    table.warn_at(&text, None, message, hint);
                }
                ValueInFile::Here(Setting(text.text.into()))
            }
        };
        Self { name: name.text.into(), value }
    }

    fn resolve(self, table: &TableView<'_>) -> Option<(String, Setting)> {
        let value = match self.value {
            ValueInFile::Here(value) => value,
            ValueInFile::There(reference) => reference.setting(table)?,
        };
        Some((self.name, value))
    }
}

/// The program and its arguments, with a path that does not depend on `folder`.
fn find_command(
    table: &TableView<'_>,
    mut argv: Vec<String>,
    folder: Option<&PathBuf>,
) -> Option<Vec<String>> {
    let program = match executable(argv.first()?) {
        Ok(program) => program,
        Err(why) => {
            match as_list(&argv) {
                Some(list) => table.error_about(
                    "command",
                    "command is one text, and no program has this name".into(),
                    &format!("write a list: command = {list}"),
                ),
                None => {
                    let hint = "name the program by its full path, and see that it may be executed";
                    table.error_about("command", why, hint);
                }
            }
            return None;
        }
    };
    let program = Some(program).filter(|path| !is_text_without_interpreter(path));
    if let Some(why) = program.as_deref().and_then(first_line_fault) {
        let hint = "the system starts no script with such a first line; such as #!/bin/sh";
        table.warn_about("command", format!("{} cannot be started: {why}", argv[0]), hint);
    }
    if let Some((message, hint)) = missing_script(&argv, folder) {
        table.warn_about("command", message, &hint);
    }
    if folder.is_some() {
        argv[0] = from_here(&argv[0]);
    }
    Some(argv)
}

/// The list that was probably meant by a single text with spaces. An argument that may contain a secret is
/// left out.
fn as_list(argv: &[String]) -> Option<String> {
    let [line] = argv else { return None };
    let argv = shlex::split(line).filter(|argv| argv.len() > 1)?;
    let is_plain = |word: &str| {
        word.starts_with('/') || word.starts_with('-') && !word.contains('=') || word.len() < 8
    };
    let shown = argv.iter().map(|word| if is_plain(word) { word } else { "…" });
    let quoted: Vec<_> = shown.map(|word| format!("{word:?}")).collect();
    Some(format!("[{}]", quoted.join(", ")))
}

/// The path of a program, independent of the working folder.
fn from_here(program: &str) -> String {
    let absolute = program.contains('/').then(|| std::path::absolute(program).ok()).flatten();
    let absolute = absolute.and_then(|path| path.into_os_string().into_string().ok());
    absolute.unwrap_or_else(|| program.into())
}

fn check_folder(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    match fs::metadata(folder) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(format!("{shown} is not a folder; name the one to work in")),
        Err(cause) => Err(format!("cannot find the folder {shown}: {cause}; try mkdir {shown}")),
    }
}

fn limits(keys: &mut TableReader<'_>) -> Limits {
    Limits {
        memory: keys.parse("memory", memory),
        cpu: keys.parse("cpu", cpu),
        files: keys.integer("files"),
        output: keys.parse("output", output).unwrap_or(OUTPUT_BYTES_MAX),
    }
}

fn memory(text: &str) -> Result<u64, String> {
    match size(text)? {
        enough @ MEMORY_BYTES_MIN.. => Ok(enough),
        _ => Err(format!(
            "memory is at least {} MiB; no program starts in less",
            MEMORY_BYTES_MIN >> 20
        )),
    }
}

fn cpu(text: &str) -> Result<u64, String> {
    let time = duration(text)?;
    match time == Duration::from_secs(time.as_secs()) {
        true => Ok(time.as_secs()),
        false => Err(format!("{text:?} is not in whole seconds; write cpu like \"60 s\"")),
    }
}

fn output(text: &str) -> Result<usize, String> {
    let kept = usize::try_from(size(text)?).unwrap_or(usize::MAX);
    match kept {
        1..=OUTPUT_BYTES_MAX => Ok(kept),
        _ => Err(format!("output is from 1 B to {} KiB", OUTPUT_BYTES_MAX >> 10)),
    }
}

/// Only root can become another user, so report that now and not at the first event.
fn find_run_as(table: &TableView<'_>, name: &str) -> Option<RunAs> {
    let accounts = |path| fs::read_to_string(path).unwrap_or_default();
    let found = find(name, &accounts(USERS), &accounts(GROUPS));
    let found = found
        .map_err(|what| table.error_about("run_as", what, &table.example_hint("run_as")))
        .ok()?;
    let own = RunAs { user: geteuid().as_raw(), group: getegid().as_raw() };
    if own.user != 0 && found != own {
        let what = format!("wilco is not root, so it cannot run a program as {name:?}");
        table.error_about("run_as", what, "start wilco as root, or leave run_as out");
        return None;
    }
    Some(found)
}

/// `user` or `user:group`, by name or number.
fn find(text: &str, users: &str, groups: &str) -> Result<RunAs, String> {
    let (user, group) = text.split_once(':').map_or((text, None), |(u, g)| (u, Some(g)));
    let line = line_of(users, user);
    let listed = line.as_ref().and_then(|line| number(line.get(2)?));
    let user_number = listed
        .or_else(|| number(user))
        .ok_or_else(|| format!("user {user:?} not found in {USERS}; is it misspelt?"))?;
    let group_number = match group {
        Some(group) => {
            let line = line_of(groups, group);
            let listed = line.and_then(|line| number(line.get(2)?));
            listed
                .or_else(|| number(group))
                .ok_or_else(|| format!("group {group:?} not found in {GROUPS}; is it misspelt?"))?
        }
        None => line.and_then(|line| number(line.get(3)?)).ok_or_else(|| {
            format!("user {user} has no group in {USERS}; write run_as = \"{user}:GROUP\"")
        })?,
    };
    Ok(RunAs { user: user_number, group: group_number })
}

/// For setuid(2) and similar calls, the greatest number means "no change".
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number != u32::MAX)
}

/// The fields of the line of a name or number (passwd(5), group(5)).
fn line_of<'a>(accounts: &'a str, wanted: &str) -> Option<Vec<&'a str>> {
    let lines = || accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let by_name = lines().find(|line| line.first() == Some(&wanted));
    by_name.or_else(|| lines().find(|line| line.get(2) == Some(&wanted)))
}

/// The smallest memory limit of a program, in bytes.
const MEMORY_BYTES_MIN: u64 = 1 << 20;
const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

#[cfg(test)]
mod tests {
    use super::*;

    const SOME_USERS: &str = "root:x:0:0:root:/root:/bin/sh\n\n# x\nerp:x:1001:2001::/srv:/bin/sh\n\
                              7:x:1007:2007::/:/bin/sh\nbroken:x:y\n";
    const SOME_GROUPS: &str = "root:x:0:\nerp:x:2001:\nmail:x:8:erp\n";

    #[test]
    fn a_user_is_found_by_name_or_number_with_its_group() {
        for (text, expected) in [
            ("erp", Ok((1001, 2001))),
            ("1001", Ok((1001, 2001))),
            ("erp:mail", Ok((1001, 8))),
            ("erp:12", Ok((1001, 12))),
            ("55:66", Ok((55, 66))),
            ("7", Ok((1007, 2007))),
            ("55", Err("user 55 has no group in /etc/passwd; write run_as = \"55:GROUP\"")),
            ("epr", Err("user \"epr\" not found in /etc/passwd; is it misspelt?")),
            ("broken", Err("user \"broken\" not found in /etc/passwd; is it misspelt?")),
            ("", Err("user \"\" not found in /etc/passwd; is it misspelt?")),
            ("4294967295:1", Err("user \"4294967295\" not found in /etc/passwd; is it misspelt?")),
            ("-1:0", Err("user \"-1\" not found in /etc/passwd; is it misspelt?")),
            ("erp:male", Err("group \"male\" not found in /etc/group; is it misspelt?")),
            ("erp:", Err("group \"\" not found in /etc/group; is it misspelt?")),
        ] {
            let expected =
                expected.map(|(user, group)| RunAs { user, group }).map_err(String::from);
            assert_eq!(find(text, SOME_USERS, SOME_GROUPS), expected, "{text:?}");
        }
    }

    #[test]
    fn processor_time_is_in_whole_seconds() {
        for (text, expected) in [("1 s", Some(1)), ("2 min", Some(120)), ("1500 ms", None)] {
            assert_eq!(cpu(text).ok(), expected, "{text}");
        }
    }
}
