//! Restarts and hand-overs under load: no connection is refused or reset, and nothing acknowledged is lost.

mod load;

use std::{
    collections::BTreeMap,
    env, fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
    time::Duration,
};

use crate::{
    listener::{send_by, send_on},
    service_manager::Manager,
    world::{World, booking, copy_wilco_to},
};
use load::{Client, Load};

#[test]
fn restarts_with_a_passed_socket_refuse_and_reset_nothing() {
    for client in [Client::ConnectsEachTime, Client::KeepsConnections] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 4_096).unwrap();
        let address = listener.local_addr().unwrap();
        let plan = World::plan().address("\"systemd\"").pass(vec![listener.into()]);
        let mut world = plan.start();
        let load = Load::start(address, client, rate());
        for _ in 0..times() {
            thread::sleep(PAUSE);
            world = world.restart();
        }
        thread::sleep(PAUSE);
        let sent = load.end("restart").all_acknowledged();
        assert_eq!(world.recorded(), sent, "{client:?}");
    }
}

#[test]
fn hand_overs_refuse_and_reset_nothing() {
    for client in [Client::ConnectsEachTime, Client::KeepsConnections] {
        let world = World::plan().start();
        let load = Load::start(world.address, client, rate());
        let mut process = Process(world.pid());
        for number in 1..=times() {
            thread::sleep(PAUSE);
            process = process.hand_over(&world, number);
        }
        thread::sleep(PAUSE);
        let sent = load.end("hand-over").all_acknowledged();
        assert_eq!(world.recorded(), sent, "{client:?}");
        process.stop(&world);
    }
}

#[test]
fn a_successor_that_cannot_start_leaves_everything_as_it_was() {
    let world = World::plan().start();
    let before = fs::read_to_string(world.path("wilco.toml")).unwrap();
    world.reconfigure(|text| text + "[nothing]\n");
    world.signal("USR2");
    world.log_with("[nothing]");
    world.log_with("not handed over, this process keeps serving: the new process has ended");
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);

    // What cannot be listened on is found only when the old process has stopped already.
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = busy.local_addr().unwrap();
    let both = format!("address = [\"127.0.0.1:0\", \"{other}\"]\ntls");
    world.reconfigure(|_| before.replace("address = \"127.0.0.1:0\"\ntls", &both));
    world.signal("USR2");
    world.log_with(&format!("cannot listen on {other}"));
    world.eventually("it keeps serving", |world| {
        world.log().matches("this process keeps serving").count() == 2
    });
    assert_eq!(world.send(&booking("b-2", "A")).status, 200);
    assert!(world.run_verb(&["events", "list"]).status.success());

    drop(busy);
    let process = Process(world.pid()).hand_over(&world, 1);
    for (number, address) in [world.address, other].iter().enumerate() {
        let stream = TcpStream::connect(address).unwrap();
        let reply = send_on(stream, &booking(&format!("c-{number}"), "A"));
        assert_eq!(reply.status, 200, "{address}");
    }
    assert_eq!(world.recorded(), 4);
    process.stop(&world);
}

#[test]
fn a_program_that_cannot_be_executed_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("copy-of-wilco");
    copy_wilco_to(&program);
    let path = program.to_str().unwrap();
    let start = ["sh", "-c", "shift; exec \"$0\" \"$@\"", path];
    let world = World::plan().under(&start).start();
    fs::remove_file(&program).unwrap();
    world.signal("USR2");
    world.log_with(&format!("this process keeps serving: cannot start {path}: No such file"));
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
}

#[test]
fn a_successor_listens_on_the_same_sockets() {
    let acme = "directory = \"https://127.0.0.1:1/\", http_address = \"127.0.0.1:0\"";
    let tls = format!("tls = \"acme\"\ndomains = \"hooks.example.com\"\nacme = {{ {acme} }}");
    let world = World::plan().tls(&tls).start();
    let before = listening(world.pid());
    assert_eq!(before.len(), 3, "public, admin and http-01: {before:?}");
    let process = Process(world.pid()).hand_over(&world, 1);
    assert_eq!(listening(process.0), before);
    assert!(before.contains_key(&world.address), "{before:?}");
    assert_eq!(world.ask("GET", "/livez", &[], "").status, 200);
    process.stop(&world);
}

#[test]
fn a_successor_has_the_files_of_sockets_and_removes_them_at_its_end() {
    let world = World::plan().address(r#"["127.0.0.1:0", "unix:FOLDER/wilco.sock"]"#).start();
    let process = Process(world.pid()).hand_over(&world, 1).hand_over(&world, 2);
    let path = world.path("wilco.sock");
    assert_eq!(send_by(&path, &booking("b-1", "A")).status, 200);
    process.stop(&world);
    assert!(!path.exists());
}

#[test]
fn systemd_is_told_which_process_takes_over() {
    let (manager, plan, _folder) = Manager::of(World::plan().env("WATCHDOG_USEC", "2000000"));
    let world = plan.start();
    let process = Process(world.pid()).hand_over(&world, 1);
    let replaced = manager.next("MAINPID=");
    assert!(replaced.contains(&format!("MAINPID={}\n", process.0)), "{replaced}");
    assert!(replaced.contains(&format!("STATUS=listening on {}", world.address)), "{replaced}");
    assert_ne!(parent(process.0), world.pid(), "systemd expects its own child");
    manager.next("WATCHDOG=1");
    process.stop(&world);
    manager.next("STOPPING=1");
}

/// The process that serves a world at the moment. It is killed when this is dropped.
struct Process(u32);

impl Process {
    /// Has it hand over to a new process, which is the nth of this world.
    fn hand_over(self, world: &World, number: usize) -> Self {
        self.signal("USR2");
        world.eventually("a hand-over", |world| successors(&world.log()).len() == number);
        Self(successors(&world.log())[number - 1])
    }

    fn stop(self, world: &World) {
        self.signal("TERM");
        world.log_with("\"message\":\"stopped\"");
    }

    fn signal(&self, name: &str) {
        let signal = [format!("-{name}"), self.0.to_string()];
        assert!(Command::new("kill").args(signal).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = Command::new("kill").args(["-KILL", &self.0.to_string()]).output();
    }
}

/// The processes to which was handed over.
fn successors(log: &str) -> Vec<u32> {
    // Only few of very many lines are worth parsing.
    let lines = log.lines().filter(|line| line.contains("handed over"));
    let lines = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let lines = lines.filter(|line| line["message"] == "handed over");
    lines.map(|line| u32::try_from(line["process"].as_u64().unwrap()).unwrap()).collect()
}

/// The sockets on which a process listens for IPv4: the inode of each by its address.
fn listening(process: u32) -> BTreeMap<SocketAddr, String> {
    let files = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let open: Vec<_> = files.filter_map(|file| fs::read_link(file.path()).ok()).collect();
    let table = fs::read_to_string(format!("/proc/{process}/net/tcp")).unwrap();
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let rows = rows.filter(|row| row[3] == LISTEN);
    let rows = rows.filter(|row| open.contains(&format!("socket:[{}]", row[9]).into()));
    rows.map(|row| (address(row[1]), row[9].into())).collect()
}

/// An address as the kernel shows it, such as `0100007F:1F90`.
fn address(text: &str) -> SocketAddr {
    let (ip, port) = text.split_once(':').unwrap();
    let ip = u32::from_str_radix(ip, 16).unwrap().to_ne_bytes();
    (ip, u16::from_str_radix(port, 16).unwrap()).into()
}

fn parent(process: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().parse().unwrap()
}

fn times() -> usize {
    number("WILCO_RESTARTS").unwrap_or(5)
}

/// Requests a second.
fn rate() -> u32 {
    number("WILCO_RATE").unwrap_or(200)
}

fn number<T: std::str::FromStr>(variable: &str) -> Option<T> {
    env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";
const PAUSE: Duration = Duration::from_millis(500);
