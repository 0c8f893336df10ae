//! What is packaged: the systemd unit, its configuration, and the service under their limits.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    survival::skip,
    world::{Plan, World, booking, wilco},
};

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").canonicalize().unwrap().join(name)
}

/// Runs wilco under the limits of its unit, unless this machine does not allow that.
fn under_limits(plan: Plan) -> Option<Plan> {
    let (program, unit) = (packaging("under-limits"), packaging("wilco.service"));
    let (program, unit) = (program.to_str().unwrap(), unit.to_str().unwrap());
    let shown = format!("{}:{}", env!("CARGO_MANIFEST_DIR"), folder_of_wilco().display());
    let tried = Command::new(program).args([unit, "true"]).env(SHOW, &shown).output().unwrap();
    if !tried.status.success() {
        skip(&format!("no limits: {}", String::from_utf8_lossy(&tried.stderr)));
        return None;
    }
    Some(plan.under(&[program, unit]).env(SHOW, &shown))
}

fn folder_of_wilco() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_wilco")).parent().unwrap()
}

const SHOW: &str = "WILCO_UNDER_LIMITS_SHOW";

#[test]
fn systemd_accepts_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]);
    for name in ["wilco.service", "wilco.socket"] {
        let unit = fs::read_to_string(packaging(name)).unwrap();
        let path = folder.path().join(name);
        fs::write(&path, unit.replace("/usr/bin/wilco", env!("CARGO_BIN_EXE_wilco"))).unwrap();
        verify.arg(path);
    }
    let Ok(verified) = verify.output() else { return skip("no systemd-analyze") };
    let said = String::from_utf8_lossy(&verified.stderr);
    let own: Vec<_> = said.lines().filter(|line| line.contains("wilco.s")).collect();
    assert!(own.is_empty(), "{said}");
}

#[test]
fn the_packaged_configuration_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret_freispace"), "a-made-up-secret").unwrap();
    let text = fs::read_to_string(packaging("wilco.toml")).unwrap();
    let text = text.replace("/var/lib/wilco", folder.path().to_str().unwrap());
    fs::write(folder.path().join("wilco.toml"), text).unwrap();
    let mut check = wilco(folder.path());
    let output = check.env("CREDENTIALS_DIRECTORY", folder.path()).arg("check").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_unit_exposes_little_of_the_machine() {
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--threshold=15", "--no-pager"]);
    let Ok(analyzed) = analyze.arg(packaging("wilco.service")).output() else {
        return skip("no systemd-analyze");
    };
    assert!(analyzed.status.success(), "{}", String::from_utf8_lossy(&analyzed.stdout));
}

#[test]
fn under_the_limits_of_the_unit_events_are_recorded_and_delivered_to_programs() {
    let Some(plan) = under_limits(World::plan()) else { return };
    let route = "[[route]]\nto = [\"program\"]\n[destination.program]\ntype = \"command\"\n";
    let command = "command = [\"/bin/sh\", \"-c\", \"grep Seccomp: /proc/self/status > FOLDER/in; \
                   echo > /etc/wilco-was-here; cat >> FOLDER/in\"]\n";
    let world = plan.and(&format!("{route}{command}")).start();
    assert_eq!(world.send(&booking("1", "under limits")).status, 200);
    world.eventually("the delivery", |world| {
        world.count("SELECT count(*) FROM delivery WHERE state = 'delivered'") == 1
    });
    let got = fs::read_to_string(world.path("in")).unwrap();
    assert!(got.starts_with("Seccomp:\t2\n"), "{got}");
    assert!(got.contains("under limits"), "{got}");
    assert!(!Path::new("/etc/wilco-was-here").exists(), "the file system was not read-only");
}

#[test]
fn under_the_limits_of_the_unit_a_restart_finds_what_was_recorded() {
    let Some(plan) = under_limits(World::plan()) else { return };
    let world = plan.start();
    assert_eq!(world.send(&booking("1", "before")).status, 200);
    let mut world = world.kill_and_restart();
    assert_eq!(world.send(&booking("2", "after")).status, 200);
    assert!(world.stop().success());
    assert_eq!(world.recorded(), 2);
}
