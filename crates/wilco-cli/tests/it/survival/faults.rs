//! A disk that fails, a disk that is full, and a function that panics.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use super::{SYNCS, Strace, exchange, integrity, number, recorded_once, skip};
use crate::{
    deliveries::RETRY,
    world::{World, booking},
};

#[test]
fn after_a_failed_checkpoint_nothing_is_acknowledged_and_all_that_was_is_there() {
    let mut world = World::plan().start();
    let database = world.path("wilco.db");
    let strace = match Strace::inject_at(&[&database], world.pid(), SYNCS, "error=EIO") {
        Ok(strace) => strace,
        Err(why) => return skip(&format!("no strace: {why}")),
    };
    // The log grows until it is copied into the database, which is then synced.
    let body = |number: usize| booking(&number.to_string(), &"x".repeat(1 << 19));
    let statuses: Vec<_> = (0..200).map_while(|number| try_send(&world, &body(number))).collect();
    let acknowledged = statuses.iter().take_while(|status| **status == 200).count();
    assert!(acknowledged >= 16, "{statuses:?}");
    assert!(statuses[acknowledged..].iter().all(|status| *status == 503), "{statuses:?}");
    assert_eq!(world.wait(Duration::from_secs(30)).code(), Some(1));
    drop(strace);
    world.eventually("the reason", |world| world.log().contains("the store stops"));

    let mut world = world.kill_and_restart();
    let recorded = recorded_once(&world).len();
    assert!((acknowledged..=acknowledged + 1).contains(&recorded), "{recorded} of {acknowledged}");
    assert!(world.stop().success());
    assert_eq!(integrity(&world), "ok");
}

#[test]
fn what_was_acknowledged_survives_a_kill_at_any_write_or_sync() {
    let points = number("WILCO_POINTS").unwrap_or(12);
    for point in 1..=points {
        let world = World::plan().start();
        let fault = format!("signal=KILL:when={point}");
        let calls = format!("{SYNCS},pwrite64,ftruncate");
        let strace = match Strace::inject(world.pid(), &calls, &fault) {
            Ok(strace) => strace,
            Err(why) => return skip(&format!("strace cannot be used: {why}")),
        };
        let bodies: Vec<_> = (0..points).map(|n| booking(&n.to_string(), "Grade")).collect();
        let answers = bodies.iter().map(|body| try_send(&world, body));
        let acknowledged = answers.take_while(Option::is_some).count();
        assert!(acknowledged < bodies.len(), "point {point}: it was not killed");
        drop(strace);
        let world = world.kill_and_restart();
        let recorded = recorded_once(&world).len();
        let expected = acknowledged..=acknowledged + 1;
        assert!(expected.contains(&recorded), "point {point}: {recorded} of {acknowledged}");
        for body in &bodies {
            assert_eq!(world.send(body).status, 200, "point {point}");
        }
        assert_eq!(recorded_once(&world).len(), bodies.len(), "point {point}");
    }
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_everything_acknowledged_is_kept() {
    for when in ["1", "2", "3", "4+", "7", "12+"] {
        let mut world = World::plan().start();
        world.send(&booking("before", "Grade"));
        let strace = match Strace::inject(world.pid(), SYNCS, &format!("error=EIO:when={when}")) {
            Ok(strace) => strace,
            Err(why) => return skip(&format!("strace cannot be used: {why}")),
        };
        let mut acknowledged = 1;
        let mut refused = 0;
        for number in 0..40 {
            let body = booking(&number.to_string(), "Grade");
            match try_send(&world, &body) {
                Some(200) => {
                    assert_eq!(refused, 0, "when={when}: acknowledged after a failure");
                    acknowledged += 1;
                }
                Some(503) | None => refused += 1,
                Some(status) => panic!("when={when}: {status}"),
            }
        }
        assert!(refused > 0, "when={when}: nothing failed");
        assert_eq!(world.wait(Duration::from_secs(10)).code(), Some(1), "when={when}");
        drop(strace);
        // The log is read by another thread, and may be complete only after the end.
        world.eventually("the reason", |world| world.log().contains("the store stops"));

        let mut world = world.kill_and_restart();
        let recorded = recorded_once(&world).len();
        // The one whose sync failed may or may not be there; its sender was asked to send it again.
        let expected = acknowledged..=acknowledged + 1;
        assert!(expected.contains(&recorded), "when={when}: {recorded} of {acknowledged}");
        for number in 0..40 {
            assert_eq!(world.send(&booking(&number.to_string(), "Grade")).status, 200);
        }
        assert_eq!(recorded_once(&world).len(), 41, "when={when}");
        assert!(world.stop().success());
        assert_eq!(integrity(&world), "ok");
    }
}

/// The status of the answer; `None` if the process had ended.
fn try_send(world: &World, body: &str) -> Option<u16> {
    exchange(world.address, body, &mut None).map(|reply| reply.status)
}

/// A small file system that is removed after the test.
pub(super) struct Small(pub(super) PathBuf);

impl Small {
    /// Mounts one in memory.
    pub(super) fn mount(at: &Path) -> Result<Self, String> {
        Self::mount_with(at, &["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
    }

    /// Mounts ext4, which most machines use, from an image file next to the mount point.
    pub(super) fn mount_ext4(at: &Path) -> Result<Self, String> {
        let image = at.with_extension("image");
        fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let image = image.to_str().unwrap();
        run("mkfs.ext4", &["-q", "-F", "-m", "0", image])?;
        Self::mount_with(at, &["-t", "ext4", "-o", "loop", image])
    }

    fn mount_with(at: &Path, arguments: &[&str]) -> Result<Self, String> {
        fs::create_dir(at).unwrap();
        run("mount", &[arguments, &[at.to_str().unwrap()]].concat())?;
        Ok(Self(at.into()))
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let done = Command::new(program).args(arguments).output();
    let done = done.map_err(|error| format!("{program}: {error}"))?;
    match done.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazy: it is unmounted when the process that has it open has ended.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// How a small file system is mounted.
type Mount = fn(&Path) -> Result<Small, String>;

pub(super) const SMALL: [(&str, Mount); 2] = [("tmpfs", Small::mount), ("ext4", Small::mount_ext4)];

#[test]
fn a_full_disk_is_answered_with_503_until_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    for (name, mount) in SMALL {
        let small = match mount(&folder.path().join(name)) {
            Ok(small) => small,
            Err(why) => return skip(&format!("cannot mount a file system: {why}")),
        };
        for reserve in ["1 B", "2 MiB"] {
            full_and_free(&small, reserve);
        }
    }
}

fn full_and_free(small: &Small, reserve: &str) {
    let url = small.0.join(format!("{}.db", reserve.len()));
    let store = format!("[store]\nurl = \"sqlite:{}\"\nreserve = \"{reserve}\"\n", url.display());
    let world = World::plan()
        .and(&format!("{store}[destination.it]\ntype = \"print\"\n[[route]]\nto = [\"it\"]\n"))
        .start();
    let mut acknowledged = 0;
    let body = |number: i32| booking(&number.to_string(), &"x".repeat(1_000));
    for _ in 0..5 {
        assert_eq!(world.send(&body(acknowledged)).status, 200);
        acknowledged += 1;
    }
    let ballast = small.0.join("ballast");
    fill(&ballast);
    let refused = loop {
        let reply = world.send(&body(acknowledged));
        match reply.status {
            200 => acknowledged += 1,
            _ => break reply,
        }
        assert!(acknowledged < 10_000, "{reserve}: the disk is never full");
    };
    assert_eq!(refused.status, 503, "{reserve}: {}", refused.body);
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3_600).contains(&seconds), "{seconds}");
    if reserve != "1 B" {
        // An event fits between the reserve and a full disk.
        assert_eq!(world.get("/readyz").status, 503, "{reserve}");
    }
    fs::remove_file(&ballast).unwrap();
    let freed = Instant::now();
    while world.send(&body(acknowledged)).status != 200 {
        assert!(freed.elapsed() < Duration::from_secs(1), "{reserve}: it does not heal");
    }
    acknowledged += 1;
    assert_eq!(world.get("/readyz").status, 200, "{reserve}");
    let mut world = world.kill_and_restart();
    assert_eq!(i32::try_from(recorded_once(&world).len()), Ok(acknowledged), "{reserve}");
    world.eventually("every delivery", |world| {
        let events = world.events();
        events.iter().all(|event| event["deliveries"][0]["state"] == "delivered")
    });
    assert!(world.stop().success());
}

#[test]
fn an_exceeded_quota_is_answered_with_503_until_there_is_space() {
    let mut world = World::plan().start();
    assert_eq!(world.send(&booking("before", "Grade")).status, 200);
    // SQLite only reports that a write failed, so wilco writes a file of its own to find out why.
    let (log, probe) = (world.path("wilco.db-wal"), world.path("wilco.db-probe"));
    let calls = "pwrite64,write";
    let strace = Strace::inject_at(&[&log, &probe], world.pid(), calls, "error=EDQUOT");
    let strace = match strace {
        Ok(strace) => strace,
        Err(why) => return skip(&format!("strace cannot be used: {why}")),
    };
    for number in 0..5 {
        let reply = world.send(&booking(&number.to_string(), "Grade"));
        assert_eq!(reply.status, 503, "{}", reply.body);
        assert!(reply.header("retry-after").is_some());
    }
    let ready = world.get("/readyz");
    assert!(ready.status == 503 && ready.body.contains("is full"), "{}", ready.body);
    drop(strace);
    world.eventually("readiness", |world| world.get("/readyz").status == 200);
    for number in 0..5 {
        assert_eq!(world.send(&booking(&number.to_string(), "Grade")).status, 200);
    }
    assert_eq!(recorded_once(&world).len(), 6);
    assert!(world.stop().success());
    assert_eq!(integrity(&world), "ok");
}

/// Fills the file system.
pub(super) fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = fs::File::create(path).unwrap();
    let part = [0; 4_096];
    while file.write_all(&part).is_ok() {}
    // Some file systems release a little more space only now.
    let _ = file.sync_all();
}

#[test]
fn a_line_for_a_file_on_a_full_disk_is_retried_and_leaves_no_partial_line() {
    let folder = tempfile::tempdir().unwrap();
    let small = match Small::mount(&folder.path().join("small")) {
        Ok(small) => small,
        Err(why) => return skip(&format!("cannot mount a file system: {why}")),
    };
    let path = small.0.join("events.jsonl");
    let tables = format!(
        "[destination.it]\ntype = \"file\"\npath = \"{}\"\n{RETRY}\n[[route]]\nto = [\"it\"]\n",
        path.display()
    );
    let world = World::plan().and(&tables).start();
    let state = |number: usize| world.events()[number]["deliveries"][0]["state"].clone();
    assert_eq!(world.send(&booking("1", "Grade")).status, 200);
    world.eventually("a line", |_| state(0) == "delivered");
    let before = fs::read(&path).unwrap();
    let ballast = small.0.join("ballast");
    fill(&ballast);
    // It is longer than a page, so that its beginning still fits and the rest does not.
    assert_eq!(world.send(&booking("2", &"x".repeat(100_000))).status, 200);
    world.eventually("a failure", |_| state(1) == "retrying");
    assert_eq!(fs::read(&path).unwrap(), before, "a partial line is left");
    world.log_with(&format!("cannot write to {}: No space left on device", path.display()));
    fs::remove_file(&ballast).unwrap();
    world.eventually("the line", |_| state(1) == "delivered");
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!((text.lines().count(), text.ends_with('\n')), (2, true));
}

#[test]
fn a_line_for_a_file_counts_once_it_and_the_name_of_the_file_are_synced() {
    let tables = format!(
        "[destination.it]\ntype = \"file\"\npath = \"FOLDER/log/events.jsonl\"\n{RETRY}\n\
         [[route]]\nto = [\"it\"]\n"
    );
    for (synced, what) in
        [("log/events.jsonl", "cannot write to"), ("log", "cannot sync the folder of")]
    {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("log")).unwrap();
        let world = World::plan().and(&tables).start_in(folder);
        let (path, at) = (world.path("log/events.jsonl"), world.path(synced));
        let strace = match Strace::inject_at(&[&at], world.pid(), SYNCS, "error=EIO") {
            Ok(strace) => strace,
            Err(why) => return skip(&format!("strace cannot be used: {why}")),
        };
        assert_eq!(world.send(&booking("1", "Grade")).status, 200);
        let result = format!("{what} {}: Input/output error", path.display());
        world.eventually("a failure", |world| world.log().contains(&result));
        assert_eq!(fs::read_to_string(&path).unwrap(), "", "{synced}");
        drop(strace);
        world.eventually("a line", |_| fs::read_to_string(&path).unwrap().lines().count() == 1);
        world.eventually("the delivery", |world| {
            world.events()[0]["deliveries"][0]["state"] == "delivered"
        });
    }
}

#[test]
fn below_the_reserve_nothing_is_recorded_and_the_sender_is_asked_to_wait() {
    let store = "[store]\nurl = \"sqlite:FOLDER/wilco.db\"\nreserve = \"10000 TiB\"\n";
    let world = World::plan().and(store).start();
    let reply = world.send(&booking("b-1", "Grade"));
    assert_eq!(reply.status, 503, "{}", reply.body);
    assert!(reply.header("retry-after").is_some());
    assert_eq!(world.get("/readyz").status, 503);
    assert!(world.events().is_empty());
}
