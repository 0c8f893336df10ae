//! What people did by the admin API: the audit list.

use jiff::Timestamp;

/// One action of a person or a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number; a later action has a higher one. 0 before it is recorded.
    pub number: i64,
    /// When it was done.
    pub at: Timestamp,
    /// By what it was done, such as `token`.
    pub who: String,
    /// The id of the operation.
    pub action: String,
    /// What it was done to, where it names something.
    pub target: Option<String>,
    /// How many events or deliveries it changed, where that is known.
    pub affected: Option<u64>,
    /// `done`, or why it was not.
    pub result: String,
}

/// Entries of the audit list that are kept, the newest.
pub const AUDIT_ENTRIES_MAX: usize = 10_000;
