//! Named listeners in Kafka's syntax: `NAME://HOST:PORT`, separated by commas.
//!
//! Always: a name stands for one set of addresses and one advertised address; every answer with an address takes the
//! listener that the request came in on.
//! Leaves to others: opening the sockets (`net::io`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// A host and a port as a client is told them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, an IPv6 one without brackets.
    pub host: String,
    /// The port; 0 lets the system choose (listening only).
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// One entry of a list of listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, upper case.
    pub name: String,
    /// Its address.
    pub address: HostPort,
}

/// Whether the machine's host name had to be taken because nobody said what to advertise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advertised {
    /// The configuration says it.
    Given,
    /// The listener's own, loopback, host.
    OwnHost,
    /// The host name of the machine.
    HostName,
}

/// One listener: where it listens and what it tells clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, upper case.
    pub name: String,
    /// The addresses it listens on. The second one, where a name such as `localhost` has two, may be missing on the
    /// machine.
    pub binds: Vec<SocketAddr>,
    /// What clients are told.
    pub advertised: HostPort,
    /// Where that comes from.
    pub advertised_from: Advertised,
}

/// Reads `HOST:PORT`, `[V6]:PORT` or `:PORT`. The error says what is expected.
pub fn parse_host_port(text: &str) -> Result<HostPort, String> {
    let wrong = || {
        format!("HOST:PORT with a port from 0 to 65535 (an IPv6 address in brackets), not `{text}`")
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host = match bare {
        Some(v6) if v6.parse::<Ipv6Addr>().is_ok() => v6,
        Some(_) => return Err(wrong()),
        None if host.contains(':') => return Err(wrong()),
        None => host,
    };
    Ok(HostPort {
        host: host.to_owned(),
        port,
    })
}

/// Reads a list of `NAME://HOST:PORT`. The error says what is expected.
pub fn parse_list(text: &str) -> Result<Vec<Endpoint>, String> {
    text.split(',')
        .map(|part| parse_endpoint(part.trim()))
        .collect()
}

fn parse_endpoint(text: &str) -> Result<Endpoint, String> {
    let Some((name, address)) = text.split_once("://") else {
        return Err(format!(
            "a comma-separated list of NAME://HOST:PORT, and `{text}` has no `://`"
        ));
    };
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || !name.chars().all(letters) {
        return Err(format!(
            "listener names of letters, digits, `_`, `-` and `.`, not `{name}`"
        ));
    }
    let address = parse_host_port(address)?;
    Ok(Endpoint {
        name: name.to_ascii_uppercase(),
        address,
    })
}

/// Joins listeners with what is advertised for them. A name may stand twice when one address is IPv4 and the other IPv6.
/// `host_name` is asked for at most once, for listeners that are not loopback and have nothing advertised.
pub fn join(
    listening: &[Endpoint],
    advertised: &[Endpoint],
    host_name: impl Fn() -> String,
) -> Result<Vec<Listener>, String> {
    let mut listeners: Vec<Listener> = Vec::new();
    for endpoint in listening {
        let binds = resolve(&endpoint.address)?;
        if let Some(known) = listeners
            .iter_mut()
            .find(|listener| listener.name == endpoint.name)
        {
            if known
                .binds
                .iter()
                .any(|old| binds.iter().any(|new| old.is_ipv4() == new.is_ipv4()))
            {
                return Err(format!(
                    "`listeners` has the name {} twice: give each listener its own",
                    endpoint.name
                ));
            }
            known.binds.extend(binds);
            continue;
        }
        let told = advertised.iter().find(|told| told.name == endpoint.name);
        let (advertised, advertised_from) = match told {
            Some(told) => (told.address.clone(), Advertised::Given),
            None if binds.iter().all(|bind| bind.ip().is_loopback()) => {
                (endpoint.address.clone(), Advertised::OwnHost)
            }
            None => (
                HostPort {
                    host: host_name(),
                    port: endpoint.address.port,
                },
                Advertised::HostName,
            ),
        };
        listeners.push(Listener {
            name: endpoint.name.clone(),
            binds,
            advertised,
            advertised_from,
        });
    }
    for told in advertised {
        if !listeners.iter().any(|listener| listener.name == told.name) {
            return Err(format!(
                "`advertised.listeners` names {}, which is not in `listeners`",
                told.name
            ));
        }
        if told.address.host.is_empty()
            || told
                .address
                .host
                .parse()
                .is_ok_and(|ip: IpAddr| ip.is_unspecified())
        {
            return Err(format!(
                "`advertised.listeners` tells clients `{}`, which no client can connect to: name this machine",
                told.address
            ));
        }
    }
    Ok(listeners)
}

/// The addresses to listen on: `localhost` and the empty host are both families.
fn resolve(address: &HostPort) -> Result<Vec<SocketAddr>, String> {
    let port = address.port;
    let both = |v4: Ipv4Addr, v6: Ipv6Addr| {
        vec![SocketAddr::from((v4, port)), SocketAddr::from((v6, port))]
    };
    match address.host.as_str() {
        "localhost" => return Ok(both(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST)),
        "" => return Ok(both(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED)),
        _ => {}
    }
    let found = (address.host.as_str(), port)
        .to_socket_addrs()
        .map_err(|error| {
            format!(
                "`listeners` has a host that this machine does not know: looking up `{}` failed ({error})",
                address.host
            )
        })?;
    found.take(1).next().map(|one| vec![one]).ok_or_else(|| {
        format!(
            "`listeners` has a host without an address: `{}`",
            address.host
        )
    })
}
