//! Grapevine on tokio: what a server embeds to keep its customers' sessions together with the other
//! servers of its farm.
//!
//! Every server holds every session in its own memory; any server serves any customer. A request
//! goes to a [`Grapevine`] handle, which reads the local array, or asks the one task that owns the
//! engine ([`grapevine_core`] has the protocol). For each peer, a publisher task sends and a
//! subscriber task takes.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use grapevine_tokio::{Acks, Create, Grapevine, Shown};
//!
//! // A farm of one: add `.peer("127.0.0.1:7402")` and so on for a real one.
//! let server = Grapevine::builder(1).start().await?;
//!
//! // The token goes to the customer, who brings it back to any server of the farm.
//! let token = server.create(Create::default()).await?.token;
//! let token = server.update(&token, |session| {
//!     session.set("name", "ann").add("cart/tea", 2);
//! }).await?.token;
//!
//! let served = server.read(&token).await?;
//! assert_eq!(served.session.get("name"), Some(Shown::Bytes(b"ann")));
//! assert_eq!(served.session.get("cart/tea"), Some(Shown::Count(2)));
//!
//! server.delete(&served.token, Acks::Local).await?;
//! assert!(server.read(&served.token).await.is_err());
//! server.leave().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Limits of this version
//! Links are not encrypted yet; every address must be a loopback address.
#![forbid(unsafe_code)]
// The package for madsim has nothing in it where nobody builds for madsim: then there is none.
#![cfg(any(not(feature = "madsim"), madsim))]

mod builder;
mod clock;
mod digest;
mod driver;
mod edit;
mod error;
mod expirations;
mod farm;
mod link;
mod local;
mod metrics;
mod net;
mod random;
mod witness;

/// The example of the README is compiled too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

pub use builder::{Builder, LOOPBACK_KEY};
pub use digest::Digest;
pub use edit::Edit;
pub use error::{Error, StartError, StopReason};
pub use expirations::{Expiration, Expirations};
pub use farm::{Grapevine, LONGEST_VERIFY, Served};
#[cfg(feature = "turmoil")]
pub use net::Process;
#[cfg(feature = "witness")]
pub use witness::{Witness, Witnessed};

pub use metrics::{Incoming, LinkState, LinkStatus, Outgoing, Reason};

pub use grapevine_core::{
    Acks, Address, Change, ChangeError, Compared, ConfigError, Counters, Create, Farm, HashedId,
    Key, KeyError, Limit, LimitError, Listed, Local, MAX_LISTED, Member, Missed, NotFound,
    Principal, Progress, ReadPolicy, Report, RequestError, Rotation, ServerId, Session, SessionId,
    Shown, Stamp, State, Status, Timestamp, TokenError, Unavailable, Value, Vector, WhenFull,
    WhenIsolated,
};
