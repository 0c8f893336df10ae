//! What is removed before its time where space is short.

use std::fs;

use super::{
    faults::{SMALL, fill},
    skip,
};
use crate::world::{World, booking};

const REST: &str = "[destination.it]\ntype = \"print\"\n[[route]]\nto = [\"it\"]\n";

/// Those of the last day stay.
#[test]
fn where_space_is_short_the_oldest_finished_payloads_go_first() {
    for (name, mount) in SMALL {
        let folder = tempfile::tempdir().unwrap();
        let small = match mount(&folder.path().join(name)) {
            Ok(small) => small,
            Err(why) => return skip(&format!("cannot mount a file system: {why}")),
        };
        let store = format!(
            "[store]\nurl = \"sqlite:{}/wilco.db\"\nreserve = \"3 MiB\"\n{REST}",
            small.0.display()
        );
        let mut world = World::plan().and(&store).start();
        let count = |query: &str| -> i64 {
            let store = rusqlite::Connection::open(small.0.join("wilco.db")).unwrap();
            store.query_row(query, [], |row| row.get(0)).unwrap()
        };
        let body = |number: i32| booking(&number.to_string(), &"x".repeat(60_000));
        for number in 0..30 {
            assert_eq!(world.send(&body(number)).status, 200, "{name}");
        }
        let delivered = "SELECT count(*) FROM delivery WHERE state = 'delivered'";
        world.eventually("deliveries", |_| count(delivered) == 30);
        assert!(world.stop().success());
        // Two days pass for all but the last ten.
        let side = rusqlite::Connection::open(small.0.join("wilco.db")).unwrap();
        let older = "UPDATE event SET received_at_ms = received_at_ms - 172800000 WHERE seq < \
                     (SELECT min(seq) FROM (SELECT seq FROM event ORDER BY seq DESC LIMIT 10))";
        assert_eq!(side.execute(older, []).unwrap(), 20);
        drop(side);
        fs::write(small.0.join("ballast"), "").unwrap();
        let world = world.restart_stopped();
        fill(&small.0.join("ballast"));
        // Nothing can be written to a disk that is full to the last byte. What is missing is half of what the old
        // payloads take: the write-ahead log, which is not emptied for a few pages, needs some of it.
        let ballast = fs::OpenOptions::new().write(true).open(small.0.join("ballast")).unwrap();
        ballast.set_len(ballast.metadata().unwrap().len() - (5 << 19)).unwrap();
        world.eventually("payloads that go early", |world| {
            world.metric("wilco_pruned_payloads_early_total") > 0.0
        });
        // What goes on being removed is written to the log first, which may take the space once more.
        world.eventually("enough space", |world| world.send(&body(99)).status == 200);
        let left = count("SELECT count(*) FROM payload");
        assert!((11..31).contains(&left), "{name}: {left}");
        world.log_with("before their time, because space is short");
    }
}
