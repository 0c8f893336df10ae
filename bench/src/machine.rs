//! What the figures were taken on: without it they say nothing.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

use crate::args;

/// Cores, kernel, and the disk under the stores.
pub(crate) struct Machine {
    /// How many cores servers and load share.
    pub(crate) cores: usize,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The file system's type: `ext4`.
    pub(crate) file_system: String,
    /// The median time of an append of 4 KiB and its `fdatasync`.
    pub(crate) sync: Duration,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, kernel, file_system, sync } = self;
        let sync_ms = sync.as_secs_f64() * 1e3;
        write!(f, "{cores} cores, Linux {kernel}, {file_system}, sync {sync_ms:.2} ms")
    }
}

impl Machine {
    /// Looks at this machine, and tries the disk that `dir` is on.
    ///
    /// # Errors
    ///
    /// `dir` is in memory, where a sync does nothing, or cannot be written to.
    pub(crate) fn examine(dir: &Path) -> io::Result<Self> {
        let file_system = file_system(&fs::read_to_string("/proc/self/mountinfo")?, dir);
        if ["tmpfs", "ramfs"].contains(&file_system.as_str()) {
            return Err(io::Error::other(format!(
                "{} is on {file_system}, where a sync does nothing; name a disk with --dir DIR",
                dir.display()
            )));
        }
        Ok(Self {
            cores: args::cores(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            file_system,
            sync: sync_time(dir)?,
        })
    }
}

/// The type of the file system that holds `dir`: that of the longest mount point above it. Of two
/// mounts at one place the later one hides the earlier.
fn file_system(mountinfo: &str, dir: &Path) -> String {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let point = PathBuf::from(mount.split(' ').nth(4)?);
        let depth = point.components().count();
        dir.starts_with(point).then_some((depth, file_system.split(' ').next()?))
    });
    let nearest = mounts.max_by_key(|(depth, _)| *depth);
    nearest.map_or("unknown", |(_, file_system)| file_system).to_owned()
}

fn sync_time(dir: &Path) -> io::Result<Duration> {
    let mut file = File::create_new(dir.join("sync"))?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&[0; 4_096])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[SYNCS / 2])
}

const SYNCS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_point_above_a_folder_tells_its_file_system() {
        let mountinfo = "1 0 8:1 / / rw - ext4 /dev/a rw\n\
                         2 1 0:5 / /tmp rw shared:1 - xfs /dev/b rw\n\
                         3 1 0:6 / /tmp rw - tmpfs tmpfs rw\n";
        for (dir, expected) in
            [("/var/x", "ext4"), ("/tmp/x", "tmpfs"), ("/tmpx", "ext4"), ("x", "unknown")]
        {
            assert_eq!(file_system(mountinfo, Path::new(dir)), expected, "{dir}");
        }
    }
}
