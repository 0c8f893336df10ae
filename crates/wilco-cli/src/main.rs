//! The command `wilco`: one file per verb, and what the verbs share.

mod arguments;
mod audit;
mod backfill;
mod backup;
mod certificate;
mod check;
mod confinement;
mod dashboard;
mod demo;
mod destinations;
mod drawing;
mod events;
mod explain;
mod failure;
mod failures;
mod freispace;
mod health;
mod id_ref;
mod init;
mod json_log;
mod listen;
mod listing;
mod output;
mod probe;
mod providers;
mod record;
mod rejections;
mod reload;
mod request;
mod schema;
mod secrets;
mod send;
mod serve;
mod server;
mod shell;
mod store;
mod table;
mod top;
mod verify;

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tracing_subscriber::EnvFilter;
use wilco_server::{log::Queue, service};

pub(crate) use arguments::{ConfigArgs, ListingArgs, ShowArgs, StoreArgs, require_store};
pub(crate) use certificate::{InstantAcme, certificate_for, certificate_for_file, check_directory};
pub(crate) use confinement::Confinement;
pub(crate) use dashboard::login_link;
pub(crate) use drawing::draw;
pub(crate) use failure::Failure;
pub(crate) use id_ref::shown_ids;
use json_log::JsonLines;
pub(crate) use listing::{Pages, ReadApi};
pub(crate) use output::{
    Screen, Times, instant, labelled, readable, visible, visible_json, visible_lines, wrapped,
};
pub(crate) use record::{Filter, Record};
pub(crate) use reload::reload;
pub(crate) use server::{Messages, RemoteArgs, Server, client_for, refusal};
pub(crate) use table::{Column, Table};
pub(crate) use wilco_server::config::{did_you_mean, known_instead};

/// Requests are allocated on one thread and freed on another, which is slow with the system's
/// allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One is started for every attempt, so it skips what the verbs need.
    if let Some(code) = service::child_supervisor(std::env::args_os().skip(1)) {
        return code;
    }
    if let Some(code) = serve::launcher(std::env::args_os().skip(1)) {
        return code;
    }
    let mut cli = Cli::parse();
    if let Verb::Serve(serve) = &mut cli.verb
        && let Err(failure) = serve.confine()
    {
        return report(&failure);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return report(&Failure::failed(format!("cannot start the runtime: {error}")));
        }
    };
    let log = match log(cli.log_format(), !cli.is_service()) {
        Ok(log) => log,
        Err(error) => return report(&Failure::failed(format!("cannot start the log: {error}"))),
    };
    let is_service = cli.is_service();
    let done = runtime.block_on(cli.run());
    // Attempts that were cut off are dropped here, and with them the programs they started. A write
    // to a pipe that nobody reads would be waited for without an end.
    runtime.shutdown_timeout(LAST_MOMENT);
    let code = match done {
        Ok(code) => code,
        // The service ends even if nobody reads the log.
        Err(failure) if is_service => {
            let _ = (&*log).write_all(failure.to_string().as_bytes());
            failure.code.into()
        }
        Err(failure) => {
            log.flush(LAST_MOMENT);
            report(&failure)
        }
    };
    log.flush(LAST_MOMENT);
    code
}

/// A self-hosted webhook receiver: it verifies, records and acknowledges events, then delivers them
/// to programs and services, with retries
#[derive(Parser)]
#[command(name = "wilco", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Verb {
    Demo(demo::Demo),
    Init(init::Init),
    Check(check::Check),
    Serve(serve::Serve),
    Reload(reload::Reload),
    Health(health::Health),
    Dashboard(dashboard::Dashboard),
    Send(send::Send),
    Listen(listen::Listen),
    Probe(probe::Probe),
    Verify(verify::Verify),
    Explain(explain::Explain),
    Events(events::Events),
    Failures(failures::Failures),
    Rejections(rejections::Rejections),
    Destinations(destinations::Destinations),
    Secrets(secrets::Secrets),
    Freispace(freispace::Freispace),
    Providers(providers::Providers),
    Top(top::Top),
    Backfill(backfill::Backfill),
    Audit(audit::Audit),
    Store(store::Store),
    Backup(backup::Backup),
    Schema(schema::PrintSchema),
    Completions(shell::Completions),
    Man(shell::Man),
}

impl Cli {
    fn is_service(&self) -> bool {
        matches!(self.verb, Verb::Serve(_))
    }

    fn log_format(&self) -> Option<LogFormat> {
        match &self.verb {
            Verb::Serve(serve) => serve.log_format,
            _ => None,
        }
    }

    async fn run(self) -> Result<ExitCode, Failure> {
        match self.verb {
            Verb::Demo(demo) => demo.run().await,
            Verb::Serve(serve) => serve.run().await,
            Verb::Init(init) => init.run(),
            Verb::Check(check) => check.run().await,
            Verb::Top(top) => top.run().await,
            Verb::Backfill(backfill) => backfill.run().await,
            Verb::Store(store) => store.run().await,
            Verb::Backup(backup) => backup.run(),
            Verb::Send(send) => send.run().await,
            Verb::Listen(listen) => listen.run().await,
            Verb::Probe(probe) => probe.run().await,
            Verb::Verify(verify) => verify.run(),
            Verb::Explain(explain) => explain.run().await,
            Verb::Events(events) => events.run().await,
            Verb::Failures(failures) => failures.run().await,
            Verb::Audit(audit) => audit.run().await,
            Verb::Rejections(rejections) => rejections.run().await,
            Verb::Destinations(destinations) => destinations.run().await,
            Verb::Secrets(secrets) => secrets.run().await,
            Verb::Freispace(freispace) => freispace.run().await,
            Verb::Providers(providers) => providers.run(),
            Verb::Reload(reload) => reload.run().await,
            Verb::Health(health) => health.run().await,
            Verb::Dashboard(dashboard) => dashboard.run().await,
            Verb::Schema(schema) => schema.run(),
            Verb::Completions(completions) => completions.run(),
            Verb::Man(man) => man.run(),
        }
    }
}

fn report(failure: &Failure) -> ExitCode {
    let is_terminal = io::stderr().is_terminal();
    let text = if is_terminal { failure.for_terminal() } else { failure.to_string() };
    // If stderr is closed, there is nowhere left to report that.
    let _ = io::stderr().lock().write_all(text.as_bytes());
    failure.code.into()
}

/// Colour is for terminals only, unless the user disables it (<https://no-color.org>).
fn is_coloured(stream: &impl io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn log(format: Option<LogFormat>, quiet: bool) -> io::Result<Arc<Queue>> {
    let queue = Arc::new(Queue::to_stderr()?);
    let default = if quiet { "warn" } else { "info" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    // `fmt` reports its own failures to stderr, and panics if that is closed.
    let lines = lines.log_internal_errors(false).with_writer(Arc::clone(&queue));
    let format = format.unwrap_or(match io::stderr().is_terminal() {
        true => LogFormat::Text,
        false => LogFormat::Json,
    });
    match format {
        LogFormat::Text => lines.with_ansi(is_coloured(&io::stderr())).init(),
        LogFormat::Json => lines.event_format(JsonLines).init(),
    }
    let panics = Arc::clone(&queue);
    // The default hook writes to stderr directly, and blocks if nobody reads it.
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        tracing::error!(thread = thread.name().unwrap_or("-"), "panic: {panic}");
        panics.flush(PANIC_FLUSH); // the process may be about to abort
    }));
    Ok(queue)
}

/// `10/s`, or the number alone.
fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).trim().parse();
    let wrong = || format!("invalid rate {text:?}: expected a number a second, such as 10/s");
    number.ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0).ok_or_else(wrong)
}

fn progress(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if total < PROGRESS_FROM || !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let per_second = |state: &ProgressState, text: &mut dyn fmt::Write| {
        // Writing to a text in memory does not fail.
        let _ = write!(text, "{:.0}/s", state.per_sec());
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {pos}/{len}  {rate}  {eta} left") {
        bar.set_style(style.with_key("rate", per_second));
    }
    bar
}

/// Prints a remark, which is not part of the result, to stderr.
fn note(text: &str) {
    // If stderr is closed, there is nowhere left to report that.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn json_line<T: serde::Serialize>(row: &T) -> Result<String, Failure> {
    Ok(visible_json(&serde_json::to_string(row)?) + "\n")
}

fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    Ok(stdout.flush()?)
}

/// With fewer, a progress bar would be gone before anybody sees it.
const PROGRESS_FROM: u64 = 20;
/// From the end of a verb to the end of the process.
const LAST_MOMENT: Duration = Duration::from_secs(1);
const PANIC_FLUSH: Duration = Duration::from_millis(100);
