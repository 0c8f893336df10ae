//! The supervisor: a process that starts the program, and ends only after everything that the program
//! started has ended.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
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
    signal::unix::{Signal as SignalStream, SignalKind, signal},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::script::first_line_fault;

use super::{
    KILL_AT_ONCE, KILL_GRACE, LaunchSpec, NOT_EXECUTABLE, NOT_FOUND, OWN_PROGRAM, ROUND,
    SIGNAL_BASE, Stage, TERM_GRACE, VERB, descendants, find_fault, signal_descendant,
};

/// Runs a supervisor process with the arguments after the verb.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some((stage, spec)) = LaunchSpec::read(arguments) else {
        print("`wilco supervise` is for internal use; see `wilco --help`");
        return exit_code(2);
    };
    // Because it was started as /proc/self/exe, `ps` would call it "exe".
    let _ = fs::write("/proc/self/comm", "wilco-supervise");
    match stage {
        Stage::Become => cannot_start(&spec, &become_program(&spec)),
        Stage::Check => match find_fault(&spec) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                print(&why);
                exit_code(1)
            }
        },
        Stage::Supervise => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime.and_then(|runtime| runtime.block_on(supervise(&spec))) {
                Ok(status) => end_like(status),
                Err(error) => cannot_start(&spec, &error),
            }
        }
    }
}

/// Runs the program, and waits until it and everything that it started have ended.
async fn supervise(spec: &LaunchSpec) -> io::Result<Option<WaitStatus>> {
    let mut signals = Signals::listen()?;
    set_child_subreaper(Some(getpid()))?;
    // The signal is also sent when only a thread of the parent ends, so check whether the parent has ended.
    set_parent_process_death_signal(Some(Signal::HUP))?;
    if getppid() != Some(spec.parent) {
        return Ok(None);
    }
    restore_file_limit(spec)?;
    let program = start(spec)?;
    leave_pipes()?;
    let mut tree = ProcessTree { program, ended: None };
    let mut kill_at = None;
    while tree.reap() && tree.ended.is_none() {
        tokio::select! {
            _ = signals.child.recv() => {}
            _ = signals.terminate.recv() => kill_at = kill_at.or_else(|| Some(tree.terminate())),
            _ = signals.interrupt.recv() => kill_at = kill_at.or_else(|| Some(tree.terminate())),
            _ = signals.hangup.recv() => {
                if getppid() != Some(spec.parent) {
                    kill_at = kill_at.or_else(|| Some(tree.terminate()));
                }
            }
            _ = signals.kill.recv() => break,
            () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => break,
        }
    }
    if timeout(KILL_GRACE, tree.kill_all()).await.is_err() {
        let left: Vec<_> = descendants(getpid()).iter().map(ToString::to_string).collect();
        print(&format!("these processes could not be killed: {}", left.join(", ")));
    }
    Ok(tree.ended)
}

/// Restores the soft limit on open files that wilco was started with: a program that uses `select` fails
/// or corrupts memory with a descriptor above 1,023.
fn restore_file_limit(spec: &LaunchSpec) -> io::Result<()> {
    let Some(current) = spec.initial_files else { return Ok(()) };
    let limit = Rlimit { current: Some(current), ..getrlimit(Resource::Nofile) };
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// Starts the program. If it has limits, an intermediate process sets them for itself: they cannot be set
/// for a process that already runs, and must not apply to the supervisor.
fn start(spec: &LaunchSpec) -> io::Result<Pid> {
    if spec.is_text_without_interpreter() && !spec.is_read_by_shell() {
        return Err(Errno::NOEXEC.into());
    }
    let mut command = match spec.has_limits() {
        true => {
            let mut command = Command::new(OWN_PROGRAM);
            command.arg0("wilco").arg(VERB).args(spec.arguments(Stage::Become));
            command
        }
        false => program(spec),
    };
    // `ProcessTree::reap` waits for it.
    let child = command.process_group(0).spawn()?;
    Ok(Pid::from_child(&child))
}

/// Sets the limits for this process and executes the program; returns only on failure.
fn become_program(spec: &LaunchSpec) -> io::Error {
    let mut program = program(spec);
    let limits = [
        (Resource::Cpu, spec.cpu, CPU_GRACE_SECS),
        (Resource::Nofile, spec.files, 0),
        (Resource::As, spec.memory, 0),
    ];
    for (resource, wanted, grace) in limits {
        let Some(wanted) = wanted else { continue };
        // The program cannot get more than wilco itself has.
        let own = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let maximum = Some(own.min(wanted.saturating_add(grace)));
        if let Err(error) = setrlimit(resource, Rlimit { current: Some(own.min(wanted)), maximum })
        {
            return error.into();
        }
    }
    program.exec()
}

fn program(spec: &LaunchSpec) -> Command {
    let mut command = Command::new(spec.argv.first().cloned().unwrap_or_default());
    command.args(spec.argv.iter().skip(1));
    if let Some(folder) = &spec.folder {
        command.current_dir(folder);
    }
    if let Some(who) = spec.run_as {
        // Setting the user drops the supplementary groups of root as well.
        command.gid(who.group).uid(who.user);
    }
    command
}

/// Closes the pipes of this process, so that wilco sees when the program closes them.
fn leave_pipes() -> io::Result<()> {
    let nothing = fs::File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nothing)?;
    Ok(dup2_stdout(&nothing)?)
}

struct Signals {
    child: SignalStream,
    terminate: SignalStream,
    interrupt: SignalStream,
    hangup: SignalStream,
    kill: SignalStream,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            kill: signal(SignalKind::from_raw(KILL_AT_ONCE.as_raw()))?,
        })
    }
}

/// The program and everything that it started.
struct ProcessTree {
    program: Pid,
    ended: Option<WaitStatus>,
}

impl ProcessTree {
    /// Collects the processes that have ended. `false` if none is left.
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

    /// Sends SIGTERM to all of them, once each, because some programs abort at a second one. Returns when
    /// it is time to kill them.
    fn terminate(&self) -> Instant {
        let _ = kill_process_group(self.program, Signal::TERM);
        for pid in descendants(getpid()) {
            if getpgid(Some(pid)).is_ok_and(|group| group != self.program) {
                signal_descendant(getpid(), pid, Signal::TERM);
            }
        }
        Instant::now() + TERM_GRACE
    }

    /// A process whose parent ends becomes a child of this one, so no child means that none is left.
    async fn kill_all(&mut self) {
        while self.reap() {
            for pid in descendants(getpid()) {
                signal_descendant(getpid(), pid, Signal::KILL);
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
    exit_code(code)
}

fn cannot_start(spec: &LaunchSpec, error: &io::Error) -> ExitCode {
    let code = match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    let program = spec.argv.first().cloned().unwrap_or_default();
    // The error alone does not say whether the folder, the program or its interpreter is missing.
    let folder = spec.folder.as_ref().filter(|folder| !folder.is_dir());
    let why = match (folder, spec.path().as_deref().and_then(first_line_fault)) {
        (Some(folder), _) => format!("in {}: {error}", folder.display()),
        (None, Some(fault)) => fault,
        (None, None) => error.to_string(),
    };
    print(&format!("cannot start {}: {why}", program.display()));
    exit_code(code)
}

/// Writes a line to the output that is kept.
fn print(line: &str) {
    // If stderr is closed, this cannot be reported anywhere.
    let _ = writeln!(io::stderr(), "{line}");
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// The time from SIGXCPU, which a program may catch, to SIGKILL.
const CPU_GRACE_SECS: u64 = 1;
