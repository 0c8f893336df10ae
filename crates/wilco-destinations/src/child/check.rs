//! Checks whether a program can be started. A separate process becomes the program's user and enters its
//! folder, because only the kernel knows what that user may do.

use std::{env, ffi::OsStr, process::Stdio};

use rustix::{
    fs::{Access, access},
    process::{Gid, Uid, geteuid},
    thread::{set_thread_gid, set_thread_groups, set_thread_uid},
};

use crate::script::{first_line_fault, search_path};

use super::{LaunchSpec, OWN_PROGRAM, Program, Stage, VERB};

/// Starts that process. `Err` says why the program cannot be started.
pub(crate) async fn check(program: &Program) -> Result<(), String> {
    let checking = tokio::process::Command::new(OWN_PROGRAM)
        .arg0("wilco")
        .arg(VERB)
        .args(LaunchSpec::of(program).arguments(Stage::Check))
        .env_clear()
        .env("PATH", search_path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = checking.await.map_err(|error| format!("cannot start a process: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(output.stderr.trim_ascii()).into_owned()),
    }
}

/// The work of that process.
pub(crate) fn find_fault(spec: &LaunchSpec) -> Result<(), String> {
    if let Some(who) = spec.run_as {
        let groups = if geteuid().is_root() { set_thread_groups(&[]) } else { Ok(()) };
        let become_user = groups
            .and_then(|()| set_thread_gid(Gid::from_raw(who.group)))
            .and_then(|()| set_thread_uid(Uid::from_raw(who.user)));
        become_user.map_err(|error| format!("cannot become user {}: {error}", who.user))?;
    }
    if let Some(folder) = &spec.folder {
        let failed = |error| format!("cannot enter the folder {}: {error}", folder.display());
        env::set_current_dir(folder).map_err(failed)?;
    }
    let name = spec.argv.first().map(OsStr::new).unwrap_or_default().display();
    let path = spec.path().ok_or_else(|| format!("found no program {name} in PATH"))?;
    access(&path, Access::EXEC_OK).map_err(|error| format!("cannot execute {name}: {error}"))?;
    match spec.is_read_by_shell() {
        true => Ok(()),
        false => first_line_fault(&path).map_or(Ok(()), |why| Err(format!("{name}: {why}"))),
    }
}
