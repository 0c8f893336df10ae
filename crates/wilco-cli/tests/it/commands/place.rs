//! Where the commands find the record: the running wilco or its store, and what they need for that.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    process::{Child, Command, Output},
    thread,
    time::{Duration, Instant},
};

use super::text;
use crate::world::{SECRET, World, booking, wilco};

#[test]
fn no_command_needs_a_secret_without_a_server() {
    let mut world = with_secrets();
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
    world.eventually("it is delivered", |world| {
        world.events()[0]["deliveries"][2]["state"] == "delivered"
    });
    let run = |world: &World, arguments: &[&str], file: &str| -> Output {
        wilco(world.folder.path()).args(arguments).args(["--config", file]).output().unwrap()
    };
    let refused = run(&world, &["events", "list"], "verb.toml");
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("requires its token, and env:TOKEN cannot be read"), "{said}");
    assert!(world.stop().success());
    fs::remove_file(world.path("secret")).unwrap();
    for (arguments, expected) in [
        (&["events", "list"][..], "booking.updated"),
        (&["events", "show", "latest"], "booking.updated"),
        (&["events", "why", "latest"], "takes every event"),
        (&["destinations", "list"], "command"),
        (&["destinations", "pause", "c"], "c paused"),
        (&["destinations", "resume", "c"], "c resumed"),
        (&["events", "replay", "latest", "--dry-run"], "h, s, c"),
        (&["events", "replay", "latest"], "1 event replayed in 3 new deliveries"),
        (&["events", "cancel", "latest"], "deliveries cancelled"),
    ] {
        let output = run(&world, arguments, "wilco.toml");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?} {said}");
        assert!(said.contains(expected), "{arguments:?} {said}");
    }
    // A placeholder for a secret does not have the form in which some providers write their keys.
    // Some sign the URL, and some bring their secret.
    let source = |name: &str| {
        format!(
            "[source.of-{name}]\nprovider = {name:?}\npath = \"/{name}\"\n\
             secrets = [{{ env = \"NOWHERE\" }}]\nlearned_secret = \"learned-{name}\"\n\
             public_url = \"https://hooks.example.com/{name}\"\n"
        )
    };
    world.reconfigure(|text| {
        text + &::wilco::provider::all().iter().map(|it| source(&it.name)).collect::<String>()
    });
    let output = run(&world, &["destinations", "list"], "wilco.toml");
    assert!(output.status.success(), "{output:?}");
    let checked = run(&world, &["check"], "wilco.toml");
    assert_eq!(checked.status.code(), Some(78), "a check reads them");
}

/// A world whose configuration refers to secrets in every way.
fn with_secrets() -> World {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), "made-up-and-in-a-file").unwrap();
    fs::write(folder.path().join("credential"), "made-up-and-passed").unwrap();
    let at = folder.path().display().to_string();
    let plan = World::plan()
        .admin("token = { env = \"TOKEN\" }")
        .and(&format!(
            "[destination.h]\ntype = \"http\"\nurl = {{ env = \"URL\" }}\n\
             secret = {{ file = \"{at}/secret\" }}\n\
             headers = {{ authorization = {{ credential = \"credential\" }} }}\n\
             [destination.s]\ntype = \"slack\"\nurl = {{ env = \"URL\" }}\ntext = \"{{{{ id }}}}\"\n\
             [destination.c]\ntype = \"command\"\ncommand = \"/bin/true\"\n\
             environment = {{ A = {{ env = \"URL\" }} }}\norder_by = \"id\"\n\
             [[route]]\nto = [\"h\", \"s\", \"c\"]\n"
        ))
        .env("TOKEN", "made-up-for-the-verbs")
        .env("URL", "http://127.0.0.1:1/")
        .env("CREDENTIALS_DIRECTORY", &at);
    plan.start_in(folder)
}

#[test]
fn a_server_with_another_store_is_found_by_that_store() {
    let elsewhere = "[store]\nurl = \"sqlite:FOLDER/elsewhere.db\"\nreserve = \"1 MiB\"\n";
    let world = World::plan().and(elsewhere).start();
    let mut other = World::plan().start();
    for (world, id) in [(&world, "b-1"), (&other, "b-2")] {
        assert_eq!(world.send(&booking(id, "A")).status, 200);
    }
    assert!(other.stop().success());
    // As without a file: the admin listener is at its default address, but the store is elsewhere.
    let file = format!("[admin]\naddress = \"{}\"\n", world.admin);
    fs::write(world.path("other.toml"), file).unwrap();
    let run = |arguments: &[&str]| {
        let arguments = [arguments, &["--config", "other.toml"]].concat();
        let output = wilco(world.folder.path()).args(arguments).output().unwrap();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let (code, said) = run(&["events", "list"]);
    assert_eq!(code, Some(1), "{said}");
    let hint = "run this as the user of that wilco, with its --config, or with the --store that it \
                   was started with";
    assert!(said.contains("requires its token") && said.contains(hint), "{said}");
    let theirs = format!("sqlite:{}", other.path("wilco.db").display());
    for (arguments, expected) in [
        (&["events", "list", "--store", "sqlite:elsewhere.db"][..], "booking/b-1"),
        (&["destinations", "list", "--store", "sqlite:elsewhere.db"], "no destinations"),
        // The store is locked, so only the server can do this.
        (&["events", "cancel", "latest", "--store", "sqlite:elsewhere.db"], "no delivery was"),
        (&["events", "list", "--store", &theirs], "booking/b-2"),
    ] {
        let (code, said) = run(arguments);
        assert_eq!(code, Some(0), "{arguments:?} {said}");
        assert!(said.contains(expected), "{arguments:?} {said}");
    }
    let (code, said) = run(&["events", "list", "--store", "sqlite:no.db"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("wilco: store ") && said.contains("no.db not found"), "{said}");
}

#[test]
fn the_admin_listener_may_be_a_socket_that_only_the_user_of_wilco_can_connect_to() {
    let folder = tempfile::tempdir().unwrap();
    let file = "[listen]\naddress = \"127.0.0.1:0\"\ntls = \"off\"\n[store]\n\
                url = \"sqlite:wilco.db\"\n[admin]\naddress = \"unix:admin.sock\"\n\
                [source.freispace]\nprovider = \"freispace\"\npath = \"/webhook\"\n\
                secrets = [{ env = \"FREISPACE_SECRET\" }]\n[destination.p]\ntype = \"print\"\n";
    fs::write(folder.path().join("wilco.toml"), file).unwrap();
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let mut served = wilco(folder.path());
    let served = served.arg("serve").env("FREISPACE_SECRET", SECRET).stderr(log);
    let mut served = Served(served.spawn().unwrap());
    let socket = folder.path().join("admin.sock");
    wait_until("the socket is there", || UnixStream::connect(&socket).is_ok());
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    for (arguments, expected) in [
        (&["events", "list"][..], "no events"),
        (&["destinations", "pause", "p"], "p paused"),
        (&["destinations", "list"], "paused"),
        (&["reload"], "reloaded"),
    ] {
        let output = wilco(folder.path()).args(arguments).output().unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success() && said.contains(expected), "{arguments:?} {said}");
    }
    for (page, status) in [("/readyz", "200"), ("/metrics", "200"), ("/api/v1/events", "401")] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let request =
            format!("GET {page} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{page} {reply}");
    }
    let pid = served.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(served.0.wait().unwrap().success());
    assert!(!socket.exists(), "the socket is removed at the end");
    let output = wilco(folder.path()).args(["destinations", "list"]).output().unwrap();
    assert!(text(&output.stdout).contains("paused"), "without a server the store is opened");
}

/// Ends the process even if the test fails.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        // It fails if the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}
