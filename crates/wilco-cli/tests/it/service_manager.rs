//! What wilco tells systemd. The tests play its part.

use std::{
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use crate::world::{Plan, World};

/// The socket on which a service manager hears what its services tell.
pub(crate) struct Manager(UnixDatagram);

impl Manager {
    /// A plan of a wilco that notifies this manager.
    pub(crate) fn of(plan: Plan) -> (Self, Plan, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let plan = plan.env("NOTIFY_SOCKET", path.to_str().unwrap());
        (Self(socket), plan, folder)
    }

    /// The next message that has a line which begins like this, within 20 s.
    #[track_caller]
    pub(crate) fn next(&self, begin: &str) -> String {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let message = self.receive(until.saturating_duration_since(Instant::now()));
            assert!(message.is_some(), "{begin} did not come");
            let message = message.unwrap();
            if message.lines().any(|line| line.starts_with(begin)) {
                return message;
            }
        }
    }

    /// The next message, if one comes in time.
    pub(crate) fn receive(&self, within: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(within.max(Duration::from_millis(1)))).unwrap();
        let mut bytes = [0; 4096];
        let length = self.0.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }
}

#[test]
fn systemd_is_told_of_the_start_of_reloads_and_of_the_stop() {
    let (manager, plan, _folder) = Manager::of(World::plan());
    let mut world = plan.start();
    let starting = manager.next("EXTEND_TIMEOUT_USEC=30000000");
    assert!(starting.contains("STATUS=opening the store"), "{starting}");
    let ready = manager.next("READY=1");
    assert!(ready.contains(&format!("STATUS=listening on {}", world.address)), "{ready}");

    let base = std::fs::read_to_string(world.path("wilco.toml")).unwrap();
    for (text, status) in [
        (base.clone() + "[nothing]\n", "STATUS=a reload was refused"),
        (base, "STATUS=listening on"),
    ] {
        world.reconfigure(|_| text);
        let before = monotonic_micros();
        world.signal("HUP");
        let reloading = manager.next("RELOADING=1");
        let at = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        let at: u64 = at.unwrap().parse().unwrap();
        assert!((before..=monotonic_micros()).contains(&at), "{reloading}");
        let ready = manager.next("READY=1");
        assert!(ready.contains(status), "{ready}");
    }
    assert!(world.run_verb(&["reload"]).status.success());
    manager.next("RELOADING=1");
    manager.next("READY=1");

    assert!(world.stop().success());
    let stopping = manager.next("STOPPING=1");
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC=60000000"), "{stopping}");
}

#[test]
fn the_watchdog_hears_from_wilco_at_least_twice_in_its_time() {
    let (manager, plan, _folder) = Manager::of(World::plan().env("WATCHDOG_USEC", "1000000"));
    let _world = plan.start();
    manager.next("READY=1");
    let began = Instant::now();
    for _ in 0..6 {
        manager.next("WATCHDOG=1");
    }
    assert!(began.elapsed() > Duration::from_millis(2_000), "not more often than needed");
}

#[test]
fn the_watchdog_of_another_process_hears_nothing() {
    let plan = World::plan().env("WATCHDOG_USEC", "20000").env("WATCHDOG_PID", "1");
    let (manager, plan, _folder) = Manager::of(plan);
    let mut world = plan.start();
    manager.next("READY=1");
    world.send(&crate::world::booking("b-1", "A"));
    world.stop();
    let mut said = Vec::new();
    while let Some(message) = manager.receive(Duration::ZERO) {
        said.push(message);
    }
    assert!(said.iter().all(|message| !message.contains("WATCHDOG")), "{said:?}");
}

#[test]
fn an_abstract_socket_is_notified_too_and_one_that_is_not_there_is_no_trouble() {
    use std::os::linux::net::SocketAddrExt as _;
    let name = format!("wilco-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager(UnixDatagram::bind_addr(&address).unwrap());
    let _world = World::plan().env("NOTIFY_SOCKET", &format!("@{name}")).start();
    manager.next("READY=1");

    let world = World::plan().env("NOTIFY_SOCKET", "/nowhere/notify").start();
    world.log_with("cannot notify systemd");
}

fn monotonic_micros() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1_000).unwrap()
}
