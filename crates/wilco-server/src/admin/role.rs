//! Who may do what on the admin listener.

use axum::http::{HeaderMap, Method, header};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;
use wilco::Secret;

/// What a caller of the admin listener may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks at everything, and changes nothing.
    Reader,
    /// Changes things too.
    Operator,
}

impl Role {
    /// The role that a request with this method needs: every operation that changes something is a POST.
    pub(crate) fn needed_for(method: &Method) -> Self {
        if method.is_safe() { Self::Reader } else { Self::Operator }
    }

    /// The word for the role.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
        }
    }

    /// The role with this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Reader, Self::Operator].into_iter().find(|role| role.as_str() == word)
    }
}

/// The tokens of the admin listener.
pub(crate) struct Tokens {
    /// Makes its caller an operator.
    pub(crate) operator: Secret,
    /// Makes its caller a reader.
    pub(crate) reader: Option<Secret>,
}

impl Tokens {
    /// The role of whoever shows one of the tokens in these headers.
    pub(crate) fn role_of(&self, headers: &HeaderMap) -> Option<Role> {
        let shown = headers.get(header::AUTHORIZATION)?.as_bytes().strip_prefix(b"Bearer ")?;
        let is = |token: &Secret| bool::from(shown.ct_eq(token.expose()));
        if is(&self.operator) {
            Some(Role::Operator)
        } else if self.reader.as_ref().is_some_and(is) {
            Some(Role::Reader)
        } else {
            None
        }
    }
}
