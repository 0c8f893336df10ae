//! The decisions, tested with months of events on a simulated clock.
//!
//! A seed determines a configuration and what happens to it: events, destinations that fail, writes that
//! fail or whose answer is lost, kills, reloads, clocks that are set, people who pause, replay and cancel.
//! The routes, the state machine of each worker ([`Worker`](wilco_delivery::Worker)) with its whole loop,
//! and the store are those of production; calls, answers, timers and wake-ups come in a random order. A
//! [`Model`] keeps what is expected. The same seed always gives the same run:
//!
//! ```text
//! WILCO_SEED=17 cargo test -p wilco-delivery --test simulation
//! WILCO_SEEDS=1000000 cargo test --release -p wilco-delivery --test simulation -- --nocapture
//! WILCO_DISK_SEEDS=1000 TMPDIR=/dev/shm cargo test -p wilco-delivery --test simulation the_store
//! ```
//!
//! `WILCO_STEPS` is how many of the last steps are shown.

#![expect(clippy::unwrap_used, reason = "a test panics if something is wrong")]

mod acts;
mod backend;
mod checks;
mod dice;
mod execute;
mod model;
mod scenario;
mod worker;
mod world;

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

pub(crate) use backend::{Backend, StoreClock};
pub(crate) use checks::said;
pub(crate) use dice::Dice;
pub(crate) use model::{
    BreakerModel, Claimed, End, Fate, Held, Model, Now, RateModel, hold, millis,
};
pub(crate) use scenario::{Act, Destination, Scenario, Sent};
pub(crate) use worker::{
    Call, Concluded, Mood, Next, SimulatedDestination, Slot, Stage, Worker, at,
};
pub(crate) use world::World;

#[test]
fn every_promise_is_kept_whatever_happens() {
    let seeds = number("WILCO_SEEDS");
    let (first, count) = match number("WILCO_SEED") {
        Some(seed) => (seed, seeds.unwrap_or(1)),
        None => (0, seeds.unwrap_or(SEEDS)),
    };
    let next = AtomicU64::new(0);
    let work = || {
        loop {
            let done = next.fetch_add(1, Ordering::Relaxed);
            if done >= count {
                return Ok(());
            }
            if done > 0 && done.is_multiple_of(PROGRESS) {
                println!("{done} of {count} seeds");
            }
            let seed = first + done;
            let is_same =
                run(seed, false, true).and_then(|once| Ok(once == run(seed, false, true)?));
            let held = is_same.and_then(|is_same| {
                hold(is_same, || format!("seed {seed} runs differently the second time"))
            });
            if held.is_err() {
                next.store(count, Ordering::Relaxed);
                return held;
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread.join().unwrap().unwrap_or_else(|broken| panic!("{broken}"));
        }
    });
}

#[test]
fn the_store_on_disk_behaves_as_the_model_in_memory() {
    let first = number("WILCO_SEED").unwrap_or(0);
    for seed in first..first + number("WILCO_DISK_SEEDS").unwrap_or(DISK_SEEDS) {
        let [memory, disk] = [false, true].map(|on_disk| {
            run(seed, on_disk, false)
                .unwrap_or_else(|broken| panic!("on disk: {on_disk}, {broken}"))
        });
        let same = memory.iter().zip(&disk).take_while(|(one, other)| one == other).count();
        assert_eq!(memory.get(same), disk.get(same), "seed {seed} differs at step {same}");
    }
}

/// Runs a seed and gives its trace.
fn run(seed: u64, on_disk: bool, may_fail: bool) -> Result<Vec<String>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut world = World::new(seed, on_disk, may_fail);
    let held = runtime.block_on(world.run());
    let steps = usize::try_from(number("WILCO_STEPS").unwrap_or(STEPS_SHOWN)).unwrap();
    let last = world.trace.len().saturating_sub(steps);
    held.map_err(|broken| {
        format!(
            "seed {seed}: {broken}; the last steps were\n{}\n\nonce more: WILCO_SEED={seed} cargo \
             test -p wilco-delivery --test simulation",
            world.trace[last..].join("\n")
        )
    })?;
    Ok(world.trace)
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|value| value.parse().unwrap())
}

/// Seeds of each commit.
const SEEDS: u64 = 2_000;
/// The same on disk, where each write waits for a sync.
const DISK_SEEDS: u64 = 8;
const PROGRESS: u64 = 10_000;
const STEPS_SHOWN: u64 = 40;
