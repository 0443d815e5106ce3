//! Configuring and starting a server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use grapevine_core::{Config, Engine, Farm, Local, ServerId, Timestamp, TokenKey};

use crate::clock::Clock;
use crate::driver::{Driver, Parts, Shown};
use crate::error::{StartError, StopReason};
use crate::expirations::Expiring;
use crate::farm::{Grapevine, Inner};
use crate::link::handshake::Identity;
use crate::link::members::{self, Configured};
use crate::link::{Limits, Links, is_allowed, subscriber};
use crate::net::sync::mpsc;
use crate::net::task::{self, JoinSet};
use crate::net::time::{self, Instant};
use crate::net::{TcpListener, adopt, lookup_host, wall_micros};
use crate::random::Random;
use crate::witness::Witness;

/// The key of farms that were given none. It is public: it keeps out nobody but servers of farms
/// that have a key. As long as it is used, every address must be a loopback address.
pub const LOOPBACK_KEY: [u8; 32] = *b"grapevine: loopback, not secret!";

/// Requests that wait for the driver before those who ask are held back.
const ASKS: usize = 1024;

/// Messages of peers that wait for the driver before the peers are held back.
const INPUTS: usize = 64;

/// How long starting waits for the first word from every peer.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// A server to be started.
#[derive(Debug)]
pub struct Builder {
    number: u16,
    address: SocketAddr,
    listener: Option<std::net::TcpListener>,
    configured: Configured,
    named_size: Option<u16>,
    farm: Option<Farm>,
    local: Local,
    key: [u8; 32],
    seed: Option<[u8; 32]>,
    limits: Limits,
    silence: Option<Duration>,
    wall: fn() -> u64,
    witness: Witness,
}

impl Builder {
    pub(crate) fn new(number: u16) -> Self {
        Self {
            number,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            listener: None,
            configured: Configured::default(),
            named_size: None,
            farm: None,
            local: Local::default(),
            key: LOOPBACK_KEY,
            seed: None,
            limits: Limits {
                queue_frames: 16 << 10,
                queue_bytes: 32 << 20,
                handshake: Duration::from_secs(2),
                handshakes: 64,
                silence: Duration::ZERO,
                stall: Duration::from_secs(10),
            },
            silence: None,
            wall: wall_micros,
            witness: Witness::nobody(),
        }
    }

    /// Where to listen for the other servers. Default: 127.0.0.1, any free port. Must be a loopback
    /// address.
    #[must_use]
    pub const fn listen(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Listens on a socket that is bound already, instead of [`Builder::listen`].
    #[must_use]
    pub fn listener(mut self, listener: std::net::TcpListener) -> Self {
        self.listener = Some(listener);
        self
    }

    /// The address of another server, as `host:port`; once for each. The farm's size is the number
    /// of peers plus one unless [`Builder::farm`] says otherwise. Which number a peer has is learned
    /// when it answers.
    #[must_use]
    pub fn peer(mut self, peer: impl Into<String>) -> Self {
        self.configured.peers.push(peer.into());
        self
    }

    /// A `name:port` at whose addresses the farm's `size` servers are, this one too: it recognises
    /// itself. The name is resolved again and again; an address that leaves DNS is no longer dialled
    /// once its link is down, but stays in the farm's count.
    #[must_use]
    pub fn peers_from_dns(mut self, name: impl Into<String>, size: u16) -> Self {
        self.configured.names.push(name.into());
        self.named_size = Some(size);
        self
    }

    /// The key that makes a server one of the farm; the same on all, and secret. Default:
    /// [`LOOPBACK_KEY`].
    #[must_use]
    pub const fn farm_key(mut self, key: [u8; 32]) -> Self {
        self.key = key;
        self
    }

    /// Who is told of everything that the engine is given.
    #[cfg(feature = "witness")]
    #[must_use]
    pub fn witness(mut self, witness: Witness) -> Self {
        self.witness = witness;
        self
    }

    /// What the whole farm must agree on. Servers with other settings refuse each other.
    #[must_use]
    pub fn farm(mut self, farm: Farm) -> Self {
        self.farm = Some(farm);
        self
    }

    /// What this server chooses for itself.
    #[must_use]
    pub fn local(mut self, local: Local) -> Self {
        self.local = local;
        self
    }

    /// How many commands may wait for one peer; more are dropped, and repair mends it. Default
    /// 16,384. More lets a peer be slow for longer before it has to be repaired, and costs memory.
    #[must_use]
    pub const fn queue_frames(mut self, frames: usize) -> Self {
        self.limits.queue_frames = frames;
        self
    }

    /// How many bytes may wait for one peer, like [`Builder::queue_frames`]. Default 32 MiB.
    #[must_use]
    pub const fn queue_bytes(mut self, bytes: usize) -> Self {
        self.limits.queue_bytes = bytes;
        self
    }

    /// How long dialling, and then the handshake, may take. Default 2 s.
    #[must_use]
    pub const fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.limits.handshake = timeout;
        self
    }

    /// How many connections may be in their handshakes at once; more are closed. Default 64.
    #[must_use]
    pub const fn handshakes(mut self, connections: usize) -> Self {
        self.limits.handshakes = connections;
        self
    }

    /// How long nothing may come over a connection before it is closed, and dialled again by the side that
    /// sends. Heartbeats come all the time one way, and signs of life the other way, so this only ends
    /// connections that are dead or stuck; also those on a path that swallows everything and tells nobody.
    /// Default: five times the farm's `down_after`, and at least 1 s.
    #[must_use]
    pub const fn silence_timeout(mut self, timeout: Duration) -> Self {
        self.silence = Some(timeout);
        self
    }

    /// How long a peer may take nothing before its link is closed and dialled again. Default 10 s.
    #[must_use]
    pub const fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.limits.stall = timeout;
        self
    }

    /// The seed of everything random, for tests that must be repeatable. **Whoever knows it can
    /// guess every session's ID.** Default: from the operating system.
    #[must_use]
    pub const fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Where wall time comes from, as microseconds since the Unix epoch; for tests of clocks that
    /// are off. Default: the operating system.
    #[must_use]
    pub fn wall_clock(mut self, wall: fn() -> u64) -> Self {
        self.wall = wall;
        self
    }

    /// Starts the server. It serves when this returns, and finds its peers by and by; this waits
    /// only until every peer was dialled once and has said what it knows of this server's number, at
    /// most a second or [`Local::start_wait`], and longer only if one says that the number is in use.
    ///
    /// Must be called inside a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// [`StartError`]; nothing keeps running.
    pub async fn start(mut self) -> Result<Grapevine, StartError> {
        let farm = self.settle_farm()?;
        self.limits.silence =
            self.silence.unwrap_or((farm.down_after * 5).max(Duration::from_secs(1)));
        self.check_peers().await?;
        let listener = Arc::new(self.bind().await?);
        let mut seed = [0; 32];
        match self.seed {
            Some(given) => seed = given,
            None => {
                getrandom::fill(&mut seed).map_err(|error| StartError::Random(error.to_string()))?
            }
        }
        let clock = Arc::new(Clock::new(self.wall));
        let mut boot = clock.now();
        loop {
            let started = self.launch(&farm, &listener, seed, &clock, boot)?;
            match first_word(&started).await {
                None => return Ok(started),
                // The clock was set back since this number's last process started, or the two
                // started in the same millisecond: the farm takes the later boot only.
                Some(StopReason::Superseded { newer, .. })
                    if newer >= ServerId::new(self.number, boot) =>
                {
                    boot = newer.next_boot().boot();
                }
                Some(StopReason::NumberInUse { number, text, .. }) => {
                    return Err(StartError::NumberInUse { number, text });
                }
                Some(other) => return Err(StartError::Stopped(other)),
            }
        }
    }

    /// The farm's settings, with its size.
    fn settle_farm(&self) -> Result<Farm, StartError> {
        let peers = u16::try_from(self.configured.peers.len()).unwrap_or(u16::MAX);
        let farm = match (&self.farm, self.named_size) {
            (Some(farm), Some(named)) if farm.size != named => {
                return Err(StartError::Size { farm: farm.size, named });
            }
            (Some(farm), _) => farm.clone(),
            (None, named) => {
                Farm { size: named.unwrap_or(peers.saturating_add(1)), ..Farm::default() }
            }
        };
        farm.validate()?;
        if self.configured.names.is_empty() && peers < farm.size - 1 {
            let size = farm.size;
            tracing::warn!(size, peers, "fewer peers than the farm has: some are never dialled");
        }
        Ok(farm)
    }

    /// Peers must be of the right form, and on this machine. A name that can't be resolved yet may
    /// be later.
    async fn check_peers(&self) -> Result<(), StartError> {
        for peer in self.configured.peers.iter().chain(&self.configured.names) {
            let (host, port) = peer.rsplit_once(':').unwrap_or((peer, ""));
            if host.is_empty() || port.parse::<u16>().is_err() {
                return Err(StartError::Peer { peer: peer.clone() });
            }
            let resolving = time::timeout(FIRST_WORD, lookup_host(peer.as_str())).await;
            let Ok(Ok(mut addresses)) = resolving else { continue };
            if let Some(beyond) = addresses.find(|address| !is_allowed(*address)) {
                let address = if *peer == beyond.to_string() {
                    peer.clone()
                } else {
                    format!("{peer} ({beyond})")
                };
                return Err(StartError::NotLoopback { what: "the peer", address });
            }
        }
        Ok(())
    }

    async fn bind(&mut self) -> Result<TcpListener, StartError> {
        let refused = |address| move |source| StartError::Listen { address, source };
        let given = self.listener.take();
        if let Some(listener) = &given {
            self.address = listener.local_addr().map_err(refused(self.address))?;
        }
        let address = self.address;
        if !is_allowed(address) {
            let (what, address) = ("the listening address", address.to_string());
            return Err(StartError::NotLoopback { what, address });
        }
        let listener = match given {
            Some(listener) => adopt(listener),
            None => TcpListener::bind(address).await,
        };
        let listener = listener.map_err(refused(address))?;
        self.address = listener.local_addr().map_err(refused(address))?;
        Ok(listener)
    }

    /// Starts all tasks of a process with this boot time.
    fn launch(
        &self,
        farm: &Farm,
        listener: &Arc<TcpListener>,
        seed: [u8; 32],
        clock: &Arc<Clock>,
        boot: Timestamp,
    ) -> Result<Grapevine, StartError> {
        let server = ServerId::new(self.number, boot);
        let config = Config { server, farm: farm.clone(), local: self.local.clone() };
        config.validate()?;
        let now = clock.now();
        self.witness.starts(&config, seed, now);
        let engine = Engine::new(config, seed, now)?;
        let random = Random::new(&seed);
        let fingerprint = farm.fingerprint();
        let identity = Identity { server, instance: random.number(), fingerprint, key: self.key };
        let (asking, asks) = mpsc::channel(ASKS);
        let (feeding, inputs) = mpsc::channel(INPUTS);
        let limits = self.limits.clone();
        let links = Arc::new(Links::new(identity, farm.clone(), limits, random, feeding));
        links.dialled.lock().expect(&self.configured);
        let mut tasks = JoinSet::new();
        tasks.spawn(subscriber::listen(Arc::clone(listener), Arc::clone(&links)));
        tasks.spawn(members::run(self.configured.clone(), Arc::clone(&links)));
        let shown = Arc::new(Shown::default());
        let expiring = Expiring::new();
        let told = expiring.weak();
        let parts = Parts {
            engine,
            witness: self.witness.clone(),
            clock: Arc::clone(clock),
            shown: Arc::clone(&shown),
            links: Arc::clone(&links),
            expiring,
            asks,
            inputs,
            tasks,
        };
        let driver = task::spawn(Driver::new(parts).run()).abort_handle();
        Ok(Grapevine::new(Inner {
            links,
            shown,
            told,
            clock: Arc::clone(clock),
            tokens: TokenKey::new(&self.key),
            asks: asking,
            address: self.address,
            driver,
        }))
    }
}

/// Waits until every peer was dialled once and the engine knows that its number is its own; or until
/// it is clear that it is not. Returns why the server stopped, if it did.
async fn first_word(started: &Grapevine) -> Option<StopReason> {
    let links = &started.inner().links;
    let patience = Instant::now() + FIRST_WORD;
    loop {
        // Before looking, so that no change between looking and waiting is missed.
        let changed = links.changed.notified();
        if let Some(reason) = links.stop.borrow().clone() {
            return Some(reason);
        }
        let started = links.started.load(Ordering::Relaxed);
        let (settled, contested) = {
            let dialled = links.dialled.lock();
            (dialled.settled() && started, dialled.is_contested() || !started)
        };
        if settled {
            return None;
        }
        if contested {
            // Somebody will say, or the other one will be found dead: both take a bounded time.
            changed.await;
        } else if time::timeout_at(patience, changed).await.is_err() {
            return None;
        }
    }
}
