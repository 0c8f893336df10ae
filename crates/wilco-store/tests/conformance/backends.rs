//! The backends that the suite runs on.

use std::sync::Arc;

use wilco_store::{MemoryStore, Store};

use crate::support::{OnDisk, TestClock, small};

/// What the suite needs of a backend besides [`Store`].
pub(crate) trait Backend: Send {
    /// Opens the store: an empty one at first, and then what a process finds that is started
    /// after the last one was killed.
    fn open(&mut self, clock: Arc<TestClock>) -> Arc<dyn Store>;

    /// Opens the store that is open a second time, as another process would. `None` for a backend
    /// that only one process can use.
    fn open_again(&self) -> Option<Arc<dyn Store>>;

    /// Makes the next write fail as near to its commit as possible.
    fn break_next_write(&self);

    /// Lets writes succeed again.
    fn mend(&self);
}

pub(crate) fn memory() -> Box<dyn Backend> {
    Box::new(Memory::default())
}

#[derive(Default)]
struct Memory(Option<MemoryStore>);

impl Backend for Memory {
    fn open(&mut self, clock: Arc<TestClock>) -> Arc<dyn Store> {
        let store = match &self.0 {
            None => MemoryStore::new(clock),
            Some(last) => last.reopen(),
        };
        Arc::new(self.0.insert(store).clone())
    }

    fn open_again(&self) -> Option<Arc<dyn Store>> {
        let store: Arc<dyn Store> = Arc::new(self.0.clone()?);
        Some(store)
    }

    fn break_next_write(&self) {
        self.0.as_ref().unwrap().fail_next_commit();
    }

    fn mend(&self) {}
}

#[derive(Default)]
struct Sqlite(Option<OnDisk>);

impl Backend for Sqlite {
    fn open(&mut self, clock: Arc<TestClock>) -> Arc<dyn Store> {
        let first = || OnDisk { clock, ..OnDisk::new() };
        let disk = self.0.as_ref().map_or_else(first, OnDisk::killed);
        Arc::new(self.0.insert(disk).open(small()))
    }

    fn open_again(&self) -> Option<Arc<dyn Store>> {
        None
    }

    fn break_next_write(&self) {
        // Each comes after the last statement of its write, so that all before it was done.
        let side = self.0.as_ref().unwrap().past_the_store();
        for (name, when) in [
            ("broken_record", "AFTER INSERT ON event"),
            ("broken_fan_out", "AFTER UPDATE OF routed_through ON progress"),
            ("broken_claim", "AFTER UPDATE ON delivery WHEN new.state = 'running'"),
            ("broken_settle", "AFTER INSERT ON attempt"),
        ] {
            let sql = format!("CREATE TRIGGER {name} {when} BEGIN SELECT raise(ABORT, 'no'); END");
            side.execute_batch(&sql).unwrap();
        }
    }

    fn mend(&self) {
        let side = self.0.as_ref().unwrap().past_the_store();
        for name in ["broken_record", "broken_fan_out", "broken_claim", "broken_settle"] {
            side.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
        }
    }
}

pub(crate) fn sqlite() -> Box<dyn Backend> {
    Box::new(Sqlite::default())
}
