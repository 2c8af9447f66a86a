//! Sockets of all shards, from the configured listeners: bound first, listened on when the node is about to serve.

use super::config::listener::{Advertised, Listener};
use super::refusal::Refusal;
use millstream_net::conn::ListenerIndex;
use millstream_net::io::{Bound, Family, bind};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

/// How long an address in use is asked for again, and how often.
const PATIENCE: Duration = Duration::from_secs(3);
const ATTEMPT: Duration = Duration::from_millis(20);

/// The addresses of all listeners.
pub struct Opened {
    bound: Vec<(ListenerIndex, Bound)>,
}

impl Opened {
    /// The addresses, ports chosen by the system filled in.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|(_, bound)| bound.address).collect()
    }

    /// Lets clients connect. By shard: its own socket of every address, and the listener it belongs to.
    pub fn listen(self, shards: usize) -> Result<Vec<Vec<(ListenerIndex, OwnedFd)>>, Refusal> {
        let mut by_shard: Vec<Vec<_>> = (0..shards).map(|_| Vec::new()).collect();
        for (index, bound) in self.bound {
            let address = bound.address;
            let sockets = bound.listen().map_err(|error| refusal(address, &error))?;
            for (own, socket) in by_shard.iter_mut().zip(sockets) {
                own.push((index, socket));
            }
        }
        Ok(by_shard)
    }
}

/// Takes every address. Ports that the system chose are filled into what is advertised.
pub fn open(listeners: &mut [Listener], shards: usize) -> Result<Opened, Refusal> {
    let mut opened = Opened { bound: Vec::new() };
    for (index, listener) in listeners.iter_mut().enumerate() {
        let mut port = None;
        let binds = listener.binds.clone();
        for (place, mut address) in binds.iter().copied().enumerate() {
            if let Some(port) = port.filter(|_| address.port() == 0) {
                address.set_port(port);
            }
            let bound = match bind_patiently(address, shards) {
                Ok(bound) => bound,
                Err(error) if place > 0 && is_absent(&error) => continue,
                Err(error) => return Err(refusal(address, &error)),
            };
            port = Some(bound.address.port());
            opened.bound.push((ListenerIndex(index as u16), bound));
        }
        let chosen = port.unwrap_or(listener.advertised.port);
        if listener.advertised.port == 0 || listener.advertised_from != Advertised::Given {
            listener.advertised.port = chosen;
        }
    }
    Ok(opened)
}

/// The kernel gives the address of a killed process back only after the last request of its ring: that is waited for.
fn bind_patiently(address: SocketAddr, shards: usize) -> io::Result<Bound> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match bind(address, Family::Own, shards) {
            Err(error)
                if error.raw_os_error() == Some(libc::EADDRINUSE) && Instant::now() < deadline =>
            {
                thread::sleep(ATTEMPT);
            }
            outcome => return outcome,
        }
    }
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
