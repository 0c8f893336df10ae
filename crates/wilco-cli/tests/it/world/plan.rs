//! How a world is to be set up.

use std::{
    fs,
    os::fd::OwnedFd,
    path::Path,
    process::{Output, Stdio},
    sync::Arc,
};

use tempfile::TempDir;

use super::{SECRET, World};

/// How a world is to be set up.
#[derive(Clone)]
pub(crate) struct Plan {
    address: Option<String>,
    pub(super) under: Vec<String>,
    tls: String,
    listen: String,
    admin: String,
    source: String,
    rest: String,
    pub(super) environment: Vec<(String, String)>,
    pub(super) passed: Vec<Arc<OwnedFd>>,
}

impl Plan {
    pub(super) fn usual() -> Self {
        let under = std::env::var("WILCO_TEST_UNDER").unwrap_or_default();
        Self {
            address: None,
            under: under.split_whitespace().map(Into::into).collect(),
            tls: "tls = \"off\"".into(),
            listen: String::new(),
            admin: String::new(),
            source: String::new(),
            rest: String::new(),
            environment: vec![("FREISPACE_SECRET".into(), SECRET.into())],
            passed: Vec::new(),
        }
    }

    /// Further lines for `[listen]`, in addition to address and tls.
    pub(crate) fn listen(mut self, lines: &str) -> Self {
        self.listen = lines.into();
        self
    }

    /// The value of `address`, instead of a port of 127.0.0.1. The word FOLDER is replaced by the
    /// folder of the world. Of several, at least one must be an IP address, and the first of those is used.
    pub(crate) fn address(mut self, value: &str) -> Self {
        self.address = Some(value.into());
        self
    }

    /// Limits on open files, `SOFT:HARD`.
    pub(crate) fn files(self, limits: &str) -> Self {
        self.under(&["prlimit", &format!("--nofile={limits}")])
    }

    /// A program with its arguments that starts the real one. It must exec it, because signals go to
    /// this process. The word FOLDER is replaced by the folder of the world.
    pub(crate) fn under(mut self, program: &[&str]) -> Self {
        self.under = program.iter().map(ToString::to_string).collect();
        self
    }

    /// Lines instead of `tls = "off"`. The word FOLDER is replaced by the folder of the world.
    pub(crate) fn tls(mut self, lines: &str) -> Self {
        self.tls = lines.into();
        self
    }

    /// Further lines for `[admin]`, in addition to address.
    pub(crate) fn admin(mut self, lines: &str) -> Self {
        self.admin = lines.into();
        self
    }

    /// Further lines for `[source.freispace]`, in addition to provider, path and secrets.
    pub(crate) fn source(mut self, lines: &str) -> Self {
        self.source = lines.into();
        self
    }

    /// Further tables. If `[store]` is one of them, it replaces the usual one.
    pub(crate) fn and(mut self, tables: &str) -> Self {
        self.rest = tables.into();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// One or two listening sockets that the process gets as systemd passes them.
    pub(crate) fn pass(mut self, sockets: Vec<OwnedFd>) -> Self {
        self.passed = sockets.into_iter().map(Arc::new).collect();
        // They come in as stdin and stdout, because std passes no others.
        let script = match self.passed.len() {
            1 => "exec 3<&0 0</dev/null",
            _ => "exec 3<&0 4<&1 0</dev/null 1>stdout",
        };
        let count = self.passed.len();
        let script = format!("{script}; LISTEN_PID=$$ LISTEN_FDS={count} exec \"$0\" \"$@\"");
        self.under(&["sh", "-c", &script])
    }

    pub(crate) fn start(self) -> World {
        self.start_in(tempfile::tempdir().unwrap())
    }

    /// As [`Plan::start`], in a folder in which the test has put something.
    pub(crate) fn start_in(self, folder: TempDir) -> World {
        World::start_in(self, Arc::new(folder))
    }

    /// What a wilco says that is expected to end by itself.
    pub(crate) fn output(self) -> Output {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("wilco.toml"), self.config(folder.path(), 0)).unwrap();
        World::spawn(&self, &folder, Stdio::piped()).wait_with_output().unwrap()
    }

    /// As [`Plan::start`], but the log goes to `log` instead of the test.
    pub(crate) fn start_with_log(self, log: impl Into<Stdio>) -> World {
        World::start_with_log(self, log.into())
    }

    pub(super) fn config(&self, folder: &Path, port: u16) -> String {
        let store = match self.rest.contains("[store]") {
            true => String::new(),
            false => format!(
                "[store]\nurl = \"sqlite:{}/wilco.db\"\nreserve = \"1 MiB\"\n",
                folder.display()
            ),
        };
        let address = match &self.address {
            Some(value) => value.replace("FOLDER", &folder.display().to_string()),
            None => format!("\"127.0.0.1:{port}\""),
        };
        format!(
            "[listen]\naddress = {address}\n{}\n{}\n{store}\
             [admin]\naddress = \"127.0.0.1:0\"\n{}\n\
             [source.freispace]\nprovider = \"freispace\"\npath = \"/webhook\"\n\
             secrets = [{{ env = \"FREISPACE_SECRET\" }}]\n{}\n{}\n",
            self.tls.replace("FOLDER", &folder.display().to_string()),
            self.listen,
            self.admin,
            self.source,
            self.rest.replace("FOLDER", &folder.display().to_string()),
        )
    }
}
