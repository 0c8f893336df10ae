//! The handlers in `examples`, each run by wilco as a command: what it does, that running it twice
//! changes nothing, and how it treats an invalid body.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use wilco::freispace::SAMPLES;

use crate::{
    catcher::Catcher,
    deliveries::{RETRY, quoted, shown},
    survival::skip,
    world::{Reply, World},
};

/// A world with one handler. wilco starts it twice for each event, because its first success does not
/// count.
struct Handled(World);

impl Handled {
    /// `None`, with a message, if the language of the handler is not installed.
    fn start(interpreter: &str, script: &str, environment: &str) -> Option<Self> {
        let Some(interpreter) = find(interpreter) else {
            skip(&format!("{script} needs {interpreter}"));
            return None;
        };
        let script = examples().join(script);
        let tables = format!(
            "[destination.it]\ntype = \"command\"\nenvironment = {{ {environment} }}\n{RETRY}\n\
             command = [\"/bin/sh\", \"-c\", {}, \"twice\", {}, {}]\n[[route]]\nto = [\"it\"]\n",
            quoted(r#""$@" && test "$WILCO_ATTEMPT" -ge 2"#),
            quoted(&interpreter),
            quoted(script.to_str().unwrap())
        );
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("place")).unwrap();
        Some(Self(World::plan().and(&tables).start_in(folder)))
    }

    /// Sends an event, waits until its delivery has ended like this, and returns the output of each run.
    #[track_caller]
    fn send(&self, body: &str, state: &str) -> (Reply, Vec<String>) {
        let reply = self.0.send(body);
        assert_eq!(reply.status, 200, "{}", reply.body);
        let delivery = || shown(&self.0, &reply)["deliveries"][0].clone();
        self.0.eventually(state, |_| {
            let delivery = delivery();
            let is_at_its_end =
                ["delivered", "dead"].contains(&delivery["state"].as_str().unwrap_or_default());
            assert!(!is_at_its_end || delivery["state"] == state, "{delivery:#}");
            is_at_its_end
        });
        let said = |attempt: &Value| attempt["output"].as_str().unwrap().to_owned();
        let history = delivery()["history"].as_array().unwrap().iter().map(said).collect();
        (reply, history)
    }

    fn place(&self) -> PathBuf {
        self.0.path("place")
    }
}

#[test]
fn provision_project_makes_the_folders_of_a_project_once() {
    let environment = "PROJECTS_ROOT = \"FOLDER/place\"";
    let Some(handled) = Handled::start("php", "provision_project.php", environment) else { return };
    let (_, said) = handled.send(sample("project.created"), "delivered");
    assert_eq!(said, ["made P318_Salt-Roads\n", "P318_Salt-Roads is already there\n"]);
    let project = handled.place().join("P318_Salt-Roads");
    let visible = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    };
    assert_eq!(visible(&handled.place()), ["P318_Salt-Roads"]);
    let folders = ["audio", "deliveries", "documents", "edit", "footage", "grade", "graphics"];
    assert_eq!(visible(&project), folders);
    let marker = || -> Value {
        serde_json::from_slice(&fs::read(project.join(".freispace.json")).unwrap()).unwrap()
    };
    assert_eq!(marker()["name"], "Salt Roads");

    let renamed =
        sample("project.updated").replace("\"name\": \"Salt Roads\"", "\"name\": \"Salt\"");
    let (_, said) = handled.send(&renamed, "delivered");
    assert_eq!(said[1], "already noted\n");
    assert_eq!(
        (&marker()["name"], &marker()["former_names"][0]),
        (&"Salt".into(), &"Salt Roads".into())
    );
    assert_eq!(visible(&handled.place()), ["P318_Salt-Roads"]);
    handled.send(
        r#"{"id":"x","type":"project","event":"project.created","data":{"id":"../x"}}"#,
        "dead",
    );
    handled.send(sample("project.archived"), "delivered");
    assert_eq!(visible(&handled.place()), ["P318_Salt-Roads"]);
}

#[test]
fn booking_message_writes_to_the_chat_about_a_booking_once() {
    let chat = Catcher::new();
    let environment = format!("CHAT_URL = \"{}\", STATE_DIR = \"FOLDER/place\"", chat.url());
    let Some(handled) = Handled::start("python3", "booking_message.py", &environment) else {
        return;
    };
    for (number, (event, headline)) in [
        ("booking.created", "New booking: "),
        ("booking.updated", "Booking changed: "),
        ("booking.deleted", "Booking removed: "),
    ]
    .into_iter()
    .enumerate()
    {
        let (_, said) = handled.send(sample(event), "delivered");
        assert_eq!(said[1], "already told\n", "{said:?}");
        let caught = chat.caught();
        assert_eq!(caught.len(), number + 1, "each is sent once");
        let posted: Value = serde_json::from_slice(&caught[number].body).unwrap();
        let text = posted["text"].as_str().unwrap();
        let body: Value = serde_json::from_str(sample(event)).unwrap();
        let name = body["data"]["name"].as_str().unwrap();
        assert!(text.starts_with(&format!("{headline}{name} [")), "{text}");
        assert!(text.contains("\nSuites: "), "{text}");
    }
    handled.send(r#"{"id":"x","type":"booking","event":"booking.created","data":5}"#, "dead");
    handled.send(sample("invoice.finalized"), "delivered");
    assert_eq!(chat.caught().len(), 3);
}

#[test]
fn copy_to_suite_copies_the_files_of_a_project_to_the_booked_suite_once() {
    let environment = "PROJECTS_ROOT = \"FOLDER/place\", SUITES_ROOT = \"FOLDER/place/suites\", \
                       PARTS = \"footage, audio\"";
    let Some(handled) = Handled::start("python3", "copy_to_suite.py", environment) else { return };
    let project = handled.place().join("P318_Salt-Roads");
    let suite = handled.place().join("suites/Theatre");
    for folder in [project.join("footage/day-1"), project.join("edit"), suite.clone()] {
        fs::create_dir_all(folder).unwrap();
    }
    let marker = r#"{"id":"3f0c8a52-6d1e-4b7a-9c45-81e2d7f6a013"}"#;
    fs::write(project.join(".freispace.json"), marker).unwrap();
    fs::write(project.join("footage/day-1/A001.mov"), "frames").unwrap();
    fs::write(project.join("edit/cut.prproj"), "not copied").unwrap();
    let (_, said) = handled.send(sample("booking.updated"), "delivered");
    let line = |count| format!("P318_Salt-Roads: {count} files to Theatre\n");
    assert_eq!(said, [line(1), line(0)]);
    let copy = suite.join("P318_Salt-Roads");
    assert_eq!(fs::read_to_string(copy.join("footage/day-1/A001.mov")).unwrap(), "frames");
    assert!(!copy.join("edit").exists());
    let outside = sample("booking.updated").replace("\"Theatre\"", "\"../../etc\"");
    let reply = handled.0.send(&outside);
    handled.0.eventually("it is refused", |world| {
        shown(world, &reply)["deliveries"][0]["state"] == "retrying"
    });
    handled.send(r#"{"id":"x","type":"booking","event":"booking.created","data":{}}"#, "dead");
}

#[test]
fn offers_csv_adds_a_row_for_each_event_once() {
    let environment = "OFFERS_CSV = \"FOLDER/place/offers.csv\"";
    let Some(handled) = Handled::start("ruby", "offers_csv.rb", environment) else { return };
    let (offer, _) = handled.send(sample("offer.finalized"), "delivered");
    let renamed = sample("offer.finalized").replace("offer.finalized", "quote.finalized");
    let (quote, _) = handled.send(&renamed, "delivered");
    handled.send(sample("offer.status_updated"), "delivered");
    handled.send(r#"{"id":"x","type":"offer","event":"offer.finalized","data":{"id":7}}"#, "dead");
    let rows = fs::read_to_string(handled.place().join("offers.csv")).unwrap();
    let rows: Vec<_> = rows.lines().collect();
    assert_eq!(rows.len(), 3, "{rows:#?}");
    assert!(rows[0].starts_with("offer_id,number,"), "{}", rows[0]);
    for (row, reply) in rows[1..].iter().zip([offer, quote]) {
        assert!(row.contains(",Q-26-031,2026-04-02,"), "{row}");
        assert!(row.contains(",EUR,18465.00,21973.35,"), "{row}");
        assert!(row.ends_with(reply.header("x-wilco-event").unwrap()), "{row}");
    }
}

#[test]
fn log_storage_keeps_the_exact_body_once() {
    let environment = "ARCHIVE = \"FOLDER/place\"";
    let Some(handled) = Handled::start("sh", "log_storage.sh", environment) else { return };
    for event in ["storage_project.created", "storage_project.updated", "storage_project.deleted"] {
        let (reply, _) = handled.send(sample(event), "delivered");
        let at = shown(&handled.0, &reply)["received_at"].as_str().unwrap().to_owned();
        let folder = handled.place().join(&at[..4]).join(&at[5..7]);
        let id = reply.header("x-wilco-event").unwrap();
        assert_eq!(fs::read_to_string(folder.join(format!("{id}.json"))).unwrap(), sample(event));
    }
    handled.send(sample("booking.created"), "delivered");
    let files = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let months: Vec<_> = files(&handled.place()).iter().flat_map(|year| files(year)).collect();
    let kept: Vec<_> = months.iter().flat_map(|month| files(month)).collect();
    assert_eq!(kept.len(), 3, "{kept:?}");
}

/// The program of this name, if it runs with no other variable than PATH, as handlers do.
fn find(program: &str) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program));
    let mut found = found.filter(|place| {
        let mut trial = Command::new(place);
        trial.env_clear().env("PATH", &path).args(["-c", "exit 0"]);
        if program != "sh" {
            trial = Command::new(place);
            trial.env_clear().env("PATH", &path).arg("--version");
        }
        trial.output().is_ok_and(|output| output.status.success())
    });
    found.next().map(|place| place.to_str().unwrap().to_owned())
}

fn sample(event: &str) -> &'static str {
    SAMPLES.iter().find(|(name, _)| *name == event).unwrap().1
}

fn examples() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/handlers");
    folder.canonicalize().unwrap()
}
