//! The one place that says which runtime, sockets and timers the adapter is built on. Everything
//! else takes them from here, so that the same source can run in a simulator.

pub(crate) use tokio::{io, select, sync, task, time};

pub(crate) use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
pub(crate) use tokio::net::{TcpListener, TcpStream, lookup_host};

/// Wall time, in microseconds since the Unix epoch. Only the clock asks for it.
pub(crate) fn wall_micros() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock set before 1970 is as good as one that stands at 1970: the farm sees it as skewed.
    since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
