//! `[admin]`: the admin listener.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use wilco::Secret;
use wilco_config::{Form, Key, Reference, Table, TableReader, TableView, ValueType};

use super::{Address, address, first_changed};

pub(super) static TABLE: Table = Table {
    name: "admin",
    form: Form::Single,
    without: None,
    keys: &[
        Key::new("address", ValueType::Text, "\"127.0.0.1:9440\"")
            .default("\"127.0.0.1:9440\"")
            .doc(
                "`IP:PORT` or `unix:PATH`: metrics, health, the API; never on the public \
                 listener. Only the user of wilco can connect to a socket (mode 0600). \
                 `[::]` accepts IPv4 as well, unless an IPv4 address in `[listen]` has \
                 the same port",
            ),
        Key::new("token", ValueType::Reference, "{ env = \"WILCO_ADMIN_TOKEN\" }")
            .absence("one is made")
            .secret()
            .doc(
                "what callers show, at least 8 bytes; required where the address is \
                 neither loopback nor a socket. Without it one is made next to the store \
                 (`wilco.db.token`, mode 0600), which the command line reads",
            ),
        Key::new("reader_token", ValueType::Reference, "{ env = \"WILCO_READER_TOKEN\" }")
            .absence("no other token")
            .secret()
            .doc(
                "a second token, for callers who may look at everything and change nothing; at \
                 least 8 bytes",
            ),
        Key::new("hosts", ValueType::ListOf(&ValueType::Text), "[\"wilco.example.com\"]")
            .absence("none")
            .doc(
                "names by which a browser may reach the dashboard, where a proxy is in front of it; \
                 `localhost` and IP addresses always work",
            ),
    ],
};

/// The admin listener.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Its address.
    pub address: Address,
    /// What callers show; `None` for one that wilco makes and keeps next to the store.
    pub token: Option<Secret>,
    /// What callers show who may only look; `None` if there are none.
    pub reader_token: Option<Secret>,
    /// Names by which a browser may reach the dashboard, in lower case.
    pub hosts: Vec<String>,
}

impl Default for Admin {
    fn default() -> Self {
        Self::at(Address::Tcp(ADMIN_ADDRESS))
    }
}

impl Admin {
    /// The admin listener at this address, with the defaults of everything else.
    pub(crate) fn at(address: Address) -> Self {
        Self { address, token: None, reader_token: None, hosts: Vec::new() }
    }

    /// The first key in which the other one differs. A reload can change none: the listener stays open.
    pub(super) fn restart_for(&self, other: &Self) -> Option<&'static str> {
        let Self { address, token, reader_token, hosts } = self;
        let is_same = |token: &Option<Secret>, other: &Option<Secret>| {
            token.as_ref().map(Secret::expose) == other.as_ref().map(Secret::expose)
        };
        first_changed([
            ("[admin] address", *address == other.address),
            ("[admin] token", is_same(token, &other.token)),
            ("[admin] reader_token", is_same(reader_token, &other.reader_token)),
            ("[admin] hosts", *hosts == other.hosts),
        ])
    }
}

/// The table as the file has it.
pub(super) struct AdminInFile {
    pub(super) address: Address,
    pub(super) token: Option<Reference>,
    reader_token: Option<Reference>,
    hosts: Vec<String>,
}

impl Default for AdminInFile {
    fn default() -> Self {
        let address = Address::Tcp(ADMIN_ADDRESS);
        Self { address, token: None, reader_token: None, hosts: Vec::new() }
    }
}

impl AdminInFile {
    pub(super) fn resolve(self, table: &TableView<'_>) -> Option<Admin> {
        let Self { address, token, reader_token, hosts } = self;
        let follow = |token: &Option<Reference>| match token {
            Some(reference) => reference.secret(table).map(Some),
            None => Some(None),
        };
        let (operators, readers) = (follow(&token), follow(&reader_token));
        let (operators, readers) = (operators?, readers?);
        if let (Some(operator), Some(reader)) = (&operators, &readers)
            && operator.expose() == reader.expose()
        {
            let what = "reader_token is the same as token, so that readers could change things";
            table.error_about("reader_token", what.into(), "give readers another token");
            return None;
        }
        Some(Admin { address, token: operators, reader_token: readers, hosts })
    }
}

pub(super) fn read(keys: &mut TableReader<'_>) -> AdminInFile {
    let address = keys.parse("address", address).unwrap_or(Address::Tcp(ADMIN_ADDRESS));
    let (token, reader_token) = (keys.reference("token"), keys.reference("reader_token"));
    if !keys.contains("token") && !address.is_local() {
        let what = format!("[admin] needs a token, for {address} is not loopback");
        let hint = "token = { env = \"WILCO_ADMIN_TOKEN\" }, or address = \"127.0.0.1:9440\"";
        keys.error_about("address", what, hint);
    }
    let hosts = keys.parse_list("hosts", host).unwrap_or_default();
    AdminInFile { address, token, reader_token, hosts }
}

fn host(text: &str) -> Result<String, String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_name) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!("invalid host {text:?}: expected a name without scheme and port")),
    }
}

/// The admin listener where the file has none: this machine only.
const ADMIN_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9440);
