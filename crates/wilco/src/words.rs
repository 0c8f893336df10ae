//! Words of the provider files that name one of several things.

/// Defines an enum whose members files name by a word. `ALL` lists them, so that a person who does not
/// know which one a provider means can have them all tried.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $name:ident { $($(#[$of_member:meta])* $member:ident = $word:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
        $visibility enum $name {
            $($(#[$of_member])* #[serde(rename = $word)] $member,)+
        }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$member),+];

            /// The word in the file.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$member => $word,)+
                }
            }
        }
    };
}

pub(crate) use words;
