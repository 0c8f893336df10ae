//! What a route decides about: an event, or each item of the array that it splits.

use std::{borrow::Cow, cell::OnceCell, io};

use wilco::{ArrayPath, Event, Item, SplitError};

use super::Route;
use crate::rules::{RULE_BODY_BYTES_MAX, RuleError, View};

/// An event or an item of one, parsed when the first rule needs it.
pub(super) struct Looked<'e> {
    pub(super) event: Cow<'e, Event>,
    pub(super) item: Option<Item>,
    view: OnceCell<Result<View, RuleError>>,
}

impl<'e> Looked<'e> {
    pub(super) fn at(event: &'e Event) -> Self {
        Self { event: Cow::Borrowed(event), item: None, view: OnceCell::new() }
    }

    pub(super) fn view(&self) -> Result<&View, RuleError> {
        self.view.get_or_init(|| View::of(&self.event)).as_ref().map_err(Clone::clone)
    }
}

/// An event, and what the routes split it into: once for each path, however many routes have it.
pub(super) struct Parts<'e> {
    whole: Looked<'e>,
    splits: Vec<(ArrayPath, Result<Vec<Looked<'e>>, SplitError>)>,
}

impl<'e> Parts<'e> {
    pub(super) fn of_event(event: &'e Event) -> Self {
        Self { whole: Looked::at(event), splits: Vec::new() }
    }

    /// What a route decides about.
    pub(super) fn of(&mut self, route: &Route) -> Result<&[Looked<'e>], &SplitError> {
        let Some(path) = &route.split else { return Ok(std::slice::from_ref(&self.whole)) };
        let known = self.splits.iter().position(|(known, _)| known == path);
        let place = known.unwrap_or_else(|| {
            self.splits.push((path.clone(), items(&self.whole.event, path)));
            self.splits.len() - 1
        });
        self.splits[place].1.as_deref()
    }
}

fn items<'e>(event: &Event, path: &ArrayPath) -> Result<Vec<Looked<'e>>, SplitError> {
    let unread = |error: io::Error| SplitError::Unread(error.to_string());
    let body = event.body.contiguous(RULE_BODY_BYTES_MAX).map_err(unread)?;
    let items = path.items(&body, SPLIT_ITEMS_MAX)?.into_iter().map(|item| {
        let event = Cow::Owned(event.item(item).map_err(unread)?);
        Ok(Looked { event, item: Some(item), view: OnceCell::new() })
    });
    items.collect()
}

/// Why an event that is to be delivered whole cannot be split by the routes with these paths.
pub(super) fn why_not_split(event: &Event, paths: &[&ArrayPath]) -> RuleError {
    let error = match event.body.contiguous(RULE_BODY_BYTES_MAX) {
        Ok(body) => paths.iter().find_map(|path| path.items(&body, SPLIT_ITEMS_MAX).err()),
        Err(error) => Some(SplitError::Unread(error.to_string())),
    };
    let what = match (error, paths) {
        (Some(error), _) => error.to_string(),
        (None, [first, others @ ..]) if others.iter().any(|other| other != first) => {
            "routes to this destination split it by different paths".into()
        }
        (None, _) => "a route splits it now; replay it to deliver its items".into(),
    };
    RuleError::failed(what)
}

/// Items that one event is split into; one with more is a dead delivery that says so.
pub const SPLIT_ITEMS_MAX: usize = 1_000;
