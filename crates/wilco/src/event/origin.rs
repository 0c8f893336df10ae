//! How an event got here.

/// How an event got here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The provider sent it.
    #[default]
    Webhook,
    /// The provider sent it once more because it was asked to, signed like the first time.
    Redelivered,
    /// It was read from the provider's list of events. Nobody signed it.
    Fetched,
}

impl Origin {
    /// Its word in a store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Redelivered => "redelivered",
            Self::Fetched => "fetched",
        }
    }

    /// The origin that this word means.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Webhook, Self::Redelivered, Self::Fetched].into_iter().find(|o| o.as_str() == word)
    }

    /// Whether it is here only because wilco asked for what never arrived.
    pub fn is_backfilled(self) -> bool {
        self != Self::Webhook
    }
}
