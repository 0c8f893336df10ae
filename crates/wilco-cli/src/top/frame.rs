//! One frame: an overview as widgets. What does not fit is left out, the least important first.

use std::time::Duration;

use console::{measure_text_width, truncate_str};
use jiff::Timestamp;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Paragraph, RenderDirection, Row, Sparkline, Table},
};
use wilco::counted;
use wilco_server::{
    admin::{Activity, DestinationStatus, Overview, SourceStatus},
    readable::{size, span},
};

use crate::{Times, visible};

/// How to show an overview.
#[derive(Default)]
pub(super) struct View {
    pub(super) is_coloured: bool,
    pub(super) is_paused: bool,
    /// Whether keys do something.
    pub(super) has_keys: bool,
    /// The first destination that is shown.
    pub(super) first: usize,
    /// Why there is no newer overview.
    pub(super) away: Option<String>,
}

/// What a colour says; each is said in words too.
#[derive(Clone, Copy)]
enum Mood {
    Good,
    Bad,
    Warning,
    Title,
    Plain,
}

impl View {
    fn span(&self, mood: Mood, text: impl Into<String>) -> Span<'static> {
        Span::styled(text.into(), self.style(mood))
    }

    fn style(&self, mood: Mood) -> Style {
        let coloured =
            |colour| if self.is_coloured { Style::new().fg(colour) } else { Style::new() };
        match mood {
            Mood::Good => coloured(Color::Green),
            Mood::Bad => coloured(Color::Red).add_modifier(Modifier::BOLD),
            Mood::Warning => coloured(Color::Yellow),
            Mood::Title => Style::new().add_modifier(Modifier::BOLD),
            Mood::Plain => Style::new(),
        }
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, overview: &Overview, view: &mut View) {
    let rows = frame.area().height;
    let about_sources = u16::try_from(overview.sources.len()).unwrap_or(u16::MAX).saturating_add(2);
    let about_destinations =
        u16::try_from(overview.destinations.len()).unwrap_or(u16::MAX).saturating_add(2);
    let graph = if rows >= ROWS_WITH_GRAPH { GRAPH_ROWS } else { 0 };
    let attempts = if rows >= ROWS_WITH_ATTEMPTS { 1 } else { 0 };
    let rest = rows.saturating_sub(HEAD_ROWS + attempts + graph);
    // The destinations say what is wrong more often.
    let sources = about_sources.min(rest.saturating_sub(about_destinations).max(rest / 3));
    let sources = if sources < TABLE_ROWS_MIN { 0 } else { sources };
    let destinations = about_destinations.min(rest.saturating_sub(sources));
    let [head, requests, attempts, store, graph, destinations, sources, _, keys] =
        Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(attempts),
            Constraint::Length(1),
            Constraint::Length(graph),
            Constraint::Length(destinations),
            Constraint::Length(sources),
            Constraint::Fill(1),
            Constraint::Length(1.min(rest.saturating_sub(destinations + sources))),
        ])
        .areas(frame.area());
    let mut line = |parts, area| frame.render_widget(fitting(parts, area), area);
    line(heading(overview, view), head);
    line(requests_line(overview, view), requests);
    line(attempts_line(overview, view), attempts);
    line(store_line(overview, view), store);
    draw_graph(frame, overview, view, graph);
    let name_columns = name_columns(overview, frame.area().width);
    draw_destinations(frame, overview, view, destinations, name_columns);
    draw_sources(frame, overview, view, sources, name_columns);
    if view.has_keys {
        frame.render_widget(Paragraph::new(KEYS), keys);
    }
}

/// The parts that fit as a whole, and the first in any case.
fn fitting(parts: Vec<Span<'static>>, area: Rect) -> Line<'static> {
    let mut line = Line::default();
    for part in parts {
        if !line.spans.is_empty() && line.width() + part.width() > usize::from(area.width) {
            continue;
        }
        line.push_span(part);
    }
    line
}

/// The width of the names of destinations and sources: enough for the longest, but not more than leaves space for a state.
fn name_columns(overview: &Overview, width: u16) -> u16 {
    let destinations = overview.destinations.iter().map(|to| &to.destination);
    let names = destinations.chain(overview.sources.iter().map(|from| &from.source));
    let longest = names.map(|name| measure_text_width(&visible(name))).max().unwrap_or(0);
    u16::try_from(longest).unwrap_or(u16::MAX).max(NAME_COLUMNS_MIN).min(width * 2 / 7)
}

fn heading(overview: &Overview, view: &View) -> Vec<Span<'static>> {
    let mut spans = vec![view.span(Mood::Title, format!("wilco {}  ", overview.version))];
    spans.push(match (&view.away, &overview.unready) {
        (Some(why), _) => view.span(Mood::Bad, visible(why)),
        (None, Some(why)) => view.span(Mood::Bad, format!("not ready: {}", visible(why))),
        (None, None) => view.span(Mood::Good, "ready"),
    });
    if view.is_paused {
        spans.push(view.span(Mood::Warning, "  paused, p goes on"));
    }
    if let Some(started_at) = overview.started_at {
        spans.push(view.span(Mood::Plain, format!("  up {}", ago(started_at, overview.now))));
    }
    spans.push(view.span(Mood::Plain, format!("  {}", Times::new(false).time(overview.now))));
    spans
}

/// What came in.
fn requests_line(overview: &Overview, view: &View) -> Vec<Span<'static>> {
    let plain = |text| view.span(Mood::Plain, text);
    let Some(minute) = &overview.last_minute else { return vec![plain("not running".into())] };
    let requests = minute.requests.values().sum::<u64>();
    let refused = requests.saturating_sub(accepted(minute));
    vec![
        plain(format!("last minute: {} events/s", rate(minute.events, minute))),
        plain(format!(", {} refused/s", rate(refused, minute))),
        plain(format!(", {} requests/s", rate(requests, minute))),
    ]
}

/// How fast they were acknowledged, and what went out.
fn attempts_line(overview: &Overview, view: &View) -> Vec<Span<'static>> {
    let plain = |text| view.span(Mood::Plain, text);
    let Some(minute) = &overview.last_minute else { return Vec::new() };
    let failed = ["failed", "dead"].iter().filter_map(|outcome| minute.attempts.get(*outcome));
    let attempts = minute.attempts.values().sum::<u64>();
    let attempts = counted(attempts, "attempt", "attempts");
    let attempts = format!("{attempts}, {} failed", failed.sum::<u64>());
    let mut parts = vec![plain(format!("             {attempts}"))];
    if let Some(ack) = &minute.ack {
        parts.push(plain(format!(", ack p50 {}", millis(ack.p50_ms))));
        parts.push(plain(format!(", p99 {}", millis(ack.p99_ms))));
    }
    parts
}

fn store_line(overview: &Overview, view: &View) -> Vec<Span<'static>> {
    let store = &overview.store;
    let mut spans = Vec::new();
    if let (Some(bytes), Some(wal)) = (store.store_bytes, store.wal_bytes) {
        spans.push(view.span(Mood::Plain, format!("store {}, log {}", size(bytes), size(wal))));
    }
    if store.damaged_events > 0 {
        spans.push(view.span(
            Mood::Bad,
            format!("  {}", counted(store.damaged_events, "damaged event", "damaged events")),
        ));
    }
    if store.lost_commits.unwrap_or(0) > 0 {
        spans.push(view.span(Mood::Bad, "  commits were lost"));
    }
    if let Some(free) = store.free_bytes {
        let mood = if store.is_space_low() { Mood::Bad } else { Mood::Plain };
        spans.push(view.span(mood, format!("  {} free", size(free))));
    }
    if let Some(expires_at) = overview.certificate_expires_at {
        let left = expires_at.duration_since(overview.now);
        let mood = if overview.is_certificate_expiring() { Mood::Bad } else { Mood::Plain };
        let text = match u64::try_from(left.as_secs()) {
            Err(_) => "  certificate expired".to_owned(),
            // A self-signed one ends in the year 4096.
            Ok(ENDS_LATE_SECS..) => String::new(),
            Ok(left) => format!("  certificate valid for {}", span(left)),
        };
        spans.push(view.span(mood, text));
    }
    spans
}

/// The events of each minute of the last hour, the newest at the right.
fn draw_graph(frame: &mut Frame<'_>, overview: &Overview, view: &View, area: Rect) {
    let newest_first = overview.minutes.iter().rev().map(|minute| minute.events);
    let shown: Vec<_> = newest_first.take(usize::from(area.width)).collect();
    let most = shown.iter().max().copied().unwrap_or(0);
    let graph = Sparkline::default()
        .block(titled(format!("events a minute, last hour: at most {most} "), view))
        .style(view.style(Mood::Good))
        .direction(RenderDirection::RightToLeft)
        .data(shown);
    frame.render_widget(graph, area);
}

fn draw_destinations(
    frame: &mut Frame<'_>,
    overview: &Overview,
    view: &mut View,
    area: Rect,
    name_columns: u16,
) {
    let shown = usize::from(area.height.saturating_sub(TABLE_HEAD_ROWS)).max(1);
    view.first = view.first.min(overview.destinations.len().saturating_sub(shown));
    let all = overview.destinations.len();
    let title = match all > shown {
        true => {
            format!("destinations {}-{} of {all} ", view.first + 1, all.min(view.first + shown))
        }
        false => "destinations ".into(),
    };
    let is_narrow = area.width < COLUMNS_WITH_STATES;
    let rows = overview.destinations.iter().skip(view.first);
    let rows = rows.map(|to| destination(to, view, is_narrow, name_columns));
    let numbers: &[&str] = match is_narrow {
        true => &["backlog", "dead"],
        false => &["pending", "running", "retrying", "dead"],
    };
    let mut widths = vec![Constraint::Length(name_columns), Constraint::Fill(1)];
    widths.extend(numbers.iter().map(|title| Constraint::Length(cell_columns(title))));
    let titles = ["destination", "state"].map(Line::from).into_iter();
    let header = titles.chain(numbers.iter().map(|title| Line::from(*title).right_aligned()));
    let table = Table::new(rows, widths)
        .header(Row::new(header).style(view.style(Mood::Title)))
        .column_spacing(GAP_COLUMNS)
        .block(titled(title, view));
    frame.render_widget(table, area);
}

/// The width of a column of numbers with this title.
fn cell_columns(title: &str) -> u16 {
    u16::try_from(title.len()).unwrap_or(u16::MAX).max(NUMBER_COLUMNS_MIN)
}

/// A name that says so if its end is cut off.
fn name(name: &str, columns: u16, view: &View) -> Span<'static> {
    let name = visible(name);
    view.span(Mood::Plain, truncate_str(&name, columns.into(), "…").into_owned())
}

fn destination(
    to: &DestinationStatus,
    view: &View,
    is_narrow: bool,
    name_columns: u16,
) -> Row<'static> {
    let time = |at| Times::new(false).of_day(at);
    let (mood, state) = match (to.open_until, to.asked_until) {
        _ if to.paused => (Mood::Warning, "paused".to_owned()),
        (Some(until), _) => (Mood::Warning, format!("open until {}", time(until))),
        (None, Some(until)) => (Mood::Warning, format!("waits until {}", time(until))),
        _ if to.failures > 0 => {
            (Mood::Warning, counted(to.failures, "failure", "failures") + " in a row")
        }
        _ => (Mood::Good, "ok".into()),
    };
    let dead = if to.dead > 0 { Mood::Bad } else { Mood::Plain };
    let backlog = match is_narrow {
        true => vec![to.pending + to.running + to.retrying],
        false => vec![to.pending, to.running, to.retrying],
    };
    let number = |mood, count: u64| Line::from(view.span(mood, count.to_string())).right_aligned();
    let name = name(&to.destination, name_columns, view);
    let mut cells = vec![Line::from(name), Line::from(view.span(mood, state))];
    cells.extend(backlog.into_iter().map(|count| number(Mood::Plain, count)));
    cells.push(number(dead, to.dead));
    Row::new(cells)
}

fn draw_sources(
    frame: &mut Frame<'_>,
    overview: &Overview,
    view: &View,
    area: Rect,
    name_columns: u16,
) {
    let rows = overview.sources.iter().map(|from| source(from, overview.now, view, name_columns));
    let widths = [Constraint::Length(name_columns), Constraint::Fill(2), Constraint::Fill(3)];
    let header = ["source", "provider", "last event"];
    let table = Table::new(rows, widths)
        .header(Row::new(header).style(view.style(Mood::Title)))
        .column_spacing(GAP_COLUMNS)
        .block(titled("sources ".into(), view));
    frame.render_widget(table, area);
}

fn source(from: &SourceStatus, now: Timestamp, view: &View, name_columns: u16) -> Row<'static> {
    let last = match from.last_event_at {
        Some(at) => format!("{} ago", ago(at, now)),
        None => "none yet".into(),
    };
    let (mood, last) = match from.silent {
        true => (Mood::Bad, format!("{last}, silent for too long")),
        false => (Mood::Plain, last),
    };
    Row::new([
        name(&from.source, name_columns, view),
        view.span(Mood::Plain, visible(&from.provider)),
        view.span(mood, last),
    ])
}

fn titled(title: String, view: &View) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(view.span(Mood::Title, title))
}

/// The requests that were answered with a 2xx.
fn accepted(activity: &Activity) -> u64 {
    let outcomes = ACCEPTED.iter().filter_map(|outcome| activity.requests.get(*outcome));
    outcomes.sum()
}

/// How many a second.
#[expect(clippy::cast_precision_loss, reason = "a count of events")]
fn rate(count: u64, activity: &Activity) -> String {
    let rate = count as f64 / activity.seconds.max(1.0);
    if rate < 9.95 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

fn millis(millis: f64) -> String {
    crate::readable(Duration::from_secs_f64(millis.max(0.0) / 1_000.0))
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    span(u64::try_from(now.duration_since(at).as_secs()).unwrap_or(0))
}

/// The outcomes of requests that were answered with a 2xx.
const ACCEPTED: [&str; 4] = ["recorded", "duplicate", "handshake", "probe"];
const COLUMNS_WITH_STATES: u16 = 80;
/// As wide as the title of the column.
const NAME_COLUMNS_MIN: u16 = 11;
const NUMBER_COLUMNS_MIN: u16 = 5;
const GAP_COLUMNS: u16 = 2;
const KEYS: &str = "q quits, p pauses, the arrows move through the destinations";
const HEAD_ROWS: u16 = 3;
/// A title and a graph.
const GRAPH_ROWS: u16 = 4;
const ROWS_WITH_GRAPH: u16 = 16;
const ROWS_WITH_ATTEMPTS: u16 = 12;
/// A title and the names of the columns.
const TABLE_HEAD_ROWS: u16 = 2;
const TABLE_ROWS_MIN: u16 = 3;
const ENDS_LATE_SECS: u64 = 3_650 * 86_400;
