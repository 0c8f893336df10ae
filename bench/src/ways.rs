//! What `deliver` prints.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::{
    args::{self, Deliver},
    bodies::BODY_BYTES,
    machine::Machine,
    report::{line, median, rounded},
};

/// What a round measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// wilco without a destination: events are recorded, and routed to nobody.
    Record,
    /// wilco with one destination for all events.
    Deliver,
    /// The same of another build.
    Against,
}

impl Way {
    /// All of them, in the order of a round.
    pub(crate) const ALL: [Self; 3] = [Self::Record, Self::Against, Self::Deliver];

    /// Its name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Deliver => "deliver",
            Self::Against => "against",
        }
    }
}

/// The figures of one round, in the order of [`COLUMNS`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures(pub(crate) [f64; COLUMNS.len()]);

/// The figures of all ways in one round.
#[derive(Default)]
pub(crate) struct Round(Vec<(Way, Figures)>);

impl Round {
    /// Keeps the figures of a way.
    pub(crate) fn note(&mut self, way: Way, figures: Figures) {
        self.0.push((way, figures));
    }

    fn of(&self, way: Way) -> Option<Figures> {
        self.0.iter().find(|(of, _)| *of == way).map(|(_, figures)| *figures)
    }

    /// Column by column, what delivering is of another way in the same round.
    fn ratio(&self, to: Way) -> Option<Figures> {
        let (Figures(mut ratio), Figures(other)) = (self.of(Way::Deliver)?, self.of(to)?);
        for (figure, other) in ratio.iter_mut().zip(other) {
            *figure /= other;
        }
        Some(Figures(ratio))
    }
}

/// What was measured on, and how.
///
/// # Errors
///
/// Standard output is closed; here and below.
pub(crate) fn head(args: &Deliver, machine: &Machine) -> io::Result<()> {
    let Machine { cores, kernel, file_system, sync } = machine;
    let sync_ms = sync.as_secs_f64() * 1e3;
    let Deliver { rounds, seconds, connections, concurrency, window, .. } = args;
    let threads = args::threads();
    if args.json {
        return line(&json!({
            "kind": "machine", "cores": cores, "kernel": kernel, "file_system": file_system,
            "sync_ms": rounded(sync_ms, 3), "seconds": seconds, "rounds": rounds,
            "connections": connections, "concurrency": concurrency, "window": window,
            "body_bytes": BODY_BYTES, "load_threads": threads,
        }));
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{cores} cores, Linux {kernel}; {file_system}, fdatasync {sync_ms:.2} ms")?;
    writeln!(
        out,
        "{rounds} rounds of {seconds} s each, alternating; load from {threads} thread(s), the sink has \
         one more"
    )?;
    let limit = match window {
        0 => "no limit to what is not delivered yet".to_owned(),
        window => format!("at most {window} not delivered yet"),
    };
    writeln!(
        out,
        "bodies of {BODY_BYTES} bytes, all distinct; {connections} connections, concurrency \
         {concurrency}, {limit}\n"
    )?;
    write!(out, "{:<9}", "")?;
    for column in &COLUMNS {
        write!(out, "{:>WIDTH$}", column.title)?;
    }
    writeln!(out)
}

/// One line for who waits.
pub(crate) fn brief(figures: &Figures) -> String {
    let Figures([recorded, delivered, to_the_end, ..]) = figures;
    format!("{recorded:.0} recorded/s, {delivered:.0} delivered/s, {to_the_end:.0}/s to the end")
}

/// One round of one way; the table leaves it to the medians.
pub(crate) fn round(args: &Deliver, number: u32, way: Way, figures: &Figures) -> io::Result<()> {
    if !args.json {
        return Ok(());
    }
    let mut object = named(figures, way.name());
    object.insert("kind".into(), json!("round"));
    object.insert("round".into(), json!(number));
    line(&Value::Object(object))
}

/// The medians over all rounds, and the medians of the ratios within a round.
pub(crate) fn medians(args: &Deliver, rounds: &[Round]) -> io::Result<()> {
    for way in Way::ALL {
        let all: Vec<_> = rounds.iter().filter_map(|round| round.of(way)).collect();
        print(args, "median", way.name(), &all)?;
    }
    for (to, name) in [(Way::Record, "/record"), (Way::Against, "/against")] {
        let all: Vec<_> = rounds.iter().filter_map(|round| round.ratio(to)).collect();
        print(args, "ratio", name, &all)?;
    }
    Ok(())
}

fn print(args: &Deliver, kind: &str, name: &str, all: &[Figures]) -> io::Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    let figures = Figures(std::array::from_fn(|column| {
        median(all.iter().map(|Figures(figures)| figures[column]).collect())
    }));
    if args.json {
        let mut object = named(&figures, name);
        object.insert("kind".into(), json!(kind));
        return line(&Value::Object(object));
    }
    let mut out = io::stdout().lock();
    write!(out, "{name:<9}")?;
    for (column, figure) in COLUMNS.iter().zip(figures.0) {
        let decimals = if kind == "ratio" { RATIO_DECIMALS } else { column.decimals };
        // A figure that does not apply is 0, and its ratio is not finite.
        match figure.is_finite() && figure > 0.0 {
            true => write!(out, "{figure:>WIDTH$.decimals$}")?,
            false => write!(out, "{:>WIDTH$}", "-")?,
        }
    }
    writeln!(out)
}

fn named(figures: &Figures, way: &str) -> Map<String, Value> {
    let columns = COLUMNS.iter().zip(figures.0);
    let mut object: Map<_, _> = columns
        .map(|(column, figure)| (column.key.to_owned(), json!(rounded(figure, 3))))
        .collect();
    object.insert("way".into(), json!(way));
    object
}

struct Column {
    title: &'static str,
    key: &'static str,
    decimals: usize,
}

const COLUMNS: [Column; 9] = [
    Column { title: "recorded/s", key: "recorded_per_second", decimals: 0 },
    Column { title: "delivered/s", key: "delivered_per_second", decimals: 0 },
    Column { title: "to the end", key: "per_second_to_the_end", decimals: 0 },
    Column { title: "CPU us/ev", key: "cpu_us_per_event", decimals: 1 },
    Column { title: "sink us/ev", key: "sink_cpu_us_per_event", decimals: 1 },
    Column { title: "load us/ev", key: "load_cpu_us_per_event", decimals: 1 },
    Column { title: "peak MiB", key: "peak_mib", decimals: 1 },
    Column { title: "age p50 ms", key: "age_p50_ms", decimals: 0 },
    Column { title: "age p99 ms", key: "age_p99_ms", decimals: 0 },
];
const WIDTH: usize = 12;
const RATIO_DECIMALS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_within_its_round_and_only_where_both_ran() {
        let mut round = Round::default();
        round.note(Way::Record, Figures([4.0; COLUMNS.len()]));
        assert!(round.ratio(Way::Record).is_none());
        round.note(Way::Deliver, Figures([1.0; COLUMNS.len()]));
        assert_eq!(round.ratio(Way::Record).unwrap().0, [0.25; COLUMNS.len()]);
        assert!(round.ratio(Way::Against).is_none());
    }
}
