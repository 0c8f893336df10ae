//! Paths of the file system.

use std::path::Path;

/// The folder that a file is in, even if its path is only a name.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

/// Whether a text is written as a path.
pub fn is_path(text: &str) -> bool {
    ["/", "./", "../"].iter().any(|start| text.starts_with(start)) && !text.contains(['\n', '\r'])
}
