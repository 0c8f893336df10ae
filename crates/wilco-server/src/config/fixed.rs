//! What a reload cannot change, since the process holds it open from its start.

use super::{Address, Admin, Config, Listen, Store, Tls};

/// A part of a configuration that is fixed until a restart.
#[derive(PartialEq)]
enum Fixed<'c> {
    Addresses(&'c [Address]),
    Tls(&'c Tls),
    Store(&'c Store),
    AdminAddress(Option<&'c Address>),
    AdminToken(Option<&'c [u8]>),
}

impl Config {
    /// The first fixed part in which the other one differs, as the file names it.
    pub(crate) fn restart_for(&self, other: &Self) -> Option<&'static str> {
        let mut parts = self.fixed().into_iter().zip(other.fixed());
        let differs = parts.find(|((_, part), (_, other))| part != other);
        differs.map(|((name, _), _)| name)
    }

    // Every field is named, so that whoever adds one decides on which side it is.
    fn fixed(&self) -> [(&'static str, Fixed<'_>); 5] {
        let Self { listen, store, admin, sources: _, destinations: _, routes: _, alerts: _ } = self;
        let Listen { addresses, tls, trusted_proxies: _, max_body: _, health_path: _ } = listen;
        let (address, token) = match admin {
            None => (None, None),
            Some(Admin { address, token }) => (Some(address), token.as_ref()),
        };
        [
            ("[listen] address", Fixed::Addresses(addresses)),
            ("[listen] tls", Fixed::Tls(tls)),
            ("[store]", Fixed::Store(store)),
            ("[admin] address", Fixed::AdminAddress(address)),
            ("[admin] token", Fixed::AdminToken(token.map(|token| token.expose()))),
        ]
    }
}
