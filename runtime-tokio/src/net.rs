//! The one place that says which runtime, sockets and timers the adapter is built on. Everything
//! else takes them from here, so that the same source also runs in a simulator: the packages under
//! `sim/adapters` compile this very crate with another of the files in `net/`.

// The runtime and its timers are tokio's everywhere; a simulator hands its own time to them.
pub(crate) use tokio::{io, select, sync, task, time};

#[cfg(not(feature = "turmoil"))]
mod real;
#[cfg(not(feature = "turmoil"))]
pub(crate) use real::{
    OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream, adopt, is_near, lookup_host, wall_micros,
};

#[cfg(feature = "turmoil")]
mod turmoil;
#[cfg(feature = "turmoil")]
pub(crate) use turmoil::{
    OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream, adopt, is_near, lookup_host, wall_micros,
};
