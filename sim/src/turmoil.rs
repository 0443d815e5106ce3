//! The adapter that ships, on turmoil's simulated network: the same source, with simulated sockets and
//! time. For tests of the adapter, and of services that embed it: `sim/examples/axum_under_partitions.rs` is
//! one with its test.
//!
//! ```
//! use std::time::Duration;
//! use grapevine_sim::turmoil::{Create, server};
//!
//! let mut sim = grapevine_sim::turmoil::network(7).build();
//! for number in 1..=3 {
//!     sim.host(grapevine_sim::turmoil::host(number), move || async move {
//!         let grapevine = server(number, 3, 7).start().await?;
//!         if number == 1 {
//!             grapevine.create(Create::default()).await?;
//!         }
//!         grapevine.stopped().await;
//!         Ok(())
//!     });
//! }
//! sim.client("watch", async { Ok(tokio::time::sleep(Duration::from_secs(5)).await) });
//! sim.run().unwrap();
//! ```

use std::time::{Duration, UNIX_EPOCH};

#[cfg(feature = "axum")]
pub mod http;

pub use grapevine_tokio_turmoil::*;

/// The port at which the servers listen for each other.
pub const PORT: u16 = 7400;

/// When simulated time begins: in the year 2020.
const EPOCH: Duration = Duration::from_secs(1_577_836_800);

/// The name of the host of the server with this number.
pub fn host(number: u16) -> String {
    format!("server-{number}")
}

/// A simulated network of this seed, on which time begins at the same moment in every run. Messages take
/// from 0.1 to 5 ms, and time goes on in steps of a millisecond.
pub fn network(seed: u64) -> turmoil::Builder {
    let mut network = turmoil::Builder::new();
    network
        .rng_seed(seed)
        .epoch(UNIX_EPOCH + EPOCH)
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_micros(100))
        .max_message_latency(Duration::from_millis(5))
        // A farm heartbeats for ever: a test says when it has seen enough.
        .simulation_duration(Duration::from_secs(24 * 3600))
        // Frames that wait at one host; what is sent beyond that would panic, not wait.
        .tcp_capacity(64 << 10);
    network
}

/// Cuts all links between the servers of the one side and those of the other, both ways. What is under way is
/// lost, and its connections are dead. For use within the simulation; `turmoil::Sim` has the same for pairs.
///
/// # Panics
/// Outside of the simulation, and if a server has no host in it.
pub fn cut(one: &[u16], other: &[u16]) {
    pairs(one, other, turmoil::partition);
}

/// Mends all links between the servers of the one side and those of the other. New connections work; those that
/// lost something are dead, and it is the servers' business to notice.
///
/// # Panics
/// As [`cut`].
pub fn mend(one: &[u16], other: &[u16]) {
    pairs(one, other, turmoil::repair);
}

fn pairs(one: &[u16], other: &[u16], mut link: impl FnMut(String, String)) {
    for &a in one {
        other.iter().filter(|&&b| b != a).for_each(|&b| link(host(a), host(b)));
    }
}

/// A server of a farm of this size, with its peers' addresses and everything random set: each process
/// draws other numbers, as it starts at another time.
///
/// Call it in the host of its number, each time that the host starts.
pub fn server(number: u16, size: u16, seed: u64) -> Builder {
    let mut all = [0; 32];
    all[..8].copy_from_slice(&seed.to_le_bytes());
    all[8..10].copy_from_slice(&number.to_le_bytes());
    let since = turmoil::since_epoch().unwrap_or_default().as_micros();
    all[16..].copy_from_slice(&since.to_le_bytes());
    let builder =
        Grapevine::builder(number).listen((std::net::Ipv4Addr::UNSPECIFIED, PORT).into()).seed(all);
    let peers = (1..=size).filter(|&peer| peer != number);
    peers.fold(builder, |builder, peer| builder.peer(format!("{}:{PORT}", host(peer))))
}
