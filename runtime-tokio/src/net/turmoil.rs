//! Simulated sockets and wall time: every server is a host of one turmoil simulation.

use std::io;
use std::net::{IpAddr, SocketAddr};

pub(crate) mod task;

// Runtime and timers are tokio's: turmoil hands its own time to them.
pub(crate) use tokio::time;
pub(crate) use turmoil::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
pub(crate) use turmoil::net::{TcpListener, TcpStream};

/// The system's sockets have no place in a simulation.
///
/// # Errors
/// Always.
pub(crate) fn adopt(_: std::net::TcpListener) -> io::Result<TcpListener> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Everything that a simulation sends stays in it.
pub(crate) const fn is_near(_: IpAddr) -> bool {
    true
}

/// The addresses of a `host:port`.
pub(crate) async fn lookup_host(name: &str) -> io::Result<impl Iterator<Item = SocketAddr>> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: not `host:port`"));
    let (host, port) = name.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    let address = host.trim_matches(['[', ']']).parse();
    let address = address.unwrap_or_else(|_| turmoil::lookup(host));
    Ok(std::iter::once(SocketAddr::new(address, port)))
}

/// The simulation's time, in microseconds since the Unix epoch.
pub(crate) fn wall_micros() -> u64 {
    let since = turmoil::since_epoch().unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
