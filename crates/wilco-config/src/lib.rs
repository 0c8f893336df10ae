//! The language of the configuration file: tables, keys, values with units, references to secrets, and
//! diagnostics that point into the file.
//!
//! This crate knows no key. Whoever reads a file brings its keys as rows ([`Key`]) and reads each table
//! with a [`TableReader`], which reports unknown and missing keys by itself. Whatever is wrong becomes a
//! [`Diagnostic`] with its span, and reading goes on, so that a person sees all mistakes at once.

mod diagnostics;
mod excerpt;
mod json_schema;
mod key;
mod nearest;
mod parse;
mod reader;
mod reference;
mod setting;
mod units;

pub use diagnostics::{Advice, Diagnostic, DiagnosticSink, Diagnostics, Severity, TextError};
pub use excerpt::is_path;
pub use key::{Form, Key, Schema, Table, ValueType, Variant, is_credential_name};
pub use nearest::nearest;
pub use parse::parse;
pub use reader::{NEXT_SECRET, References, SpannedStr, TableReader, choice_hint, one_of};
pub use reference::{is_variable_name, look_up};
pub use setting::Setting;
pub use units::{duration, format_size, network, rate, size, url, url_path};
