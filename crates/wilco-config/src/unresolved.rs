//! The second stage of reading a file: looking up what it only names.

use crate::view::TableView;

/// What a table says. Secrets, files, programs and users are still only names in it: reading a file looks
/// at nothing else, so that it needs none of them.
pub struct Unresolved<T>(Resolve<T>);

type Resolve<T> = Box<dyn FnOnce(&TableView<'_>) -> Option<T>>;

impl<T: 'static> Unresolved<T> {
    /// What was read, as a function that looks up the rest. It reports what it does not find in the table
    /// that it gets, and returns `None` if anything is missing. It also looks up what it can if another
    /// part of the table could not be read, so that a person sees all mistakes at once.
    pub fn new(resolve: impl FnOnce(&TableView<'_>) -> Option<T> + 'static) -> Self {
        Self(Box::new(resolve))
    }

    /// Looks up what the table names.
    pub fn resolve(self, table: &TableView<'_>) -> Option<T> {
        (self.0)(table)
    }

    /// The same, with this done to the result.
    pub fn map<U: 'static>(self, change: impl FnOnce(T) -> U + 'static) -> Unresolved<U> {
        Unresolved::new(move |table| self.resolve(table).map(change))
    }
}
