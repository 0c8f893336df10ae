//! The process tree: which process started which, according to `/proc` (proc(5)).

use std::{collections::HashMap, fs, iter::successors, path::Path};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal},
};

/// All descendants of the process `of`, nearest first.
pub(crate) fn descendants(of: Pid) -> Vec<Pid> {
    // A kernel can be built without the lists of children.
    let look: Box<dyn Fn(Pid) -> Vec<Pid>> = match Path::new("/proc/thread-self/children").exists()
    {
        true => Box::new(children),
        false => {
            let all = all_processes();
            Box::new(move |parent| all.get(&parent).cloned().unwrap_or_default())
        }
    };
    let mut found = look(of);
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        let new: Vec<_> = look(*parent).into_iter().filter(|pid| !found.contains(pid)).collect();
        found.extend(new);
        next += 1;
    }
    found
}

/// Sends a signal to a descendant of `of`. It may have ended since it was listed, and its number may have
/// been reused. So the pidfd is opened before the parents are looked up: the signal cannot reach a process
/// that was not checked.
pub(crate) fn signal_descendant(of: Pid, pid: Pid, signal: Signal) {
    let process = pidfd_open(pid, PidfdFlags::empty());
    if !descends(pid, of) {
        return;
    }
    // It fails if the process has ended, or belongs to another user, as the next listing will show.
    let _ = match process {
        Ok(process) => pidfd_send_signal(process, signal),
        // Kernels before 5.3, and sandboxes that do not allow it.
        Err(Errno::NOSYS | Errno::PERM) => kill_process(pid, signal),
        Err(ended) => Err(ended),
    };
}

/// Whether this process is an ancestor of another. An ancestor that ends meanwhile hides those above it, so
/// a negative result is checked again.
fn descends(pid: Pid, of: Pid) -> bool {
    (0..LOOKS).any(|_| successors(parent(pid), |above| parent(*above)).any(|above| above == of))
}

/// The parent of a process that exists.
fn parent(of: Pid) -> Option<Pid> {
    // The name before it, in parentheses, may contain anything.
    let stat = fs::read(format!("/proc/{of}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(1).and_then(pid)
}

fn children(of: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(pid).collect::<Vec<_>>()).collect()
}

/// All processes, by their parents.
fn all_processes() -> HashMap<Pid, Vec<Pid>> {
    let mut all: HashMap<Pid, Vec<Pid>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let found = entry.file_name().to_str().and_then(pid);
        if let Some((found, parent)) = found.and_then(|found| Some((found, parent(found)?))) {
            all.entry(parent).or_default().push(found);
        }
    }
    all
}

fn pid(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

const LOOKS: usize = 3;

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn descendants_are_found_with_and_without_the_lists_of_children() {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", "sleep 60 & sh -c 'sleep 61 & echo up; wait'; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = shell.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        let of = Pid::from_child(&shell);
        let found = descendants(of);
        assert!(found.len() >= 3, "{found:?}");
        let all = all_processes();
        for child in &found {
            let parent = parent(*child).unwrap();
            assert!(parent == of || found.contains(&parent), "{found:?}");
            assert!(all[&parent].contains(child), "{found:?}");
        }
        for pid in found.into_iter().chain([of]) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        shell.wait().unwrap();
    }

    #[test]
    fn only_a_descendant_is_signalled() {
        let sleep = || Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let (mut other, mut ours) = (sleep(), sleep());
        let target = Pid::from_child(&ours);
        signal_descendant(Pid::from_child(&other), target, Signal::KILL);
        // A signal that had been sent would be pending, and come before this one.
        signal_descendant(rustix::process::getpid(), target, Signal::TERM);
        let status = ours.wait().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(Signal::TERM.as_raw()));
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn a_child_of_a_child_descends_from_both() {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = shell.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        let (of, below) = (Pid::from_child(&shell), pid(line.trim()).unwrap());
        assert!(descends(below, of) && descends(below, rustix::process::getpid()));
        assert!(!descends(of, below) && !descends(of, of));
        signal_descendant(of, below, Signal::KILL);
        shell.wait().unwrap();
    }
}
