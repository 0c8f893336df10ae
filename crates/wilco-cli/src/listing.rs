//! Listings of the API, read page by page.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};
use wilco_server::admin::{self, PAGE_ITEMS_MAX, Page, PageQuery};

use super::Failure;

/// What answers the requests of the API that only read.
pub(crate) trait ReadApi {
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure>;
}

/// The first items of a listing, page by page.
pub(crate) struct Pages<'a, A, T> {
    api: &'a A,
    /// With the filters.
    path: String,
    cursor: Option<String>,
    /// How many items are still wanted.
    left: usize,
    is_at_end: bool,
    items: PhantomData<T>,
}

impl<'a, A: ReadApi, T: DeserializeOwned> Pages<'a, A, T> {
    /// At most `items_max` items of the listing with this path and these filters.
    pub(crate) fn of(
        api: &'a A,
        path: &str,
        filters: &impl Serialize,
        items_max: usize,
    ) -> Result<Self, Failure> {
        let path = format!("{path}?{}", admin::query(filters)?);
        let (cursor, left, is_at_end, items) = (None, items_max, false, PhantomData);
        Ok(Self { api, path, cursor, left, is_at_end, items })
    }

    /// The next page; `None` if there are enough, or no more.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<T>>, Failure> {
        if self.is_at_end || self.left == 0 {
            return Ok(None);
        }
        let limit = Some(self.left.min(PAGE_ITEMS_MAX));
        let part = admin::query(&PageQuery { cursor: self.cursor.take(), limit })?;
        let page: Page<T> = self.api.get(&format!("{}&{part}", self.path)).await?;
        self.left = self.left.saturating_sub(page.items.len());
        self.is_at_end = page.next.is_none();
        self.cursor = page.next;
        Ok(Some(page.items))
    }

    /// All of them at once, and whether there are more.
    pub(crate) async fn collect(mut self) -> Result<(Vec<T>, bool), Failure> {
        let mut all = Vec::new();
        while let Some(items) = self.next().await? {
            all.extend(items);
        }
        Ok((all, self.has_more()))
    }

    /// Whether there are more than were asked for.
    pub(crate) fn has_more(&self) -> bool {
        self.cursor.is_some()
    }
}
