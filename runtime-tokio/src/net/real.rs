//! The sockets and the clock of the operating system: what ships.

use std::io;
use std::net::IpAddr;

pub(crate) use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
pub(crate) use tokio::net::{TcpListener, TcpStream, lookup_host};
pub(crate) use tokio::{task, time};

/// A socket that was bound elsewhere.
pub(crate) fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Whether what is sent to an address stays on this machine.
pub(crate) fn is_near(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Wall time, in microseconds since the Unix epoch. Only the clock asks for it.
pub(crate) fn wall_micros() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock set before 1970 is as good as one that stands at 1970: the farm sees it as skewed.
    since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
