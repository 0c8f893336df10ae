//! The targets of one event, none of them twice.

use std::collections::{HashMap, hash_map::Entry};

use wilco_store::Target;

/// Targets in the order in which they were added: one for each destination and item.
#[derive(Default)]
pub(super) struct Targets {
    pub(super) list: Vec<Target>,
    places: HashMap<(String, Option<u32>), usize>,
}

impl Targets {
    pub(super) fn add(&mut self, target: Target) {
        let number = target.item.map(|item| item.number);
        match self.places.entry((target.destination.clone(), number)) {
            Entry::Vacant(free) => {
                free.insert(self.list.len());
                self.list.push(target);
            }
            Entry::Occupied(place) => {
                let before = &mut self.list[*place.get()];
                if before.item != target.item {
                    // Two routes split the event by different paths: the destination could not tell these
                    // items apart. The attempt says so.
                    let destination = target.destination;
                    self.add(Target { needs_reevaluation: true, ..Target::to(destination) });
                } else if before.needs_reevaluation && !target.needs_reevaluation {
                    // One route that certainly takes the event is enough.
                    *before = target;
                }
            }
        }
    }
}
