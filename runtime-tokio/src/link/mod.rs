//! Links: one connection for each ordered pair of servers. The publisher dials and sends, the
//! subscriber accepts and feeds the driver (R84, R112b1, R112b2).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use grapevine_core::{Command, Farm, ServerId};
use parking_lot::Mutex;

use crate::error::StopReason;
use crate::metrics::{LinkStatus, Metrics, Reason};
use crate::net::is_near;
use crate::net::sync::{Notify, mpsc, watch};
use crate::net::time::Instant;
use crate::random::Random;

pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod members;
pub(crate) mod queue;
pub(crate) mod subscriber;

mod outgoing;
mod peers;
mod publisher;
mod pulse;

use handshake::Identity;
use outgoing::Dialled;
use peers::Peers;
use queue::Queue;

/// Limits of the transport that each server chooses for itself.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) queue_frames: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) handshake: Duration,
    pub(crate) handshakes: usize,
    pub(crate) silence: Duration,
    pub(crate) stall: Duration,
}

impl Limits {
    /// How often a subscriber sends a pulse: several within every silence that counts.
    fn pulse_every(&self, farm: &Farm) -> Duration {
        farm.heartbeat_every.min(self.silence / 4).max(Duration::from_millis(1))
    }
}

/// What the links tell the driver.
#[derive(Debug)]
pub(crate) enum Input {
    /// Commands came, in this order.
    Commands { from: ServerId, commands: Vec<Command> },
    /// What is put in this queue is sent to this server.
    Up { server: ServerId, queue: Arc<Queue> },
    /// It is not any more. Always told before another queue for the same server.
    Down { server: ServerId },
}

/// Everything that the tasks of all links share.
pub(crate) struct Links {
    pub(crate) identity: Identity,
    pub(crate) farm: Farm,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) random: Random,
    pub(crate) stop: watch::Sender<Option<StopReason>>,
    pub(crate) dialled: Mutex<Dialled>,
    /// Whether this process knows that its number is its own.
    pub(crate) started: AtomicBool,
    /// A server dialled this one: what failed before may not fail now.
    pub(crate) redial: Notify,
    /// Something in `dialled` changed, or `started`.
    pub(crate) changed: Notify,
    peers: Mutex<Peers>,
    inputs: mpsc::Sender<Input>,
}

impl Links {
    pub(crate) fn new(
        identity: Identity,
        farm: Farm,
        limits: Limits,
        random: Random,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        let own = (identity.server, identity.instance);
        Self {
            peers: Mutex::new(Peers::new(own, &farm)),
            identity,
            farm,
            limits,
            metrics: Metrics::new(),
            random,
            stop: watch::Sender::new(None),
            dialled: Mutex::default(),
            started: AtomicBool::new(false),
            redial: Notify::new(),
            changed: Notify::new(),
            inputs,
        }
    }

    /// The links and counters as they are shown.
    pub(crate) fn status(&self) -> LinkStatus {
        let mut status = self.metrics.snapshot();
        status.outgoing = self.dialled.lock().list();
        status.incoming = self.peers.lock().list();
        status
    }

    /// Stops the server, if it isn't stopping already.
    pub(crate) fn stop_with(&self, reason: StopReason) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            if first {
                *stop = Some(reason);
            }
            first
        });
        self.changed.notify_one();
    }

    /// The engine has its number.
    pub(crate) fn started(&self) {
        if !self.started.swap(true, Ordering::Relaxed) {
            self.changed.notify_one();
        }
    }

    /// Ends the connection of a server that misbehaves. Nothing is taken from it for a while; what
    /// is sent to it is not our trouble.
    pub(crate) fn cut(&self, server: ServerId, why: &str) {
        self.report(Reason::Misbehaving, &format!("server {}", server.number()), why);
        self.peers.lock().cut(server, why, Instant::now());
    }

    /// Counts what a peer did and tells people.
    pub(crate) fn report(&self, reason: Reason, peer: &str, text: &str) {
        self.metrics.count(reason);
        match reason {
            Reason::Itself | Reason::Duplicate | Reason::ClosedByPeer | Reason::HandshakeClosed => {
                tracing::debug!(reason = reason.name(), peer, "{text}");
            }
            _ => tracing::warn!(reason = reason.name(), peer, "{text}"),
        }
    }
}

/// Farm links are not encrypted yet, so they must not leave the machine.
pub(crate) fn is_allowed(address: SocketAddr) -> bool {
    is_near(address.ip())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use grapevine_core::Timestamp;

    /// Links of a server 1 of a farm of three, with no driver.
    pub(crate) fn links() -> Arc<Links> {
        let identity = Identity {
            server: ServerId::new(1, Timestamp::from_millis(1)),
            instance: 1,
            fingerprint: [0; 16],
            key: [0; 32],
        };
        let limits = Limits {
            queue_frames: 10,
            queue_bytes: 1_000,
            handshake: Duration::from_secs(2),
            handshakes: 8,
            silence: Duration::from_secs(10),
            stall: Duration::from_secs(10),
        };
        let (inputs, _driver) = mpsc::channel(1);
        Arc::new(Links::new(identity, Farm::default(), limits, Random::new(&[0; 32]), inputs))
    }

    #[test]
    fn only_addresses_of_this_machine_are_allowed() {
        for (address, allowed) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.168.1.4:1", false),
            ("8.8.8.8:1", false),
        ] {
            assert_eq!(is_allowed(address.parse().unwrap()), allowed, "{address}");
        }
    }
}
