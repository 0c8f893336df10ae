//! The warden: a process that starts the program, and that ends last of all that the program started.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use rustix::{
    io::Errno,
    process::{
        Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getpgid, getpid, getppid,
        getrlimit, kill_process, kill_process_group, set_child_subreaper,
        set_parent_process_death_signal, setrlimit, wait,
    },
    stdio::{dup2_stdin, dup2_stdout},
};
use tokio::{
    signal::unix::{Signal as Signals, SignalKind, signal},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::config::{find_program, first_line_fault, is_text_without_interpreter};

use super::{
    AT_ONCE, KILL_GRACE, NOT_EXECUTABLE, NOT_FOUND, OWN_PROGRAM, ROUND, SIGNAL_BASE, Stage,
    TERM_GRACE, Terms, VERB, descendants, tell,
};

/// Does what the arguments behind the verb say.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some((stage, terms)) = Terms::read(arguments) else {
        return say(2, "wilco guest is for wilco's own use; see `wilco --help`");
    };
    // As it runs through /proc/self/exe, `ps` would call it "exe".
    let _ = fs::write("/proc/self/comm", "wilco-guest");
    match stage {
        Stage::Become => cannot_start(&terms, &r#become(&terms)),
        Stage::Keep => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime.and_then(|runtime| runtime.block_on(keep(&terms))) {
                Ok(status) => end_like(status),
                Err(error) => cannot_start(&terms, &error),
            }
        }
    }
}

/// Runs the program to its end, and to that of all that it started.
async fn keep(terms: &Terms) -> io::Result<Option<WaitStatus>> {
    let mut heard = Heard::listen()?;
    set_child_subreaper(Some(getpid()))?;
    // It is sent when a thread of the host ends, too; whether the host itself is gone is looked up.
    set_parent_process_death_signal(Some(Signal::HUP))?;
    if getppid() != Some(terms.host) {
        return Ok(None);
    }
    restore_file_limit(terms)?;
    let program = start(terms)?;
    leave_pipes()?;
    let mut family = Family { program, ended: None };
    let mut kill_at = None;
    while family.reap() && family.ended.is_none() {
        tokio::select! {
            _ = heard.child.recv() => {}
            _ = heard.terminate.recv() => kill_at = kill_at.or_else(|| Some(family.terminate())),
            _ = heard.interrupt.recv() => kill_at = kill_at.or_else(|| Some(family.terminate())),
            _ = heard.hangup.recv() => {
                if getppid() != Some(terms.host) {
                    kill_at = kill_at.or_else(|| Some(family.terminate()));
                }
            }
            _ = heard.at_once.recv() => break,
            () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => break,
        }
    }
    if timeout(KILL_GRACE, family.kill_all()).await.is_err() {
        let left: Vec<_> = descendants(getpid()).iter().map(ToString::to_string).collect();
        say(0, &format!("processes that could not be killed are left: {}", left.join(", ")));
    }
    Ok(family.ended)
}

/// Gives back the soft limit on open files that wilco was started with: a program that uses `select`
/// fails, or worse, with a descriptor above 1,023.
fn restore_file_limit(terms: &Terms) -> io::Result<()> {
    let Some(current) = terms.own_files else { return Ok(()) };
    let limit = Rlimit { current: Some(current), ..getrlimit(Resource::Nofile) };
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// Starts the program. Where it has limits there is a step in between, for they cannot be set on a
/// process that has begun, and the warden's own would leave it no room.
fn start(terms: &Terms) -> io::Result<Pid> {
    // Those that change something before they run it would have a shell read it (execvp(3)).
    let is_exec = terms.has_limits() || terms.run_as.is_some();
    if is_exec && path_of(terms).as_deref().is_some_and(is_text_without_interpreter) {
        return Err(Errno::NOEXEC.into());
    }
    let mut command = match terms.has_limits() {
        true => {
            let mut command = Command::new(OWN_PROGRAM);
            command.arg0("wilco").arg(VERB).args(terms.arguments(Stage::Become));
            command
        }
        false => program(terms),
    };
    // `Family::reap` waits for it.
    let child = command.process_group(0).spawn()?;
    Ok(Pid::from_child(&child))
}

/// Takes the limits on this process and becomes the program; what comes back is why not.
fn r#become(terms: &Terms) -> io::Error {
    let mut program = program(terms);
    let limits = [
        (Resource::Cpu, terms.cpu, CPU_GRACE_SECS),
        (Resource::Nofile, terms.files, 0),
        (Resource::As, terms.memory, 0),
    ];
    for (resource, wanted, grace) in limits {
        let Some(wanted) = wanted else { continue };
        // More than wilco itself may have is not to be had.
        let own = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let maximum = Some(own.min(wanted.saturating_add(grace)));
        if let Err(error) = setrlimit(resource, Rlimit { current: Some(own.min(wanted)), maximum })
        {
            return error.into();
        }
    }
    program.exec()
}

fn program(terms: &Terms) -> Command {
    let mut command = Command::new(terms.words.first().cloned().unwrap_or_default());
    command.args(terms.words.iter().skip(1));
    if let Some(folder) = &terms.folder {
        command.current_dir(folder);
    }
    if let Some(who) = terms.run_as {
        // With the user the groups of root are given up as well.
        command.gid(who.group).uid(who.user);
    }
    command
}

/// Leaves the pipes to the program, so that wilco sees when it closes them.
fn leave_pipes() -> io::Result<()> {
    let nothing = fs::File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nothing)?;
    Ok(dup2_stdout(&nothing)?)
}

struct Heard {
    child: Signals,
    terminate: Signals,
    interrupt: Signals,
    hangup: Signals,
    at_once: Signals,
}

impl Heard {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            at_once: signal(SignalKind::from_raw(AT_ONCE.as_raw()))?,
        })
    }
}

/// The program, and all that it started.
struct Family {
    program: Pid,
    ended: Option<WaitStatus>,
}

impl Family {
    /// Takes note of who has ended. False if nobody is left.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.program => self.ended = Some(status),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Asks all of them to end, each once: to some programs a second SIGTERM means at once. Gives the
    /// time at which they are to be killed.
    fn terminate(&self) -> Instant {
        let _ = kill_process_group(self.program, Signal::TERM);
        for pid in descendants(getpid()) {
            if getpgid(Some(pid)).is_ok_and(|group| group != self.program) {
                tell(getpid(), pid, Signal::TERM);
            }
        }
        Instant::now() + TERM_GRACE
    }

    /// What loses its parent becomes a child of this process, so that no child means nobody.
    async fn kill_all(&mut self) {
        while self.reap() {
            for pid in descendants(getpid()) {
                tell(getpid(), pid, Signal::KILL);
            }
            if self.reap() {
                sleep(ROUND).await;
            }
        }
    }
}

/// Ends this process as the program ended.
fn end_like(status: Option<WaitStatus>) -> ExitCode {
    let signal = status.and_then(WaitStatus::terminating_signal);
    let code = match (status.and_then(WaitStatus::exit_status), signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => {
            if let Some(signal) = Signal::from_named_raw(signal) {
                let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
                let _ = kill_process(getpid(), signal);
            }
            SIGNAL_BASE + signal
        }
        (None, None) => SIGNAL_BASE + Signal::KILL.as_raw(),
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Where the program is, as this process sees it.
fn path_of(terms: &Terms) -> Option<PathBuf> {
    find_program(terms.words.first()?.to_str()?)
}

fn cannot_start(terms: &Terms, error: &io::Error) -> ExitCode {
    let code = match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    let program = terms.words.first().cloned().unwrap_or_default();
    // The error alone does not say which of the two is not there, nor that it is the interpreter.
    let folder = terms.folder.as_ref().filter(|folder| !folder.is_dir());
    let why = match (folder, path_of(terms).as_deref().and_then(first_line_fault)) {
        (Some(folder), _) => format!("in {}: {error}", folder.display()),
        (None, Some(fault)) => fault,
        (None, None) => error.to_string(),
    };
    say(code, &format!("cannot start {}: {why}", program.display()))
}

/// A line to whoever keeps the output, and the code to exit with.
fn say(code: i32, line: &str) -> ExitCode {
    // There is nowhere left to say that stderr is closed.
    let _ = writeln!(io::stderr(), "{line}");
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// From SIGXCPU, which a program may catch, to SIGKILL.
const CPU_GRACE_SECS: u64 = 1;
