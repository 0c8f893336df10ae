//! The language of the configuration file: tables, keys, values with units, references to secrets, and
//! diagnostics that point into the file.
//!
//! This crate knows no key. Whoever reads a file brings its keys as rows ([`Key`]). There are two stages:
//!
//! 1. A [`FileReader`] reads the tables, each with a [`TableReader`], which reports unknown and missing
//!    keys by itself. Nothing but the file is looked at.
//! 2. What the file only names, such as secrets and programs, is looked up ([`Unresolved`]).
//!
//! Whatever is wrong becomes a [`Diagnostic`] with its span, and both stages go on, so that a person sees
//! all mistakes at once.

mod diagnostics;
mod excerpt;
mod file;
mod json_schema;
mod key;
mod nearest;
mod parse;
mod path;
mod reader;
mod reference;
mod setting;
mod units;
mod unresolved;
mod view;

pub use diagnostics::{Advice, Diagnostic, DiagnosticSink, Diagnostics, Severity, TextError};
pub use file::FileReader;
pub use key::{Form, Key, Schema, Table, ValueType, Variant, is_credential_name};
pub use nearest::{did_you_mean, known_instead, nearest};
pub use parse::parse;
pub use path::{folder_of, is_path};
pub use reader::{TableReader, TextOrReference, choice_hint, one_of};
pub use reference::{NEXT_SECRET, Reference, is_variable_name};
pub use setting::Setting;
pub use units::{
    duration, duration_or_forever, format_duration, format_size, network, rate, size, url, url_path,
};
pub use unresolved::Unresolved;
pub use view::{SpannedStr, TableView};
