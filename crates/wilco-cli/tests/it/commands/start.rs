//! What `wilco init` and `wilco serve` do if files or another wilco exist already, and what they tell a
//! user without permission.

use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::text;
use crate::world::{SECRET, World, booking, copy_wilco_to, wilco};

#[test]
fn init_overwrites_nothing() {
    let refusal = "wilco: wilco.toml already exists; overwrite it with --force, or name another \
                   with --output FILE\n";
    for kind in ["file", "link to nowhere", "folder"] {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        match kind {
            "file" => fs::write(at("wilco.toml"), "of somebody").unwrap(),
            "folder" => fs::create_dir(at("wilco.toml")).unwrap(),
            // The name seems to be free, unless the file is opened as a new one.
            _ => symlink(at("elsewhere"), at("wilco.toml")).unwrap(),
        }
        let mut command = wilco(folder.path());
        let output = command.args(["init"]).stdin(Stdio::null()).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), refusal));
        assert!(!at("elsewhere").exists(), "{kind}");
        let content = fs::read_to_string(at("wilco.toml")).unwrap_or_default();
        assert_eq!(content, if kind == "file" { "of somebody" } else { "" });
        let mut command = wilco(folder.path());
        command.args(["init", "--output", "other.toml"]).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(output.status.success() && at("other.toml").exists(), "{kind} {output:?}");
    }
}

#[test]
fn an_option_for_a_start_without_a_file_is_refused_if_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("wilco.toml"), "of somebody").unwrap();
    for options in [
        &["--listen", "127.0.0.1:0"][..],
        &["--domain", "hooks.example.com"],
        &["--no-tls"],
        &["--store", "sqlite:other.db"],
        &["--exec", "cat"],
        &["--forward", "http://127.0.0.1:1/"],
    ] {
        let mut command = wilco(folder.path());
        let output = command.env("FREISPACE_SECRET", SECRET).arg("serve").args(options);
        let output = output.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{options:?} {said}");
        assert!(
            said.starts_with("wilco: wilco.toml exists, and --listen, --domain, --no-tls"),
            "{said}"
        );
        assert!(said.contains("write the settings into it, or start in another folder"), "{said}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was created");
}

#[test]
fn a_second_wilco_without_a_file_says_how_both_can_run() {
    // If this fails, the port is taken already.
    let _taken = TcpListener::bind("127.0.0.1:9440");
    let folder = tempfile::tempdir().unwrap();
    let mut command = wilco(folder.path());
    command.env("FREISPACE_SECRET", SECRET).args(["serve", "--listen", "127.0.0.1:0"]);
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "cannot listen on 127.0.0.1:9440 ([admin]): Address already in use",
        "a second wilco needs a file with a different [admin] address; `wilco init` writes one",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
}

#[test]
fn a_wilco_without_a_file_says_that_it_has_nothing_to_reload() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = wilco(folder.path());
    serve.env("FREISPACE_SECRET", SECRET).args(["serve", "--no-tls", "--listen", "127.0.0.1:0"]);
    serve.stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = serve.spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let refusal = "wilco: wilco runs without a configuration file, so nothing can be reloaded";
    loop {
        let output = wilco(folder.path()).arg("reload").output().unwrap();
        let said = text(&output.stderr);
        if said.starts_with(refusal) {
            assert_eq!(output.status.code(), Some(1), "{said}");
            break;
        }
        assert!(Instant::now() < until, "{said}");
        // Without a file the admin port is fixed, and another test may have it for a moment.
        if server.try_wait().unwrap().is_some() {
            server = serve.spawn().unwrap();
        }
        thread::sleep(Duration::from_millis(50));
    }
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn an_unreadable_store_or_token_names_the_user_who_can_read_it() {
    let mut world = World::plan().start();
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
    world.events(); // writes verb.toml
    let token = world.path("wilco.db.token");
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root {
        fs::set_permissions(&token, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let output = somebody(world.folder.path()).args(["--config", "verb.toml"]).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("wilco.db.token cannot be read"), "{said}");
    assert!(said.contains("run this as the user of that wilco"), "{said}");
    assert!(world.stop().success());
    fs::create_dir(world.path("closed")).unwrap();
    for name in ["wilco.db", "wilco.db.lock"] {
        fs::copy(world.path(name), world.path("closed").join(name)).unwrap();
    }
    if !is_root {
        fs::set_permissions(world.path("wilco.db"), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let mode = if is_root { 0o700 } else { 0 };
    fs::set_permissions(world.path("closed"), fs::Permissions::from_mode(mode)).unwrap();
    for store in ["wilco.db", "closed/wilco.db"] {
        let mut command = somebody(world.folder.path());
        command.args(["--config", "wilco.toml", "--store", &format!("sqlite:{store}")]);
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for part in ["cannot open ", store, "Permission denied", ": this is user ", "sudo -u "] {
            assert!(said.contains(part), "{part}\n{said}");
        }
    }
    fs::set_permissions(world.path("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

/// `wilco events list`, run by a user who cannot read the private files of others. Root can read
/// everything, so it becomes another user.
fn somebody(folder: &Path) -> Command {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        let mut command = wilco(folder);
        command.args(["events", "list"]);
        return command;
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let binary = folder.join("wilco");
    if !binary.exists() {
        copy_wilco_to(&binary);
    }
    let mut command = Command::new(&binary);
    command.current_dir(folder).env_clear().uid(65_534).gid(65_534).args(["events", "list"]);
    command
}
