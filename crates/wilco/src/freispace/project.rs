//! A project: what the post house works on, for whom, and over which days.

use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ProjectLink, ProjectStatus, or_default};

/// A project, as a `project.*` event has it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Project {
    /// A UUID.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// What people call it.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// The post house's own number, such as `P156`.
    pub number: Option<String>,
    /// A second line under the name.
    pub byline: Option<String>,
    /// May hold HTML.
    pub description: Option<String>,
    /// The first day.
    pub start: Option<Date>,
    /// The last day.
    pub end: Option<Date>,
    /// Such as `#00ff00`.
    pub color: Option<String>,
    /// For whom it is.
    #[serde(deserialize_with = "or_default")]
    pub clients: Vec<Client>,
    /// Whether it is worked on.
    pub status: Option<ProjectStatus>,
    /// The projects within it.
    #[serde(deserialize_with = "or_default")]
    pub children: Vec<ProjectLink>,
    /// The project that it is within.
    pub parent: Option<ProjectLink>,
    /// Fields that this project alone has.
    #[serde(deserialize_with = "or_default")]
    pub custom_fields: Vec<CustomField>,
    /// Fields that every project of the team has.
    #[serde(deserialize_with = "or_default")]
    pub global_fields: Vec<GlobalField>,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// For whom a project is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Client {
    /// A UUID.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// The client's name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// A second line under the name.
    pub byline: Option<String>,
    /// The post house's own number.
    pub number: Option<String>,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A field that one project alone has.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CustomField {
    /// What the team calls it.
    #[serde(deserialize_with = "or_default")]
    pub title: String,
    /// A text in all that was seen. Any JSON, because which other types there are is not said.
    pub value: Value,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A field that every project of the team has.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct GlobalField {
    /// A UUID.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// What the team calls it.
    #[serde(deserialize_with = "or_default")]
    pub title: String,
    /// What the team means by it.
    pub description: Option<String>,
    /// What else came: its value, under a name that is not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
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
    fn every_member_of_a_project_is_read() {
        let project: Project = data(sample("project.archived").unwrap());
        assert_eq!(project.name, "Salt Roads");
        assert_eq!(project.number.as_deref(), Some("P318"));
        assert_eq!(project.start, Some(jiff::civil::date(2026, 4, 13)));
        assert_eq!(project.end, Some(jiff::civil::date(2026, 7, 10)));
        assert_eq!(project.clients[0].number.as_deref(), Some("C041"));
        assert_eq!(project.status, Some(ProjectStatus::Archive));
        assert_eq!(project.children[1].number.as_deref(), Some("P318-2"));
        assert_eq!(project.children[1].status, Some(ProjectStatus::Archive));
        assert_eq!(project.parent, None);
        assert_eq!(project.custom_fields[0].value, "IMF, UHD, 25p");
        assert_eq!(project.global_fields[0].title, "Post supervisor");
    }

    #[test]
    fn null_and_absent_members_are_none() {
        let nulls = json!({
            "id": null, "name": null, "number": null, "byline": null, "description": null,
            "start": null, "end": null, "color": null, "clients": null, "status": null,
            "children": null, "parent": null, "custom_fields": null, "global_fields": null,
        });
        for empty in [nulls, json!({})] {
            assert_eq!(read::<Project>(&empty), Project::default());
        }
    }

    #[test]
    fn undocumented_members_are_kept() {
        let project: Project = data(fixture("project.extended"));
        let parent = project.parent.unwrap();
        assert_eq!(parent.name, "Trade Winds");
        assert_eq!(parent.other["color"], "#0f766e");
        assert_eq!(project.clients[0].other["vip"], true);
        assert_eq!(project.custom_fields[0].value, json!(["4:3", null]));
        assert_eq!(project.custom_fields[1], CustomField::default());
        assert_eq!(project.global_fields[0].other["value"], "2026-07-10");
        assert_eq!(project.other["budget"]["hours"], json!(u64::MAX));
    }

    #[test]
    fn an_undocumented_status_is_kept_as_other() {
        for (word, status) in [
            ("active", ProjectStatus::Active),
            ("archive", ProjectStatus::Archive),
            ("archived", ProjectStatus::Other("archived".to_owned())),
            ("", ProjectStatus::Other(String::new())),
            ("Другой \u{1F3AC}", ProjectStatus::Other("Другой \u{1F3AC}".to_owned())),
        ] {
            let project: Project = read(&json!({ "status": word }));
            assert_eq!(project.status, Some(status), "{word}");
        }
    }
}
