//! Simulated sockets, timers, tasks and wall time: every server is a node of one madsim simulation.

use std::io;
use std::net::{IpAddr, SocketAddr};

pub(crate) use ::madsim::net::lookup_host;

mod stream;
pub(crate) mod task;

pub(crate) use stream::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};

/// Timers in madsim's time, under tokio's names.
pub(crate) mod time {
    use std::future::Future;

    pub(crate) use ::madsim::time::error::Elapsed;
    pub(crate) use ::madsim::time::{Instant, sleep, sleep_until, timeout};

    /// Has a future done before this time.
    pub(crate) fn timeout_at<F: Future>(
        deadline: Instant,
        future: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> {
        timeout(deadline.saturating_duration_since(Instant::now()), future)
    }
}

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

/// The simulation's time, in microseconds since the Unix epoch: madsim answers for the system.
pub(crate) fn wall_micros() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Where a stream that was not given a local port comes from.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
