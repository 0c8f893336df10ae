//! Finds the rejection that a person names.

use wilco::RejectionId;
use wilco_server::admin::{ListRejections, PAGE_ITEMS_MAX};

use super::Record;
use crate::{Failure, id_ref::IdRef};

/// A rejection as a person names it.
pub(crate) type RejectionRef = IdRef<RejectionId>;

impl RejectionRef {
    /// The id of the rejection. A complete id is not looked up.
    pub(crate) async fn resolve(&self, record: &Record) -> Result<RejectionId, Failure> {
        let prefix = match self {
            Self::Id(id) => return Ok(*id),
            Self::Latest => String::new(),
            Self::Prefix(prefix) => format!("rej_{prefix}"),
        };
        let limit = Some(if prefix.is_empty() { 1 } else { PAGE_ITEMS_MAX });
        let mut query = ListRejections { limit, ..ListRejections::default() };
        let mut found = Vec::new();
        loop {
            let page = record.rejections(&query).await?;
            let ids = page.items.iter().map(|rejection| rejection.id);
            found.extend(ids.filter(|id| id.to_string().starts_with(&prefix)));
            query.cursor = page.next;
            // There are at most ten thousand.
            if query.cursor.is_none() || (prefix.is_empty() && !found.is_empty()) {
                break;
            }
        }
        match (&found[..], &*prefix) {
            ([], "") => Err(Failure::failed("the store has no rejections")),
            ([], _) => Err(Failure::failed(format!(
                "no rejection has an id that begins with {prefix}; `wilco rejections list` shows the latest"
            ))),
            ([id, ..], "") | ([id], _) => Ok(*id),
            ([first, second, ..], _) => Err(Failure::failed(format!(
                "several ids begin with {prefix}: {first}, {second}, …"
            ))),
        }
    }
}
