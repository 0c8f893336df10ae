//! A storage project: the room that a project has on a storage.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::or_default;

/// A storage project, as a `storage_project.*` event has it.
///
/// To learn of every one that goes out of use, watch `storage_project.updated` and
/// `storage_project.deleted`: archiving one sets [`is_active`](Self::is_active) to false.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StorageProject {
    /// A UUID.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// How much the project is expected to need, in bytes.
    pub storage_size_estimated: Option<i64>,
    /// How much the project takes, in bytes. No event comes when only this changes.
    pub storage_size_current: Option<i64>,
    /// False for one that was archived. `None` where the event does not say, which is not to be
    /// taken for either.
    pub is_active: Option<bool>,
    /// Where it is.
    #[serde(deserialize_with = "or_default")]
    pub storage: Storage,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A storage.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Storage {
    /// A UUID.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// What people call it.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// A second line under the name.
    pub byline: Option<String>,
    /// Where it is located.
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    /// How much it holds, in bytes. `None` means without limit.
    pub size: Option<i64>,
    /// How much of it is promised to projects, in bytes.
    pub size_allocated: Option<i64>,
    /// How much of it is taken, in bytes.
    pub size_occupied: Option<i64>,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The location of a storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// `on-prem`
    OnPrem,
    /// `cloud`
    Cloud,
    /// `hybrid`
    Hybrid,
    /// Another word.
    #[serde(untagged)]
    Other(String),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::freispace::{
        sample,
        tests::{data, fixture, read},
    };

    #[test]
    fn every_member_of_a_storage_project_is_read() {
        let project: StorageProject = data(sample("storage_project.updated").unwrap());
        assert_eq!(project.is_active, Some(false));
        assert_eq!(project.storage_size_estimated, Some(24_000_000_000_000));
        assert_eq!(project.storage_size_current, Some(19_482_650_374_144));
        assert_eq!(project.storage.name, "Project storage");
        assert_eq!(project.storage.kind, Some(Kind::OnPrem));
        assert_eq!(project.storage.size, Some(480_000_000_000_000));
        assert_eq!(project.storage.size_allocated, Some(312_000_000_000_000));
        assert_eq!(project.storage.size_occupied, Some(271_604_918_274_048));
    }

    #[test]
    fn null_and_absent_members_are_none() {
        let nulls = json!({
            "id": null, "storage_size_estimated": null, "storage_size_current": null,
            "is_active": null, "storage": null,
        });
        let inner = json!({ "storage": {
            "id": null, "name": null, "byline": null, "type": null, "size": null,
            "size_allocated": null, "size_occupied": null,
        }});
        for empty in [nulls, inner, json!({})] {
            assert_eq!(read::<StorageProject>(&empty), StorageProject::default());
        }
    }

    #[test]
    fn a_number_of_bytes_is_exact_to_the_last_digit() {
        let project: StorageProject = data(fixture("storage_project.extended"));
        assert_eq!(project.storage_size_estimated, Some((1 << 53) + 1));
        assert_eq!(project.storage.size, Some(i64::MAX));
        assert_eq!(project.storage.size_allocated, Some(-1));
        assert_eq!(project.storage.other["size_reserved"], json!(i64::MIN));
        assert_eq!(project.other["size_archived"], json!(u64::MAX));
        assert_eq!(project.other["project"]["blocks"], json!((1_i64 << 53) + 1));
    }

    #[test]
    fn an_undocumented_kind_is_kept_as_other() {
        for (word, kind) in [
            ("on-prem", Kind::OnPrem),
            ("cloud", Kind::Cloud),
            ("hybrid", Kind::Hybrid),
            ("tape", Kind::Other("tape".to_owned())),
        ] {
            let project: StorageProject = read(&json!({ "storage": { "type": word } }));
            assert_eq!(project.storage.kind, Some(kind));
        }
    }
}
