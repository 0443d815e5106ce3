//! The one place that says which runtime, sockets and timers the adapter is built on. Everything
//! else takes them from here, so that the same source also runs in a simulator: the packages under
//! `sim/adapters` compile this very crate with another of the files in `net/`.

pub(crate) use tokio::{io, select, sync};

#[cfg(feature = "madsim")]
mod madsim;
#[cfg(not(any(feature = "turmoil", feature = "madsim")))]
mod real;
#[cfg(feature = "turmoil")]
mod turmoil;

#[cfg(feature = "madsim")]
use self::madsim as chosen;
#[cfg(not(any(feature = "turmoil", feature = "madsim")))]
use self::real as chosen;
#[cfg(feature = "turmoil")]
use self::turmoil as chosen;

#[cfg(feature = "turmoil")]
pub use self::turmoil::task::Process;

pub(crate) use chosen::{
    OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream, adopt, is_near, lookup_host, task, time,
    wall_micros,
};
