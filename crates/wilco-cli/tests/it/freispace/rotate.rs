//! A secret is changed while events arrive, and whatever interrupts that.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{
    URL, run,
    stand_in::{Freispace, Hang, Hook, TOKEN, send_to},
};
use crate::world::{World, booking};

const OLD: &str = "the-old-made-up-secret";
const LONG_AGO: &str = "2000-01-01T00:00:00Z";

/// A wilco whose source `live` has its secret in a file.
fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), format!("{OLD}\n")).unwrap();
    let mode = fs::Permissions::from_mode(0o640);
    fs::set_permissions(folder.path().join("secret"), mode).unwrap();
    World::plan()
        .and(
            "[source.live]\nprovider = \"freispace\"\npath = \"/live\"\n\
             secrets = [{ file = \"FOLDER/secret\" }]\n",
        )
        .start_in(folder)
}

fn rotate(world: &World, api: &Freispace, more: &[&str]) -> Command {
    let mut command = world.verb(&["freispace", "rotate", "live", "--api", &api.api()]);
    command.args(more).env("FREISPACE_TOKEN", TOKEN);
    command
}

/// freispace, which sends events until it is dropped, and those that were not acknowledged again.
struct Load<'w> {
    world: &'w World,
    api: &'w Freispace,
    is_over: AtomicBool,
    sent: Mutex<Vec<String>>,
    unacknowledged: Mutex<Vec<(Hook, String)>>,
    resent: AtomicUsize,
}

impl<'w> Load<'w> {
    fn new(world: &'w World, api: &'w Freispace) -> Self {
        let (is_over, sent, unacknowledged, resent) = Default::default();
        Self { world, api, is_over, sent, unacknowledged, resent }
    }

    fn run(&self) {
        for number in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            let body = booking(&format!("b-{}", number % 7), &format!("{number}"));
            self.sent.lock().unwrap().push(body.clone());
            for hook in self.api.hooks() {
                self.send(hook, body.clone());
            }
            let again = std::mem::take(&mut *self.unacknowledged.lock().unwrap());
            for (hook, body) in again {
                // freispace does not resend to an endpoint that was removed.
                if self.api.hooks().iter().any(|other| other.id == hook.id) {
                    self.resent.fetch_add(1, Ordering::Relaxed);
                    self.send(hook, body);
                }
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn send(&self, hook: Hook, body: String) {
        if !send_to(self.world, &hook, &body) {
            self.unacknowledged.lock().unwrap().push((hook, body));
        }
    }

    /// Every event was recorded, and only once although two endpoints sent it.
    #[track_caller]
    fn check(&self) {
        let world = self.world;
        let sent = self.sent.lock().unwrap().len();
        let live = "FROM event WHERE source = 'live'";
        let recorded = world.count(&format!("SELECT count(DISTINCT digest) {live}"));
        assert_eq!(usize::try_from(recorded).unwrap(), sent, "an event was lost");
        let all = world.count(&format!("SELECT count(*) {live}"));
        // A resend that arrives after the next event about the same booking is recorded again.
        let resent = i64::try_from(self.resent.load(Ordering::Relaxed)).unwrap();
        assert!(sent > 10 && all <= recorded + resent, "{sent} {all} {resent}");
    }
}

/// The new secret is the only one, everywhere.
#[track_caller]
fn check_rotated(world: &World, api: &Freispace, old: &Hook) {
    let hooks = api.hooks();
    assert_eq!(hooks.len(), 1, "{hooks:?}");
    let new = &hooks[0];
    assert!(new.id != old.id && new.secret != old.secret, "{new:?}");
    assert_eq!((&new.url, &new.events), (&old.url, &old.events));
    let description = new.description.as_deref().unwrap();
    assert!(description.starts_with("Production (rotated "), "{description}");
    let secret = world.path("secret");
    assert_eq!(fs::read_to_string(&secret).unwrap(), format!("{}\n", new.secret));
    let found = fs::metadata(&secret).unwrap();
    let own = fs::metadata("/proc/self").unwrap();
    assert_eq!((found.mode() & 0o777, found.uid()), (0o640, own.uid()));
    let names = fs::read_dir(world.folder.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    let left = names.iter().filter(|name| name.to_str().unwrap().starts_with("secret"));
    assert_eq!(left.count(), 1, "{names:?}");
    assert!(!send_to(world, old, &booking("b-old", "A")), "the old secret is still accepted");
    assert!(send_to(world, new, &booking("b-new", "A")));
}

#[test]
fn a_secret_is_changed_under_load_and_no_event_is_lost() {
    let (world, api) = (world(), Freispace::start().with_hook(URL, OLD));
    let old = api.hooks().remove(0);
    let load = Load::new(&world, &api);
    let (code, said, noted) = thread::scope(|scope| {
        scope.spawn(|| load.run());
        let done = run(rotate(&world, &api, &["--quiet", "2 s"]));
        load.is_over.store(true, Ordering::Relaxed);
        done
    });
    assert_eq!((code, noted.as_str()), (0, ""), "{said}");
    let steps: Vec<_> = said.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(steps, ["1/5", "2/5", "3/5", "4/5", "5/5", "done:"], "{said}");
    assert!(said.contains(&format!("4/5 endpoint {} removed\n", old.id)), "{said}");
    load.check();
    check_rotated(&world, &api, &old);
    let all = said + &noted + &world.log();
    assert!(!all.contains("made-up"), "{all}");
}

#[test]
fn a_rotation_that_is_killed_at_any_request_continues_when_it_is_run_again() {
    let rows = ["POST", "DELETE"]
        .into_iter()
        .flat_map(|method| [false, true].map(|after| Hang { method, after }));
    thread::scope(|scope| {
        for hang in rows {
            scope.spawn(move || killed_at(hang));
        }
    });
}

fn killed_at(hang: Hang) {
    let (world, api) = (world(), Freispace::start().with_hook(URL, OLD));
    let old = api.hooks().remove(0);
    let load = Load::new(&world, &api);
    let (code, said, noted) = thread::scope(|scope| {
        scope.spawn(|| load.run());
        api.hangs(Some(hang));
        let mut first = rotate(&world, &api, &["--quiet", "1 s"]);
        let mut first = first.stdout(Stdio::null()).spawn().unwrap();
        api.wait_until_it_hangs();
        kill(&mut first);
        api.hangs(None);
        let done = run(rotate(&world, &api, &["--quiet", "1 s"]));
        load.is_over.store(true, Ordering::Relaxed);
        done
    });
    assert_eq!(code, 0, "{hang:?} {said} {noted}");
    let is_orphan = hang == Hang { method: "POST", after: true };
    assert_eq!(noted.contains("of an interrupted run removed"), is_orphan, "{hang:?} {noted}");
    load.check();
    check_rotated(&world, &api, &old);
}

#[test]
fn a_rotation_that_is_killed_while_it_waits_continues_when_it_is_run_again() {
    let (world, api) = (world(), Freispace::start().with_hook(URL, OLD));
    let old = api.hooks().remove(0);
    // Nothing arrives, so that the first wait does not end.
    kill_at_step(&world, &api, "3/5");
    let world = world.kill_and_restart();
    assert!(api.send(&world, &booking("b-1", "A")));
    // Both endpoints have existed for long enough, and the old secret has not been silent for long enough.
    edit_state(&world, |state| state["new"]["created_at"] = LONG_AGO.into());
    kill_at_step(&world, &api, "5/5");
    assert_eq!(api.hooks().len(), 1);
    assert!(send_to(&world, &old, &booking("b-1", "A")), "a resend is still accepted");
    let (code, said, noted) = run(rotate(&world, &api, &["--quiet", "1 s"]));
    assert_eq!((code, noted.as_str()), (0, ""), "{said}");
    assert!(said.starts_with("4/5 "), "{said}");
    check_rotated(&world, &api, &old);
}

/// What a crash leaves between two writes that no request separates, made by hand.
#[test]
fn a_rotation_continues_from_any_state_of_its_files() {
    let (world, api) = (world(), Freispace::start().with_hook(URL, OLD));
    let old = api.hooks().remove(0);
    kill_at_step(&world, &api, "3/5");
    // `FILE.new` has its name, and the state does not know of it yet.
    edit_state(&world, |state| state["new"] = Value::Null);
    let orphan = api.hooks().pop().unwrap();
    kill_at_step(&world, &api, "3/5");
    assert!(api.hooks().iter().all(|hook| hook.id != orphan.id), "{:?}", api.hooks());
    // Somebody has removed `FILE.new`.
    fs::remove_file(world.path("secret.new")).unwrap();
    kill_at_step(&world, &api, "3/5");
    // `FILE.new` has been renamed, and the state is still there.
    let new = api.hooks().pop().unwrap();
    assert!(send_to(&world, &new, &booking("b-1", "A")));
    api.hangs(Some(Hang { method: "DELETE", after: true }));
    let mut child = rotate(&world, &api, &["--quiet", "1 s"]);
    let mut child = child.stdout(Stdio::null()).spawn().unwrap();
    api.wait_until_it_hangs();
    kill(&mut child);
    api.hangs(None);
    edit_state(&world, |state| state["old_removed_at"] = LONG_AGO.into());
    fs::rename(world.path("secret.new"), world.path("secret")).unwrap();
    let (code, said, noted) = run(rotate(&world, &api, &["--quiet", "1 s"]));
    assert_eq!((code, noted.as_str()), (0, ""), "{said}");
    check_rotated(&world, &api, &old);
}

#[test]
fn a_rotation_that_cannot_begin_says_why_and_changes_nothing() {
    let mut world = world();
    let api = Freispace::start().with_hook(URL, OLD);
    let refuse = |world: &World, api: &Freispace, arguments: &[&str], code: i32, expected: &str| {
        let count = api.hooks().len();
        let mut command = world.verb(&[&["freispace", "rotate"], arguments].concat());
        command.env("FREISPACE_TOKEN", TOKEN).args(["--api", &api.api()]);
        let (found, said, noted) = run(command);
        assert_eq!((found, said.as_str()), (code, ""), "{arguments:?} {noted}");
        assert!(noted.contains(expected), "{arguments:?} {noted}");
        assert_eq!(api.hooks().len(), count);
        assert!(!world.path("secret.rotation").exists());
    };
    refuse(&world, &api, &["life"], 2, "the running wilco has no source life; did you mean live?");
    refuse(
        &world,
        &api,
        &["freispace"],
        78,
        "takes no secret from a file; rotate needs exactly one",
    );
    refuse(&world, &api, &["live", "--quiet", "soon"], 2, "invalid time \"soon\"");
    refuse(&world, &api, &["live", "--endpoint", "12345678-0"], 1, "not found at http");
    let elsewhere = Freispace::start().with_hook("https://hooks.example.com/dead", OLD);
    refuse(
        &world,
        &elsewhere,
        &["live"],
        1,
        "no endpoint at freispace has a URL with the path /live",
    );
    let twice = Freispace::start().with_hook(URL, OLD).with_hook("https://other.example/live", OLD);
    refuse(&world, &twice, &["live"], 1, "several endpoints at freispace have a URL with the path");
    fs::write(world.path("secret.new"), "somebody's-made-up-secret").unwrap();
    refuse(&world, &api, &["live"], 1, "secret.new exists, but no rotation was begun");
    fs::remove_file(world.path("secret.new")).unwrap();
    fs::rename(world.path("secret"), world.path("moved")).unwrap();
    refuse(&world, &api, &["live"], 1, "secret: No such file or directory");
    fs::rename(world.path("moved"), world.path("secret")).unwrap();
    assert!(world.stop().success());
    refuse(&world, &api, &["live"], 1, "; is it running?");
}

#[test]
fn two_rotations_of_one_source_do_not_meet() {
    let (world, api) = (world(), Freispace::start().with_hook(URL, OLD));
    let (mut first, _said) = run_to_step(&world, &api, "3/5");
    let (code, said, noted) = run(rotate(&world, &api, &[]));
    assert_eq!((code, said.as_str()), (1, ""));
    assert!(noted.contains("another `wilco freispace rotate` is at work on"), "{noted}");
    kill(&mut first);
    let other = Freispace::start();
    let (code, _, noted) = run(rotate(&world, &other, &[]));
    assert_eq!(code, 1);
    assert!(noted.contains("is from a rotation of source live with --api http://"), "{noted}");
}

fn kill_at_step(world: &World, api: &Freispace, step: &str) {
    let (mut child, _said) = run_to_step(world, api, step);
    kill(&mut child);
}

/// A rotation that has reached this step, and its output, which is kept open.
fn run_to_step(world: &World, api: &Freispace, step: &str) -> (Child, BufReader<ChildStdout>) {
    let mut command = rotate(world, api, &["--quiet", "1 h"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut all = String::new();
    while !all.lines().any(|line| line.starts_with(step)) {
        assert_ne!(said.read_line(&mut all).unwrap(), 0, "it ended before {step}:\n{all}");
    }
    (child, said)
}

fn edit_state(world: &World, edit: impl FnOnce(&mut Value)) {
    let path = world.path("secret.rotation");
    let mut state = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut state);
    fs::write(&path, state.to_string()).unwrap();
}

/// `kill -9`.
fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}
