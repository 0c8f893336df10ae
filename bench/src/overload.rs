//! What becomes of the events that are recorded when many times as many arrive: how many still are, what the
//! others are told, and how soon all is as before.
//!
//! Requests are sent on a schedule, each on a connection that waits for no answer, or on a new one while the
//! connections last: a server that is slow is not sent less because of that.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, Write as _},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{
    runtime,
    task::{JoinSet, LocalSet},
    time::{Instant, sleep_until, timeout, timeout_at},
};

use crate::{
    args::Overload,
    bodies::{Queue, Requests},
    connection::{Connection, Target},
    load::{ANSWER_BYTES_MAX, WARM_UP, exchange},
    machine::Machine,
    rounds::tell,
    servers::Server,
};

/// Measures all that `args` ask for. `false` where an aim was missed.
///
/// # Errors
///
/// Something is not there or cannot be started: nothing was measured.
pub(crate) async fn run(args: &Overload) -> io::Result<bool> {
    let wilco = args.place.wilco()?;
    let folder = tempfile::Builder::new().prefix("wilco-bench-").tempdir_in(args.place.dir())?;
    let dir = folder.path().canonicalize()?;
    let machine = Machine::examine(&dir)?;
    let span = Duration::from_secs(args.seconds);
    let server = match args.tls {
        true => Server::wilco_tls(&wilco, &dir).await?,
        false => Server::wilco(&wilco, &dir, "").await?,
    };
    let target = Target::new(server.address, args.tls)?;
    tell(&format!("the peak, with {} connections", args.connections));
    let (connections, is_kept) = (args.connections, !args.new_connections);
    let senders = Senders { target: target.clone(), queue: queue(0, PEAK_REQUESTS_MAX)?, is_kept };
    let peak = on_a_thread(move || peak(senders, connections, span)).await?;
    let all = peak * f64::from(args.times);
    let few = peak * SHARE_OF_FEW;
    tell(&format!("{few:.0} requests/s, then {all:.0}, then {few:.0} again"));
    let spans = [(few, span), (all, span), (few, span)];
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of requests"
    )]
    let count = spans.iter().map(|(rate, span)| rate * span.as_secs_f64()).sum::<f64>() as usize;
    let most = args.connections_max;
    let senders = Senders { target, queue: queue(FIRST_NUMBER, count + 1_000)?, is_kept };
    let sent = on_a_thread(move || send(senders, spans, most)).await?;
    let recorded = server.recorded().await?.unwrap_or_default();
    server.stop().await?;
    report(args, &machine, peak, &sent, recorded)
}

/// Signed requests with numbers from `first` on, each to be sent once.
fn queue(first: u64, count: usize) -> io::Result<Queue> {
    Ok(Queue::new(Arc::new(Requests::signed_from(first, count, None)?)))
}

/// What `begin` returns, on a separate thread that does nothing else.
async fn on_a_thread<T, F>(begin: impl FnOnce() -> F + Send + 'static) -> io::Result<T>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>>,
{
    let run = move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, begin())
    };
    tokio::task::spawn_blocking(run).await?
}

/// What is sent to whom.
struct Senders {
    target: Target,
    queue: Queue,
    /// Whether a connection is used again.
    is_kept: bool,
}

/// How many requests a second are acknowledged if there are enough of them, and no more.
async fn peak(senders: Senders, connections: usize, span: Duration) -> io::Result<f64> {
    let senders = Rc::new(senders);
    let opens = Instant::now() + WARM_UP;
    let mut loops = JoinSet::new();
    for number in 0..connections {
        let senders = Rc::clone(&senders);
        loops.spawn_local(async move {
            let (mut connection, mut acknowledged) = (None, 0_u32);
            while Instant::now() < opens + span {
                let answer;
                (answer, connection) = senders.attempt(connection, number).await;
                match answer {
                    Answer::Acknowledged if Instant::now() < opens => {}
                    Answer::Acknowledged if Instant::now() < opens + span => acknowledged += 1,
                    Answer::NotSent => return None,
                    _ => {}
                }
            }
            Some(acknowledged)
        });
    }
    let mut acknowledged = 0;
    while let Some(joined) = loops.join_next().await {
        acknowledged += joined?.ok_or_else(|| {
            io::Error::other(format!(
                "more than {PEAK_REQUESTS_MAX} requests were answered: this machine cannot send many times \
                 as many, so slow the server down, see README.md"
            ))
        })?;
    }
    Ok(f64::from(acknowledged) / span.as_secs_f64())
}

/// A request that was answered or not.
struct Sent {
    span: usize,
    /// When it was due, from the beginning of its span.
    due: Duration,
    took: Duration,
    answer: Answer,
}

/// What a sender is told.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Acknowledged,
    /// 503 with `retry-after`.
    TryAgain,
    Other(String),
    /// All connections were waiting for an answer.
    NotSent,
}

/// Sends what the spans ask for, one after another.
async fn send(senders: Senders, spans: [(f64, Duration); 3], most: usize) -> io::Result<Vec<Sent>> {
    let senders = Rc::new(senders);
    let idle = Rc::new(RefCell::new(Vec::<Connection>::new()));
    let (mut open, mut number, mut all) = (0, 0, Vec::new());
    let mut under_way = JoinSet::<(Sent, bool)>::new();
    for (span, (rate, length)) in spans.into_iter().enumerate() {
        let begun = Instant::now();
        let mut due = Duration::ZERO;
        while due < length {
            sleep_until(begun + due).await;
            if idle.borrow().is_empty() && open >= most {
                // Waits instead of looking at every request, so that the server has the processor.
                if let Ok(Some(joined)) = timeout_at(begun + length, under_way.join_next()).await {
                    let (sent, is_open) = joined?;
                    open -= usize::from(!is_open);
                    all.push(sent);
                }
                while due < begun.elapsed().min(length) {
                    all.push(Sent { span, due, took: Duration::ZERO, answer: Answer::NotSent });
                    due += Duration::from_secs_f64(1.0 / rate);
                }
                continue;
            }
            while let Some(joined) = under_way.try_join_next() {
                let (sent, is_open) = joined?;
                open -= usize::from(!is_open);
                all.push(sent);
            }
            let connection = idle.borrow_mut().pop();
            open += usize::from(connection.is_none());
            number += 1;
            let (senders, idle) = (Rc::clone(&senders), Rc::clone(&idle));
            under_way.spawn_local(async move {
                let (answer, connection) = senders.attempt(connection, number).await;
                let is_open = connection.is_some();
                idle.borrow_mut().extend(connection);
                (Sent { span, due, took: (begun + due).elapsed(), answer }, is_open)
            });
            due += Duration::from_secs_f64(1.0 / rate);
        }
    }
    while let Some(joined) = under_way.join_next().await {
        all.push(joined?.0);
    }
    Ok(all)
}

impl Senders {
    /// Sends a request, and gives the connection back if another may follow.
    async fn attempt(
        &self,
        connection: Option<Connection>,
        number: usize,
    ) -> (Answer, Option<Connection>) {
        let Some(request) = self.queue.take() else { return (Answer::NotSent, connection) };
        let mut buffer = vec![0; ANSWER_BYTES_MAX];
        let exchanged = timeout(PATIENCE, async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => self.target.connect(number).await?,
            };
            let status = exchange(&mut connection, request, &mut buffer).await?;
            Ok::<_, io::Error>((status, connection))
        });
        let (status, connection) = match exchanged.await {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) => return (Answer::Other(error.to_string()), None),
            Err(_) => {
                return (Answer::Other(format!("no answer in {} s", PATIENCE.as_secs())), None);
            }
        };
        let head = String::from_utf8_lossy(&buffer);
        let head = head.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
        let answer = match status {
            200 => Answer::Acknowledged,
            503 if head.contains("\r\nretry-after: ") => Answer::TryAgain,
            _ => Answer::Other(status.to_string()),
        };
        let is_kept = self.is_kept && !head.contains("\r\nconnection: close");
        (answer, Some(connection).filter(|_| is_kept))
    }
}

/// Prints the figures, and whether they are within their aims.
fn report(
    args: &Overload,
    machine: &Machine,
    peak: f64,
    sent: &[Sent],
    recorded: u64,
) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    writeln!(out, "{machine}")?;
    writeln!(out, "peak: {peak:.0} requests/s with {} connections", args.connections)?;
    let names = ["before", "overload", "after"];
    for (span, name) in names.iter().enumerate() {
        let mut answers = BTreeMap::<&Answer, Vec<Duration>>::new();
        for sent in sent.iter().filter(|sent| sent.span == span) {
            answers.entry(&sent.answer).or_default().push(sent.took);
        }
        for (answer, mut took) in answers {
            took.sort_unstable();
            let what = match answer {
                Answer::Acknowledged => "200",
                Answer::TryAgain => "503 with retry-after",
                Answer::Other(what) => what,
                Answer::NotSent => "not sent: every connection waits",
            };
            let (count, p50, p99) = (took.len(), millis(&took, 50), millis(&took, 99));
            writeln!(out, "{name:>9}: {count:>7} × {what}, p50 {p50:.0} ms, p99 {p99:.0} ms")?;
        }
    }
    let acknowledged = |span| {
        let is_it = move |sent: &&Sent| sent.span == span && sent.answer == Answer::Acknowledged;
        sent.iter().filter(is_it)
    };
    #[expect(clippy::cast_precision_loss, reason = "some thousand requests")]
    let goodput = acknowledged(1).count() as f64 / args.seconds as f64;
    let odd = sent.iter().filter(|sent| matches!(sent.answer, Answer::Other(_))).count();
    let all = (0..names.len()).map(|span| acknowledged(span).count()).sum::<usize>();
    let normal_after = normal_after(sent);
    let share = goodput / peak;
    let aims = [
        (share >= GOODPUT_MIN, format!("goodput is {share:.2} of the peak (aim: {GOODPUT_MIN})")),
        (odd == 0, format!("{odd} got neither 200 nor 503 with retry-after (aim: 0)")),
        (
            normal_after <= NORMAL_AFTER_MAX,
            format!("as before after {:.1} s (aim: 2)", normal_after.as_secs_f64()),
        ),
        (
            usize::try_from(recorded).is_ok_and(|recorded| recorded >= all),
            format!("{recorded} events recorded, {all} acknowledged in these spans"),
        ),
    ];
    for (is_met, what) in &aims {
        writeln!(out, "{} {what}", if *is_met { "ok    " } else { "MISSED" })?;
    }
    Ok(aims.iter().all(|(is_met, _)| *is_met))
}

/// How long after the overload the last request was refused, or took much longer than any before.
fn normal_after(sent: &[Sent]) -> Duration {
    let mut before: Vec<_> =
        sent.iter().filter(|sent| sent.span == 0).map(|sent| sent.took).collect();
    before.sort_unstable();
    let slowest = before.last().copied().unwrap_or_default();
    let is_odd = |sent: &&Sent| sent.answer != Answer::Acknowledged || sent.took > 2 * slowest;
    let odd = sent.iter().filter(|sent| sent.span == 2).filter(is_odd);
    odd.map(|sent| sent.due).max().unwrap_or_default()
}

fn millis(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
}

/// How much of the peak comes before the overload and after it.
const SHARE_OF_FEW: f64 = 0.1;
/// How much of the peak has to be left in the overload.
const GOODPUT_MIN: f64 = 0.9;
const NORMAL_AFTER_MAX: Duration = Duration::from_secs(2);
/// How long a sender waits for an answer: most providers wait between 3 and 30 s.
const PATIENCE: Duration = Duration::from_secs(10);
/// Far beyond those that the peak was measured with.
const FIRST_NUMBER: u64 = 100_000_000;
const PEAK_REQUESTS_MAX: usize = 200_000;
