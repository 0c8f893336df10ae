//! A destination: what it is, and how it is treated.

use std::{path::PathBuf, time::Duration};

use super::is_of_a_credential;
use crate::rules::{Rule, Text};

/// A place where events go.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// How long an attempt may take.
    pub(crate) timeout: Duration,
    /// How many attempts may be under way.
    pub(crate) concurrency: usize,
    /// How many attempts may begin in a while; `None` for as many as there are.
    pub(crate) rate: Option<Rate>,
    /// When a failed one is tried again.
    pub(crate) retry: Retry,
    /// When it is left alone for a while.
    pub(crate) breaker: Breaker,
    /// Events for which this gives the same go one after another.
    pub(crate) order_by: Option<Rule>,
    /// What a dead delivery does to those behind it.
    pub(crate) on_dead: OnDead,
    /// No wait is longer: of a retry, or of a debounce that leads here.
    pub(crate) longest_wait: Duration,
}

impl Destination {
    /// A line of JSON on stdout.
    pub fn print(name: &str) -> Self {
        Self::new(name, Kind::Print)
    }

    /// A program, and its arguments.
    pub fn command(name: &str, words: Vec<String>) -> Self {
        Self::new(name, Kind::Command(Command::new(words)))
    }

    /// An HTTP service.
    pub fn http(name: &str, url: http::Uri) -> Self {
        let url = TargetUrl::new(url, false);
        Self::new(name, Kind::Http { url, secret: None, body: None, headers: Vec::new() })
    }

    /// A Rust function, by its place among those that the service is given.
    pub fn function(name: &str, index: usize) -> Self {
        Self { concurrency: FUNCTION_CONCURRENCY, ..Self::new(name, Kind::Function(index)) }
    }

    /// A destination with nothing said about it but what it is.
    pub(crate) fn new(name: &str, kind: Kind) -> Self {
        let retry = Retry::default();
        Self {
            name: name.into(),
            kind,
            timeout: ATTEMPT_TIMEOUT,
            concurrency: 1,
            rate: None,
            retry,
            breaker: Breaker::default(),
            order_by: None,
            on_dead: OnDead::Skip,
            longest_wait: retry.max,
        }
    }
}

/// Attempts in a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// How many.
    pub(crate) count: u32,
    /// In which while.
    pub(crate) per: Duration,
}

/// When a destination that fails is left alone for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breaker {
    /// After so many failures in a row.
    pub(crate) failures: u32,
    /// How long before it is tried once.
    pub(crate) probe_after: Duration,
    /// With each probe that fails it is twice as long, up to this.
    pub(crate) probe_max: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 10,
            probe_after: Duration::from_secs(30),
            probe_max: Duration::from_secs(300),
        }
    }
}

/// What a dead delivery does to those behind it with the same order key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDead {
    /// They go on without it.
    Skip,
    /// They wait until it is replayed or cancelled.
    Block,
}

/// What a destination is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A line of JSON on stdout.
    Print,
    /// A program of somebody else.
    Command(Command),
    /// An HTTP service.
    Http {
        /// Where it is.
        url: TargetUrl,
        /// Signs what is forwarded.
        secret: Option<Setting>,
        /// In place of the event's own body.
        body: Option<Text>,
        /// Headers besides wilco's own.
        headers: Vec<(http::HeaderName, HeaderText)>,
    },
    /// A text to the incoming webhook of a chat.
    Chat {
        /// Whose.
        service: Service,
        /// Where it is; who knows it can write there.
        url: TargetUrl,
        /// What is said about an event.
        text: Text,
    },
    /// A file that grows by a line of JSON for each event.
    File {
        /// Where it is.
        path: PathBuf,
        /// When the next line would make it larger, in bytes, a new one is begun.
        max_size: u64,
        /// How many full ones are kept.
        keep: usize,
    },
    /// A Rust function, by its place in the endpoint that it was given to.
    Function(usize),
}

impl Kind {
    /// The word that stands for it in the file.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Print => "print",
            Self::Command(_) => "command",
            Self::Http { .. } => "http",
            Self::Chat { service: Service::Slack, .. } => "slack",
            Self::Chat { service: Service::Teams, .. } => "teams",
            Self::Chat { service: Service::Discord, .. } => "discord",
            Self::File { .. } => "file",
            Self::Function(_) => "function",
        }
    }
}

/// A program of somebody else, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// The program and its arguments; no shell reads them.
    pub(crate) words: Vec<String>,
    /// Variables that it gets besides those of wilco.
    pub(crate) environment: Vec<(String, Setting)>,
    /// Where it works; `None` for where wilco does.
    pub(crate) folder: Option<PathBuf>,
    /// Who it runs as; `None` for the user that wilco runs as.
    pub(crate) run_as: Option<RunAs>,
    /// What it may take.
    pub(crate) limits: Limits,
    /// How it is told of events.
    pub(crate) protocol: Protocol,
}

impl Command {
    /// A program that was told nothing else.
    pub(crate) fn new(words: Vec<String>) -> Self {
        Self {
            words,
            environment: Vec::new(),
            folder: None,
            run_as: None,
            limits: Limits::default(),
            protocol: Protocol::Once,
        }
    }
}

/// A user and a group of this system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunAs {
    /// The number of the user.
    pub(crate) user: u32,
    /// The number of the group; there are no further ones.
    pub(crate) group: u32,
}

/// What a program may take; `None` for what wilco itself may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Address space of each of its processes, in bytes.
    pub(crate) memory: Option<u64>,
    /// Processor time of each of its processes, in seconds.
    pub(crate) cpu: Option<u64>,
    /// Open files of each of its processes.
    pub(crate) files: Option<u64>,
    /// The last of what it says that is kept, in bytes.
    pub(crate) output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: None, cpu: None, files: None, output: OUTPUT_BYTES_MAX }
    }
}

/// How a program is told of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// It is started for each, with the body on its stdin.
    Once,
    /// It is kept, and gets a line for each.
    Lines,
}

/// What a header of a request is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum HeaderText {
    /// Made of each event.
    Template(Text),
    /// The same for all of them, from a reference.
    Secret(Setting),
}

/// A value that may be a secret: it is not shown. It has no name and may be anything, unlike a
/// [`Secret`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Setting<T = Vec<u8>>(pub T);

impl<T> std::fmt::Debug for Setting<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Setting(…)")
    }
}

/// A chat that has incoming webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Slack.
    Slack,
    /// Microsoft Teams.
    Teams,
    /// Discord.
    Discord,
}

/// The URL of an HTTP service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetUrl {
    /// The URL.
    pub(crate) uri: Setting<http::Uri>,
    /// It came by a reference, or has a credential in its query: no result may show a part of it.
    pub(crate) is_secret: bool,
}

impl TargetUrl {
    pub(crate) fn new(uri: http::Uri, is_by_reference: bool) -> Self {
        let is_secret = is_by_reference || has_credential(&uri);
        Self { uri: Setting(uri), is_secret }
    }
}

/// Whether a parameter in the query of a URL is a credential, as far as its name says so.
pub(crate) fn has_credential(uri: &http::Uri) -> bool {
    let mut parameters = uri.query().unwrap_or_default().split('&');
    parameters.any(|parameter| match parameter.split_once('=') {
        None | Some((_, "")) => false,
        Some((name, _)) => {
            let is_short = ["auth", "key", "pwd", "sig", "signature"].iter();
            is_of_a_credential(name)
                || is_short.into_iter().any(|word| name.eq_ignore_ascii_case(word))
        }
    })
}

/// When a failed delivery is tried again, and when it is given up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Retry {
    /// The wait after the first attempt.
    pub(crate) first: Duration,
    /// What each wait is multiplied by for the next.
    pub(crate) factor: f64,
    /// The longest wait.
    pub(crate) max: Duration,
    /// Past this age a delivery that fails is dead.
    pub(crate) give_up_after: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            factor: 2.0,
            max: Duration::from_secs(3_600),
            give_up_after: Duration::from_secs(24 * 3_600),
        }
    }
}

/// Attempts of a Rust function that may be under way.
const FUNCTION_CONCURRENCY: usize = 8;
/// How long an attempt may take, unless `timeout` says otherwise.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// The size of a destination's file, in bytes, unless `max_size` says otherwise.
pub(crate) const FILE_BYTES: u64 = 100 << 20;
/// How many full files of a destination are kept, unless `keep` says otherwise.
pub(crate) const FILES_KEPT: usize = 10;
/// What is kept of what a destination said, in bytes.
pub(crate) const OUTPUT_BYTES_MAX: usize = 64 << 10;
