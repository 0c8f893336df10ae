//! The whole way: recorded, routed, delivered. Each round is a fresh process with a fresh store.
//!
//! It alternates with wilco without a destination, so that the ratio shows what delivering costs the
//! endpoint, on this machine at this minute.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::{
    args::{self, Deliver},
    bodies::Requests,
    load::{Load, WARM_UP, Watched},
    machine::Machine,
    process,
    rounds::{faults, tell},
    servers::Server,
    sink::{Received, Sink},
    ways::{Figures, Round, Way},
};

/// Measures all that `args` ask for. `false` where a delivery is missing or came twice.
///
/// # Errors
///
/// Something is not there or cannot be started: nothing was measured from there on.
pub(crate) async fn run(args: &Deliver) -> io::Result<bool> {
    let wilco = args.place.wilco()?;
    let against = args.against.as_deref().map(args::binary).transpose()?;
    let folder = tempfile::Builder::new().prefix("wilco-bench-").tempdir_in(args.place.dir())?;
    let dir = folder.path().canonicalize()?;
    let machine = Machine::examine(&dir)?;
    crate::ways::head(args, &machine)?;

    let seconds = (Duration::from_secs(args.seconds) + WARM_UP).as_millis().div_ceil(1_000);
    let seconds = usize::try_from(seconds).map_err(io::Error::other)?;
    let rate = usize::try_from(args.rate).map_err(io::Error::other)?;
    let requests = Arc::new(Requests::signed(rate.saturating_mul(seconds), None)?);
    tell(&format!("{} requests are signed", requests.count()));

    let mut rounds = Vec::new();
    let mut faulty = 0;
    for number in 1..=args.rounds {
        let mut round = Round::default();
        for way in Way::ALL {
            let binary = match way {
                Way::Against => against.as_deref(),
                Way::Record | Way::Deliver => Some(wilco.as_path()),
            };
            let Some(binary) = binary else { continue };
            let folder = tempfile::Builder::new().prefix("round-").tempdir_in(&dir)?;
            let (figures, faults) = measure(args, &requests, way, binary, folder.path()).await?;
            let title = format!("round {number}, {}", way.name());
            tell(&format!("{title}: {}", crate::ways::brief(&figures)));
            for fault in &faults {
                tell(&format!("{title}: FAILED: {fault}"));
            }
            faulty += faults.len();
            round.note(way, figures);
            crate::ways::round(args, number, way, &figures)?;
        }
        rounds.push(round);
    }
    crate::ways::medians(args, &rounds)?;
    Ok(faulty == 0)
}

/// What is read at both ends of the measured span.
struct Look {
    delivered: u64,
}

/// CPU times so far.
struct Spent {
    wilco: Duration,
    sink: Duration,
    all: Duration,
}

/// One round: its figures, and what was wrong.
async fn measure(
    args: &Deliver,
    requests: &Arc<Requests>,
    way: Way,
    wilco: &Path,
    dir: &Path,
) -> io::Result<(Figures, Vec<String>)> {
    let delivers = way != Way::Record;
    // Without a destination nothing would ever give a place back.
    let is_limited = delivers && args.window > 0;
    let window = is_limited.then(|| Arc::new(Semaphore::new(args.window)));
    let sink = Sink::start(window.clone()).await?;
    let more = if delivers { destination(&sink, args.concurrency) } else { String::new() };
    let server = Server::wilco(wilco, dir, &more).await?;
    let load = Load {
        requests: Arc::clone(requests),
        connections: args.connections,
        threads: args::threads(),
        measured: Duration::from_secs(args.seconds),
        window,
    };
    let spent_before = spent(&server, &sink)?;
    let begun = Instant::now();
    let look = || Ok(Look { delivered: sink.requests() });
    let watched = load.watch(server.address, look).await?;
    if delivers {
        wait_for_all(&sink, watched.tally.acknowledged).await;
    }
    let spent_after = spent(&server, &sink)?;
    let received = sink.received();
    let ended = if delivers { received.last } else { watched.tally.last_answer() };
    let took = ended.map_or(Duration::ZERO, |ended| ended.duration_since(begun));
    let figures = figures(&watched, &received, took, &spent_before, &spent_after, &server)?;
    let mut faults = faults(&watched.tally);
    if delivers {
        faults.extend(wrong(&received, watched.tally.acknowledged));
    }
    if watched.tally.ran_out {
        faults.push("out of requests before the end; raise --rate".to_owned());
    }
    server.stop().await?;
    Ok((figures, faults))
}

fn figures(
    watched: &Watched<Look>,
    received: &Received,
    took: Duration,
    before: &Spent,
    after: &Spent,
    server: &Server,
) -> io::Result<Figures> {
    let all = watched.tally.acknowledged as f64;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / all.max(1.0);
    let span = watched.elapsed.as_secs_f64().max(1e-9);
    let sink = after.sink.saturating_sub(before.sink);
    let load = after.all.saturating_sub(before.all).saturating_sub(sink);
    Ok(Figures([
        watched.tally.latencies.len() as f64 / span,
        (watched.after.delivered - watched.before.delivered) as f64 / span,
        all / took.as_secs_f64().max(1e-9),
        each(after.wilco.saturating_sub(before.wilco)),
        each(sink),
        each(load),
        process::peak_kib(server.id)? as f64 / 1024.0,
        received.age(50).as_secs_f64() * 1e3,
        received.age(99).as_secs_f64() * 1e3,
    ]))
}

fn spent(server: &Server, sink: &Sink) -> io::Result<Spent> {
    Ok(Spent {
        wilco: process::cpu_time(server.id)?,
        sink: sink.cpu_time()?,
        all: process::cpu_time(std::process::id())?,
    })
}

/// Waits until as many events have come as were acknowledged, or none has come for a while; then a
/// little longer, for one that comes twice comes late.
async fn wait_for_all(sink: &Sink, acknowledged: u64) {
    let (mut seen, mut since) = (sink.events(), Instant::now());
    while seen < acknowledged && since.elapsed() < STANDSTILL_MAX {
        sleep(LOOK).await;
        let now = sink.events();
        if now > seen {
            (seen, since) = (now, Instant::now());
        }
    }
    sleep(TAIL).await;
}

/// Every acknowledged event came, and came once.
fn wrong(received: &Received, acknowledged: u64) -> Vec<String> {
    let (events, bodies) = (received.events(), received.bodies());
    let mut faults = Vec::new();
    if events != acknowledged || bodies != acknowledged {
        faults.push(format!(
            "{acknowledged} events were acknowledged; {events} ids and {bodies} bodies came"
        ));
    }
    if received.doubled > 0 {
        faults.push(format!("{} deliveries came twice", received.doubled));
    }
    if received.odd > 0 {
        faults.push(format!("{} deliveries were not as they should be", received.odd));
    }
    faults
}

/// One destination for all events, in TOML.
pub(crate) fn destination(sink: &Sink, concurrency: u16) -> String {
    format!(
        "\n[destination.{DESTINATION}]\ntype = \"http\"\nurl = \"http://{}/\"\n\
         concurrency = {concurrency}\n\n[[route]]\nto = [\"{DESTINATION}\"]\n",
        sink.address
    )
}

/// The name of the destination.
pub(crate) const DESTINATION: &str = "sink";
const STANDSTILL_MAX: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(5);
const TAIL: Duration = Duration::from_millis(100);
