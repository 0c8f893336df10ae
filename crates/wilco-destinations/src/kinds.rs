//! Every kind of destination, each in its own file.

#[cfg(feature = "chat")]
mod chat;
#[cfg(feature = "command")]
mod command;
#[cfg(feature = "file")]
mod file;
mod function;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "ntfy")]
mod ntfy;
#[cfg(feature = "print")]
mod print;

use crate::kind::Kinds;

#[cfg(feature = "command")]
pub use command::command_line;
pub use function::Function;

/// Every kind of destination that a file can name.
pub const KINDS: Kinds = Kinds(&[
    #[cfg(feature = "command")]
    &command::KIND,
    #[cfg(feature = "http")]
    &http::KIND,
    #[cfg(feature = "chat")]
    &chat::SLACK,
    #[cfg(feature = "chat")]
    &chat::TEAMS,
    #[cfg(feature = "chat")]
    &chat::DISCORD,
    #[cfg(feature = "ntfy")]
    &ntfy::KIND,
    #[cfg(feature = "file")]
    &file::KIND,
    #[cfg(feature = "print")]
    &print::KIND,
]);
