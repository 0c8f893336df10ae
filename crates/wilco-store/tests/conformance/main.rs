//! The promises of a store, each a test of each backend.
//!
//! A promise is a function whose name is a sentence; it gets a [`Bench`](bench::Bench) with its own
//! store, and passes times in. Another backend implements [`Backend`](backends::Backend) and gets its
//! row in the macros below.

#![expect(clippy::unwrap_used, reason = "a test panics if something is wrong")]

/// Makes each promise a test of each backend. Those after `of one process` do not hold where several
/// processes share a store: they rely on the end of the process having ended its leases, or on one
/// clock and one queue.
macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        promises! { $($name),*; of one process: }
    };
    ($($name:ident),*; of one process: $($alone:ident),* $(,)?) => {
        mod in_memory {
            tests_of! { memory: $($name),* }
        }
        mod in_memory_with_one_process {
            tests_of! { memory: $($alone),* }
        }
        mod in_sqlite {
            tests_of! { sqlite: $($name),* }
        }
        mod in_sqlite_with_one_process {
            tests_of! { sqlite: $($alone),* }
        }
    };
}

/// Makes each promise a test of each backend that several processes can use.
macro_rules! promises_of_several_processes {
    ($($name:ident),* $(,)?) => {
        mod in_memory {
            tests_of! { memory: $($name),* }
        }
    };
}

/// The tests of one backend.
macro_rules! tests_of {
    ($backend:ident: $($name:ident),*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                super::$name(crate::bench::Bench::new(crate::backends::$backend)).await;
            }
        )*
    };
}

mod alerting;
mod backends;
mod backfilling;
mod bench;
mod bursts;
mod claiming;
mod counting;
mod duplicates;
mod ending;
mod erasing;
mod failures;
mod following;
mod leasing;
mod looking;
mod memory;
mod ordering;
mod overview;
mod pruning;
mod recording;
mod rejecting;
mod replaying;
mod routing;
mod searching;
mod settling;
mod sharing;
mod splitting;
mod status;
mod support;
