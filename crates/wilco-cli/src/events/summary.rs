//! Events as rows of a table.

use std::collections::{HashMap, hash_map::Entry};

use wilco::counted;
use wilco_server::admin::{Delivery, DeliveryState, EventSummary, PayloadState};

use crate::{
    Column, Failure, Screen, StoreArgs, Table, Times, json_line, print, shown_ids, visible,
};

/// Prints events as rows, a table of which begins with the first of them.
pub(crate) struct Rows {
    table: Option<Table>,
    times: Times,
    screen: Screen,
    has_error: bool,
    is_json: bool,
    offset: String,
}

impl Rows {
    pub(crate) fn new(store: &StoreArgs, has_error: bool, is_json: bool) -> Self {
        let (times, screen, offset) = (store.times(), Screen::stdout(), String::new());
        Self { table: None, times, screen, has_error, is_json, offset }
    }

    pub(crate) fn print(&mut self, events: &[EventSummary]) -> Result<(), Failure> {
        if self.is_json {
            return print(&events.iter().map(json_line).collect::<Result<String, _>>()?);
        }
        let Some(first) = events.first() else { return Ok(()) };
        if self.table.is_none() {
            self.offset = self.times.offset(first.received_at);
            self.table = Some(self.begin());
        }
        let ids = shown_ids(events.iter().map(|event| event.id), self.screen);
        let cells: Vec<_> =
            events.iter().zip(ids).map(|(event, id)| self.cells(event, id)).collect();
        let text = self.table.as_mut().map(|table| table.draw(&cells)).unwrap_or_default();
        print(&text)
    }

    fn begin(&self) -> Table {
        let mut columns = vec![
            Column::fixed(&self.times.received(self.screen, &self.offset)),
            Column::text("event", 8),
            Column::text("about", 8),
            Column::name("id"),
            Column::state("deliveries", 19),
        ];
        if self.has_error {
            columns.push(Column::wrapped("error", 12));
        }
        Table::new(columns, self.screen)
    }

    /// A terminal gets short cells, and everything else complete ones.
    fn cells(&self, event: &EventSummary, id: String) -> Vec<String> {
        let received = self.times.cell(event.received_at, self.screen, &self.offset);
        let [about, deliveries] = match self.screen.is_terminal() {
            true => [event.title.clone().unwrap_or_else(|| about(event)), by_state(event)],
            false => [about(event), deliveries(event)],
        };
        let mut cells = vec![received, event.event.clone(), about, id, deliveries];
        if self.has_error {
            let latest = latest(event);
            let dead = latest.iter().find(|delivery| delivery.state == DeliveryState::Dead);
            let error = dead.and_then(|delivery| delivery.last_error.clone());
            cells.push(error.unwrap_or_default());
        }
        cells
    }
}

/// What the event is about: the name for people, and that for machines.
pub(crate) fn about(event: &EventSummary) -> String {
    let subject = visible(event.subject.as_deref().unwrap_or("-"));
    match &event.title {
        Some(title) => format!("{} ({subject})", visible(title)),
        None => subject,
    }
}

/// The state of the latest delivery to each destination, with the number of attempts, or of items.
pub(crate) fn deliveries(event: &EventSummary) -> String {
    with_payload(event, all_deliveries(event))
}

/// Says so where headers and body were removed.
fn with_payload(event: &EventSummary, deliveries: String) -> String {
    match event.payload {
        PayloadState::Kept => deliveries,
        state => format!("{}, {deliveries}", state.as_str()),
    }
}

fn all_deliveries(event: &EventSummary) -> String {
    if event.deliveries.is_empty() {
        let state = match (event.damaged, event.routed) {
            (true, _) => "damaged",
            (false, true) => "skipped",
            (false, false) => "recorded",
        };
        return state.into();
    }
    let one = |group: &Group<'_>| {
        let Group { destination, state, attempts, items } = group;
        let state = state.as_str();
        match (items, attempts) {
            (0, 0 | 1) => format!("{destination} {state}"),
            (0, attempts) => format!("{destination} {state} ({attempts})"),
            (items, _) => format!("{destination} {state} ({})", counted(*items, "item", "items")),
        }
    };
    groups(event).iter().map(one).collect::<Vec<_>>().join(", ")
}

/// As [`deliveries`], but the state before the names, and the worst state first: a narrow terminal
/// cuts off the end.
fn by_state(event: &EventSummary) -> String {
    if event.deliveries.is_empty() {
        return deliveries(event);
    }
    let groups = groups(event);
    let of_state = |state: DeliveryState| {
        let names =
            groups.iter().filter(|group| group.state == state).map(|group| match group.items {
                0 => group.destination.to_owned(),
                items => format!("{} ({})", group.destination, counted(items, "item", "items")),
            });
        let names: Vec<_> = names.collect();
        (!names.is_empty()).then(|| format!("{} {}", state.as_str(), names.join(", ")))
    };
    let states = WORST_FIRST.into_iter().filter_map(of_state).collect::<Vec<_>>().join("; ");
    with_payload(event, states)
}

/// What a listing shows in one piece: a delivery of a whole event, or those of items in the same state.
struct Group<'e> {
    destination: &'e str,
    state: DeliveryState,
    attempts: u32,
    /// None of a whole event.
    items: usize,
}

fn groups(event: &EventSummary) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for Delivery { destination, item, state, attempts, .. } in latest(event) {
        let same = groups.iter_mut().find(|group| {
            group.items > 0 && group.destination == destination && group.state == *state
        });
        match same {
            Some(group) if item.is_some() => group.items += 1,
            _ => groups.push(Group {
                destination,
                state: *state,
                attempts: *attempts,
                items: usize::from(item.is_some()),
            }),
        }
    }
    groups
}

/// The latest delivery of each item, or of the whole event, to each destination: a replay replaces the
/// ones before it.
fn latest(event: &EventSummary) -> Vec<&Delivery> {
    let mut latest: Vec<&Delivery> = Vec::new();
    let mut places: HashMap<(&str, Option<u32>), usize> = HashMap::new();
    let is_replayed = |delivery: &&Delivery| {
        delivery.state == DeliveryState::Dead && delivery.replaced_by.is_some()
    };
    for delivery in event.deliveries.iter().filter(|delivery| !is_replayed(delivery)) {
        match places.entry((delivery.destination.as_str(), delivery.item)) {
            Entry::Occupied(place) => latest[*place.get()] = delivery,
            Entry::Vacant(free) => {
                free.insert(latest.len());
                latest.push(delivery);
            }
        }
    }
    latest
}

/// The states of deliveries; the ones that need attention come first.
const WORST_FIRST: [DeliveryState; 8] = [
    DeliveryState::Dead,
    DeliveryState::Retrying,
    DeliveryState::Running,
    DeliveryState::Pending,
    DeliveryState::Skipped,
    DeliveryState::Superseded,
    DeliveryState::Cancelled,
    DeliveryState::Delivered,
];
