//! What `backlog` prints: each figure with the backlog, without it, and their ratio.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde_json::json;

use crate::{
    args::Backlog,
    bodies::BODY_BYTES,
    machine::Machine,
    report::{line, median, rounded},
};

/// Which of the two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// The one with the waiting deliveries.
    Backlog,
    /// The one without.
    None,
}

impl Side {
    /// Its name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Backlog => "backlog",
            Self::None => "none",
        }
    }
}

/// All figures that were noted, by their keys in [`ROWS`], in the order in which they were.
#[derive(Default)]
pub(crate) struct Sheet(BTreeMap<(&'static str, Side), Vec<f64>>);

impl Sheet {
    /// Keeps a figure.
    pub(crate) fn note(&mut self, key: &'static str, side: Side, figure: f64) {
        self.0.entry((key, side)).or_default().push(figure);
    }

    /// Everything that was noted, as medians.
    ///
    /// # Errors
    ///
    /// Standard output is closed.
    pub(crate) fn print(&self, args: &Backlog, machine: &Machine) -> io::Result<()> {
        let Machine { cores, kernel, file_system, sync } = machine;
        let sync_ms = sync.as_secs_f64() * 1e3;
        let Backlog { deliveries, rounds, seconds, .. } = args;
        if args.json {
            line(&json!({
                "kind": "machine", "cores": cores, "kernel": kernel, "file_system": file_system,
                "sync_ms": rounded(sync_ms, 3), "deliveries": deliveries, "rounds": rounds,
                "seconds": seconds, "body_bytes": BODY_BYTES,
            }))?;
        } else {
            let mut out = io::stdout().lock();
            writeln!(
                out,
                "{cores} cores, Linux {kernel}; {file_system}, fdatasync {sync_ms:.2} ms"
            )?;
            writeln!(
                out,
                "{deliveries} events of {BODY_BYTES} bytes, each with a waiting delivery and with \
                 none; {rounds} rounds of {seconds} s, alternating\n"
            )?;
            let [backlog, none] = [Side::Backlog, Side::None].map(Side::name);
            writeln!(out, "{:<TITLE$}{backlog:>WIDTH$}{none:>WIDTH$}{:>WIDTH$}  aim", "", "ratio")?;
        }
        ROWS.iter().try_for_each(|row| self.row(row, args.json))
    }

    fn row(&self, row: &Row, is_json: bool) -> io::Result<()> {
        let of = |side| self.0.get(&(row.key, side)).cloned().unwrap_or_default();
        let (with, without) = (of(Side::Backlog), of(Side::None));
        // Neighbours in time: the machine is the same for both of them.
        let ratios = with.iter().zip(&without).map(|(with, without)| with / without).collect();
        let (with, without, ratio) = (median(with), median(without), median(ratios));
        let (aim, is_met) = match row.aim {
            Aim::None => (String::new(), None),
            Aim::Below(limit) => (format!("< {limit}"), Some(with < limit)),
            Aim::RatioFrom(limit) => (format!("ratio >= {limit}"), Some(ratio >= limit)),
        };
        if is_json {
            return line(&json!({
                "kind": "figure", "key": row.key, "backlog": rounded(with, 3),
                "none": rounded(without, 3), "ratio": rounded(ratio, 4), "is_met": is_met,
            }));
        }
        let met = match is_met {
            None => "",
            Some(true) => ": met",
            Some(false) => ": MISSED",
        };
        let (title, decimals) = (row.title, row.decimals);
        writeln!(
            io::stdout(),
            "{title:<TITLE$}{with:>WIDTH$.decimals$}{without:>WIDTH$.decimals$}{ratio:>WIDTH$.3}  \
             {aim}{met}"
        )
    }
}

struct Row {
    key: &'static str,
    title: &'static str,
    decimals: usize,
    aim: Aim,
}

enum Aim {
    None,
    Below(f64),
    RatioFrom(f64),
}

impl Row {
    const fn new(key: &'static str, title: &'static str, decimals: usize, aim: Aim) -> Self {
        Self { key, title, decimals, aim }
    }
}

const ROWS: [Row; 16] = [
    Row::new("size", "file, MiB", 0, Aim::None),
    Row::new("start", "start, ms", 0, Aim::Below(START_MS_MAX)),
    Row::new("start_cold", "start, file not in memory, ms", 0, Aim::Below(START_MS_MAX)),
    Row::new("start_killed", "start after kill -9, ms", 0, Aim::Below(START_MS_MAX)),
    Row::new(
        "start_killed_cold",
        "start after kill -9, not in memory, ms",
        0,
        Aim::Below(START_MS_MAX),
    ),
    Row::new("check", "checked meanwhile, ms", 0, Aim::None),
    Row::new("held", "memory after the start, MiB", 1, Aim::Below(MEMORY_MIB_MAX)),
    Row::new("peak", "memory, peak of recording, MiB", 1, Aim::Below(MEMORY_MIB_MAX)),
    Row::new("peak_killed", "memory, peak of start after kill, MiB", 1, Aim::Below(MEMORY_MIB_MAX)),
    Row::new("peak_draining", "memory, peak of draining, MiB", 1, Aim::Below(MEMORY_MIB_MAX)),
    Row::new("recorded", "recorded/s", 0, Aim::RatioFrom(RECORDED_RATIO_MIN)),
    Row::new("cpu", "CPU of wilco, us/recorded", 1, Aim::None),
    Row::new("recorded_draining", "recorded/s while draining", 0, Aim::None),
    Row::new("drained", "delivered/s meanwhile", 0, Aim::None),
    Row::new("metrics", "GET /metrics, ms", 1, Aim::None),
    Row::new("events", "GET /api/v1/events?limit=50, ms", 1, Aim::None),
];
const START_MS_MAX: f64 = 2_000.0;
/// 150 MB.
const MEMORY_MIB_MAX: f64 = 143.0;
const RECORDED_RATIO_MIN: f64 = 0.9;
const TITLE: usize = 40;
const WIDTH: usize = 10;
