//! How much one write changes, and one read looks at.

/// Cuts what is to be written into slices of at most `rows_max` rows, unless a single item has more,
/// and keeps the order.
pub(crate) fn slices<T>(items: Vec<T>, rows_max: usize, rows: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut slices: Vec<Vec<T>> = Vec::new();
    let mut filled = 0;
    for item in items {
        let rows = rows(&item);
        match slices.last_mut() {
            Some(slice) if filled + rows <= rows_max => slice.push(item),
            Some(_) | None => {
                slices.push(vec![item]);
                filled = 0;
            }
        }
        filled += rows;
    }
    slices
}

/// SQLite counts rows in 63 bits.
pub(crate) fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// What is left of a slice.
pub(crate) struct SliceBudget {
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

impl SliceBudget {
    /// Takes a row of this size. False if there is no room for it, unless it is the first one.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        if self.rows == 0 || self.bytes == 0 {
            return false;
        }
        self.rows -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}
