//! `wilco freispace rotate`: changes the secret of a source without losing an event.
//!
//! freispace cannot change the secret of an endpoint, so a second endpoint with the same URL and events
//! takes the place of the first:
//!
//! | step | what is on disk and at freispace after it |
//! |---|---|
//! | 1 create | `FILE.rotation`, with both endpoints; `FILE.new` |
//! | 2 accept | the running wilco accepts both secrets |
//! | 3 overlap | a request with the new secret has arrived, and freispace had time to resend older events |
//! | 4 remove | the old endpoint is gone, `FILE.rotation` says since when |
//! | 5 finish | the old secret has not matched for a while; `FILE.new` is renamed to `FILE` |
//!
//! Every step can be interrupted at any point and repeated. While both endpoints exist, every event arrives
//! twice, so the old secret cannot fall silent before its endpoint is removed: the wait for
//! silence comes afterwards, because freispace may still resend.

mod state;

use std::{
    fs::{self, File, TryLockError},
    path::{self, Path, PathBuf},
    time::Duration,
};

use clap::Args;
use http::Uri;
use jiff::Timestamp;
use wilco::Secret;
use wilco_server::{
    admin::{self, PageQuery, SecretStatus, SecretStatusPage},
    clock,
    config::{self, NEXT_SECRET},
};

use super::{Api, ApiArgs, Endpoint, NewEndpoint, SecretFile, TextFile, sync_folder};
use crate::{
    ConfigArgs, Failure, ReadApi as _, Server, known_instead, note, print, readable, reload,
};

use state::{State, Successor};

/// Change the secret of a source, with a second endpoint that replaces the first
///
/// The source reads its secret from a file, and wilco is running. No event is lost, and what arrives
/// twice is recorded once. If this is interrupted, run it again: it continues where it was.
#[derive(Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    api: ApiArgs,
    /// Source name, such as freispace
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Endpoint to replace [default: the only one whose URL has the path of the source]
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    /// How long both endpoints exist, and how long the old secret must not match before it is dropped
    #[arg(long, value_name = "TIME", default_value = "10 min", value_parser = config::duration)]
    quiet: Duration,
}

struct Rotation {
    api: Api,
    server: Server,
    source: String,
    current: PathBuf,
    next: PathBuf,
    file: TextFile,
    quiet: Duration,
}

impl Rotate {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let api = self.api.connect()?;
        let server = Server::find(&self.config.places()?)?;
        let known = secrets(&server).await?.items;
        let source = find(&known, &self.source)?;
        let current = secret_file(&source)?;
        let [next, file] = [NEXT_SECRET, ".rotation"].map(|ending| {
            let mut path = current.clone().into_os_string();
            path.push(ending);
            PathBuf::from(path)
        });
        let _lock = lock(&current)?;
        let rotation = Rotation {
            api,
            server,
            source: self.source.clone(),
            current,
            next,
            file: TextFile(file),
            quiet: self.quiet,
        };
        let state = match rotation.file.read()? {
            Some(state) => rotation.resume(state)?,
            None => rotation.begin(&source[0].path, self.endpoint.as_deref()).await?,
        };
        rotation.finish_from(state).await
    }
}

impl Rotation {
    async fn finish_from(&self, mut state: State) -> Result<(), Failure> {
        // The old endpoint is gone only if the new secret has matched: then it is the one in the file,
        // whether or not it has been renamed already.
        if state.old_removed_at.is_none() {
            let new = self.created(&mut state).await?;
            print(&format!("1/5 endpoint {} created, its secret is in {}\n", new.id, self.next()))?;
            self.accept().await?;
            print("2/5 wilco accepts both secrets\n")?;
            let until = new.created_at.checked_add(self.quiet).map_err(Failure::failed)?;
            let wait = readable(self.quiet);
            print(&format!(
                "3/5 waiting until an event with the new secret has arrived (change something in \
                 freispace) and both endpoints have existed for {wait}\n"
            ))?;
            let name = secret_name(&self.next);
            self.wait(&name, |secret, _, now| {
                now >= until && secret.last_match.is_some_and(|last| last >= new.created_at)
            })
            .await?;
            self.api.remove(&state.old.id).await?;
            state.old_removed_at = Some(clock::now());
            self.file.write(&state)?;
        }
        print(&format!("4/5 endpoint {} removed\n", state.old.id))?;
        self.drop_old(state.old_removed_at.unwrap_or_else(clock::now)).await
    }

    /// Drops the old secret once nothing is signed with it any more.
    async fn drop_old(&self, removed_at: Timestamp) -> Result<(), Failure> {
        if self.next.exists() {
            self.accept().await?;
            let quiet = self.quiet;
            let wait = readable(quiet);
            print(&format!("5/5 waiting until the old secret has not matched for {wait}\n"))?;
            let name = secret_name(&self.current);
            self.wait(&name, |secret, since, now| {
                // While wilco did not run, nothing could match.
                let last = secret.last_match.unwrap_or(since).max(since).max(removed_at);
                last.checked_add(quiet).is_ok_and(|until| now >= until)
            })
            .await?;
            fs::rename(&self.next, &self.current)
                .and_then(|()| sync_folder(&self.current))
                .map_err(|error| {
                    Failure::failed(format!("cannot rename {}: {error}", self.next()))
                })?;
        }
        reload(&self.server).await?;
        remove_if_there(&self.file.0)?;
        print(&format!("done: {} has the new secret\n", self.current.display()))
    }

    /// Finds the endpoint to replace, and notes it, so that a second run replaces the same.
    async fn begin(&self, path: &str, id: Option<&str>) -> Result<State, Failure> {
        if self.next.exists() {
            return Err(Failure::failed(format!(
                "{} exists, but no rotation was begun; if wilco needs that secret, rename it to {}, \
                 else remove it",
                self.next(),
                self.current.display()
            )));
        }
        let old = self.old(path, id).await?;
        let state = State::new(&self.source, &self.api.url, old)?;
        self.file.write(&state)?;
        Ok(state)
    }

    fn resume(&self, state: State) -> Result<State, Failure> {
        let begun = (state.source.as_str(), state.api.as_str());
        match begun == (&self.source, &self.api.url) {
            true => Ok(state),
            false => Err(Failure::failed(format!(
                "{} is from a rotation of source {} with --api {}; finish that one",
                self.file.0.display(),
                state.source,
                state.api
            ))),
        }
    }

    async fn old(&self, path: &str, id: Option<&str>) -> Result<Endpoint, Failure> {
        if let Some(id) = id {
            return self.api.show(id).await;
        }
        let mut found = self.api.list().await?;
        let has_path =
            |endpoint: &Endpoint| endpoint.url.parse().is_ok_and(|url: Uri| url.path() == path);
        found.retain(has_path);
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(Failure::failed(format!(
                "no endpoint at freispace has a URL with the path {path}; name the one to replace \
                 with --endpoint ID, from `wilco freispace list`"
            ))),
            (Some(one), Some(other)) => Err(Failure::failed(format!(
                "several endpoints at freispace have a URL with the path {path}, such as {} and {}; \
                 name the one to replace with --endpoint ID",
                one.id, other.id
            ))),
        }
    }

    /// The new endpoint, with its secret in `FILE.new`. One that an interrupted run has left without its
    /// secret is removed: nobody can have the secret.
    async fn created(&self, state: &mut State) -> Result<Successor, Failure> {
        if let Some(new) = state.new.clone().filter(|_| self.next.exists()) {
            return Ok(new);
        }
        for endpoint in self.api.list().await? {
            if state.is_successor(&endpoint) {
                self.api.remove(&endpoint.id).await?;
                note(&format!("endpoint {} of an interrupted run removed", endpoint.id));
            }
        }
        let mut unfinished = self.next.clone().into_os_string();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        for path in [&unfinished, &self.next] {
            remove_if_there(path)?;
        }
        let mut file = SecretFile::create(&unfinished)?;
        file.copy_owner_and_mode(&self.current)?;
        let description = state.description();
        let endpoint = NewEndpoint {
            url: &state.old.url,
            description: Some(&description),
            enabled_events: &state.old.events,
        };
        let created = self.api.create(&endpoint).await?;
        let mut keep = || {
            Secret::new("from freispace", created.secret.clone().into())
                .map_err(|error| error.to_string())?;
            file.write(&created.secret).map_err(|error| error.to_string())?;
            fs::rename(&unfinished, &self.next).map_err(|error| error.to_string())?;
            sync_folder(&self.next).map_err(|error| error.to_string())
        };
        if let Err(why) = keep() {
            let removed = self.api.undo_create(&created.id).await;
            let text = format!("cannot keep the secret in {}: {why}; {removed}", self.next());
            return Err(Failure::failed(text));
        }
        let new = Successor { id: created.id, created_at: clock::now() };
        state.new = Some(new.clone());
        self.file.write(state)?;
        Ok(new)
    }

    /// Makes the running wilco accept the secret in `FILE.new` too.
    async fn accept(&self) -> Result<(), Failure> {
        reload(&self.server).await?;
        self.find(&secrets(&self.server).await?, &secret_name(&self.next)).map(drop)
    }

    /// Waits until a secret is as it should be, given when wilco started, and the time.
    async fn wait(
        &self,
        name: &str,
        is_done: impl Fn(&SecretStatus, Timestamp, Timestamp) -> bool,
    ) -> Result<(), Failure> {
        let mut is_reported = false;
        loop {
            match secrets(&self.server).await {
                Ok(secrets) => {
                    let secret = self.find(&secrets, name)?;
                    let now = clock::now();
                    if is_done(secret, secrets.since.unwrap_or(now), now) {
                        return Ok(());
                    }
                    is_reported = false;
                }
                // A restart of wilco must not end a wait that may take a day.
                Err(failure) if !is_reported => {
                    note(&format!("{}; waiting for it to come back", failure.text));
                    is_reported = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn find<'s>(
        &self,
        secrets: &'s SecretStatusPage,
        name: &str,
    ) -> Result<&'s SecretStatus, Failure> {
        let is_it =
            |secret: &&SecretStatus| secret.source == self.source && secret.secret_name == name;
        secrets.items.iter().find(is_it).ok_or_else(|| {
            Failure::failed(format!(
                "the running wilco does not accept the secret {name}; was the file or the \
                 configuration changed? Run `wilco reload`, then this again"
            ))
        })
    }

    fn next(&self) -> path::Display<'_> {
        self.next.display()
    }
}

/// What the running wilco knows about its secrets: the pages of the listing as one.
async fn secrets(server: &Server) -> Result<SecretStatusPage, Failure> {
    let mut all: SecretStatusPage = server.get("/api/v1/secrets").await?;
    while let Some(cursor) = all.next.take() {
        let query = admin::query(&PageQuery { cursor: Some(cursor), limit: None })?;
        let page: SecretStatusPage = server.get(&format!("/api/v1/secrets?{query}")).await?;
        all.items.extend(page.items);
        all.next = page.next;
    }
    Ok(all)
}

/// The secrets of a source, at least one.
fn find<'s>(known: &'s [SecretStatus], name: &str) -> Result<Vec<&'s SecretStatus>, Failure> {
    let found: Vec<_> = known.iter().filter(|secret| secret.source == name).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let hint = known_instead(name, known.iter().map(|secret| secret.source.as_str()));
    Err(Failure::usage(format!("the running wilco has no source {name}{hint}")))
}

/// The file with the secret of a source.
fn secret_file(secrets: &[&SecretStatus]) -> Result<PathBuf, Failure> {
    let name = &secrets[0].source;
    if secrets[0].provider != "freispace" {
        return Err(Failure::usage(format!("source {name} is not of the provider freispace")));
    }
    let files = || secrets.iter().filter_map(|secret| secret.secret_name.strip_prefix("file:"));
    let is_next = |file: &&str| {
        file.strip_suffix(NEXT_SECRET).is_some_and(|current| files().any(|file| file == current))
    };
    let mut current = files().filter(|file| !is_next(file));
    match (current.next(), current.next()) {
        (Some(file), None) => Ok(file.into()),
        (found, _) => {
            let count = if found.is_none() { "no secret" } else { "several secrets" };
            Err(Failure::configuration(format!(
                "source {name} takes {count} from a file; rotate needs exactly one, which it can \
                 replace: secrets = [{{ file = \"/etc/wilco/freispace.secret\" }}]"
            )))
        }
    }
}

/// Two rotations at the same time would remove each other's endpoints.
fn lock(path: &Path) -> Result<File, Failure> {
    let file = File::open(path)
        .map_err(|error| Failure::failed(format!("cannot open {}: {error}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::failed(format!(
            "another `wilco freispace rotate` is at work on {}",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// The name that a secret from this file has.
fn secret_name(path: &Path) -> String {
    format!("file:{}", path.display())
}

fn remove_if_there(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::failed(format!("cannot remove {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

const POLL_INTERVAL: Duration = Duration::from_secs(1);
