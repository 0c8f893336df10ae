//! What the kernel knows about a process: `/proc/PID`.

use std::{fs, io, time::Duration};

/// The CPU time of process `id` so far, all threads, in user and in kernel mode.
///
/// # Errors
///
/// There is no such process.
pub(crate) fn cpu_time(id: u32) -> io::Result<Duration> {
    cpu(&fs::read_to_string(format!("/proc/{id}/stat"))?)
}

/// The CPU time of one thread of this process.
///
/// # Errors
///
/// There is no such thread.
pub(crate) fn thread_cpu_time(thread: i32) -> io::Result<Duration> {
    cpu(&fs::read_to_string(format!("/proc/self/task/{thread}/stat"))?)
}

fn cpu(stat: &str) -> io::Result<Duration> {
    let ticks = ticks(stat).ok_or_else(|| io::Error::other("/proc/PID/stat is not as expected"))?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_millis(ticks * 1_000 / per_second.max(1)))
}

/// The most memory that process `id` has held at once, in KiB.
///
/// # Errors
///
/// There is no such process.
pub(crate) fn peak_kib(id: u32) -> io::Result<u64> {
    kib(id, "VmHWM:")
}

/// The memory that process `id` holds now, in KiB.
///
/// # Errors
///
/// There is no such process.
pub(crate) fn held_kib(id: u32) -> io::Result<u64> {
    kib(id, "VmRSS:")
}

fn kib(id: u32, name: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    field(&status, name).ok_or_else(|| io::Error::other(format!("/proc/PID/status has no {name}")))
}

/// The sum of `utime` and `stime`. They are counted from the end of the program's name, which may
/// hold blanks and parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let mut numbers = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = numbers.next()?.parse().ok()?;
    let system: u64 = numbers.next()?.parse().ok()?;
    Some(user + system)
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_does_not_shift_its_cpu_time() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 9 9 20 0 3 0 1 2 3";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (a"), None);
    }

    #[test]
    fn this_process_has_a_peak() {
        assert!(peak_kib(std::process::id()).unwrap() > 100);
        assert!(cpu_time(std::process::id()).is_ok());
    }
}
