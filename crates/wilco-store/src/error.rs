//! Why the store did not do as it was asked, and why it could not be opened.

use std::path::PathBuf;

use wilco::counted;

use crate::{QUEUE_MAX, QUEUE_WAIT_MAX, WAL_BYTES_MAX};

/// Why the store did not do as it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The queue of the writing thread is full, or longer than it writes in [`QUEUE_WAIT_MAX`].
    #[error(
        "more waits for the store already than it writes in {} s, or {QUEUE_MAX} writes; if the disk is \
         not known to be slow, see what else uses it",
        QUEUE_WAIT_MAX.as_secs()
    )]
    Busy,
    /// Another program has the write lock, and did not give it up in time. Nothing was written, and
    /// the same call may be made again.
    #[error(
        "another program has the write lock of the store; end its transaction, such as one that \
         was begun in sqlite3"
    )]
    Locked,
    /// The file system has no room left, or less than the reserve.
    #[error("{}", .reserve.map_or_else(
        || "the file system of the store is full; free some space".into(),
        |reserve| format!("the file system of the store has less than {} free, which [store] reserve \
                           keeps; free some space", counted(reserve, "byte", "bytes")),
    ))]
    Full {
        /// The reserve that was reached, in bytes; `None` where a write itself failed.
        reserve: Option<u64>,
    },
    /// An earlier error that leaves it uncertain what the disk holds.
    #[error(
        "the store stopped after an error: {0}; check the disk, then start wilco again, which \
         checks the store"
    )]
    Latched(String),
    /// The store could not be opened yet, and is tried again.
    #[error("the store is not open yet: {0}")]
    Opening(String),
    /// Another program's read transaction has kept the write-ahead log from being emptied.
    #[error(
        "the write-ahead log of the store has grown to {WAL_BYTES_MAX} bytes, because another \
         program has a read transaction open; close it"
    )]
    WalFull,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// A stored record is not what was written.
    #[error("the record of {0} is damaged; it is not delivered")]
    Damaged(String),
    /// The headers and the body of an event were removed; the event itself is still there.
    #[error("the payload of {0} was removed, so it can be neither shown nor delivered")]
    Pruned(String),
    /// Anything else that the database said.
    #[error("the store failed: {0}")]
    Internal(String),
}

impl StoreError {
    /// Whether the store accepts nothing more, so that no further call is worth a try.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Closed | Self::Latched(_))
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is of a kind that this version does not have.
    #[error("store url {0:?} is not understood; write sqlite:PATH, such as sqlite:wilco.db")]
    Url(String),
    /// Another process has it.
    #[error("{path:?} is in use by {holder}; stop it, or give this one a store of its own")]
    Locked {
        /// The store's file.
        path: PathBuf,
        /// The process that holds it, as far as it is known.
        holder: String,
    },
    /// The file has more than one name: a process that uses another one would have a log of its own.
    #[error(
        "{path:?} has {links} hard links; a store must have exactly one name, so remove the others"
    )]
    Linked {
        /// The store's file.
        path: PathBuf,
        /// How many names it has.
        links: u64,
    },
    /// Another program's transaction keeps the log from being emptied.
    #[error(
        "the write-ahead log of {path:?} cannot be emptied while {program} has a transaction open; \
         end it"
    )]
    Transaction {
        /// The store's file.
        path: PathBuf,
        /// The program, as far as it is known.
        program: String,
    },
    /// The file system is too full to open it.
    #[error("the file system of {path:?} is full; free some space")]
    Full {
        /// The store's file.
        path: PathBuf,
    },
    /// A newer wilco made it.
    #[error(
        "{path:?} has schema {found} and this wilco knows {known}; run the newer wilco that made it"
    )]
    Newer {
        /// The store's file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that is understood.
        known: i64,
    },
    /// The file is some other program's database.
    #[error("{path:?} is not a wilco store; give [store] url another file")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The integrity check found something.
    #[error("{path:?} is damaged: {what}; restore a backup, or move it away to start over")]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What the check said first.
        what: String,
    },
    /// SQLite is older than the versions that can be trusted with a WAL.
    #[error(
        "this wilco was built with SQLite {0} and needs 3.51.3 or later; build it with the bundled one"
    )]
    OldSqlite(String),
    /// The file system said no.
    #[error("cannot open {path:?}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        cause: String,
    },
}

impl OpenError {
    /// Whether it may be temporary, so that opening is worth another try.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Transaction { .. })
    }
}
