//! A disk that does not answer any more: nothing can be recorded until wilco is started again.

use std::{thread, time::Duration};

use super::{SYNCS, Strace, skip};
use crate::{
    service_manager::Manager,
    world::{World, booking},
};

#[test]
fn while_the_store_hangs_the_watchdog_hears_nothing() {
    let (manager, plan, _folder) = Manager::of(World::plan().env("WATCHDOG_USEC", "2000000"));
    let world = plan.start();
    manager.next("WATCHDOG=1");
    let strace = match Strace::inject(world.pid(), SYNCS, "delay_enter=60000000") {
        Ok(strace) => strace,
        Err(why) => return skip(&format!("no strace: {why}")),
    };
    thread::scope(|scope| {
        let sending = scope.spawn(|| world.send(&booking("b-1", "A")));
        world.log_with("the store or a thread does not respond");
        while manager.receive(Duration::ZERO).is_some() {}
        let heard = manager.receive(Duration::from_secs(3));
        assert_eq!(heard, None);
        drop(strace);
        assert_eq!(sending.join().unwrap().status, 200);
    });
    manager.next("WATCHDOG=1");
}
