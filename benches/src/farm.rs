//! Three whole servers on loopback sockets.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use grapevine_tokio::{Builder, Create, Farm, Grapevine, StartError, State, Status, Value};

use crate::work::{key, payload};

/// How long a farm may take for anything, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Servers with numbers from 1 that know each other's addresses.
pub struct Trio {
    /// The running ones, by number less one.
    pub servers: Vec<Grapevine>,
    addresses: Vec<SocketAddr>,
}

impl Trio {
    /// Starts so many of the three, and waits until each sees the others alive.
    ///
    /// # Errors
    /// [`StartError`], when one does not start.
    ///
    /// # Panics
    /// If loopback has no free port, or the servers don't find each other.
    pub async fn start(running: usize) -> Result<Self, StartError> {
        let sockets: Vec<_> =
            (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let address = |socket: &TcpListener| socket.local_addr().expect("a bound socket's");
        let mut trio =
            Self { servers: Vec::new(), addresses: sockets.iter().map(address).collect() };
        for (n, socket) in sockets.into_iter().enumerate().take(running) {
            let server = trio.builder(n).listener(socket).start().await?;
            trio.servers.push(server);
        }
        trio.until_level().await;
        Ok(trio)
    }

    /// The server of this index, not started.
    pub fn builder(&self, n: usize) -> Builder {
        let others = self.addresses.iter().enumerate().filter(|&(other, _)| other != n);
        let builder = Grapevine::builder(n as u16 + 1).farm(Farm::default());
        others.fold(builder, |builder, (_, address)| builder.peer(address.to_string()))
    }

    /// Starts the server of this index where it was before, as soon as its port is free again.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn restart(&self, n: usize) -> Grapevine {
        for _ in 0..PATIENCE.as_millis() {
            match self.builder(n).listen(self.addresses[n]).start().await {
                Ok(server) => return server,
                Err(StartError::Listen { .. }) => tokio::time::sleep(MOMENT).await,
                Err(error) => panic!("server {} did not start: {error}", n + 1),
            }
        }
        panic!("the port of server {} did not become free", n + 1);
    }

    /// Makes so many sessions at a server, and returns their tokens.
    ///
    /// # Panics
    /// If one can't be made.
    pub async fn create(&self, server: usize, sessions: usize) -> Vec<String> {
        let value = Value::new(&payload());
        let day = Some(Duration::from_secs(24 * 3600));
        let mut tokens = Vec::with_capacity(sessions);
        for _ in 0..sessions {
            let attributes = vec![(key(), value.clone())];
            let create = Create { attributes, idle_timeout: day, ..Create::default() };
            let served = self.servers[server].create(create).await.expect("a session");
            tokens.push(served.token);
        }
        tokens
    }

    /// Waits until every running server sees the others alive and has all that they wrote.
    pub async fn until_level(&self) {
        let all: Vec<_> = self.servers.iter().collect();
        until_level(&all).await;
    }
}

/// How often a condition is looked at.
pub const MOMENT: Duration = Duration::from_millis(1);

/// Waits until each of these servers sees the others alive and has all that they wrote.
///
/// # Panics
/// If that takes longer than a minute.
pub async fn until_level(servers: &[&Grapevine]) {
    let waiting = async {
        loop {
            let mut all = Vec::new();
            for server in servers {
                all.push(server.status().await.expect("a running server"));
            }
            if all.iter().all(|one| all.iter().all(|other| has_all_of(one, other))) {
                return;
            }
            tokio::time::sleep(MOMENT).await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(came.is_ok(), "the servers were not level after {PATIENCE:?}");
}

fn has_all_of(one: &Status, other: &Status) -> bool {
    let sees = || {
        let members = one.members.iter();
        members.filter(|m| m.server == other.server).any(|m| m.state == State::Alive && m.reachable)
    };
    one.server == other.server || (one.applied.get(other.server) >= other.end && sees())
}
