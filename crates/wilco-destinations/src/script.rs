//! Programs and scripts as files: where they are, and why one that exists cannot be started. For a script
//! with an invalid first line the system reports only "No such file or directory".

use std::{
    env,
    ffi::OsString,
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

/// The path of a program: as given, or of the first executable with its name in `PATH`.
pub(crate) fn find_program(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(program.into());
    }
    env::split_paths(&search_path()).map(|folder| folder.join(program)).find(|path| may_run(path))
}

/// The `PATH` in which programs are looked up.
pub(crate) fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into())
}

/// The path of a program that may be executed.
pub(crate) fn executable(program: &str) -> Result<PathBuf, String> {
    let path = find_program(program).ok_or_else(|| format!("no program {program:?} in PATH"))?;
    match fs::metadata(&path) {
        Err(cause) => Err(format!("cannot find {program}: {cause}")),
        Ok(_) if may_run(&path) => Ok(path),
        Ok(_) => Err(format!("{program} is not an executable file; try chmod +x {program}")),
    }
}

/// Why a program cannot be started, judging by its first line.
pub(crate) fn first_line_fault(program: &Path) -> Option<String> {
    fault(&head(program)?, |path| access(path, Access::EXEC_OK).is_ok())
}

/// Whether a program is a script whose first line ends in CRLF.
pub(crate) fn has_crlf(program: &Path) -> bool {
    head(program).is_some_and(|head| line(&head).is_some_and(|line| line.ends_with(b"\r")))
}

/// Whether a program is a text file that names no interpreter. execvp(3) passes such a file to a shell.
pub(crate) fn is_text_without_interpreter(program: &Path) -> bool {
    head(program).is_some_and(|head| line(&head).is_none() && !head.contains(&0))
}

fn head(program: &Path) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    fs::File::open(program).ok()?.take(FIRST_LINE_BYTES_MAX).read_to_end(&mut head).ok()?;
    Some(head)
}

/// The rest of the first line after `#!`.
fn line(head: &[u8]) -> Option<&[u8]> {
    head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()
}

fn fault(head: &[u8], may_run: impl Fn(&str) -> bool) -> Option<String> {
    if head.starts_with(b"\x7fELF") {
        return None;
    }
    let line = line(head).map(String::from_utf8_lossy).unwrap_or_default();
    if line.ends_with('\r') {
        return Some("its first line ends in CRLF: save it with Unix line ends (LF)".into());
    }
    match line.split_ascii_whitespace().next() {
        None => {
            Some("its first line names no interpreter: begin it with #!/bin/sh or the like".into())
        }
        Some(path) if !may_run(path) => Some(format!(
            "the interpreter {path:?} of its first line is missing or may not be executed"
        )),
        Some(_) => None,
    }
}

/// A warning and a hint if the script that an interpreter is to run does not exist.
pub(crate) fn missing_script(
    words: &[String],
    folder: Option<&PathBuf>,
) -> Option<(String, String)> {
    let name = Path::new(words.first()?).file_name()?.to_str()?;
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let script = words.get(1).filter(|word| !word.starts_with('-'))?;
    let path = folder.map_or_else(|| script.into(), |folder| folder.join(script));
    (INTERPRETERS.contains(&name) && !path.exists()).then(|| {
        let message = format!("{name} cannot find the script that the command names");
        (message, "name the script by its full path".into())
    })
}

fn may_run(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What is searched where wilco has no `PATH`, as systemd sets it.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const INTERPRETERS: [&str; 8] = ["bash", "node", "perl", "php", "python", "ruby", "sh", "deno"];
/// How much of the first line the kernel reads (`BINPRM_BUF_SIZE`).
const FIRST_LINE_BYTES_MAX: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_says_why_a_script_cannot_be_started() {
        let crlf = Some("its first line ends in CRLF: save it with Unix line ends (LF)");
        let none = Some("its first line names no interpreter: begin it with #!/bin/sh or the like");
        for (head, expected) in [
            (&b"#!/bin/sh\necho\r\n"[..], None),
            (b"#! /bin/sh -e\n", None),
            (b"#!/bin/sh", None),
            (b"\x7fELF\x02", None),
            (b"#!/bin/sh\r\necho\r\n", crlf),
            (b"#!/usr/bin/env python3\r\n", crlf),
            (b"#!/bin/sh -e\r", crlf),
            (
                b"#!/opt/py \xff\n",
                Some(
                    "the interpreter \"/opt/py\" of its first line is missing or may not be executed",
                ),
            ),
            (b"echo hello\n", none),
            (b"echo hello\r\n", none),
            (b"\xef\xbb\xbf#!/bin/sh\n", none),
            (b"#! \n", none),
            (b"", none),
        ] {
            let may_run = |path: &str| path == "/bin/sh" || path == "/usr/bin/env";
            assert_eq!(fault(head, may_run).as_deref(), expected, "{head:?}");
        }
    }
}
