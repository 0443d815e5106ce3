//! Sessions that expired, for applications that clean up after them.

use std::sync::Arc;

use grapevine_core::{Limit, Session};

use crate::net::sync::broadcast::error::RecvError;
use crate::net::sync::broadcast::{Receiver, Sender, WeakSender};

/// How many of them wait for a listener that is slow; the oldest are lost to it first.
const WAITING: usize = 4096;

/// Something that [`Expirations::next`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiration {
    /// A session ended by itself.
    Session {
        /// The session, as it was last.
        session: Arc<Session>,
        /// Which limit ended it.
        limit: Limit,
    },
    /// So many were told while this listener did not listen, and are lost to it.
    Missed(u64),
}

/// Sessions that expire from now on, of which this server is the one to tell: see
/// [`crate::Grapevine::expirations`].
#[derive(Debug)]
pub struct Expirations(Receiver<Expiration>);

impl Expirations {
    /// Waits for the next one. `None` once the server has stopped and all was told. It can be
    /// dropped while it waits: nothing is lost by that.
    pub async fn next(&mut self) -> Option<Expiration> {
        match self.0.recv().await {
            Ok(expiration) => Some(expiration),
            Err(RecvError::Lagged(missed)) => Some(Expiration::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

/// Where the driver tells them.
#[derive(Debug)]
pub(crate) struct Expiring(Sender<Expiration>);

impl Expiring {
    pub(crate) fn new() -> Self {
        Self(Sender::new(WAITING))
    }

    /// Never waits.
    pub(crate) fn tell(&self, session: Arc<Session>, limit: Limit) {
        // Without listeners nobody needs to know.
        let _nobody = self.0.send(Expiration::Session { session, limit });
    }

    /// For handles: it does not keep listeners waiting once the driver has ended.
    pub(crate) fn weak(&self) -> Told {
        Told(self.0.downgrade())
    }
}

/// What a handle has of it.
#[derive(Debug)]
pub(crate) struct Told(WeakSender<Expiration>);

impl Told {
    pub(crate) fn listen(&self) -> Expirations {
        // Of a server that has stopped, a listener hears that.
        let sender = self.0.upgrade().unwrap_or_else(|| Sender::new(1));
        Expirations(sender.subscribe())
    }
}
