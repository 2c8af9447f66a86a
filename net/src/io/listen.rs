//! Listening sockets: one per shard and address (SO_REUSEPORT), so that the kernel spreads connections.
//!
//! Always: an address that another process listens on is refused, although SO_REUSEPORT alone would let us share it.

use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Connections the kernel holds for us before they are accepted.
pub(super) const BACKLOG: i32 = 1024;

/// Whether an IPv6 address also takes IPv4 connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// Only its own.
    Own,
    /// An unspecified IPv6 address takes IPv4 too.
    Both,
}

/// An address with one socket per shard, not listened on yet: who connects is refused.
pub struct Bound {
    /// The address, its port filled in.
    pub address: SocketAddr,
    family: Family,
    sockets: Vec<OwnedFd>,
}

/// Takes an address with one socket per shard. Port 0 takes a free port, the same for all of them.
pub fn bind(address: SocketAddr, family: Family, shards: usize) -> io::Result<Bound> {
    if address.port() != 0 {
        refuse_in_use(address, family)?;
    }
    let mut address = address;
    let mut sockets = Vec::with_capacity(shards);
    for _ in 0..shards {
        let socket = bind_one(address, family, Sharing::Shards)?;
        address = local_address(&socket)?;
        sockets.push(socket);
    }
    Ok(Bound {
        address,
        family,
        sockets,
    })
}

impl Bound {
    /// Lets clients connect.
    pub fn listen(self) -> io::Result<Vec<OwnedFd>> {
        // Another process may have taken the same address since: until someone listens the kernel lets both.
        refuse_in_use(self.address, self.family)?;
        for socket in &self.sockets {
            // SAFETY: a plain system call on a socket we own.
            if unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(self.sockets)
    }
}

/// Without SO_REUSEPORT the kernel refuses an address that is listened on, whoever does.
fn refuse_in_use(address: SocketAddr, family: Family) -> io::Result<()> {
    bind_one(address, family, Sharing::Alone).map(drop)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    Shards,
}

fn bind_one(address: SocketAddr, family: Family, sharing: Sharing) -> io::Result<OwnedFd> {
    let domain = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    // SAFETY: a plain system call.
    let fd = unsafe { libc::socket(domain, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    set(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if sharing == Sharing::Shards {
        set(&socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    if address.is_ipv6() {
        let own = i32::from(family == Family::Own);
        set(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, own)?;
    }
    let result = match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(v4.ip().octets()),
                },
                sin_zero: [0; 8],
            };
            bind_raw(&socket, &raw)
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            };
            bind_raw(&socket, &raw)
        }
    };
    result.map(|()| socket)
}

fn bind_raw<A>(socket: &OwnedFd, address: &A) -> io::Result<()> {
    // SAFETY: the address is a whole socket address of the length given.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            std::ptr::from_ref(address).cast(),
            size_of::<A>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set(socket: &OwnedFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the value is an int of the length given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(&value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    std::net::TcpListener::from(socket.try_clone()?).local_addr()
}
