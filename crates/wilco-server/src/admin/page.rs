//! Pages of listings, and the cursors between them.

use std::{fmt, str::FromStr};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{PAGE_ITEMS, Page, PageQuery, Problem};

impl<T> Page<T> {
    /// The first `limit` of these items. If there are more, another page follows; `position` gives the place of an
    /// item in the listing. If the listing ended early, `rest` is the place behind which it follows on.
    pub(crate) fn new(
        listing: &str,
        mut items: Vec<T>,
        limit: usize,
        rest: Option<String>,
        position: impl Fn(&T) -> String,
    ) -> Self {
        let has_more = items.len() > limit;
        items.truncate(limit);
        let place = if has_more { items.last().map(position) } else { rest };
        let next = place.map(|place| encode(listing, &place));
        Self { items, next }
    }

    /// A part of a listing that is in memory as a whole: items in the order of their keys, which are unique.
    pub(crate) fn of<K: Ord + FromStr + ToString>(
        listing: &str,
        mut all: Vec<T>,
        query: &PageQuery,
        key: impl Fn(&T) -> K,
    ) -> Result<Self, Problem> {
        let behind = position::<K>(listing, query.cursor.as_deref())?;
        all.retain(|item| behind.as_ref().is_none_or(|behind| key(item) > *behind));
        all.sort_by_cached_key(&key);
        let limit = query.limit.unwrap_or(PAGE_ITEMS);
        Ok(Self::new(listing, all, limit, None, |item| key(item).to_string()))
    }
}

/// The place of an item that has a name and a text, such as a group of failures. There is no line break in the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NameAndText(pub(crate) String, pub(crate) String);

impl fmt::Display for NameAndText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.0, self.1)
    }
}

impl FromStr for NameAndText {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, text) = text.split_once('\n').ok_or(())?;
        Ok(Self(name.into(), text.into()))
    }
}

/// A cursor names its listing, because a position in another one means something else.
pub(crate) fn encode(listing: &str, position: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{listing}:{position}"))
}

/// The position after which a page begins; without a cursor it is the first page.
///
/// # Errors
///
/// This is not a cursor of the listing.
pub(crate) fn position<T: FromStr>(
    listing: &str,
    cursor: Option<&str>,
) -> Result<Option<T>, Problem> {
    let Some(cursor) = cursor.filter(|cursor| !cursor.is_empty()) else { return Ok(None) };
    decode(listing, cursor).map(Some).ok_or_else(|| {
        let what = "expected `next` of a page of this listing, with the same parameters";
        Problem::bad_request(format!("invalid cursor {cursor:?}: {what}"))
    })
}

/// The position that [`encode`] wrote for this listing.
pub(crate) fn decode<T: FromStr>(listing: &str, cursor: &str) -> Option<T> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (name, position) = text.split_once(':')?;
    position.parse().ok().filter(|_| name == listing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_of_a_listing_follow_each_other_without_a_gap() {
        let all: Vec<u32> = (0..7).collect();
        for limit in [1, 3, 7, 8] {
            let (mut seen, mut cursor) = (Vec::new(), None::<String>);
            loop {
                let last = position::<usize>("numbers", cursor.as_deref()).unwrap();
                let begin = last.map_or(0, |last| last + 1);
                let rest = all[begin..].iter().copied().take(limit + 1).collect();
                let page = Page::new("numbers", rest, limit, None, ToString::to_string);
                assert!(page.items.len() <= limit);
                seen.extend(page.items);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, all, "{limit}");
        }
    }

    #[test]
    fn a_cursor_of_another_listing_is_refused() {
        let cursor = encode("events", "7");
        assert_eq!(position("events", Some(&cursor)), Ok(Some(7)));
        assert_eq!(position::<u32>("events", Some("")), Ok(None));
        for (listing, cursor) in [("numbers", cursor.as_str()), ("events", "7"), ("events", "%")] {
            let problem = position::<u32>(listing, Some(cursor)).unwrap_err();
            assert_eq!(problem.status, 400, "{listing} {cursor}");
        }
    }
}
