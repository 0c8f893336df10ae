//! `wilco health`: what orchestrators ask.

use crate::world::World;

fn health(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let output = world.run_verb(&[&["health"], arguments].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn a_wilco_that_accepts_events_is_healthy() {
    let world = World::plan().start();
    assert_eq!(health(&world, &[]), (Some(0), "ready\n".into()));
    assert_eq!(health(&world, &["--live"]), (Some(0), "ok\n".into()));
}

#[test]
fn a_wilco_that_cannot_record_is_not_healthy_but_alive() {
    let store = "[store]\nurl = \"sqlite:FOLDER/wilco.db\"\nreserve = \"900 TiB\"\n";
    let world = World::plan().and(store).start();
    let (code, said) = health(&world, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("which [store] reserve keeps"), "{said}");
    assert_eq!(health(&world, &["--live"]).0, Some(0));
}

#[test]
fn a_wilco_that_does_not_run_is_not_healthy() {
    let mut world = World::plan().start();
    assert!(world.stop().success());
    let (code, said) = health(&world, &["--live"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is it running?"), "{said}");
}
