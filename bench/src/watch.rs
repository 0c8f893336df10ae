//! What open pages of the dashboard cost while events arrive: CPU time of wilco without a page, with one and with
//! several, in alternation on the same process.
//!
//! A viewer does what the script of the page does: it is told that something changed, and then fetches each live part
//! of the page, as often as that part says.

use std::{
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use http_body_util::BodyExt as _;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    args::Watch,
    bodies::{Queue, Requests},
    connection::Target,
    deliver::destination,
    flood::{Side, steady_span},
    http::Client,
    machine::Machine,
    process,
    rounds::tell,
    servers::Server,
    sink::Sink,
    stock::Stock,
};

/// Measures all that `args` ask for. `false` where an aim was missed.
///
/// # Errors
///
/// Something is not there or cannot be started: nothing was measured.
pub(crate) async fn run(args: &Watch) -> io::Result<bool> {
    let wilco = args.place.wilco()?;
    let folder = tempfile::Builder::new().prefix("wilco-bench-").tempdir_in(args.place.dir())?;
    let dir = folder.path().canonicalize()?;
    let machine = Machine::examine(&dir)?;
    let rate = args.rate as usize;
    let seconds = usize::try_from(args.seconds).map_err(io::Error::other)? + 1;
    let count = seconds * (args.rounds as usize * args.viewers.len() + 1) * rate;
    // Behind those of the store.
    let requests = Requests::signed_from(u64::from(args.events), count, None)?;
    let queue = Arc::new(Queue::new(Arc::new(requests)));
    if args.events > 0 {
        Stock::fill(dir.clone(), u64::from(args.events)).await?;
    }

    let sink = Sink::start(None).await?;
    let server = Server::wilco(&wilco, &dir, &destination(&sink, CONCURRENCY)).await?;
    tell("warm-up");
    span(args, &server, &queue, 0).await?;
    let mut spans: Vec<Vec<Span>> = Vec::new();
    for round in 1..=args.rounds {
        let mut of_round = Vec::new();
        for &viewers in &args.viewers {
            tell(&format!("round {round}, {viewers} open pages"));
            of_round.push(span(args, &server, &queue, viewers).await?);
        }
        spans.push(of_round);
    }
    let parts = alone(&server, &args.page).await?;
    server.stop().await?;
    report(args, &machine, &spans, &parts)
}

/// The live parts of a page, and the CPU time of wilco for fetching each, while nothing else happens.
async fn alone(server: &Server, page: &str) -> io::Result<Vec<(Part, Duration)>> {
    let (address, token) = server.admin()?;
    let mut client = Client::connect(address, &token).await?;
    sleep(SETTLING).await;
    let mut costs = Vec::new();
    for part in parts(&ok(client.text(page, false).await?)?)? {
        let before = process::cpu_time(server.id)?;
        for _ in 0..FETCHES {
            ok(client.text(&part.path, true).await?)?;
        }
        let spent = process::cpu_time(server.id)?.saturating_sub(before);
        costs.push((part, spent / FETCHES));
    }
    Ok(costs)
}

/// What was measured with some open pages.
#[derive(Default)]
struct Span {
    /// CPU seconds of wilco for each second.
    cpu: f64,
    /// What became of the events.
    side: Side,
    seen: Seen,
}

/// What all viewers saw.
#[derive(Default)]
struct Seen {
    /// Parts that were fetched.
    parts: u64,
    /// Those of them that may be fetched most often.
    moves: u64,
    /// How long the parts took together.
    took: Duration,
    bytes: usize,
}

async fn span(
    args: &Watch,
    server: &Server,
    queue: &Arc<Queue>,
    viewers: usize,
) -> io::Result<Span> {
    let target = Target::new(server.address, false)?;
    let mut watching = JoinSet::new();
    let length = Duration::from_secs(args.seconds);
    let end = Instant::now() + SETTLING + length;
    for _ in 0..viewers {
        let (address, token) = server.admin()?;
        let clients =
            (Client::connect(address, &token).await?, Client::connect(address, &token).await?);
        watching.spawn(watch(clients, args.page.clone(), end));
    }
    // Connected, and without what the span before has left to be delivered.
    sleep(SETTLING).await;
    let (begun, before) = (Instant::now(), process::cpu_time(server.id)?);
    let side = steady_span(&target, args.rate, queue, length).await?;
    let spent = process::cpu_time(server.id)?.saturating_sub(before);
    let mut seen = Seen::default();
    while let Some(one) = watching.join_next().await {
        let Seen { parts, moves, took, bytes } = one??;
        seen.parts += parts;
        seen.moves += moves;
        seen.took += took;
        seen.bytes += bytes;
    }
    Ok(Span { cpu: spent.as_secs_f64() / begun.elapsed().as_secs_f64(), side, seen })
}

/// A live part of a page.
struct Part {
    path: String,
    every: Duration,
    fetched: Option<Instant>,
}

/// Has a page open until `end`.
async fn watch(
    (mut pages, mut stream): (Client, Client),
    page: String,
    end: Instant,
) -> io::Result<Seen> {
    let mut parts = parts(&ok(pages.text(&page, false).await?)?)?;
    let most_often = parts.iter().min_by_key(|part| part.every).map(|part| part.path.clone());
    let mut live = stream.get("/live", false).await?.into_body();
    let mut seen = Seen::default();
    while let Ok(frame) = timeout_at(end, live.frame()).await {
        let frame = frame.ok_or_else(|| io::Error::other("/live ended"))?;
        let is_change = frame
            .map_err(io::Error::other)?
            .data_ref()
            .is_some_and(|data| data.starts_with(b"event: changed"));
        if !is_change {
            continue;
        }
        for part in &mut parts {
            let is_due = |fetched: Instant| fetched.elapsed() + TOLERANCE >= part.every;
            if !part.fetched.is_none_or(is_due) {
                continue;
            }
            let begun = Instant::now();
            part.fetched = Some(begun);
            let body = ok(pages.text(&part.path, true).await?)?;
            seen.bytes += body.len();
            // A part that took long may be fetched less often.
            let again = self::parts(&body)?.into_iter().find(|again| again.path == part.path);
            part.every = again.map_or(part.every, |again| again.every);
            seen.took += begun.elapsed();
            seen.parts += 1;
            seen.moves += u64::from(most_often.as_ref() == Some(&part.path));
        }
    }
    Ok(seen)
}

fn ok((status, body): (u16, String)) -> io::Result<String> {
    if status == 200 { Ok(body) } else { Err(io::Error::other(format!("answered {status}"))) }
}

/// The live parts of a page: from where they are fetched, and how often at most.
fn parts(page: &str) -> io::Result<Vec<Part>> {
    let part = |text: &str| {
        let every = Duration::from_millis(text.split('"').next()?.parse().ok()?);
        let path = text.split_once("hx-get=\"")?.1.split('"').next()?;
        Some(Part { path: path.replace("&#38;", "&"), every, fetched: None })
    };
    let parts: Vec<_> = page.split("data-live=\"").skip(1).filter_map(part).collect();
    if parts.is_empty() { Err(io::Error::other("the page has no live part")) } else { Ok(parts) }
}

/// Prints the figures, and whether they are within their aims.
fn report(
    args: &Watch,
    machine: &Machine,
    rounds: &[Vec<Span>],
    parts: &[(Part, Duration)],
) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    writeln!(out, "{machine}")?;
    writeln!(
        out,
        "{} events/s recorded and delivered, {} events before; {} × {} s each way; page {}",
        args.rate, args.events, args.rounds, args.seconds, args.page
    )?;
    for (Part { path, every, .. }, cost) in parts {
        let (cost, every) = (cost.as_secs_f64(), every.as_secs_f64());
        let (cost_ms, percent) = (cost * 1e3, cost / every * 1e2);
        writeln!(out, "{path}: {cost_ms:.2} ms of CPU, {percent:.2} % of a core each {every} s")?;
    }
    let mut is_met = true;
    for (number, &viewers) in args.viewers.iter().enumerate() {
        let spans = rounds.iter().map(|round| (&round[0], &round[number])).collect::<Vec<_>>();
        is_met &= report_viewers(&mut out, args, viewers, &spans)?;
    }
    Ok(is_met)
}

/// The figures with some open pages. Each span comes with the one of its round that it is compared with.
#[expect(clippy::cast_precision_loss, reason = "figures of some seconds")]
fn report_viewers(
    out: &mut impl io::Write,
    args: &Watch,
    viewers: usize,
    spans: &[(&Span, &Span)],
) -> io::Result<bool> {
    let of = |figure: &dyn Fn(&Span, &Span) -> f64| {
        median(spans.iter().map(|(base, span)| figure(base, span)).collect())
    };
    let percent = of(&|_, span| span.cpu * 1e2);
    let p99 = of(&|_, span| span.side.millis(0.99));
    let failed: u64 = spans.iter().map(|(_, span)| span.side.failed()).sum();
    writeln!(out, "{viewers:>3} open: {percent:.1} % of a core, p99 {p99:.2} ms, {failed} failed")?;
    if viewers == 0 {
        return Ok(failed == 0);
    }
    let pages = viewers as f64;
    let a_second = pages * args.seconds as f64;
    let more = of(&|base, span| (span.cpu - base.cpu) * 1e2) / pages;
    let moves = of(&|_, span| span.seen.moves as f64) / a_second;
    let kib = of(&|_, span| span.seen.bytes as f64) / a_second / 1_024.0;
    let part_ms = of(&|_, span| span.seen.took.as_secs_f64() * 1e3 / span.seen.parts as f64);
    let aims = [
        (more <= PERCENT_MAX, format!("{more:.1} % of a core for each page (aim: {PERCENT_MAX})")),
        (moves <= MOVES_MAX, format!("{moves:.2} moves a second (aim: {MOVES_MAX})")),
    ];
    for (is_met, what) in &aims {
        writeln!(out, "{} {what}", if *is_met { "ok    " } else { "MISSED" })?;
    }
    writeln!(
        out,
        "       {kib:.0} KiB a second for each page, {part_ms:.1} ms for each part of it"
    )?;
    Ok(failed == 0 && aims.iter().all(|(is_met, _)| *is_met))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

const CONCURRENCY: u16 = 8;
/// How often each part is fetched, because CPU time is counted in steps of 10 ms.
const FETCHES: u32 = 100;
const SETTLING: Duration = Duration::from_secs(1);
/// As the script of the page has it.
const TOLERANCE: Duration = Duration::from_millis(20);
const PERCENT_MAX: f64 = 5.0;
const MOVES_MAX: f64 = 4.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_parts_of_a_page_say_where_they_are_fetched_and_how_often() {
        let page = r##"<nav data-live="3000" hx-get="/events/counts?a=1&#38;b=2" hx-trigger="changed">
            <div id="live" data-live="250" data-hold hx-get="/events">"##;
        let found = parts(page).unwrap();
        let found: Vec<_> =
            found.iter().map(|part| (part.path.as_str(), part.every.as_millis())).collect();
        assert_eq!(found, [("/events/counts?a=1&b=2", 3_000), ("/events", 250)]);
    }
}
