//! Values that name something outside of the file: addresses, files, programs.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt as _, path::PathBuf};

use wilco_config::is_path;

use crate::config::{Address, folder_of};

/// `0.0.0.0:443`, `[::]:443`, `unix:/run/wilco/wilco.sock`.
///
/// # Errors
///
/// It is none, and how one is written.
pub fn address(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Address::Unix(path.into()));
    }
    text.parse::<SocketAddr>().map(Address::Tcp).map_err(|_| {
        format!(
            "invalid address {text:?}: expected IP:PORT, such as \"0.0.0.0:443\", or \"unix:PATH\""
        )
    })
}

/// A file that can be read now.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    // What does not look like a path may be what belongs into the file.
    let shown = if is_path(text) { text } else { "the file that it names" };
    fs::File::open(text).map_err(|cause| format!("cannot read {shown}: {cause}"))?;
    Ok(text.into())
}

/// A file that may not be there yet, in a folder that is.
pub(crate) fn growing(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let folder = folder_of(&path);
    match fs::metadata(folder) {
        Err(cause) => return Err(format!("cannot find the folder {}: {cause}", folder.display())),
        Ok(found) if !found.is_dir() => return Err(format!("{} is no folder", folder.display())),
        Ok(_) => {}
    }
    match fs::metadata(&path) {
        Ok(found) if !found.is_file() => Err(format!("{text} is no regular file")),
        _ if path.file_name().is_none() => Err(format!("{text:?} names no file")),
        _ => Ok(path),
    }
}

/// Reads a command as a shell would split it, and sees that its program can be run.
///
/// # Errors
///
/// It cannot be split, or its program cannot be run.
pub fn command_line(line: &str) -> Result<Vec<String>, String> {
    let words = shlex::split(line).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| format!("{line:?} is no command; is a quote left open?"))?;
    executable(&words[0])?;
    Ok(words)
}

/// A program that is there and may be executed.
pub(crate) fn executable(program: &str) -> Result<(), String> {
    if !program.contains('/') {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|folder| may_run(&folder.join(program)));
        return if found { Ok(()) } else { Err(format!("no program {program:?} in PATH")) };
    }
    match fs::metadata(program) {
        Err(cause) => Err(format!("cannot find {program}: {cause}")),
        Ok(_) if may_run(program.as_ref()) => Ok(()),
        Ok(_) => Err(format!("{program} is not an executable file; try chmod +x {program}")),
    }
}

fn may_run(path: &std::path::Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
