//! The launcher: a process between this one and its successor, which starts the successor and ends with it.
//!
//! It is killed once the successor serves, so that the successor becomes a child of the service manager
//! before that learns its process id. systemd does not wait for the end of a main process that is not its
//! child, but kills it.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitCode, ExitStatus},
};

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit},
};

/// The first argument of a launcher. The limit on open files follows, then the program and its arguments.
pub(super) const VERB: &str = "launch";
/// What it writes to its stdin: the id of the successor, or the negative error number.
pub(super) type Launched = [u8; size_of::<i32>()];

/// If this process is a launcher, does its work and returns the exit code: that of the successor.
pub(crate) fn launcher(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if arguments.next()? != VERB {
        return None;
    }
    let (Some(files), Some(program)) = (arguments.next(), arguments.next()) else {
        // If stderr is closed, this cannot be reported anywhere.
        let _ = writeln!(io::stderr(), "`wilco launch` is for internal use; see `wilco --help`");
        return Some(ExitCode::from(2));
    };
    let status = launch(&files, &program, arguments);
    let code = status.ok().and_then(|status| {
        status.code().or_else(|| status.signal().map(|signal| SIGNAL_BASE + signal))
    });
    let code = code.and_then(|code| u8::try_from(code).ok());
    Some(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn launch(
    files: &OsStr,
    program: &OsStr,
    arguments: impl Iterator<Item = OsString>,
) -> io::Result<ExitStatus> {
    // If this process's parent crashes, the successor serves without a launcher.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    if let Some(soft) = files.to_str().and_then(|files| files.parse().ok()) {
        let limit = Rlimit { current: Some(soft), ..getrlimit(Resource::Nofile) };
        // If that is forbidden, the programs of destinations get the raised limit.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let successor = Command::new(program).args(arguments).spawn();
    let launched = match &successor {
        Ok(successor) => i32::try_from(successor.id()).map_err(io::Error::other)?,
        Err(error) => -error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()),
    };
    let mut channel = File::from(rustix::stdio::stdin().try_clone_to_owned()?);
    channel.write_all(&launched.to_ne_bytes())?;
    drop(channel);
    // The channel has to be closed when the successor ends.
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    successor?.wait()
}

/// What shells add to the number of a signal.
const SIGNAL_BASE: i32 = 128;
