//! A world for a test: the real binary with its own configuration and store, used from the
//! outside.

mod log;
mod plan;
mod reply;

use std::{
    fs,
    io::{BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use wilco::{Secret, Unsigned, provider};

use log::Log;
pub(crate) use plan::Plan;
pub(crate) use reply::Reply;

/// The secret of every world.
pub(crate) const SECRET: &str = "a-made-up-secret";

/// A running wilco and the folder that it lives in.
pub(crate) struct World {
    pub(crate) folder: Arc<TempDir>,
    plan: Plan,
    child: Child,
    log: Arc<Log>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl World {
    /// A plan with the usual configuration: `World::plan().start()`. In the tables that a test adds, the
    /// word FOLDER is replaced by the folder of the world.
    ///
    /// `WILCO_TEST_UNDER` is a program with its arguments for [`Plan::under`], such as
    /// `packaging/under-limits packaging/wilco.service`.
    pub(crate) fn plan() -> Plan {
        Plan::usual()
    }

    fn start_in(plan: Plan, folder: Arc<TempDir>) -> Self {
        let path = folder.path().join("wilco.toml");
        fs::write(&path, plan.config(folder.path(), 0)).unwrap();
        Self::run(plan, folder)
    }

    fn start_with_log(plan: Plan, log: Stdio) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (address, admin) = (free(), free());
        let config = plan.config(folder.path(), address.port());
        let at = format!("[admin]\naddress = \"{admin}\"");
        let config = config.replace("[admin]\naddress = \"127.0.0.1:0\"", &at);
        fs::write(folder.path().join("wilco.toml"), config).unwrap();
        let child = Self::spawn(&plan, &folder, log);
        let world = Self { folder, plan, child, log: Log::empty(), address, admin };
        world.eventually("a listener", |world| TcpStream::connect(world.address).is_ok());
        world.eventually("the admin listener", |world| TcpStream::connect(world.admin).is_ok());
        world
    }

    fn spawn(plan: &Plan, folder: &TempDir, log: Stdio) -> Child {
        let mut command = wilco(folder.path());
        if let [program, arguments @ ..] = &plan.under[..] {
            let at = folder.path().display().to_string();
            let arguments = arguments.iter().map(|argument| argument.replace("FOLDER", &at));
            command = within(folder.path(), Command::new(program));
            command.args(arguments).arg(env!("CARGO_BIN_EXE_wilco"));
        }
        command.envs(plan.environment.iter().cloned()).args(["serve", "--config", "wilco.toml"]);
        command.args(["--log-format", "json"]);
        let stdout = fs::File::options()
            .create(true)
            .append(true)
            .open(folder.path().join("stdout"))
            .unwrap();
        command.stdout(stdout).stderr(log);
        let mut passed = plan.passed.iter().map(|socket| socket.try_clone().unwrap());
        if let Some(socket) = passed.next() {
            command.stdin(socket);
        }
        if let Some(socket) = passed.next() {
            command.stdout(socket);
        }
        command.spawn().unwrap()
    }

    fn run(plan: Plan, folder: Arc<TempDir>) -> Self {
        let mut child = Self::spawn(&plan, &folder, Stdio::piped());
        let log = Log::follow(child.stderr.take().unwrap());
        let address = log.wait_for(|line| url_of(line, "listening", "/webhook"));
        let admin = log.wait_for(|line| url_of(line, "admin listener", ""));
        Self { folder, plan, child, log, address, admin }
    }

    /// Kills the process as `kill -9` does and starts it again on the same store.
    pub(crate) fn kill_and_restart(mut self) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.again()
    }

    /// Asks the process to stop, waits for it, and starts it again on the same store.
    pub(crate) fn restart(mut self) -> Self {
        assert!(self.stop().success());
        self.again()
    }

    /// Starts it again on the same store, after it was stopped.
    pub(crate) fn restart_stopped(self) -> Self {
        self.again()
    }

    fn again(self) -> Self {
        let (plan, folder) = (self.plan.clone(), Arc::clone(&self.folder));
        drop(self);
        Self::run(plan, folder)
    }

    /// Sends SIGTERM, and returns how the process ended, within 20 s.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait(Duration::from_secs(20))
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([format!("-{name}"), pid]).status().unwrap().success());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn wait(&mut self, within: Duration) -> ExitStatus {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not exit");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a body with a valid signature.
    pub(crate) fn send(&self, body: &str) -> Reply {
        self.post(body, &[("x-freispace-signature", &sign(body.as_bytes()))])
    }

    /// Sends a body with these headers to the endpoint.
    pub(crate) fn post(&self, body: &str, headers: &[(&str, &str)]) -> Reply {
        self.post_to("/webhook", body, headers)
    }

    /// Posts to another source.
    pub(crate) fn post_to(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Reply {
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.raw(format!("{head}\r\n{body}").as_bytes())
    }

    /// Sends these bytes and reads one answer.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect();
        // The server may have refused it already and closed its side.
        let _ = stream.write_all(bytes);
        Reply::read(&mut BufReader::new(stream)).unwrap()
    }

    /// Sends these bytes and reads every answer until the other side closes.
    pub(crate) fn exchange(&self, bytes: &[u8]) -> Vec<Reply> {
        let mut stream = self.connect();
        // The server may have refused it already and closed its side.
        let _ = stream.write_all(bytes);
        Reply::read_all(stream)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// Asks the admin listener, with the token that it made for itself.
    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[("authorization", &self.authorization())], "")
    }

    /// The token that was made for the admin listener, as a header.
    pub(crate) fn authorization(&self) -> String {
        let token = fs::read_to_string(self.path("wilco.db.token")).unwrap_or_default();
        format!("Bearer {}", token.trim())
    }

    /// Asks the admin listener with only these headers and those that HTTP requires.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let host = self.admin.to_string();
        let has_host = headers.iter().any(|(name, _)| *name == "host");
        let usual = [("host", host.as_str())];
        let usual = usual.iter().filter(|_| !has_host);
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        head += &format!("content-length: {}\r\n", body.len());
        for (name, value) in usual.chain(headers) {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
        Reply::read(&mut BufReader::new(stream)).unwrap()
    }

    /// The value of a metric with these labels, as `/metrics` writes them; 0 if it is missing.
    pub(crate) fn metric(&self, name_and_labels: &str) -> f64 {
        let text = self.get("/metrics").body;
        let line = text.lines().find(|line| line.starts_with(&format!("{name_and_labels} ")));
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// All recorded events, oldest first, as `wilco events list --json` gives them.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        let output = self.run_verb(&["events", "list", "--all", "--json"]);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut events: Vec<_> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        events.reverse();
        events
    }

    /// The number that a query on the file of the store returns.
    pub(crate) fn count(&self, query: &str) -> i64 {
        let store = rusqlite::Connection::open(self.path("wilco.db")).unwrap();
        store.query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// How many events are recorded.
    pub(crate) fn recorded(&self) -> i64 {
        self.count("SELECT count(*) FROM event")
    }

    /// Rewrites the configuration before a reload.
    pub(crate) fn reconfigure(&self, change: impl FnOnce(String) -> String) {
        let path = self.path("wilco.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, change(text)).unwrap();
    }

    /// Runs a command of wilco against this one.
    pub(crate) fn run_verb(&self, arguments: &[&str]) -> Output {
        self.verb(arguments).output().unwrap()
    }

    /// A command of wilco against this one, ready to run.
    pub(crate) fn verb(&self, arguments: &[&str]) -> Command {
        // The configuration has port 0 for the admin listener, so write the actual one into a copy.
        let path = self.folder.path().join("verb.toml");
        let text = self.plan.config(self.folder.path(), self.address.port());
        let at = format!("[admin]\naddress = \"{}\"", self.admin);
        fs::write(&path, text.replace("[admin]\naddress = \"127.0.0.1:0\"", &at)).unwrap();
        let mut command = wilco(self.folder.path());
        command.envs(self.plan.environment.iter().cloned());
        command.args(arguments).args(["--config", "verb.toml"]);
        command
    }

    /// Waits until a condition holds, for at most 20 s.
    #[track_caller]
    pub(crate) fn eventually(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !is_so(self) {
            assert!(Instant::now() < until, "{what} did not come; the log:\n{}", self.log.text());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The log, once it contains this text: lines are written shortly after what they report.
    #[track_caller]
    pub(crate) fn log_with(&self, text: &str) -> String {
        self.eventually(text, |world| world.log().contains(text));
        self.log()
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // It fails if the test has ended it already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary, in this folder and with a clean environment.
pub(crate) fn wilco(folder: &Path) -> Command {
    within(folder, Command::new(env!("CARGO_BIN_EXE_wilco")))
}

/// Copies the binary, for another user to run it. Another process does it: a file that this one had open for writing
/// might be inherited by what another test starts meanwhile, and could not be run until that has closed it.
pub(crate) fn copy_wilco_to(path: &Path) {
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_wilco")).arg(path).status();
    assert!(copied.unwrap().success());
}

fn within(folder: &Path, mut command: Command) -> Command {
    command.current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command
}

/// The signature that freispace would send for this body.
pub(crate) fn sign(body: &[u8]) -> String {
    sign_with(SECRET, body)
}

/// The signature that freispace would send for this body with this secret.
pub(crate) fn sign_with(secret: &str, body: &[u8]) -> String {
    let secret = Secret::new("test", secret.into()).unwrap();
    let request = Unsigned::post(body, jiff::Timestamp::now());
    let scheme = &provider::find("freispace").unwrap().scheme;
    scheme.sign(&secret, &request).unwrap().pop().unwrap().1
}

/// A body about a booking.
pub(crate) fn booking(id: &str, name: &str) -> String {
    format!(
        r#"{{"id":"{id}","type":"booking","event":"booking.updated","data":{{"name":"{name}"}}}}"#
    )
}

fn url_of(line: &str, message: &str, path: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    if line["message"] != message {
        return None;
    }
    let url = line["url"].as_str()?;
    url.strip_prefix("http")?
        .trim_start_matches('s')
        .strip_prefix("://")?
        .strip_suffix(path)?
        .parse()
        .ok()
}
