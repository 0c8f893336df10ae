//! Sends raw requests in every way that bytes can arrive, thousands at a time: refusals are answered
//! at a limited rate, but each waits no longer than a second.

use std::{
    io::{self, Write as _},
    net::Shutdown,
    thread,
};

use rustix::process::{Resource, getrlimit, setrlimit};

use super::{
    cases::{Case, message},
    good,
};
use crate::{
    listener::connect_from,
    world::{Reply, World},
};

/// How a request is sent.
#[derive(Clone, Copy, Debug)]
enum Way {
    Whole,
    /// Together with a good request, which must not be served.
    WithAnother,
    ByteByByte,
    CutAt(usize),
    /// Only its first bytes; then the sender closes its side.
    Only(usize),
}

/// Sends each request whole, with another behind it, byte by byte, and cut at each offset, and says
/// which of the answers are wrong. Each must be the only one, and the connection must end.
pub(super) fn wrong_answers(world: &World, cases: &[Case]) -> String {
    let mut attempts = Vec::new();
    for case in cases {
        let ways = [Way::Whole, Way::WithAnother, Way::ByteByByte].into_iter();
        let cuts = offsets(case.bytes.len()).map(Way::CutAt);
        attempts.extend(ways.chain(cuts).map(|way| (case, way)));
    }
    run(world, &attempts, |case, _, replies| match replies {
        [reply] => {
            let is_last = reply.header("connection") == Some("close");
            // The answer to an HTTP/1.0 client ends the connection without saying so.
            (reply.status, reply.message().as_str()) == (case.status, message(case.status))
                && (is_last || case.bytes.windows(8).any(|part| part == b"HTTP/1.0"))
        }
        _ => false,
    })
}

/// Sends the beginning of each request, up to each offset, and says which answers are wrong: there
/// may be none, or a refusal.
pub(super) fn answers_to_parts(world: &World, cases: &[Case]) -> String {
    let mut attempts = Vec::new();
    for case in cases {
        attempts.extend(offsets(case.bytes.len()).map(|end| (case, Way::Only(end))));
    }
    run(world, &attempts, |_, _, replies| matches!(replies, [] | [Reply { status: 400, .. }]))
}

/// Where a request of this length is cut: everywhere, or at the most interesting offsets of a long one.
fn offsets(length: usize) -> impl Iterator<Item = usize> {
    const EACH_UP_TO: usize = 512;
    let of_interest = move |at: &usize| {
        *at < 40 || *at + 40 > length || at.abs_diff(16 << 10) < 3 || at.is_multiple_of(1_021)
    };
    (1..length).filter(move |at| length <= EACH_UP_TO || of_interest(at))
}

type IsRight = fn(&Case, Way, &[Reply]) -> bool;

/// Makes all attempts, and describes the first that went wrong of each case.
fn run(world: &World, attempts: &[(&Case, Way)], is_right: IsRight) -> String {
    let at_once = connections_at_once();
    let per_sender = attempts.len().div_ceil(SENDERS);
    let mut wrong: Vec<(&str, String)> = thread::scope(|scope| {
        let senders: Vec<_> = attempts
            .chunks(per_sender)
            .enumerate()
            .map(|(sender, mine)| {
                scope.spawn(move || {
                    let batches = mine.chunks(at_once / SENDERS).enumerate();
                    let send = |(batch, attempts): (usize, &[_])| {
                        // Connections from one address are limited, and the last ones may linger.
                        let from = format!("127.1.{sender}.{}", batch % 250 + 1);
                        world.eventually("closed connections", |world| {
                            world.metric("wilco_connections") <= at_once as f64
                        });
                        send(world, &from, attempts, is_right)
                    };
                    batches.flat_map(send).collect()
                })
            })
            .collect();
        senders.into_iter().flat_map(|sender| -> Vec<_> { sender.join().unwrap() }).collect()
    });
    wrong.dedup_by(|(next, _), (name, _)| next == name);
    wrong.into_iter().map(|(_, what)| what).take(LINES_MAX).collect()
}

/// Sends one part of each request, then the next part of each, so that the parts arrive apart.
fn send<'a>(
    world: &World,
    from: &str,
    attempts: &[(&'a Case, Way)],
    is_right: IsRight,
) -> Vec<(&'a str, String)> {
    let mut streams: Vec<_> = attempts
        .iter()
        .map(|(case, way)| {
            let stream = connect_from(from, world.address);
            stream.set_nodelay(true).unwrap();
            let bytes = match way {
                Way::WithAnother => [&case.bytes[..], good().as_bytes()].concat(),
                _ => case.bytes.clone(),
            };
            (stream, ends(*way, bytes.len()), bytes)
        })
        .collect();
    let rounds = streams.iter().map(|(_, ends, _)| ends.len()).max().unwrap_or_default();
    for round in 0..rounds {
        for (stream, ends, bytes) in &mut streams {
            let begin = if round == 0 { 0 } else { ends[(round - 1).min(ends.len() - 1)] };
            if let Some(&end) = ends.get(round) {
                // The server may have refused it already and closed its side.
                let _ = stream.write_all(&bytes[begin..end]);
            }
        }
    }
    let answers = streams.into_iter().zip(attempts).filter_map(|((stream, ..), &(case, way))| {
        if matches!(way, Way::Only(_)) {
            // It fails if the server has closed already.
            let _ = stream.shutdown(Shutdown::Write);
        }
        let replies = Reply::try_read_all(stream);
        let is_right = replies.as_ref().is_ok_and(|replies| is_right(case, way, replies));
        let describe = || format!("{} {way:?} {:?}\n", case.name, shown(replies));
        (!is_right).then(|| (case.name.as_str(), describe()))
    });
    answers.collect()
}

/// Where each part ends.
fn ends(way: Way, length: usize) -> Vec<usize> {
    match way {
        Way::Whole | Way::WithAnother => vec![length],
        // The others of a batch wait for the longest.
        Way::ByteByByte if length > 1_000 => (0..length).step_by(100).chain([length]).collect(),
        Way::ByteByByte => (1..=length).collect(),
        Way::CutAt(cut) => vec![cut, length],
        Way::Only(end) => vec![end],
    }
}

fn shown(replies: io::Result<Vec<Reply>>) -> io::Result<Vec<(u16, String)>> {
    Ok(replies?.into_iter().map(|reply| (reply.status, reply.body)).collect())
}

/// How many connections this process may open for it. The usual soft limit is for programs that use
/// `select`.
fn connections_at_once() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // It fails where the limit is fixed, which the next line respects.
    let _ = setrlimit(Resource::Nofile, limit);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let spare = usize::try_from(files / 2).unwrap_or(usize::MAX);
    spare.clamp(SENDERS, CONNECTIONS_MAX)
}

const SENDERS: usize = 4;
/// At most twice as many are open, which is less than the server accepts.
const CONNECTIONS_MAX: usize = 3_600;
const LINES_MAX: usize = 40;
