//! Where a broker is.

use std::fmt;
use std::str::FromStr;

use super::error::ClientError;

/// The port of a broker where none is given.
const DEFAULT_PORT: u16 = 9092;

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A host name or a literal IP address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = ClientError;

    /// Takes `host`, `host:port`, `address`, `[v6 address]:port`.
    fn from_str(text: &str) -> Result<Self, ClientError> {
        parse(text).ok_or_else(|| ClientError::BadAddress {
            text: text.to_owned(),
        })
    }
}

fn parse(text: &str) -> Option<Address> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        (
            host,
            if after.is_empty() {
                None
            } else {
                Some(after.strip_prefix(':')?)
            },
        )
    } else {
        match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = port.map_or(Some(DEFAULT_PORT), |port| {
        port.parse().ok().filter(|port| *port > 0)
    })?;
    let lawful = |letter: char| letter.is_ascii_graphic() && !"/@,[]".contains(letter);
    let host_is_lawful = !host.is_empty() && host.chars().all(lawful);
    host_is_lawful.then(|| Address {
        host: host.to_owned(),
        port,
    })
}

/// Reads a list as Kafka's `bootstrap.servers` has it: addresses between commas.
pub fn parse_addresses(text: &str) -> Result<Vec<Address>, ClientError> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let addresses: Vec<Address> = parts.map(str::parse).collect::<Result<_, _>>()?;
    if addresses.is_empty() {
        return Err(ClientError::BadAddress {
            text: text.to_owned(),
        });
    }
    Ok(addresses)
}
