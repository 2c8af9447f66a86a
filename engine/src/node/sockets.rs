//! Listening sockets of all shards, from the configured listeners.

use super::config::listener::{Advertised, Listener};
use super::refusal::Refusal;
use millstream_net::conn::ListenerIndex;
use millstream_net::io::{Family, listen};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// What is listened on.
pub struct Opened {
    /// By shard: its own socket of every address, and the listener it belongs to.
    pub sockets: Vec<Vec<(ListenerIndex, OwnedFd)>>,
    /// The addresses, ports chosen by the system filled in.
    pub addresses: Vec<SocketAddr>,
}

/// Listens on everything. Ports that the system chose are filled into what is advertised.
pub fn open(listeners: &mut [Listener], shards: usize) -> Result<Opened, Refusal> {
    let mut opened = Opened {
        sockets: (0..shards).map(|_| Vec::new()).collect(),
        addresses: Vec::new(),
    };
    for (index, listener) in listeners.iter_mut().enumerate() {
        let mut port = None;
        let binds = listener.binds.clone();
        for (place, mut address) in binds.iter().copied().enumerate() {
            if let Some(port) = port.filter(|_| address.port() == 0) {
                address.set_port(port);
            }
            let (address, sockets) = match listen(address, Family::Own, shards) {
                Ok(listening) => listening,
                Err(error) if place > 0 && is_absent(&error) => continue,
                Err(error) => return Err(refusal(address, &error)),
            };
            port = Some(address.port());
            opened.addresses.push(address);
            for (shard, socket) in sockets.into_iter().enumerate() {
                opened.sockets[shard].push((ListenerIndex(index as u16), socket));
            }
        }
        let chosen = port.unwrap_or(listener.advertised.port);
        if listener.advertised.port == 0 || listener.advertised_from != Advertised::Given {
            listener.advertised.port = chosen;
        }
    }
    Ok(opened)
}

/// Whether a machine lacks an address family: the second address of a name may then be missing.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT)
    )
}

fn refusal(address: SocketAddr, error: &io::Error) -> Refusal {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => Refusal::new(format!("{address} is in use by another process"))
            .remedy(format!("stop that process (`ss -ltnp 'sport = :{}'` names it) or listen elsewhere with --listen HOST:PORT", address.port())),
        Some(libc::EADDRNOTAVAIL) => Refusal::new(format!("{address} is no address of this machine"))
            .remedy("listen on one of `ip address`, or on all with --listen 0.0.0.0:PORT"),
        Some(libc::EACCES) => Refusal::new(format!("this user may not listen on {address}"))
            .remedy("take a port above 1023"),
        _ => Refusal::new(format!("cannot listen on {address}: {error}")),
    }
}
