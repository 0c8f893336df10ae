//! What is printed: a table that lines up, or JSON lines.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde_json::{Map, Value, json};

use crate::{bodies::BODY_BYTES, load::Outcome, machine::Machine, servers::Kind};

/// The figures of one round, in the order of [`COLUMNS`].
pub(crate) type Figures = [f64; COLUMNS.len()];

/// Both servers' figures of one round.
pub(crate) struct Pair {
    /// The bare server's.
    pub(crate) bare: Figures,
    /// wilco's, right after it.
    pub(crate) wilco: Figures,
}

/// What the run was asked for.
pub(crate) struct Plan {
    /// How long a round measures.
    pub(crate) measured: Duration,
    /// How many rounds each server gets.
    pub(crate) rounds: u32,
    /// How many bookings the bodies are about; each is about its own without.
    pub(crate) subjects: Option<u32>,
    /// How many threads make the load.
    pub(crate) threads: usize,
}

/// Writes to standard output.
pub(crate) struct Report {
    json: bool,
}

impl Report {
    /// A table, or JSON lines.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// What was measured on, and how.
    ///
    /// # Errors
    ///
    /// Standard output is closed; here and below.
    pub(crate) fn head(&self, machine: &Machine, plan: &Plan) -> io::Result<()> {
        let Machine { cores, kernel, file_system, sync } = machine;
        let (seconds, sync_ms) = (plan.measured.as_secs(), sync.as_secs_f64() * 1e3);
        let (rounds, threads) = (plan.rounds, plan.threads);
        if self.json {
            return line(&json!({
                "kind": "machine", "cores": cores, "kernel": kernel, "file_system": file_system,
                "sync_ms": rounded(sync_ms, 3), "seconds": seconds, "rounds": rounds,
                "body_bytes": BODY_BYTES, "subjects": plan.subjects, "load_threads": threads,
            }));
        }
        let about = match plan.subjects {
            Some(subjects) => format!("about {subjects} bookings"),
            None => "each about a different booking".to_owned(),
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{cores} cores, Linux {kernel}; {file_system}, fdatasync {sync_ms:.2} ms")?;
        writeln!(
            out,
            "{rounds} rounds of {seconds} s each, alternating; load from {threads} thread(s)"
        )?;
        writeln!(out, "bodies of {BODY_BYTES} bytes, all distinct, {about}\n")?;
        write!(out, "{:>11}  {:<7}", "connections", "server")?;
        for column in &COLUMNS {
            write!(out, "{:>WIDTH$}", column.title)?;
        }
        writeln!(out)
    }

    /// One round of one server; the table leaves it to the medians.
    pub(crate) fn round(
        &self,
        connections: usize,
        round: u32,
        kind: Kind,
        figures: &Figures,
    ) -> io::Result<()> {
        if !self.json {
            return Ok(());
        }
        let mut object = named(figures);
        object.insert("round".into(), json!(round));
        labelled(object, "round", connections, kind.name())
    }

    /// The medians over all rounds, and the median of the ratios of each round.
    pub(crate) fn medians(&self, connections: usize, pairs: &[Pair]) -> io::Result<()> {
        let bare = medians(pairs.iter().map(|pair| pair.bare));
        let wilco = medians(pairs.iter().map(|pair| pair.wilco));
        let ratio = medians(pairs.iter().map(Pair::ratio));
        if self.json {
            labelled(named(&bare), "median", connections, Kind::Bare.name())?;
            labelled(named(&wilco), "median", connections, Kind::Wilco.name())?;
            let ratios = COLUMNS.iter().zip(ratio);
            let ratios =
                ratios.map(|(column, ratio)| (column.key.to_owned(), json!(rounded(ratio, 4))));
            return labelled(ratios.collect(), "ratio", connections, "wilco/bare");
        }
        let mut out = io::stdout().lock();
        for (label, server, figures) in
            [(connections.to_string(), Kind::Bare, bare), (String::new(), Kind::Wilco, wilco)]
        {
            write!(out, "{label:>11}  {:<7}", server.name())?;
            for (column, figure) in COLUMNS.iter().zip(figures) {
                write!(out, "{:>WIDTH$.*}", column.decimals, figure)?;
            }
            writeln!(out)?;
        }
        write!(out, "{:>11}  {:<7}", "", "ratio")?;
        for ratio in ratio {
            write!(out, "{ratio:>WIDTH$.3}")?;
        }
        writeln!(out, "\n")
    }
}

impl Pair {
    fn ratio(&self) -> Figures {
        let mut ratio = self.wilco;
        for (wilco, bare) in ratio.iter_mut().zip(self.bare) {
            *wilco /= bare;
        }
        ratio
    }
}

/// The figures of one round.
pub(crate) fn figures(outcome: &Outcome, peak_kib: u64) -> Figures {
    let answers = outcome.tally.latencies.len() as f64;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / answers.max(1.0);
    [
        answers / outcome.elapsed.as_secs_f64().max(1e-9),
        percentile(&outcome.tally.latencies, 50).as_secs_f64() * 1e3,
        percentile(&outcome.tally.latencies, 99).as_secs_f64() * 1e3,
        each(outcome.server_cpu),
        peak_kib as f64 / 1024.0,
        each(outcome.load_cpu),
    ]
}

/// The time within which `percent` of all answers came; `sorted` from short to long.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or_default()
}

/// The median of each figure by itself.
fn medians(rounds: impl Iterator<Item = Figures>) -> Figures {
    let rounds: Vec<_> = rounds.collect();
    std::array::from_fn(|column| median(rounds.iter().map(|figures| figures[column]).collect()))
}

/// The one in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or_default();
    let lower = values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default();
    lower.midpoint(upper)
}

fn named(figures: &Figures) -> Map<String, Value> {
    let columns = COLUMNS.iter().zip(figures);
    columns.map(|(column, figure)| (column.key.to_owned(), json!(rounded(*figure, 3)))).collect()
}

fn labelled(
    mut object: Map<String, Value>,
    kind: &str,
    connections: usize,
    server: &str,
) -> io::Result<()> {
    object.insert("kind".into(), json!(kind));
    object.insert("connections".into(), json!(connections));
    object.insert("server".into(), json!(server));
    line(&Value::Object(object))
}

/// One JSON value on a separate line.
///
/// # Errors
///
/// Standard output is closed.
pub(crate) fn line(value: &Value) -> io::Result<()> {
    writeln!(io::stdout(), "{value}")
}

/// So many decimals and no more.
pub(crate) fn rounded(value: f64, decimals: i32) -> f64 {
    let factor = 10_f64.powi(decimals);
    (value * factor).round() / factor
}

struct Column {
    title: &'static str,
    key: &'static str,
    decimals: usize,
}

const COLUMNS: [Column; 6] = [
    Column { title: "requests/s", key: "requests_per_second", decimals: 0 },
    Column { title: "p50 ms", key: "p50_ms", decimals: 3 },
    Column { title: "p99 ms", key: "p99_ms", decimals: 3 },
    Column { title: "CPU us/req", key: "cpu_us_per_request", decimals: 1 },
    Column { title: "peak MiB", key: "peak_mib", decimals: 1 },
    Column { title: "load us/req", key: "load_cpu_us_per_request", decimals: 1 },
];
const WIDTH: usize = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times: Vec<_> = (1..=200).map(Duration::from_micros).collect();
        assert_eq!(percentile(&times, 50), Duration::from_micros(100));
        assert_eq!(percentile(&times, 99), Duration::from_micros(198));
        assert_eq!(percentile(&times[..1], 99), Duration::from_micros(1));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }

    #[test]
    fn one_wild_round_does_not_move_the_median() {
        assert_eq!(median(vec![3.0, 900.0, 2.0]), 3.0);
        assert_eq!(median(vec![1.0, 2.0]), 1.5);
    }

    #[test]
    fn the_ratio_is_that_of_rounds_beside_each_other() {
        let pair = |bare, wilco| Pair { bare: [bare; 6], wilco: [wilco; 6] };
        let pairs = [pair(10.0, 5.0), pair(100.0, 50.0), pair(1.0, 9.0)];
        assert_eq!(medians(pairs.iter().map(Pair::ratio)), [0.5; 6]);
    }
}
