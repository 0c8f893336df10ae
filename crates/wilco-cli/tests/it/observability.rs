//! The dashboard for Grafana and the alerts for Prometheus: they name what there is, and the alerts fire.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    survival::skip,
    world::{World, booking},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn file(name: &str) -> String {
    fs::read_to_string(root().join("examples/observability").join(name)).unwrap()
}

/// Every expression of the dashboard and of the alerts.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&file("grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let shown = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    let rules = file("rules.yml");
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let all: Vec<_> = shown.chain(alerts.map(ToOwned::to_owned)).collect();
    assert!(all.len() > 30, "{all:?}");
    all
}

/// The metrics in an expression, each with the labels that its selector has.
fn metrics(expression: &str) -> Vec<(String, Vec<String>)> {
    let starts = expression.match_indices("wilco_").map(|(at, _)| &expression[at..]);
    let found = starts.map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let selector = rest.strip_prefix('{').and_then(|rest| rest.split('}').next());
        let labels = selector.unwrap_or_default().split(", ").filter(|label| !label.is_empty());
        let label = |label: &str| label.split(['=', '!']).next().unwrap().to_owned();
        (name.to_owned(), labels.map(label).collect())
    });
    found.collect()
}

/// What a wilco exposes that has recorded, refused and failed to deliver, and one with TLS.
fn exposed() -> String {
    let tables = "[destination.down]\ntype = \"http\"\nurl = \"http://127.0.0.1:9/\"\n\
                  retry = { first = \"1 ms\", max = \"1 ms\", give_up_after = \"1 ms\" }\n\
                  breaker = { failures = 1, probe_after = \"1 ms\", probe_max = \"1 ms\" }\n\
                  [destination.log]\ntype = \"print\"\n[[route]]\nto = [\"down\", \"log\"]\n";
    let world = World::plan().and(tables).start();
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
    assert_eq!(world.post(&booking("b-1", "A"), &[("x-freispace-signature", "00")]).status, 403);
    world.eventually("a dead delivery", |world| {
        world.metric("wilco_deliveries{destination=\"down\",state=\"dead\"}") > 0.0
    });
    let with_tls = World::plan().tls("tls = \"self-signed\"").start();
    world.get("/metrics").body + &with_tls.get("/metrics").body
}

#[test]
fn the_dashboard_and_the_alerts_name_only_metrics_and_labels_that_exist() {
    let (exposed, manual) =
        (exposed(), fs::read_to_string(root().join("docs/metrics.md")).unwrap());
    let mut checked = BTreeSet::new();
    for expression in expressions() {
        for (name, labels) in metrics(&expression) {
            let documented = name.strip_suffix("_bucket").unwrap_or(&name);
            assert!(manual.contains(&format!("| `{documented}` |")), "{name} in {expression}");
            if name == ONLY_WITH_AN_AUTHORITY {
                continue;
            }
            let mut samples = exposed.lines().filter(|line| {
                line.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(['{', ' ']))
            });
            let has_all = |line: &str| {
                // Prometheus adds the instance.
                let mut own = labels.iter().filter(|label| *label != "instance");
                own.all(|label| line.contains(&format!("{label}=\"")))
            };
            assert!(samples.any(has_all), "{name} {labels:?} in {expression}\n{exposed}");
            checked.insert(name);
        }
    }
    assert!(checked.len() > 14, "{checked:?}");
}

#[test]
fn every_alert_fires_and_is_silent_otherwise() {
    if Command::new("promtool").arg("--version").output().is_err() {
        return skip("promtool is not installed");
    }
    let output = Command::new("promtool")
        .args(["test", "rules", "rules.test.yml"])
        .current_dir(root().join("examples/observability"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let (rules, tests) = (file("rules.yml"), file("rules.test.yml"));
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let name = format!("alertname: {alert}\n");
        assert_eq!(tests.matches(&name).count(), 2, "{alert}: once it fires, and once it does not");
    }
}

/// A world has no authority; the tests of certificates check that it is exposed with one.
const ONLY_WITH_AN_AUTHORITY: &str = "wilco_acme_last_failure_timestamp_seconds";
