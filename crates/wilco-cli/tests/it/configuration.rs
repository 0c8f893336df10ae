//! The configuration: diagnostics with their place and a hint, starts that fail with one sentence, and
//! reloads that are applied completely or not at all.

mod canaries;
pub(crate) mod certificate;
mod connect;
mod diagnostics;
mod example;
mod keys;
mod related;
mod reload;
mod warnings;

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::Path,
    process::{Output, Stdio},
};

use crate::world::{SECRET, World, booking, copy_wilco_to, sign_with, wilco};

#[test]
fn only_root_can_run_programs_as_another_user() {
    let folder = tempfile::tempdir().unwrap();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    for (run_as, is_taken) in [("root", is_root), ("nobody:0", is_root)] {
        let tables = format!(
            "{GOOD}[destination.x]\ntype = \"command\"\ncommand = \"/bin/true\"\n\
             run_as = {run_as:?}\n"
        );
        fs::write(folder.path().join("wilco.toml"), &tables).unwrap();
        let output = wilco(folder.path()).env("S", SECRET).arg("check").output().unwrap();
        assert_eq!(output.status.success(), is_taken, "{}", text(&output.stderr));
    }
    if is_root {
        // Root can become any user, so run as another user to see what is refused.
        // Only root may be able to read the binary, so copy it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let binary = folder.path().join("wilco");
        copy_wilco_to(&binary);
        for (run_as, code) in [("nobody", Some(0)), ("root", Some(78)), ("nobody:0", Some(78))] {
            let file = fs::read_to_string(folder.path().join("wilco.toml")).unwrap();
            let file = file.replace("\"nobody:0\"", &format!("{run_as:?}"));
            fs::write(folder.path().join("other.toml"), file).unwrap();
            let mut command = std::process::Command::new(&binary);
            command.current_dir(folder.path()).env_clear().env("S", SECRET);
            command.args(["check", "--config", "other.toml"]);
            let output = command.uid(65_534).gid(65_534).output().unwrap();
            assert_eq!(output.status.code(), code, "{run_as}: {}", text(&output.stderr));
        }
    }
}

#[test]
fn a_file_that_cannot_be_parsed_is_refused_with_the_reason() {
    let with = |more: &str| format!("{GOOD}{more}");
    let not_utf8 = [GOOD.as_bytes(), b"# \xff\n"].concat();
    for (file, expected) in [
        (b"x = [\n".to_vec(), "wilco.toml:1:6 ]"),
        (b"[listen\naddress".to_vec(), "wilco.toml:1:8 ]"),
        (with("[store]\nurl = \"sqlite:a\"\nurl = \"sqlite:b\"\n").into(), "duplicate key"),
        (Vec::new(), "no [source.NAME]: nothing could be received"),
        (Vec::new(), "no [listen]: nothing could come in"),
        (b"# only this\n".to_vec(), "[listen], with address and tls"),
        (GOOD.split_once("[source").unwrap().0.into(), "no [source.NAME]"),
        (not_utf8, "save it as UTF-8"),
        (GOOD.replace("off", "files").into(), "[listen] needs certificate"),
        (GOOD.replace("off", "files").into(), "such as key = \"/etc/wilco/key.pem\""),
        (
            GOOD.replace("\"off\"", "\"files\"\nkey = \"/no/such/key.pem\"").into(),
            "key = \"/no/such/key.pem\"\n",
        ),
        (GOOD.replace("\"off\"", "true").into(), "such as tls = \"off\""),
        (GOOD.replace("\"127.0.0.1:0\"", "8").into(), "address must be a text, not an integer"),
        (GOOD.replace("[listen]", "[listen]\nmax_body = \"65 MiB\"").into(), "from 1 B to 64 MiB"),
        (GOOD.replace("[listen]", "[listen]\nmax_body = \"0 B\"").into(), "from 1 B to 64 MiB"),
        (GOOD.replace("[{ env = \"S\" }]", "[]").into(), "secrets is empty"),
        (GOOD.replace("[{ env = \"S\" }]", "{ env = \"S\" }").into(), "secrets must be a list"),
        (
            GOOD.replace("env = \"S\"", "env = \"S\", file = \"x\"").into(),
            "a reference must have exactly one key",
        ),
        (with("[source.b]\npath = \"/b\"\n").into(), "[source.b] needs provider"),
        (with("[source.b]\npath = \"/b\"\n").into(), "such as secrets = [{ env ="),
        (
            with(&GOOD[GOOD.find("[source").unwrap()..].replace("[source.a", "[source.b")).into(),
            "[source.a] has the path /webhook too",
        ),
        (with("[route]\nto = [\"x\"]\n").into(), "write [[route]], with two brackets"),
        (with("[[route]]\n").into(), "such as to = [\"name-of-a-destination\"]"),
        (with("[destination.x]\n").into(), "[destination.x] needs type"),
        (with("[destination.x]\ntype = \"http\"\n").into(), "such as url = \"https://"),
        (with("[destination.x]\ntype = \"command\"\n").into(), "such as command = [\"/usr/"),
    ] {
        let output = check(&file);
        let drawn = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{drawn}");
        assert!(drawn.contains(expected), "{expected}\n{drawn}");
        check_manners(&output);
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, expected) in [
        ("nowhere.toml", "cannot read nowhere.toml: No such file or directory"),
        ("nowhere.toml", "`wilco init` writes one, `--config FILE` names another"),
        (".", "cannot read .: Is a directory"),
    ] {
        let output = wilco(folder.path()).args(["check", "--config", name]).output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
    let output = wilco(folder.path()).arg("check").output().unwrap();
    let expected = "wilco: no wilco.toml found here or in /etc/wilco; `wilco init` writes one\n";
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(78), expected));
}

#[test]
fn a_secret_must_be_a_reference_and_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (name, content) in [
        ("good", "canary-canary\n"),
        ("short", "canary\n"),
        ("empty", "\n"),
        ("utf16", "c\0a\0n\0a\0r\0y\0"),
    ] {
        fs::write(at(name), content).unwrap();
    }
    let url = "url = { env = \"EMPTY\" }\n";
    for (reference, expected) in [
        ("{ env = \"S\" }".to_owned(), ""),
        (format!("{{ file = {:?} }}", at("good")), ""),
        ("{ credential = \"good\" }".into(), ""),
        (format!("{{ file = {:?} }}", at("short")), "has 6 bytes and needs 8; is it cut off?"),
        (format!("{{ file = {:?} }}", at("empty")), "is empty"),
        (format!("{{ file = {:?} }}", at("utf16")), "contains a NUL byte; is the file in UTF-16?"),
        (format!("{{ file = {:?} }}", at("none")), "readable for wilco's user"),
        ("{ env = \"NONE\" }".into(), "set it: export NONE=…"),
        ("{ env = \"EMPTY\" }".into(), "secret env:EMPTY is empty"),
        ("{ credential = \"none\" }".into(), "add LoadCredential=NAME:/path to the unit"),
        ("{ credential = \"../good\" }".into(), "this is not the name of a credential"),
        ("\"canary-canary\"".into(), "a secret must not be in the file itself"),
        ("'canary-canary'".into(), "{ env = \"NAME\" }, { file = \"/path\" } or"),
        ("\"\"\"\ncanary-\ncanary\"\"\"".into(), "a secret must not be in the file itself"),
        ("\"canary-canary\", \"canary-2\"".into(), "a secret must not be in the file itself"),
        (
            format!("7]\n[destination.x]\ntype = \"http\"\nsecret = \"canary\"\n{url}x = ["),
            "itself",
        ),
        (
            format!("7]\n[destination.x]\ntype = \"http\"\n{}x = [", url.replace("EMPTY", "URL")),
            "invalid url: expected http",
        ),
    ] {
        fs::write(at("wilco.toml"), GOOD.replace("{ env = \"S\" }", &reference)).unwrap();
        let mut command = wilco(folder.path());
        command.env("S", "canary-canary").env("EMPTY", "").env("URL", "canary.example.com");
        let output = command.env("CREDENTIALS_DIRECTORY", folder.path()).arg("check").output();
        let output = output.unwrap();
        let drawn = text(&output.stderr);
        let code = if expected.is_empty() { 0 } else { 78 };
        assert_eq!(output.status.code(), Some(code), "{reference} {drawn}");
        assert!(drawn.contains(expected), "{reference} {drawn}");
        assert!(!drawn.contains("canary") && !text(&output.stdout).contains("canary"), "{drawn}");
    }
}

#[test]
fn a_valid_file_is_reported_as_fine() {
    let output = check(format!("{GOOD}{PRINT}").as_bytes());
    let fine = "wilco.toml is fine: 1 source, 1 destination, 1 route\n";
    assert_eq!(
        (output.status.code(), text(&output.stdout).as_str(), text(&output.stderr).as_str()),
        (Some(0), fine, "")
    );
}

#[test]
fn a_failed_start_says_why_in_one_sentence_and_exits_with_1() {
    let world = World::plan().start();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    rusqlite::Connection::open(at("notes.db"))
        .unwrap()
        .execute_batch("CREATE TABLE a (b)")
        .unwrap();
    fs::write(at("text"), "not a database, but long enough to be taken for one. ".repeat(20))
        .unwrap();
    newer_store(&at("newer.db"));
    let held = world.path("wilco.db").display().to_string();
    let held_by = format!("is in use by process {}; stop it, or give this one", world.pid());
    let taken = |name: &str| format!("cannot listen on {name}: Address already in use");
    let (public, admin) = (world.address.to_string(), world.admin.to_string());
    for (public, admin, store, expected) in [
        (public.as_str(), "127.0.0.1:0", "new.db", taken(&public)),
        (public.as_str(), "127.0.0.1:0", "new.db", "stop what listens there, or choose".into()),
        ("127.0.0.1:0", admin.as_str(), "new.db", taken(&format!("{admin} ([admin])"))),
        ("192.0.2.1:9", "127.0.0.1:0", "new.db", "this machine does not have that address".into()),
        ("unix:/nowhere/at/all", "127.0.0.1:0", "new.db", "cannot listen on unix:/nowhere".into()),
        ("127.0.0.1:0", "127.0.0.1:0", held.as_str(), held_by),
        ("127.0.0.1:0", "127.0.0.1:0", "newer.db", "has schema 99 and this wilco knows".into()),
        ("127.0.0.1:0", "127.0.0.1:0", "newer.db", "run the newer wilco that made it".into()),
        ("127.0.0.1:0", "127.0.0.1:0", "notes.db", "is not a wilco store; give [store]".into()),
        ("127.0.0.1:0", "127.0.0.1:0", "text", "is not a wilco store; give [store] url".into()),
        ("127.0.0.1:0", "127.0.0.1:0", "no/folder/db", "cannot open \"no/folder/db\"".into()),
        ("127.0.0.1:0", "127.0.0.1:0", ".", "cannot open".into()),
    ] {
        let file = format!(
            "{}{PRINT}[admin]\naddress = \"{admin}\"\n[store]\nurl = \"sqlite:{store}\"\n",
            GOOD.replace("127.0.0.1:0", public)
        );
        fs::write(at("wilco.toml"), file).unwrap();
        let output = wilco(folder.path()).env("S", SECRET).arg("serve").output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{public} {store} {said}");
        let said: Vec<_> = said.lines().filter(|line| !line.contains("\"WARN\"")).collect();
        let [said] = said[..] else { panic!("{said:?}") };
        assert!(said.starts_with("wilco: ") && said.contains(expected.as_str()), "{said}");
        check_manners(&output);
    }
    assert_eq!(world.send(&booking("b-1", "A")).status, 200, "the first one continues");
}

#[test]
fn sighup_applies_a_new_secret_and_a_new_route_at_once() {
    let world = World::plan().start();
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
    world.eventually("b-1 is routed nowhere", |world| world.events()[0]["routed"] == true);
    fs::write(world.path("secret"), "another-secret\n").unwrap();
    let secret = format!("{{ file = {:?} }}", world.path("secret"));
    let print = "[destination.print]\ntype = \"print\"\n[[route]]\nto = [\"print\"]\n";
    world.reconfigure(|text| text.replace("{ env = \"FREISPACE_SECRET\" }", &secret) + print);
    world.signal("HUP");
    world.eventually("the reload", |world| world.log().contains("configuration reloaded"));
    assert_eq!(world.send(&booking("b-2", "A")).status, 403);
    assert_eq!(send_with("another-secret", &world, "b-3").status, 200);
    let lines = |world: &World| fs::read_to_string(world.path("stdout")).unwrap();
    world.eventually("a printed event", |world| lines(world).contains("b-3"));
    assert!(!lines(&world).contains("b-1"), "a skipped event stays skipped");
    // Only the secret's file changes; the configuration does not.
    fs::write(world.path("secret"), "a-third-secret\n").unwrap();
    assert_eq!(world.run_verb(&["reload"]).status.code(), Some(0));
    assert_eq!(send_with("a-third-secret", &world, "b-4").status, 200);
    assert_eq!(send_with("another-secret", &world, "b-5").status, 403);
}

#[test]
fn a_refused_reload_says_why_and_changes_nothing() {
    let world = World::plan().start();
    let good = fs::read_to_string(world.path("wilco.toml")).unwrap();
    let drop_secret = |text: &str| text.replace("FREISPACE_SECRET", "NO_SUCH_SECRET");
    let listen = good.replacen("127.0.0.1:0", "127.0.0.2:0", 1);
    let admin = good.replace("[admin]\naddress = \"127.0.0.1:0", "[admin]\naddress = \"[::1]:0");
    let token = good.replace("[admin]\n", "[admin]\ntoken = { env = \"FREISPACE_SECRET\" }\n");
    let takes_a_restart = "changed, which requires a restart; the old configuration stays in use";
    for (file, expected) in [
        (drop_secret(&good), "environment variable NO_SUCH_SECRET is not set"),
        (good.clone() + "[rout]\n", "did you mean [[route]]?"),
        (good.clone() + "x = [", "wilco: the old configuration stays in use"),
        (String::new(), "no [source.NAME]"),
        (listen.clone(), "wilco: [listen] address changed"),
        (listen, takes_a_restart),
        (good.replace("\"off\"", "\"self-signed\""), "wilco: [listen] tls changed"),
        (good.replace("wilco.db", "other.db"), "wilco: [store] url changed"),
        (admin, "wilco: [admin] address changed"),
        (token, "wilco: [admin] token changed"),
    ] {
        fs::write(world.path("wilco.toml"), &file).unwrap();
        let output = world.run_verb(&["reload"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{expected}\n{said}");
        assert!(said.contains(expected), "{expected}\n{said}");
        check_manners(&output);
        let refused = world.log().matches("the old configuration stays").count();
        world.signal("HUP");
        world.eventually("the refusal in the log", |world| {
            world.log().matches("the old configuration stays").count() > refused
        });
        assert_eq!(world.send(&booking("b-1", expected)).status, 200);
    }
    fs::write(world.path("wilco.toml"), good).unwrap();
    let output = world.run_verb(&["reload"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "reloaded\n"));
    assert!(!world.log().contains("panicked"));
}

#[test]
fn a_reload_without_a_running_wilco_says_so() {
    let mut world = World::plan().start();
    assert!(world.stop().success());
    let output = world.run_verb(&["reload"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with(&format!("wilco: no answer from wilco at {}: ", world.admin)),
        "{said}"
    );
    assert!(said.ends_with("Connection refused (os error 111); is it running?\n"), "{said}");
}

#[test]
fn the_admin_api_requires_a_configured_token_and_the_commands_send_it() {
    let plan = World::plan().admin("token = { env = \"TOKEN\" }").env("TOKEN", "canary-of-a-token");
    let world = plan.start();
    for (path, status) in [("/api/v1/events", 401), ("/metrics", 200), ("/readyz", 200)] {
        assert_eq!(world.get(path).status, status, "{path}");
    }
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
    assert_eq!(world.events().len(), 1);
    assert_eq!(world.run_verb(&["reload"]).status.code(), Some(0));
    let output = world.verb(&["events", "list"]).env("TOKEN", "another-token").output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(
        (output.status.code(), said.contains("refuses the token from env:TOKEN")),
        (Some(1), true),
        "{said}"
    );
    assert!(!world.log().contains("canary"));
}

/// The output of `wilco check` about a file.
fn check(file: &[u8]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("wilco.toml"), file).unwrap();
    let mut command = wilco(folder.path());
    command.env("S", SECRET).arg("check").stdin(Stdio::null()).output().unwrap()
}

/// No crash, no colours for a file, no secret.
#[track_caller]
fn check_manners(output: &Output) {
    let said = text(&output.stderr) + &text(&output.stdout);
    for word in ["panicked", "backtrace", "RUST_", "\u{1b}", SECRET] {
        assert!(!said.contains(word), "{word:?} in\n{said}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn newer_store(path: &Path) {
    let store = rusqlite::Connection::open(path).unwrap();
    store.pragma_update(None, "application_id", 0x7769_6c63).unwrap();
    store.pragma_update(None, "user_version", 99).unwrap();
}

fn send_with(secret: &str, world: &World, id: &str) -> crate::world::Reply {
    let body = booking(id, "A");
    world.post(&body, &[("x-freispace-signature", &sign_with(secret, body.as_bytes()))])
}

const PRINT: &str = "[destination.p]\ntype = \"print\"\n[[route]]\nto = [\"p\"]\n";

const GOOD: &str = r#"[listen]
address = "127.0.0.1:0"
tls = "off"
[source.a]
provider = "freispace"
path = "/webhook"
secrets = [{ env = "S" }]
"#;
