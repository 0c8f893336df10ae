//! How a person names a rejection: by its id, by the first characters of it, or as the latest.

use std::str::FromStr;

use wilco::RejectionId;
use wilco_server::admin::{ListRejections, PAGE_ITEMS_MAX};

use super::Record;
use crate::Failure;

/// A rejection as a person names it.
#[derive(Clone, Debug)]
pub(crate) enum RejectionRef {
    Latest,
    Id(RejectionId),
    /// The first characters of an id, with `rej_`.
    Prefix(String),
}

impl FromStr for RejectionRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        let ulid = text.strip_prefix("rej_").unwrap_or(text).to_ascii_uppercase();
        let id = format!("rej_{ulid}");
        if let Ok(id) = id.parse() {
            return Ok(Self::Id(id));
        }
        let is_digit = |c: char| c.is_ascii_alphanumeric() && !"ILOU".contains(c);
        match (PREFIX_CHARS_MIN..ID_CHARS).contains(&ulid.len()) && ulid.chars().all(is_digit) {
            true => Ok(Self::Prefix(id)),
            false => Err(format!(
                "expected one like rej_01JQ8ZK4N3W8T1V5R7Y9ABCDEF, at least {PREFIX_CHARS_MIN} of its \
                 first characters, or latest"
            )),
        }
    }
}

impl RejectionRef {
    /// The id of the rejection. A complete id is not looked up.
    pub(crate) async fn resolve(&self, record: &Record) -> Result<RejectionId, Failure> {
        let prefix = match self {
            Self::Id(id) => return Ok(*id),
            Self::Latest => "",
            Self::Prefix(prefix) => prefix,
        };
        let limit = Some(if prefix.is_empty() { 1 } else { PAGE_ITEMS_MAX });
        let mut query = ListRejections { limit, ..ListRejections::default() };
        let mut found = Vec::new();
        loop {
            let page = record.rejections(&query).await?;
            let ids = page.items.iter().map(|rejection| rejection.id);
            found.extend(ids.filter(|id| id.to_string().starts_with(prefix)));
            query.cursor = page.next;
            // There are at most ten thousand.
            if query.cursor.is_none() || (prefix.is_empty() && !found.is_empty()) {
                break;
            }
        }
        match (&found[..], prefix) {
            ([], "") => Err(Failure::failed("the store has no rejections")),
            ([], _) => {
                Err(Failure::failed(format!("no rejection has an id that begins with {prefix}")))
            }
            ([id, ..], "") | ([id], _) => Ok(*id),
            ([first, second, ..], _) => Err(Failure::failed(format!(
                "several ids begin with {prefix}: {first}, {second}, …"
            ))),
        }
    }
}

const ID_CHARS: usize = 26;
const PREFIX_CHARS_MIN: usize = 4;
